/* weir_serve: how long a handler may wait, and what is refused. */
#include "support/serve_fixture.h"
#include "sys.h"
#include "task/sanitizer.h"

#include <signal.h>
#include <stdlib.h>

/* ---- limits --------------------------------------------------------------------------------- */

/* Its calls, each on its own: after the first has run out the second has as long again. */
static int receives_nothing(weir_socket *s, struct serving *sv)
{
    char byte;
    EXPECT(weir_recv(s, &byte, 1), WEIR_EDEADLINE);
    EXPECT(weir_wait(s, WEIR_READABLE), WEIR_EDEADLINE);
    EXPECT(weir_time_left(), -1);
    EXPECT(weir_sleep(1), 0);
    (void)sv;
    return weir_recv(s, &byte, 1) == WEIR_EDEADLINE ? 0 : -EDOM;
}

static void idle_connections_end(void)
{
    struct serving sv = {.handler = receives_nothing, .options.idle_ms = MOMENT_MS};
    serving_begin(&sv);
    visitor_sees_the_end(visitor(&sv));
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 0);
}

static int sends_for_ever(weir_socket *s, struct serving *sv)
{
    static const char buf[65536];
    ssize_t n;
    (void)sv;
    do
        n = weir_send(s, buf, sizeof buf);
    while (n > 0);
    return (int)n;
}

static void clients_that_never_receive(void)
{
    struct serving sv = {.handler = sends_for_ever, .options.idle_ms = MOMENT_MS};
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    until(&sv.told, 1);
    EXPECT(atomic_load(&sv.told_rc), WEIR_EDEADLINE);
    EXPECT(weir_close(c), 0);
    serving_end(&sv);
}

static int has_so_long_at_most(weir_socket *s, struct serving *sv)
{
    char byte;
    int64_t left_ms = weir_time_left();
    CHECK(left_ms >= 0 && left_ms <= sv->options.total_ms);
    EXPECT(weir_sleep(-1), WEIR_EDEADLINE);
    EXPECT(weir_recv(s, &byte, 1), WEIR_EDEADLINE);
    EXPECT(weir_time_left(), 0);
    return WEIR_EDEADLINE;
}

static void handlers_end_after_their_time(void)
{
    struct serving sv = {.handler = has_so_long_at_most, .options.total_ms = MOMENT_MS};
    serving_begin(&sv);
    for (int i = 0; i < 3; i++)
        visitor_sees_the_end(visitor(&sv));
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 3);
    EXPECT(atomic_load(&sv.told_rc), WEIR_EDEADLINE);
}

/* That a client keeps it busy does not put off the end. */
static void busy_connections_end_too(void)
{
    struct serving sv = {.handler = echoes,
                         .options = {.total_ms = 3 * MOMENT_MS, .idle_ms = LONG_MS}};
    ssize_t n;
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    do {
        char byte;
        n = weir_send(c, "x", 1);
        n = n == 1 ? weir_recv(c, &byte, 1) : n;
    } while (n == 1);
    CHECK(n == 0 || n == -ECONNRESET || n == -EPIPE);
    EXPECT(weir_close(c), 0);
    EXPECT(atomic_load(&sv.told_rc), WEIR_EDEADLINE);
    serving_end(&sv);
}

static int has_no_limit(weir_socket *s, struct serving *sv)
{
    char byte;
    EXPECT(weir_time_left(), -1);
    EXPECT(weir_recv(s, &byte, 1), 1);
    EXPECT(weir_send(s, &byte, 1), 1);
    (void)sv;
    return 0;
}

static void serve_one_patiently(int64_t none, int64_t within_ms)
{
    struct serving sv = {.handler = has_no_limit,
                         .options = {.idle_ms = none, .total_ms = none},
                         .within_ms = within_ms};
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    until(&sv.begun, 1);
    EXPECT(weir_sleep(MOMENT_MS), 0);
    visitor_asks(c);
    visitor_sees_the_end(c);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 0);
}

static void without_limits_there_are_none(void)
{
    serve_one_patiently(0, 0);
    serve_one_patiently(-1, 0);
    serve_one_patiently(INT64_MIN, 0);
}

static void limit_of_the_caller_is_not_one_of_handlers(void)
{
    serve_one_patiently(0, LONG_MS);
}

