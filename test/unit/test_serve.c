/* weir_serve: what a connection gets, how many there may be, how long they may take. */
#include "support/serve_fixture.h"

/* ---- a connection --------------------------------------------------------------------------- */

static void hears_hello_and_the_end(weir_socket *c)
{
    char hello[5];
    size_t done = 0;
    EXPECT(weir_recv_exact(c, hello, sizeof hello, &done), 0);
    CHECK(!memcmp(hello, "hello", sizeof hello));
    visitor_sees_the_end(c);
}

static void each_connection_has_the_handler_once_and_is_closed(void)
{
    struct serving sv = {.handler = says_hello};
    weir_socket *c[20];
    serving_begin(&sv);
    for (int i = 0; i < 20; i++)
        c[i] = visitor(&sv);
    for (int i = 0; i < 20; i++)
        hears_hello_and_the_end(c[i]);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.begun), 20);
    EXPECT(atomic_load(&sv.told), 0);
    EXPECT(atomic_load(&sv.full), 0);
}

static int returns_7(weir_socket *s, struct serving *sv)
{
    EXPECT(weir_get_blocking(s), 1);
    (void)sv;
    return 7;
}

static void handler_that_returns_at_once(void)
{
    struct serving sv = {.handler = returns_7};
    serving_begin(&sv);
    for (int i = 0; i < 5; i++)
        visitor_sees_the_end(visitor(&sv));
    serving_end(&sv);
    EXPECT(atomic_load(&sv.begun), 5);
    EXPECT(atomic_load(&sv.told), 0); /* it is no failure */
}

static int keeps_it(weir_socket *s, struct serving *sv)
{
    sv->arg = weir_ref(s);
    return 0;
}

static void kept_reference_stays_valid(void)
{
    struct serving sv = {.handler = keeps_it};
    char byte;
    serving_begin(&sv);
    visitor_sees_the_end(visitor(&sv));
    serving_end(&sv);
    EXPECT(weir_recv(sv.arg, &byte, 1), WEIR_ECLOSED);
    EXPECT(weir_close(sv.arg), 0);
}

/* ---- failures ------------------------------------------------------------------------------- */

/* Fails when it is told to; echoes otherwise. */
static int fails_on_f(weir_socket *s, struct serving *sv)
{
    char byte;
    (void)sv;
    for (;;) {
        ssize_t n = weir_recv(s, &byte, 1);
        if (n <= 0 || byte == 'f')
            return n <= 0 ? (int)n : -EDOM;
        EXPECT(weir_send(s, &byte, 1), 1);
    }
}

static void failure_is_told_and_concerns_nobody_else(void)
{
    struct serving sv = {.handler = fails_on_f};
    serving_begin(&sv);
    weir_socket *other = visitor(&sv), *bad = visitor(&sv), *later;
    visitor_asks(other);
    EXPECT(weir_send(bad, "f", 1), 1);
    visitor_sees_the_end(bad);
    until(&sv.told, 1);
    EXPECT(atomic_load(&sv.told_rc), -EDOM);
    visitor_asks(other);
    later = visitor(&sv);
    visitor_asks(later);
    EXPECT(weir_close(other), 0);
    EXPECT(weir_close(later), 0);
    until(&sv.ended, 3);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 1);
    EXPECT(atomic_load(&sv.full), 0);
}

static void says_goodbye(void *arg, weir_socket *s, int rc)
{
    (void)arg;
    CHECK(s != NULL);
    EXPECT(rc, -EDOM);
    EXPECT(weir_send(s, "hello", 5), 5);
}

static int fails(weir_socket *s, void *arg)
{
    (void)s;
    (void)arg;
    return -EDOM;
}

static int serves_with_goodbyes(void *arg)
{
    return weir_serve(arg, fails, NULL, WEIR_SERVE_OPTIONS(.failed = says_goodbye));
}

static void socket_is_open_when_the_failure_is_told(void)
{
    struct serving sv = {.group = group_open()};
    serving_listen(&sv, "tcp://127.0.0.1:0");
    other_go(&sv.other, sv.group, serves_with_goodbyes, sv.listener);
    hears_hello_and_the_end(visitor(&sv));
    serving_end(&sv);
}

static int serves_without_options(void *arg)
{
    return weir_serve(arg, fails, NULL, NULL);
}

static void nobody_needs_to_hear(void)
{
    struct serving sv = {.group = group_open()};
    serving_listen(&sv, "tcp://127.0.0.1:0");
    other_go(&sv.other, sv.group, serves_without_options, sv.listener);
    for (int i = 0; i < 3; i++)
        visitor_sees_the_end(visitor(&sv));
    serving_end(&sv);
}

