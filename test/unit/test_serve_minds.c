/* The end of weir_serve among tasks of their own mind: handlers, callers, other servers. */
#include "support/serve_fixture.h"

#include <signal.h>

static sigset_t stop;

/* ---- handlers of their own mind ------------------------------------------------------------- */

static int heeds_nothing(weir_socket *s, struct serving *sv)
{
    char byte = 'x';
    while (byte != 'q') {
        weir_scope shield = weir_shield_start(LONG_MS);
        EXPECT(weir_recv(s, &byte, 1), 1);
        weir_scope_end(shield);
        EXPECT(weir_sleep(-1), -ECANCELED);
        atomic_fetch_add((atomic_int *)sv->arg, 1);
    }
    return 0;
}

static void who_heeds_nothing_is_waited_for(void)
{
    atomic_int cancelled = 0;
    struct serving sv = {.handler = heeds_nothing, .arg = &cancelled};
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    until(&sv.begun, 1);
    EXPECT(weir_send(c, "x", 1), 1);
    serving_cancel(&sv);
    until(&cancelled, 1);
    for (int i = 0; i < 10; i++) {
        give_way();
        CHECK(!atomic_load(&sv.other.self.ended));
    }
    EXPECT(weir_send(c, "q", 1), 1);
    EXPECT(serving_result(&sv), 0);
    EXPECT(atomic_load(&cancelled), 2);
    EXPECT(weir_close(c), 0);
}

/* It waits for nothing that a limit or a cancel could end. */
static int never_returns_or_echoes(weir_socket *s, struct serving *sv)
{
    const atomic_bool *may_return = sv->arg;
    char byte;
    ssize_t n = weir_recv(s, &byte, 1);
    if (n != 1)
        return (int)n;
    EXPECT(weir_send(s, &byte, 1), 1);
    if (byte == 'x')
        return echoes(s, sv);
    while (!atomic_load(may_return))
        give_way();
    return 0;
}

static void others_go_on_beside_one_that_never_returns(void)
{
    atomic_bool may_return = false;
    struct serving sv = {
        .handler = never_returns_or_echoes, .arg = &may_return, .options.drain_ms = LONG_MS};
    char byte;
    serving_begin(&sv);
    weir_socket *c = visitor(&sv), *other = visitor(&sv);
    visitor_asks(other);
    EXPECT(weir_send(c, "n", 1), 1);
    EXPECT(weir_recv(c, &byte, 1), 1);
    serving_cancel(&sv);
    until_refused(&sv);
    for (int i = 0; i < 10; i++)
        visitor_asks(other);
    EXPECT(weir_shutdown(other, SHUT_WR), 0);
    visitor_sees_the_end(other);
    while (atomic_load(&sv.inside) > 1)
        give_way();
    for (int i = 0; i < 10; i++) {
        give_way();
        CHECK(!atomic_load(&sv.other.self.ended));
    }
    atomic_store(&may_return, true);
    visitor_sees_the_end(c);
    EXPECT(serving_result(&sv), 0);
    EXPECT(atomic_load(&sv.told), 0);
}

static int returns_early_or_echoes(weir_socket *s, struct serving *sv)
{
    char byte;
    EXPECT(weir_recv(s, &byte, 1), 1);
    if (byte != 'x')
        return 0;
    EXPECT(weir_send(s, &byte, 1), 1);
    return echoes(s, sv);
}

/* The client has said more than was listened to, and sees the end; nobody else sees anything. */
static void who_returns_early_harms_nobody(void)
{
    static const char much[4096];
    struct serving sv = {.handler = returns_early_or_echoes};
    serving_begin(&sv);
    weir_socket *good = visitor(&sv);
    visitor_asks(good);
    for (int i = 0; i < 10; i++) {
        weir_socket *c = visitor(&sv), *another = visitor(&sv);
        EXPECT(weir_send(c, much, sizeof much), (ssize_t)sizeof much);
        visitor_asks(good);
        visitor_asks(another);
        EXPECT(weir_close(another), 0);
        visitor_sees_the_end(c);
        visitor_asks(good);
    }
    EXPECT(weir_close(good), 0);
    until(&sv.ended, 21);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 0);
}

/* ---- around it ------------------------------------------------------------------------------ */

static struct serving left;
static weir_socket *left_client;

static int leaves_a_server(void *arg)
{
    (void)arg;
    left = (struct serving){.handler = waits_for_ever, .options.drain_ms = 100 * LONG_MS};
    serving_begin(&left);
    left_client = visitor(&left);
    until(&left.begun, 1);
    return 0;
}

static void end_of_the_run_cancels_at_once(void)
{
    ground_run(leaves_a_server, NULL);
    EXPECT(atomic_load(&left.told_rc), -ECANCELED);
    EXPECT(serving_result(&left), 0);
    visitor_sees_the_end(left_client);
}

