/* How weir_serve ends: whatever begins it, everybody is dealt with as the header says. */
#include "support/serve_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* ---- what begins it ------------------------------------------------------------------------- */

enum end_way { BY_CANCEL, BY_LIMIT, BY_SIGNAL, BY_ABORT, END_WAYS };

static sigset_t stop_signals;

/* Before the start: what the server has to know of its end. */
static void end_prepare(struct serving *sv, enum end_way way)
{
    if (way == BY_LIMIT)
        sv->within_ms = ground_is_slow() ? 2000 : 300; /* until everybody is there */
    if (way == BY_SIGNAL)
        sv->options.stop = &stop_signals;
}

static void end_begin(struct serving *sv, enum end_way way)
{
    if (way == BY_CANCEL)
        serving_cancel(sv);
    if (way == BY_SIGNAL)
        EXPECT(kill(getpid(), SIGUSR1), 0);
    if (way == BY_ABORT)
        EXPECT(weir_abort(sv->listener), 0);
}

static int result_of(enum end_way way)
{
    return way == BY_ABORT ? WEIR_ECLOSED : 0;
}

/* A limit takes its time: where all is slow, on one ground only. */
static bool has_time_for(enum end_way way)
{
    return way != BY_LIMIT || !ground_is_slow() || ground->loop == WEIR_LOOP_EPOLL;
}

static void for_each_way(void (*test)(enum end_way way))
{
    for (enum end_way way = 0; way < END_WAYS; way++)
        if (has_time_for(way))
            test(way);
}

/* Those that leave it to the server to end the listener, which may be full or have a queue. */
static void for_each_gentle_way(void (*test)(enum end_way way))
{
    for (enum end_way way = 0; way < BY_ABORT; way++)
        test(way);
}

/* ---- nobody there --------------------------------------------------------------------------- */

static void ends_alone(enum end_way way)
{
    for (int drain = 0; drain < 2; drain++) {
        struct serving sv = {.handler = echoes, .options.drain_ms = drain ? LONG_MS : 0};
        end_prepare(&sv, way);
        sv.within_ms = sv.within_ms ? MOMENT_MS : 0;
        serving_begin(&sv);
        other_until_asleep(&sv.other);
        end_begin(&sv, way);
        until_refused(&sv);
        EXPECT(serving_result(&sv), result_of(way));
        EXPECT(atomic_load(&sv.full), 0);
    }
}

static void end_of_an_idle_server(void)
{
    for_each_way(ends_alone);
}

/* ---- running handlers ----------------------------------------------------------------------- */

static void drains(enum end_way way)
{
    struct serving sv = {.handler = echoes, .options.drain_ms = LONG_MS};
    weir_socket *c[3];
    end_prepare(&sv, way);
    serving_listen(&sv, "tcp://127.0.0.1:0");
    for (int i = 0; i < 3; i++)
        c[i] = visitor(&sv);
    serving_start(&sv);
    until(&sv.begun, 3);
    end_begin(&sv, way);
    until_refused(&sv);
    for (int i = 0; i < 3; i++) {
        visitor_asks(c[i]);
        visitor_is_refused(&sv);
        CHECK(!atomic_load(&sv.other.self.ended));
        EXPECT(weir_shutdown(c[i], SHUT_WR), 0);
        visitor_sees_the_end(c[i]);
    }
    EXPECT(serving_result(&sv), result_of(way));
    EXPECT(atomic_load(&sv.told), 0);
}

static void handlers_go_on_and_others_are_refused(void)
{
    for_each_way(drains);
}

static void cancels_at_once(enum end_way way)
{
    struct serving sv = {.handler = waits_for_ever};
    weir_socket *c[3];
    end_prepare(&sv, way);
    serving_begin(&sv);
    for (int i = 0; i < 3; i++)
        c[i] = visitor(&sv);
    until(&sv.begun, 3);
    end_begin(&sv, way);
    EXPECT(serving_result(&sv), result_of(way));
    EXPECT(atomic_load(&sv.told), 3);
    EXPECT(atomic_load(&sv.told_rc), -ECANCELED);
    for (int i = 0; i < 3; i++)
        visitor_sees_the_end(c[i]);
}

static void without_draining_handlers_are_cancelled_at_once(void)
{
    for_each_way(cancels_at_once);
}

/* Nobody waits for a connection then. */
static void ends_while_full(enum end_way way)
{
    struct serving sv = {.handler = waits_for_ever, .options.max_connections = 2};
    weir_socket *c[4];
    end_prepare(&sv, way);
    serving_begin(&sv);
    for (int i = 0; i < 4; i++)
        c[i] = visitor(&sv);
    until(&sv.begun, 2);
    end_begin(&sv, way);
    EXPECT(serving_result(&sv), result_of(way));
    EXPECT(atomic_load(&sv.begun), 2);
    for (int i = 0; i < 4; i++)
        visitor_sees_the_end(c[i]);
}

