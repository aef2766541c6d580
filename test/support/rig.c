#include "support/rig_private.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

const struct mode rig_modes[] = {
    {"blocking", MODE_BLOCKING},       {"timeout", MODE_TIMEOUT}, {"deadline", MODE_DEADLINE},
    {"nonblocking", MODE_NONBLOCKING}, {NULL, MODE_BLOCKING},
};

const struct model rig_models[] = {
    {"plain", 0, 0},
    {"threads", WEIR_THREADS, 0},
    {"tasks-epoll", WEIR_TASKS, WEIR_LOOP_EPOLL},
    {"tasks-io_uring", WEIR_TASKS, WEIR_LOOP_IO_URING},
    {"tasks-poll", WEIR_TASKS, WEIR_LOOP_POLL},
    {NULL, 0, 0},
};

static struct scenario *scenarios;
static struct rig *current;

void rig_register(struct scenario *scenario)
{
    struct scenario **at = &scenarios;
    while (*at && (strcmp((*at)->file, scenario->file) < 0 ||
                   (!strcmp((*at)->file, scenario->file) && (*at)->line < scenario->line)))
        at = &(*at)->next;
    scenario->next = *at;
    *at = scenario;
}

const struct scenario *rig_scenarios(void)
{
    return scenarios;
}

/* ---- what must hold ------------------------------------------------------------------------- */

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

void rig_fail(const char *file, int line, const char *format, ...)
{
    static atomic_flag failed = ATOMIC_FLAG_INIT;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (atomic_flag_test_and_set(&failed))
        for (;;)
            pause(); /* another thread is reporting already and will end the process */
    printf("# %s [%s %s %s%s, seed %lu] %s:%d: %s\n", current->scenario->name, current->model->name,
           current->mode->name, current->transport->name, current->eintr ? " eintr" : "",
           current->seed, base_name(file), line, text);
    fflush(stdout);
    _exit(1);
}

static const char *result_text(long long rc, char *buf, size_t size)
{
    const char *name = rc < 0 ? weir_error_name((int)rc) : NULL;
    if (rc >= 0)
        snprintf(buf, size, "%lld", rc);
    else
        snprintf(buf, size, "%lld (%s: %s)", rc, name ? name : "?", weir_strerror((int)rc));
    return buf;
}

void rig_expect(const char *file, int line, const char *what, long long got, long long want)
{
    char a[160], b[160];
    if (got != want)
        rig_fail(file, line, "%s gave %s, expected %s", what, result_text(got, a, sizeof a),
                 result_text(want, b, sizeof b));
}

void rig_check(const char *file, int line, const char *what, bool holds)
{
    if (!holds)
        rig_fail(file, line, "does not hold: %s", what);
}

void rig_expect_story(const char *file, int line, const weir_socket *s, const char *part)
{
    char story[1024] = "";
    int n = weir_error_detail(s, story, sizeof story);
    if (n < 0 || !strstr(story, part))
        rig_fail(file, line, "the story \"%s\" does not name \"%s\"", story, part);
}

void rig_skip(const char *reason)
{
    printf("# skipped: %s\n", reason);
    fflush(stdout);
    _exit(77);
}

/* ---- operations to their end ---------------------------------------------------------------- */

static int wait_with_poller(weir_socket *s, unsigned events)
{
    weir_poller *p = NULL;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, events, s), 0);
    int n = weir_poller_wait(p, &event, 1, -1);
    CHECK(n >= 0 || n == WEIR_EDEADLINE || n == -ECANCELED);
    CHECK(n <= 0 || (event.socket == s && event.data == s && event.events));
    EXPECT(weir_poller_close(p), 0);
    return n;
}

int rig_wait(struct rig *rig, weir_socket *s, unsigned events)
{
    return rig_random(rig) % 2 ? weir_wait(s, events) : wait_with_poller(s, events);
}

struct attempt rig_begin(struct rig *rig, weir_socket *s, unsigned events, bool brief)
{
    struct attempt a = {.rig = rig, .s = s, .events = events, .brief = brief};
    if (rig->mode->kind == MODE_DEADLINE)
        a.scope = weir_deadline_start(brief ? RIG_MOMENT_MS : RIG_LONG_MS);
    else if (rig->mode->kind == MODE_NONBLOCKING && brief)
        a.scope = weir_deadline_start(RIG_MOMENT_MS);
    else if (brief)
        weir_set_timeout(s, RIG_MOMENT_MS);
    return a;
}

