/* Runs with a wall clock that jumps by years at every look. The three functions below take the
 * place of the C library's for the whole process, weir and what it is linked with included. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <weir.h>

#define LIMIT_MS 60

static time_t jumping_seconds(void)
{
    static unsigned looks;
    return (time_t)(__atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED) % 2 ? 1 : 4000000000);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return (int)syscall(SYS_clock_gettime, clock, ret);
    *ret = (struct timespec){.tv_sec = jumping_seconds()};
    return 0;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    (void)zone;
    *ret = (struct timeval){.tv_sec = jumping_seconds()};
    return 0;
}

time_t time(time_t *ret)
{
    time_t now = jumping_seconds();
    if (ret)
        *ret = now;
    return now;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int failed;

/* A limit may be noticed late on a busy machine, but never early, and it must be noticed. */
static void check(const char *what, int64_t start_ms, long got, long want)
{
    int64_t took_ms = now_ms() - start_ms;
    bool good = got == want && took_ms + 1 >= LIMIT_MS;
    printf("%s: %s after the limit of %d ms: %s\n", good ? "ok" : "not ok", what, LIMIT_MS,
           weir_strerror((int)got));
    if (!good)
        printf("  it took %lld ms and gave %ld, expected %ld\n", (long long)took_ms, got, want);
    failed |= !good;
}

static int silent_resolver(void *arg, const char *name, int family, weir_address *list, int max)
{
    char byte;
    (void)name, (void)family, (void)list, (void)max;
    weir_recv(arg, &byte, 1); /* until the other end is closed */
    return WEIR_ENAMEAGAIN;
}

int main(void)
{
    weir_socket *pair[2], *s, *resolvers[2];
    weir_poller *p;
    weir_event event;
    char byte;
    if (weir_pair(pair, SOCK_STREAM) || weir_pair(resolvers, SOCK_STREAM) || weir_poller_open(&p) ||
        weir_poller_add(p, pair[0], WEIR_READABLE, NULL))
        return 1;

    int64_t start = now_ms();
    weir_set_timeout(pair[0], LIMIT_MS);
    check("a receive with a time-out", start, weir_recv(pair[0], &byte, 1), WEIR_EDEADLINE);
    weir_set_timeout(pair[0], -1);

    start = now_ms();
    weir_scope limit = weir_deadline_start(LIMIT_MS);
    check("a receive under a limit", start, weir_recv(pair[0], &byte, 1), WEIR_EDEADLINE);
    weir_scope_end(limit);

    start = now_ms();
    check("a poller", start, weir_poller_wait(p, &event, 1, LIMIT_MS), 0);

    /* In the background, seen through a poller. */
    weir_set_resolver(silent_resolver, resolvers[0]);
    if (weir_socket_open(&s, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) ||
        weir_poller_add(p, s, WEIR_WRITABLE, NULL))
        return 1;
    start = now_ms();
    weir_set_timeout(s, LIMIT_MS);
    if (weir_connect(s, "silent.test", 80) != -EINPROGRESS)
        return 1;
    int n = weir_poller_wait(p, &event, 1, -1);
    check("a connect by name", start, n == 1 ? weir_connect_status(s) : n, WEIR_EDEADLINE);

    weir_abort(resolvers[0]);
    weir_poller_close(p);
    weir_close(s);
    weir_close(pair[0]);
    weir_close(pair[1]);
    return failed;
}