static void reset_in_the_middle(void)
{
    struct serving sv = {.handler = echoes};
    struct linger at_once = {.l_onoff = 1};
    serving_begin(&sv);
    weir_socket *other = visitor(&sv), *bad = visitor(&sv);
    visitor_asks(other);
    visitor_asks(bad);
    EXPECT(weir_set_option(bad, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    EXPECT(weir_close(bad), 0);
    until(&sv.told, 1);
    EXPECT(atomic_load(&sv.told_rc), -ECONNRESET);
    visitor_asks(other);
    EXPECT(weir_close(other), 0);
    until(&sv.ended, 2);
    serving_end(&sv);
}

/* ---- how many ------------------------------------------------------------------------------- */

#define SEATS 3

static void clients_beyond_the_limit_wait_in_the_queue(void)
{
    struct serving sv = {.handler = echoes, .options.max_connections = SEATS};
    weir_socket *c[4 * SEATS];
    serving_begin(&sv);
    for (int i = 0; i < 4 * SEATS; i++) {
        c[i] = visitor(&sv);
        EXPECT(weir_send(c[i], "x", 1), 1);
    }
    for (int left = 4 * SEATS; left > 0; left--) {
        char byte;
        until(&sv.begun, 4 * SEATS - left + (left < SEATS ? left : SEATS));
        EXPECT(weir_sleep(1), 0); /* for those that should not come in */
        CHECK(atomic_load(&sv.inside) <= SEATS);
        weir_socket *first = c[4 * SEATS - left];
        EXPECT(weir_recv(first, &byte, 1), 1);
        EXPECT(weir_close(first), 0);
    }
    until(&sv.ended, 4 * SEATS);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.most), SEATS);
    EXPECT(atomic_load(&sv.begun), 4 * SEATS);
    EXPECT(atomic_load(&sv.full), 0); /* it is no shortage */
}

/* At the end, whoever is in the queue gets an answer or an end, and nobody is inside beyond the
 * limit. */
static void queue_of_a_full_server(void)
{
    for (int drain = 0; drain < 2; drain++) {
        struct serving sv = {.handler = echoes,
                             .options = {.max_connections = 1, .drain_ms = drain ? LONG_MS : 0}};
        weir_socket *c[4];
        serving_begin(&sv);
        for (int i = 0; i < 4; i++)
            c[i] = visitor(&sv);
        visitor_asks(c[0]);
        serving_cancel(&sv);
        for (int i = 0; i < 4; i++) {
            char byte;
            ssize_t n = weir_send(c[i], "x", 1);
            n = n == 1 ? weir_recv(c[i], &byte, 1) : n;
            CHECK(n == 1 || n == 0 || n == -ECONNRESET || n == -EPIPE);
            EXPECT(weir_close(c[i]), 0);
        }
        EXPECT(serving_result(&sv), 0);
        EXPECT(atomic_load(&sv.most), 1);
    }
}

static int comes_and_asks(void *arg)
{
    weir_socket *c = visitor(arg);
    visitor_asks(c);
    EXPECT(weir_close(c), 0);
    return 0;
}

static void connect_storm_is_all_served(void)
{
    struct serving sv = {.handler = echoes, .options.max_connections = 20};
    int count = ground_is_slow() ? 60 : 300;
    weir_group *g = group_open();
    serving_begin(&sv);
    for (int i = 0; i < count; i++)
        EXPECT(weir_go(g, comes_and_asks, &sv), 0);
    group_end(g);
    until(&sv.ended, count);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.begun), count);
    CHECK(atomic_load(&sv.most) <= 20);
}

static void listener_that_does_not_wait(void)
{
    struct serving sv = {.handler = echoes};
    serving_listen(&sv, "tcp://127.0.0.1:0");
    EXPECT(weir_set_blocking(sv.listener, false), 0);
    serving_start(&sv);
    other_until_asleep(&sv.other);
    for (int i = 0; i < 3; i++)
        EXPECT(comes_and_asks(&sv), 0);
    serving_end(&sv);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, each_connection_has_the_handler_once_and_is_closed),
        GROUND_TEST(EVERYWHERE, handler_that_returns_at_once),
        GROUND_TEST(EVERYWHERE, kept_reference_stays_valid),
        GROUND_TEST(EVERYWHERE, failure_is_told_and_concerns_nobody_else),
        GROUND_TEST(EVERYWHERE, socket_is_open_when_the_failure_is_told),
        GROUND_TEST(EVERYWHERE, nobody_needs_to_hear),
        GROUND_TEST(EVERYWHERE, reset_in_the_middle),
        GROUND_TEST(EVERYWHERE, clients_beyond_the_limit_wait_in_the_queue),
        GROUND_TEST(EVERYWHERE, queue_of_a_full_server),
        GROUND_TEST(EVERYWHERE, connect_storm_is_all_served),
        GROUND_TEST(EVERYWHERE, listener_that_does_not_wait),
    };
    return ground_main(argc, argv, "serve", tests, sizeof tests / sizeof *tests);
}