static void end_of_a_full_server(void)
{
    for_each_way(ends_while_full);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void cancels_after_a_while(enum end_way way)
{
    struct serving sv = {.handler = waits_for_ever, .options.drain_ms = 3 * MOMENT_MS};
    end_prepare(&sv, way);
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    until(&sv.begun, 1);
    int64_t begin_ms = now_ms();
    end_begin(&sv, way);
    EXPECT(serving_result(&sv), result_of(way));
    CHECK(now_ms() - begin_ms >= 3 * MOMENT_MS - 1);
    EXPECT(atomic_load(&sv.told_rc), -ECANCELED);
    visitor_sees_the_end(c);
}

static void who_waits_too_long_is_cancelled(void)
{
    for_each_way(cancels_after_a_while);
}

/* ---- the queue ------------------------------------------------------------------------------ */

/* The end has begun before the first was accepted: they had connected, so they are served. */
static void serves_the_queue(enum end_way way)
{
    struct serving sv = {.handler = echoes, .options.drain_ms = LONG_MS, .group = group_open()};
    weir_socket *c[5];
    end_prepare(&sv, way);
    sv.within_ms = way == BY_LIMIT ? 1 : 0;
    serving_listen(&sv, "tcp://127.0.0.1:0");
    for (int i = 0; i < 5; i++)
        c[i] = visitor(&sv);
    end_begin(&sv, way);
    serving_start(&sv);
    for (int i = 0; i < 5; i++) {
        visitor_asks(c[i]);
        EXPECT(weir_close(c[i]), 0);
    }
    EXPECT(serving_result(&sv), 0);
    EXPECT(atomic_load(&sv.begun), 5);
}

static void queue_is_served_when_the_end_begins(void)
{
    for_each_gentle_way(serves_the_queue);
}

static int has_no_limit_and_waits(weir_socket *s, struct serving *sv)
{
    EXPECT(weir_time_left(), -1);
    return waits_for_ever(s, sv);
}

/* Who comes in late has what the others have: no limit, and no shield. */
static void cancels_the_queue(enum end_way way)
{
    struct serving sv = {.handler = has_no_limit_and_waits,
                         .options.drain_ms = 3 * MOMENT_MS,
                         .group = group_open()};
    end_prepare(&sv, way);
    sv.within_ms = way == BY_LIMIT ? 1 : 0;
    serving_listen(&sv, "tcp://127.0.0.1:0");
    weir_socket *c = visitor(&sv);
    end_begin(&sv, way);
    serving_start(&sv);
    EXPECT(serving_result(&sv), 0);
    EXPECT(atomic_load(&sv.begun), 1);
    EXPECT(atomic_load(&sv.told_rc), -ECANCELED);
    visitor_sees_the_end(c);
}

static void queue_that_waits_too_long_is_cancelled(void)
{
    for_each_gentle_way(cancels_the_queue);
}

/* ---- goodbyes ------------------------------------------------------------------------------- */

static int says_goodbye(weir_socket *s, struct serving *sv)
{
    (void)sv;
    EXPECT(weir_sleep(-1), -ECANCELED);
    WEIR_SHIELDED_MS(LONG_MS);
    EXPECT(weir_send(s, "bye", 3), 3);
    EXPECT(weir_finish(s), 0);
    return 0;
}

static void shielded_goodbyes(enum end_way way)
{
    struct serving sv = {.handler = says_goodbye, .options.drain_ms = MOMENT_MS};
    char bye[3];
    size_t done = 0;
    end_prepare(&sv, way);
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    until(&sv.begun, 1);
    end_begin(&sv, way);
    EXPECT(weir_recv_exact(c, bye, sizeof bye, &done), 0);
    visitor_sees_the_end(c);
    EXPECT(serving_result(&sv), result_of(way));
    EXPECT(atomic_load(&sv.told), 0);
}

static void goodbyes_in_a_shield_arrive(void)
{
    for_each_way(shielded_goodbyes);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, end_of_an_idle_server),
        GROUND_TEST(EVERYWHERE, handlers_go_on_and_others_are_refused),
        GROUND_TEST(EVERYWHERE, without_draining_handlers_are_cancelled_at_once),
        GROUND_TEST(EVERYWHERE, end_of_a_full_server),
        GROUND_TEST(EVERYWHERE, who_waits_too_long_is_cancelled),
        GROUND_TEST(EVERYWHERE, queue_is_served_when_the_end_begins),
        GROUND_TEST(EVERYWHERE, queue_that_waits_too_long_is_cancelled),
        GROUND_TEST(EVERYWHERE, goodbyes_in_a_shield_arrive),
    };
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    return ground_main(argc, argv, "serve_end", tests, sizeof tests / sizeof *tests);
}
