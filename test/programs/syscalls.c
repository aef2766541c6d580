/* Makes calls that can go ahead and calls that have to wait, each between two marks that strace
 * shows: access("begin KIND") and access("end KIND"). The peers are plain sockets, used outside of
 * the marks. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weir.h>

#define ROUNDS 20

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "syscalls: %s\n", what);
    exit(1);
}

static void mark(const char *word, const char *kind)
{
    char text[64];
    snprintf(text, sizeof text, "%s %s", word, kind);
    check(access(text, F_OK) < 0, "a mark");
}

static bool parent_sleeps(void)
{
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/%d/stat", getppid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, stat, sizeof stat - 1);
    if (fd >= 0)
        close(fd);
    stat[n > 0 ? n : 0] = '\0';
    const char *end_of_name = strrchr(stat, ')');
    return end_of_name && end_of_name[1] && end_of_name[2] == 'S';
}

/* A child, which strace does not follow, does `act` when its parent has gone to sleep. */
static pid_t when_asleep(void (*act)(void *), void *arg)
{
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    for (int seen = 0; seen < 5; sched_yield())
        seen = parent_sleeps() ? seen + 1 : 0;
    act(arg);
    _exit(0);
}

static void wait_child(pid_t pid)
{
    int status = 1;
    check(waitpid(pid, &status, 0) == pid && !status, "the child");
}

static int plain_connect(const weir_address *to)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(to, &length);
    int fd = socket(weir_address_family(to), SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0 && !connect(fd, sa, length), "connect");
    return fd;
}

static void connect_now(void *arg)
{
    close(plain_connect(arg));
}

static void send_now(void *arg)
{
    check(send(*(int *)arg, "x", 1, 0) == 1, "send");
}

static void drain_now(void *arg)
{
    static char sink[1 << 16];
    for (int i = 0; i < 64; i++)
        recv(*(int *)arg, sink, sizeof sink, MSG_DONTWAIT);
}

static void measure_accept(weir_socket *listener, weir_address *where)
{
    weir_socket *s;
    for (int i = 0; i < ROUNDS; i++) {
        int fd = plain_connect(where);
        mark("begin", "accept-ready");
        int rc = weir_accept(listener, &s);
        mark("end", "accept-ready");
        check(rc == 0, weir_strerror(rc));
        weir_close(s);
        close(fd);

        pid_t child = when_asleep(connect_now, where);
        mark("begin", "accept-wait");
        rc = weir_accept(listener, &s);
        mark("end", "accept-wait");
        check(rc == 0, weir_strerror(rc));
        weir_close(s);
        wait_child(child);
    }
}

static void measure_recv(weir_socket *s, int fd)
{
    char byte;
    for (int i = 0; i < ROUNDS; i++) {
        send_now(&fd);
        mark("begin", "recv-ready");
        ssize_t n = weir_recv(s, &byte, 1);
        mark("end", "recv-ready");
        check(n == 1, weir_strerror((int)n));

        pid_t child = when_asleep(send_now, &fd);
        mark("begin", "recv-wait");
        n = weir_recv(s, &byte, 1);
        mark("end", "recv-wait");
        check(n == 1, weir_strerror((int)n));
        wait_child(child);
    }
}

static void measure_send(weir_socket *s, int fd)
{
    static char block[1 << 16];
    for (int i = 0; i < ROUNDS; i++) {
        mark("begin", "send-ready");
        ssize_t n = weir_send(s, "x", 1);
        mark("end", "send-ready");
        check(n == 1, weir_strerror((int)n));
        drain_now(&fd);

        weir_set_blocking(s, false);
        while ((n = weir_send(s, block, sizeof block)) > 0)
            ;
        weir_set_blocking(s, true);
        pid_t child = when_asleep(drain_now, &fd);
        mark("begin", "send-wait");
        n = weir_send(s, "x", 1);
        mark("end", "send-wait");
        check(n == 1, weir_strerror((int)n));
        wait_child(child);
        drain_now(&fd);
    }
}

static void measure_refusals(weir_socket *s, weir_socket *listener)
{
    weir_socket *none;
    char byte;
    weir_set_blocking(s, false);
    weir_set_blocking(listener, false);
    for (int i = 0; i < ROUNDS; i++) {
        mark("begin", "recv-not-yet");
        ssize_t n = weir_recv(s, &byte, 1);
        mark("end", "recv-not-yet");
        check(n == -EAGAIN, weir_strerror((int)n));
        mark("begin", "accept-not-yet");
        n = weir_accept(listener, &none);
        mark("end", "accept-not-yet");
        check(n == -EAGAIN, weir_strerror((int)n));
    }
}

int main(void)
{
    weir_socket *listener, *s;
    weir_address where;
    int rc = weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL);
    check(rc == 0, weir_strerror(rc));
    check(weir_local_address(listener, &where) == 0, "the address");
    int fd = plain_connect(&where);
    check(weir_accept(listener, &s) == 0, "accept");
    /* The first wait of a thread makes what the later ones use. */
    weir_set_timeout(s, 1);
    check(weir_recv(s, &(char){0}, 1) == WEIR_EDEADLINE, "the first wait");
    weir_set_timeout(s, -1);

    measure_accept(listener, &where);
    measure_recv(s, fd);
    measure_send(s, fd);
    measure_refusals(s, listener);
    weir_close(s);
    weir_close(listener);
    close(fd);
    return 0;
}
