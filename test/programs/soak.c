/* Many connections for a long time: memory and descriptors must stay flat.
 *
 *     soak SECONDS [CONNECTIONS]
 *
 * Two processes, a server and a client, each a task per connection, since each has a limit of
 * descriptors. Of the connections (10,000) one in ten talks all the time, the others now and then;
 * every now and then one is closed properly, reset, or cancelled while it waits, and another takes
 * its place. Each byte is checked.
 *
 * Every ten seconds the memory, descriptors and tasks of both are told. In the last third of the
 * time the memory may be 2 % more than in the second, and all descriptors must be closed when all
 * have gone. */
#include <weir.h>

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVERY_MS   10000
#define SAMPLES    4096
#define TALK_MAX   2048
#define GROWTH_MAX 0.02
#define JUDGED_S   150 /* in less time not every stack has been as deep as it gets */

static struct {
    const char *name;
    long kib[SAMPLES];
    int samples;
    long conversations, messages, cancelled;
    int fds_before;
    int connections;
    int64_t seconds;
} self;

static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- what is measured ----------------------------------------------------------------------- */

static int open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -1; /* the one that looks */
    for (const struct dirent *e; dir && (e = readdir(dir));)
        count += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

/* Resident memory and page tables. */
static long memory_kib(void)
{
    char line[256];
    long kib, sum = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1 || sscanf(line, "VmPTE: %ld", &kib) == 1)
            sum += kib;
    if (status)
        fclose(status);
    return sum;
}

static void tell(int64_t after_s)
{
    weir_run_info info;
    long kib = memory_kib();
    weir_inspect_run(&info, sizeof info);
    if (self.samples < SAMPLES)
        self.kib[self.samples++] = kib;
    printf("%4lld s  %-6s %7ld KiB, %6zu in the heap  %6d descriptors  %6llu tasks  "
           "%8ld conversations  %9ld messages  %7ld cancelled\n",
           (long long)after_s, self.name, kib, mallinfo2().uordblks / 1024, open_fds(),
           (unsigned long long)info.tasks, self.conversations, self.messages, self.cancelled);
    fflush(stdout);
}

static long most_of(int from, int to)
{
    long most = 0;
    for (int i = from; i < to; i++)
        most = self.kib[i] > most ? self.kib[i] : most;
    return most;
}

/* The most of the last third against the most of the second. In the first, stacks are still
 * touched for the first time. */
static int check_growth(void)
{
    int third = self.samples / 3;
    long middle = most_of(third, 2 * third), last = most_of(2 * third, self.samples);
    double growth = third ? (double)last / (double)middle - 1 : 0;
    printf("%s: memory %+.2f %% from the second third to the last\n", self.name, 100 * growth);
    return growth <= GROWTH_MAX || self.seconds < JUDGED_S ? 0 : -1;
}

static int tells_now_and_then(void *arg)
{
    (void)arg;
    for (int64_t after_s = EVERY_MS / 1000;; after_s += EVERY_MS / 1000) {
        int rc = weir_sleep(EVERY_MS);
        if (rc < 0)
            return 0;
        tell(after_s);
    }
}

static int check_fds(void)
{
    int now = open_fds();
    printf("%s: %d descriptors before, %d after\n", self.name, self.fds_before, now);
    return now == self.fds_before ? 0 : -1;
}

static void fail(const char *what, long long rc)
{
    fprintf(stderr, "soak: %s: %s: %s\n", self.name, what, weir_strerror((int)rc));
    exit(1);
}

/* ---- the server ----------------------------------------------------------------------------- */

static int echoes(weir_socket *s, void *arg)
{
    char buf[TALK_MAX];
    ssize_t n;
    (void)arg;
    while ((n = weir_recv(s, buf, sizeof buf)) > 0) {
        size_t done = 0;
        if (weir_send_all(s, buf, (size_t)n, &done) < 0)
            return 0;
        self.messages++;
    }
    self.cancelled += n == -ECANCELED;
    return n == 0 ? weir_finish(s) : 0;
}

static int accepts(void *arg)
{
    weir_socket **given = arg, *s;
    weir_group *g;
    int rc = weir_group_open(&g, NULL);
    while (rc == 0 && (rc = weir_accept(*given, &s)) == 0) {
        self.conversations++;
        rc = weir_go_socket(g, echoes, s, NULL);
    }
    weir_group_close(g);
    return rc == -ECANCELED ? 0 : rc;
}

static int serves(void *arg)
{
    weir_socket **listener = arg;
    sigset_t end;
    weir_group *g;
    int failure = 0;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    int rc = weir_group_open(&g, NULL);
    if (rc == 0)
        rc = weir_go(g, accepts, listener);
    if (rc == 0)
        rc = weir_go(g, tells_now_and_then, NULL);
    if (rc == 0)
        rc = weir_signal_wait(&end);
    weir_group_cancel(g);
    weir_group_wait(g, &failure);
    weir_group_close(g);
    return rc < 0 ? rc : failure;
}

/* ---- the client ----------------------------------------------------------------------------- */