static void attempt_end(const struct attempt *a)
{
    enum mode_kind kind = a->rig->mode->kind;
    if (kind == MODE_DEADLINE || (kind == MODE_NONBLOCKING && a->brief))
        weir_scope_end(a->scope);
    else if (a->brief)
        weir_set_timeout(a->s, kind == MODE_TIMEOUT ? RIG_LONG_MS : -1);
}

bool rig_again(struct attempt *a, ssize_t *rc)
{
    if (a->rig->mode->kind == MODE_NONBLOCKING && weir_in_progress(*rc)) {
        bool in_time = !a->brief || weir_time_left() > 0;
        if (in_time && rig_wait(a->rig, a->s, a->events) != -ECANCELED)
            return true;
        *rc = in_time ? -ECANCELED : WEIR_EDEADLINE;
    }
    attempt_end(a);
    return false;
}

/* A connect in the background is asked for its outcome; calling again would be as good as the first
 * time if it has failed in between. */
static int connected(weir_socket *s, bool *begun, const char *host, uint16_t port,
                     const weir_address *a)
{
    if (*begun)
        return weir_connect_status(s);
    *begun = true;
    return host ? weir_connect(s, host, port) : weir_connect_address(s, a);
}

int rig_connect(struct rig *rig, weir_socket *s, const char *host, uint16_t port)
{
    bool begun = false;
    return (int)RIG_DONE(rig, s, WEIR_WRITABLE, connected(s, &begun, host, port, NULL));
}

int rig_connect_address(struct rig *rig, weir_socket *s, const weir_address *a)
{
    bool begun = false;
    return (int)RIG_DONE(rig, s, WEIR_WRITABLE, connected(s, &begun, NULL, 0, a));
}

int rig_connect_briefly(struct rig *rig, weir_socket *s, const weir_address *a)
{
    if (rig->mode->kind == MODE_DEADLINE)
        return (int)RIG_BRIEFLY(rig, s, WEIR_WRITABLE, weir_connect_address(s, a));
    EXPECT(weir_set_timeout(s, RIG_MOMENT_MS), 0);
    int rc = rig_connect_address(rig, s, a);
    EXPECT(weir_set_timeout(s, rig->mode->kind == MODE_TIMEOUT ? RIG_LONG_MS : -1), 0);
    return rc;
}

int rig_send_all(struct rig *rig, weir_socket *s, const void *buf, size_t len, size_t *done)
{
    int rc = (int)RIG_DONE(rig, s, WEIR_WRITABLE, weir_send_all(s, buf, len, done));
    if (rc == 0 && rig->tls && rig->mode->kind == MODE_NONBLOCKING)
        (void)rig_wait(rig, s, WEIR_WRITABLE);
    return rc;
}

int rig_shutdown(struct rig *rig, weir_socket *s)
{
    return (int)RIG_DONE(rig, s, WEIR_WRITABLE, weir_shutdown(s, SHUT_WR));
}

int rig_accept(struct rig *rig, weir_socket *listener, weir_socket **ret)
{
    int rc = (int)RIG_DONE(rig, listener, WEIR_READABLE, weir_accept(listener, ret));
    if (rc >= 0) {
        EXPECT(weir_get_blocking(*ret), 1);
        rig_set_mode(rig, rig_keep(rig, *ret));
    }
    return rc;
}

/* ---- odds and ends -------------------------------------------------------------------------- */

/* SplitMix64 */
uint64_t rig_random(struct rig *rig)
{
    uint64_t z = (rig->seed << 20) + atomic_fetch_add(&rig->drawn, 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static unsigned char pattern(unsigned key, size_t at)
{
    return (unsigned char)(key * 31 + at + (at >> 8) + (at >> 16));
}

void rig_fill(void *buf, size_t len, unsigned key, size_t offset)
{
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)buf)[i] = pattern(key, offset + i);
}

bool rig_is_filled(const void *buf, size_t len, unsigned key, size_t offset)
{
    for (size_t i = 0; i < len; i++)
        if (((const unsigned char *)buf)[i] != pattern(key, offset + i))
            return false;
    return true;
}