static int serves_in_a_shield(void *arg)
{
    WEIR_SHIELDED_MS(INT64_MAX);
    return serving_run(arg);
}

/* The shield is the caller's: his handlers have none, and who waits for signals has none. */
static void shield_of_the_caller_does_not_hold_for_handlers(void)
{
    struct serving sv = {.handler = waits_for_ever, .options.stop = &stop, .group = group_open()};
    serving_listen(&sv, "tcp://127.0.0.1:0");
    other_go(&sv.other, sv.group, serves_in_a_shield, &sv);
    weir_socket *c = visitor(&sv);
    until(&sv.begun, 1);
    serving_cancel(&sv);
    EXPECT(weir_sleep(1), 0);
    EXPECT(atomic_load(&sv.ended), 0);
    EXPECT(weir_abort(sv.listener), 0);
    EXPECT(serving_result(&sv), WEIR_ECLOSED);
    EXPECT(atomic_load(&sv.told_rc), -ECANCELED);
    visitor_sees_the_end(c);
}

static int aborts_the_listener(weir_socket *s, struct serving *sv)
{
    (void)s;
    EXPECT(weir_abort(sv->listener), 0);
    EXPECT(weir_sleep(-1), -ECANCELED);
    return 0;
}

static void end_from_inside(void)
{
    struct serving sv = {.handler = aborts_the_listener};
    serving_begin(&sv);
    visitor_sees_the_end(visitor(&sv));
    EXPECT(serving_result(&sv), WEIR_ECLOSED);
}

static int serves_another(weir_socket *s, struct serving *sv)
{
    (void)s;
    return serving_run(sv->arg);
}

static void server_in_a_handler_ends_with_it(void)
{
    struct serving inner = {.handler = waits_for_ever};
    struct serving sv = {.handler = serves_another, .arg = &inner};
    serving_listen(&inner, "tcp://127.0.0.1:0");
    serving_begin(&sv);
    weir_socket *c = visitor(&sv), *d = visitor(&inner);
    until(&inner.begun, 1);
    serving_end(&sv);
    EXPECT(atomic_load(&inner.ended), 1);
    visitor_sees_the_end(c);
    visitor_sees_the_end(d);
    visitor_is_refused(&inner);
    EXPECT(weir_close(inner.listener), 0);
}

/* It ends before it has well begun. */
static void signal_that_was_there_before(void)
{
    for (int i = 0; i < 50; i++) {
        struct serving sv = {.handler = echoes, .options.stop = &stop};
        EXPECT(kill(getpid(), SIGUSR1), 0);
        serving_begin(&sv);
        EXPECT(serving_result(&sv), 0);
    }
}

/* Its only owner gives it up while nobody looks at it. */
static void listener_that_is_closed(void)
{
    struct serving sv = {.handler = waits_for_ever, .options.max_connections = 1};
    serving_begin(&sv);
    weir_socket *in = visitor(&sv), *out = visitor(&sv);
    until(&sv.begun, 1);
    EXPECT(weir_close(sv.listener), 0);
    sv.listener = NULL;
    EXPECT(serving_result(&sv), WEIR_ECLOSED);
    EXPECT(atomic_load(&sv.begun), 1);
    visitor_sees_the_end(in);
    visitor_sees_the_end(out);
}

/* A time-out of the listener's is for each call that waits for one, and the server makes many. */
static void listener_with_a_timeout(void)
{
    struct serving sv = {.handler = echoes};
    serving_listen(&sv, "tcp://127.0.0.1:0");
    EXPECT(weir_set_timeout(sv.listener, 1), 0);
    serving_start(&sv);
    EXPECT(weir_sleep(MOMENT_MS), 0);
    weir_socket *c = visitor(&sv);
    visitor_asks(c);
    EXPECT(weir_close(c), 0);
    serving_end(&sv);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, who_heeds_nothing_is_waited_for),
        GROUND_TEST(EVERYWHERE, others_go_on_beside_one_that_never_returns),
        GROUND_TEST(EVERYWHERE, who_returns_early_harms_nobody),
        GROUND_TEST(BEFORE_RUN, end_of_the_run_cancels_at_once),
        GROUND_TEST(EVERYWHERE, shield_of_the_caller_does_not_hold_for_handlers),
        GROUND_TEST(EVERYWHERE, end_from_inside),
        GROUND_TEST(EVERYWHERE, server_in_a_handler_ends_with_it),
        GROUND_TEST(EVERYWHERE, signal_that_was_there_before),
        GROUND_TEST(EVERYWHERE, listener_that_is_closed),
        GROUND_TEST(EVERYWHERE, listener_with_a_timeout),
    };
    sigemptyset(&stop);
    sigaddset(&stop, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    return ground_main(argc, argv, "serve_minds", tests, sizeof tests / sizeof *tests);
}