struct caller {
    weir_address where;
    uint64_t random;
    bool busy;
};

static int talks(weir_socket *s, struct caller *c)
{
    char out[TALK_MAX], in[TALK_MAX];
    size_t len = 1 + draw(&c->random) % sizeof out, sent = 0, received = 0;
    memset(out, (int)draw(&c->random), len);
    out[0] = (char)len;
    int rc = weir_send_all(s, out, len, &sent);
    if (rc == 0)
        rc = weir_recv_exact(s, in, len, &received);
    if (rc == 0 && memcmp(in, out, len) != 0)
        fail("what came back is not what was sent", -EBADMSG);
    self.messages += rc == 0;
    return rc;
}

static int waits_in_vain(void *arg)
{
    char byte;
    return (int)weir_recv(arg, &byte, 1);
}

/* Nothing will come; somebody else has to end the wait. */
static int is_cancelled(weir_socket *s)
{
    weir_group *g;
    int failure = 0, rc = weir_group_open(&g, NULL);
    if (rc < 0)
        return rc;
    rc = weir_go(g, waits_in_vain, s);
    if (rc == 0)
        rc = weir_sleep(1);
    weir_group_cancel(g);
    {
        WEIR_SHIELDED_MS(1000);
        if (rc == 0)
            rc = weir_group_wait(g, &failure);
    }
    weir_group_close(g);
    if (rc == 0 && failure != -ECANCELED)
        fail("a wait that was cancelled", failure);
    self.cancelled += rc == 0;
    return rc;
}

static int converses(weir_socket *s, struct caller *c)
{
    int rc = 0;
    /* The quiet ones are few words long, or it would take very long until each stack has been as
     * deep as it ever gets. */
    for (uint64_t left = 1 + draw(&c->random) % (c->busy ? 100 : 4); rc == 0 && left; left--) {
        rc = talks(s, c);
        if (rc == 0)
            rc = weir_sleep((int64_t)(draw(&c->random) % (c->busy ? 200 : 20000)));
    }
    if (rc == 0 && draw(&c->random) % 4 == 0)
        rc = is_cancelled(s);
    if (rc == 0 && draw(&c->random) % 4) {
        rc = weir_finish(s);
    } else {
        static const struct linger at_once = {.l_onoff = 1};
        weir_set_option(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    return rc;
}

static int calls(void *arg)
{
    struct caller *c = arg;
    int rc = 0;
    while (rc == 0) {
        weir_socket *s;
        rc = weir_socket_open(&s, weir_address_family(&c->where), SOCK_STREAM, 0);
        if (rc < 0)
            break;
        rc = weir_connect_address(s, &c->where);
        self.conversations += rc == 0;
        if (rc == 0)
            rc = converses(s, c);
        weir_close(s);
    }
    if (rc != -ECANCELED)
        fail("a conversation", rc);
    return rc;
}

static int call_all(weir_group *g, const weir_address *where)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < self.connections; i++) {
        struct caller c = {*where, (uint64_t)i, i % 10 == 0};
        rc = weir_go_copy(g, calls, &c, sizeof c);
        if (rc == 0 && i % 50 == 49)
            rc = weir_sleep(5); /* not all at once: the queue of the listener is short */
    }
    return rc;
}

static int soaks(void *arg)
{
    weir_group *g;
    int rc = weir_group_open(&g, NULL);
    if (rc == 0)
        rc = call_all(g, arg);
    if (rc == 0)
        rc = weir_go(g, tells_now_and_then, NULL);
    if (rc == 0)
        rc = weir_sleep(self.seconds * 1000);
    weir_group_close(g);
    return rc;
}

/* ---- both ----------------------------------------------------------------------------------- */

static int run(const char *name, int (*fn)(void *), void *arg)
{
    int result = 0;
    self.name = name;
    self.fds_before = open_fds();
    int rc = weir_run(fn, arg, NULL, &result);
    if (rc < 0 || result < 0)
        fail("weir_run", rc < 0 ? rc : result);
    int grown = check_growth();
    return check_fds() < 0 || grown < 0;
}

static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)self.connections + 100) {
        fprintf(stderr, "soak: %llu descriptors are too few for %d connections\n",
                (unsigned long long)limit.rlim_cur, self.connections);
        exit(77);
    }
}

int main(int argc, char **argv)
{
    weir_socket *listener;
    weir_address where;
    sigset_t end;
    int status = 1;
    self.seconds = argc > 1 ? atoll(argv[1]) : 180;
    self.connections = argc > 2 ? atoi(argv[2]) : 10000;
    raise_limits();
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    int rc = weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL);
    if (rc == 0)
        rc = weir_local_address(listener, &where);
    if (rc < 0)
        fail("listen", rc);
    pid_t server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int failed = run("server", serves, &listener);
        weir_close(listener);
        return failed;
    }
    weir_drop(listener);
    int failed = run("client", soaks, &where);
    kill(server, SIGTERM);
    waitpid(server, &status, 0);
    return failed || status;
}