void rig_exhaust_fds(struct rig *rig, int spare)
{
    const char *preload = getenv("LD_PRELOAD");
    struct estate *e = rig->estate;
    struct rlimit limit;
    if (preload && strstr(preload, "vgpreload"))
        rig_skip("Valgrind counts descriptors by itself, after the kernel has made them");
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = (rlim_t)(rig_count_fds() + 64);
    CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
    for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;)
        e->exhausted[e->exhausted_count++] = fd;
    CHECK(errno == EMFILE && e->exhausted_count >= spare);
    for (int i = 0; i < spare; i++)
        close(e->exhausted[--e->exhausted_count]);
}

void rig_restore_fds(struct rig *rig)
{
    struct estate *e = rig->estate;
    while (e->exhausted_count)
        close(e->exhausted[--e->exhausted_count]);
}

int rig_count_fds(void)
{
    struct open_fds fds;
    int count = 0;
    watch_fds(&fds);
    for (int fd = 0; fd < WATCH_FDS; fd++)
        count += fds.open[fd];
    return count;
}

/* ---- the life of a scenario ----------------------------------------------------------------- */

static void nothing(struct rig *rig, void *arg)
{
    (void)rig;
    (void)arg;
}

/* A thread's first wait makes descriptors that it keeps. */
static void wait_once(void)
{
    weir_socket *pair[2];
    char byte;
    EXPECT(weir_pair(pair, SOCK_STREAM), 0);
    EXPECT(weir_set_timeout(pair[0], 1), 0);
    EXPECT(weir_recv(pair[0], &byte, 1), WEIR_EDEADLINE);
    EXPECT(weir_close(pair[0]), 0);
    EXPECT(weir_close(pair[1]), 0);
}

/* The first thread makes ThreadSanitizer start one of its own. */
static void warm_up(struct rig *rig)
{
    rig_join(rig_go(rig, nothing, NULL));
    wait_once();
}

static void close_all(struct rig *rig)
{
    for (int i = 0; i < ESTATE_MAX; i++) {
        if (rig->estate->sockets[i])
            EXPECT(weir_close(rig->estate->sockets[i]), 0);
        if (rig->estate->fds[i] >= 0)
            close(rig->estate->fds[i]);
    }
}

static void check_leftovers(struct rig *rig)
{
    bool resolver = rig->scenario->needs & NAMES;
    char what[256] = "";
    int fd, patience = resolver ? 1000 : 0; /* it may still be on its way to close a connection */
    while ((fd = watch_new_fd(&rig->estate->before, resolver, what, sizeof what)) >= 0 &&
           patience--)
        poll(NULL, 0, 1);
    if (fd >= 0)
        rig_fail(rig->scenario->file, rig->scenario->line, "descriptor %d (%s) was left open", fd,
                 what);
    /* A thread that was joined may still be listed for a moment. */
    while (!resolver && watch_threads() > rig->estate->threads_before)
        sched_yield();
}

static int run_body(void *arg)
{
    struct rig *rig = arg;
    rig->inside = rig->model->models != 0;
    if (rig->eintr)
        watch_storm_start();
    if (rig->inside)
        wait_once();
    rig->scenario->run(rig);
    close_all(rig);
    EXPECT(weir_time_left(), -1);
    watch_storm_stop();
    return 0;
}

static int nothing_at_all(void *arg)
{
    (void)arg;
    return 0;
}

static const weir_run_options *run_options(const struct model *model)
{
    static weir_run_options options;
    options = *WEIR_RUN_OPTIONS(.models = (unsigned)model->models, .loop = model->loop);
    return &options;
}

int rig_try_model(const struct model *model)
{
    return model->models ? weir_run(nothing_at_all, NULL, run_options(model), NULL) : 0;
}

void rig_run(struct rig *rig)
{
    current = rig;
    rig->estate = calloc(1, sizeof *rig->estate);
    CHECK(rig->estate != NULL);
    pthread_mutex_init(&rig->estate->lock, NULL);
    memset(rig->estate->fds, -1, sizeof rig->estate->fds);
    if (rig->eintr)
        watch_storm_start();
    warm_up(rig);
    tls_begin(rig);
    watch_fds(&rig->estate->before);
    rig->estate->threads_before = watch_threads();
    if (rig->model->models)
        EXPECT(weir_run(run_body, rig, run_options(rig->model), NULL), 0);
    else
        run_body(rig);
    check_leftovers(rig);
    tls_end(rig);
    free(rig->estate);
}