static void limits_longer_than_anything(void)
{
    struct serving sv = {.handler = echoes,
                         .options = {.idle_ms = INT64_MAX,
                                     .total_ms = INT64_MAX,
                                     .drain_ms = INT64_MAX,
                                     .max_connections = 100000}};
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    visitor_asks(c);
    serving_cancel(&sv);
    visitor_asks(c);
    EXPECT(weir_close(c), 0);
    EXPECT(serving_result(&sv), 0);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static int never(weir_socket *s, void *arg)
{
    (void)s;
    (void)arg;
    CHECK(false);
    return 0;
}

static weir_socket *listener_of(const char *target)
{
    weir_socket *listener;
    EXPECT(weir_listen_on(&listener, target, NULL), 0);
    return listener;
}

static void wrong_arguments(void)
{
    weir_socket *listener = listener_of("tcp://127.0.0.1:0"), *fresh, *bound, *pair[2];
    WEIR_WITHIN_MS(LONG_MS);
    EXPECT(weir_serve(NULL, never, NULL, NULL), -EINVAL);
    EXPECT(weir_serve(listener, NULL, NULL, NULL), -EINVAL);
    weir_serve_options options = *WEIR_SERVE_OPTIONS(.max_connections = 1);
    for (options.size = 0; options.size <= 1; options.size++)
        EXPECT(weir_serve(listener, never, NULL, &options), -EINVAL);
    options.size = sizeof options + 1;
    EXPECT(weir_serve(listener, never, NULL, &options), -EINVAL);
    EXPECT(weir_socket_open(&fresh, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_serve(fresh, never, NULL, NULL), -EINVAL);
    EXPECT(weir_close(fresh), 0);
    EXPECT(weir_socket_open(&bound, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_bind(bound, "127.0.0.1", 0), 0);
    EXPECT(weir_serve(bound, never, NULL, NULL), -EINVAL);
    EXPECT(weir_close(bound), 0);
    stream_pair(pair);
    EXPECT(weir_serve(pair[0], never, NULL, NULL), -EINVAL);
    EXPECT(weir_send(pair[0], "x", 1), 1); /* nothing has happened to it */
    pair_close(pair);
    EXPECT(weir_close(listener), 0);
}

static void signals_that_could_not_be_seen_are_refused(void)
{
    weir_socket *listener;
    sigset_t empty, open;
    sigemptyset(&empty);
    sigemptyset(&open);
    sigaddset(&open, SIGWINCH);
    WEIR_WITHIN_MS(LONG_MS);
    listener = listener_of("tcp://127.0.0.1:0");
    EXPECT(weir_serve(listener, never, NULL, WEIR_SERVE_OPTIONS(.stop = &empty)), -EINVAL);
    /* The listener is as it was. */
    EXPECT(weir_serve(listener, never, NULL, WEIR_SERVE_OPTIONS(.stop = &open)), -EINVAL);
    EXPECT(weir_close(listener), 0);
}

static void refused_server_leaves_the_listener_alone(void)
{
    struct serving sv = {.handler = echoes};
    serving_listen(&sv, "tcp://127.0.0.1:0");
    EXPECT(weir_serve(sv.listener, NULL, NULL, NULL), -EINVAL);
    weir_socket *c = visitor(&sv);
    serving_start(&sv);
    visitor_asks(c);
    EXPECT(weir_close(c), 0);
    until(&sv.ended, 1);
    serving_end(&sv);
}

static void listener_that_is_aborted_already(void)
{
    weir_socket *listener = listener_of("tcp://127.0.0.1:0");
    EXPECT(weir_abort(listener), 0);
    EXPECT(weir_serve(listener, never, NULL, NULL), WEIR_ECLOSED);
    EXPECT(weir_close(listener), 0);
}

static void after_the_end_the_listener_is_aborted(void)
{
    weir_socket *listener = listener_of("tcp://127.0.0.1:0"), *none;
    WEIR_WITHIN_MS(MOMENT_MS);
    EXPECT(weir_serve(listener, never, NULL, NULL), 0);
    weir_scope shield = weir_shield_start(LONG_MS);
    EXPECT(weir_accept(listener, &none), WEIR_ECLOSED);
    weir_scope_end(shield);
    EXPECT(weir_close(listener), 0);
}

static int no_signalfd(enum sys_call call)
{
    return call == SYS_SIGNALFD ? -EMFILE : 0;
}

static void no_descriptor_for_signals(void)
{
    static const struct sys_faults faults = {.error = no_signalfd};
    weir_socket *listener = listener_of("tcp://127.0.0.1:0");
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGUSR1);
    WEIR_WITHIN_MS(LONG_MS);
    sys_faults = &faults;
    EXPECT(weir_serve(listener, never, NULL, WEIR_SERVE_OPTIONS(.stop = &stop)), -EMFILE);
    sys_faults = NULL;
    EXPECT(weir_close(listener), 0);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static atomic_int child;

static void forks(void *arg, weir_socket *s, int rc)
{
    (void)arg;
    (void)s;
    EXPECT(rc, -EDOM);
    pid_t pid = fork();
    if (pid != 0)
        atomic_store(&child, (int)pid);
}

static int fails(weir_socket *s, void *unused)
{
    (void)s;
    (void)unused;
    return -EDOM;
}

static int serves(void *listener)
{
    return weir_serve(listener, fails, NULL,
                      WEIR_SERVE_OPTIONS(.failed = forks, .max_connections = 1));
}

/* In the child, where the server is the parent's, that is the end. */
static void who_is_told_may_fork(void)
{
    if (RUNNING_ON_VALGRIND)
        return; /* which takes what belongs to the parent's threads for leaks of the child */
    weir_group *g = group_open();
    weir_socket *listener = listener_of("tcp://127.0.0.1:0"), *c;
    weir_address where;
    atomic_store(&child, 0);
    EXPECT(weir_local_address(listener, &where), 0);
    EXPECT(weir_go(g, serves, listener), 0);
    EXPECT(weir_socket_open(&c, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(c, &where), 0);
    until(&child, 1);
    child_ends(atomic_load(&child), 1);
    EXPECT(weir_close(c), 0);
    EXPECT(weir_group_cancel(g), 0);
    group_end(g);
    EXPECT(weir_close(listener), 0);
}

/* ---- refused --------------------------------------------------------------------------------- */

static int not_permitted(enum sys_call call)
{
    return call == SYS_ACCEPT ? -EPERM : 0;
}

/* As a filter of system calls may have it: each call takes nothing out of the queue. */
static void accept_that_is_not_permitted(void)
{
    static const struct sys_faults faults = {.error = not_permitted};
    struct serving sv = {.handler = echoes};
    serving_begin(&sv);
    EXPECT(weir_sleep(1), 0);
    sys_faults = &faults;
    weir_socket *c = visitor(&sv);
    EXPECT(weir_sleep(1), 0);
    sys_faults = NULL;
    visitor_asks(c);
    EXPECT(weir_close(c), 0);
    serving_end(&sv);
}

/* A server that ends does not listen as long as its last handler runs. */
static void full_server_that_ends_refuses(void)
{
    struct serving sv = {.handler = echoes, .options = {.max_connections = 1, .drain_ms = LONG_MS}};
    serving_begin(&sv);
    weir_socket *in = visitor(&sv);
    visitor_asks(in);
    serving_cancel(&sv);
    until_refused(&sv);
    visitor_asks(in);
    EXPECT(weir_close(in), 0);
    EXPECT(serving_result(&sv), 0);
    EXPECT(atomic_load(&sv.begun), 1);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, idle_connections_end),
        GROUND_TEST(EVERYWHERE, clients_that_never_receive),
        GROUND_TEST(EVERYWHERE, handlers_end_after_their_time),
        GROUND_TEST(EVERYWHERE, busy_connections_end_too),
        GROUND_TEST(EVERYWHERE, without_limits_there_are_none),
        GROUND_TEST(EVERYWHERE, limit_of_the_caller_is_not_one_of_handlers),
        GROUND_TEST(EVERYWHERE, limits_longer_than_anything),
        GROUND_TEST(EVERYWHERE, wrong_arguments),
        GROUND_TEST(EVERYWHERE, signals_that_could_not_be_seen_are_refused),
        GROUND_TEST(EVERYWHERE, refused_server_leaves_the_listener_alone),
        GROUND_TEST(EVERYWHERE, listener_that_is_aborted_already),
        GROUND_TEST(EVERYWHERE, after_the_end_the_listener_is_aborted),
        GROUND_TEST(EVERYWHERE, no_descriptor_for_signals),
        GROUND_TEST(EVERYWHERE, who_is_told_may_fork),
        GROUND_TEST(EVERYWHERE, accept_that_is_not_permitted),
        GROUND_TEST(EVERYWHERE, full_server_that_ends_refuses),
    };
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    return ground_main(argc, argv, "serve_limits", tests, sizeof tests / sizeof *tests);
}
