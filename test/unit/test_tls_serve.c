/* weir_serve over TLS: on every loop, and with clients that do not shake hands. */
#include "support/serve_crowd.h"
#include "support/tls_meeting.h"

#define VISITORS 24

static weir_tls_config *client, *server;

static void serving_listen_tls(struct serving *sv)
{
    weir_socket *listener;
    EXPECT(weir_listen_on(&listener, "tls://127.0.0.1:0", WEIR_LISTEN_OPTIONS(.tls = server)), 0);
    serving_listen_on(sv, listener);
}

static weir_socket *secure_visitor(const struct serving *sv)
{
    weir_socket *c;
    EXPECT(weir_socket_open(&c, AF_UNSPEC, SOCK_STREAM, 0), 0);
    EXPECT(weir_set_tls(c, client, "server.test"), 0);
    EXPECT(weir_set_timeout(c, LONG_MS), 0);
    EXPECT(weir_connect_address(c, &sv->where), 0);
    return c;
}

static void leaves_properly(weir_socket *c)
{
    EXPECT(weir_finish(c), 0);
    EXPECT(weir_close(c), 0);
}

/* Its first call is a receive: the handshake is part of it. */
static int echoes_and_finishes(weir_socket *s, struct serving *sv)
{
    int rc = echoes(s, sv);
    return rc < 0 ? rc : weir_finish(s);
}

static void come_and_leave(void)
{
    struct serving sv = {.handler = echoes_and_finishes};
    weir_socket *c[VISITORS];
    serving_listen_tls(&sv);
    serving_start(&sv);
    for (int i = 0; i < VISITORS; i++) {
        c[i] = secure_visitor(&sv);
        visitor_asks(c[i]);
    }
    EXPECT(atomic_load(&sv.inside), VISITORS);
    for (int i = 0; i < VISITORS; i++)
        leaves_properly(c[i]);
    until(&sv.ended, VISITORS);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 0);
}

static void tls_on_every_loop(void)
{
    on_loops(2, come_and_leave);
}

/* They hold their seats for their time only; the failure is told, and concerns nobody else. */
static void clients_that_do_not_shake_hands(void)
{
    struct serving sv = {
        .handler = echoes_and_finishes,
        .options = {.max_connections = 2, .idle_ms = (ground_is_slow() ? 100 : 20) * MOMENT_MS},
    };
    weir_socket *silent[3], *loud[3];
    serving_listen_tls(&sv);
    serving_start(&sv);
    for (int i = 0; i < 3; i++) {
        silent[i] = visitor(&sv);
        loud[i] = visitor(&sv);
        EXPECT(weir_send(loud[i], "GET / HTTP/1.0\r\n\r\n", 18), 18);
    }
    weir_socket *good = secure_visitor(&sv);
    visitor_asks(good);
    leaves_properly(good);
    until(&sv.ended, 7);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 6);
    for (int i = 0; i < 3; i++) {
        EXPECT(weir_close(silent[i]), 0);
        EXPECT(weir_close(loud[i]), 0);
    }
}

static void end_with_handshakes_on_their_way(void)
{
    struct serving sv = {.handler = echoes_and_finishes};
    serving_listen_tls(&sv);
    serving_start(&sv);
    weir_socket *c = visitor(&sv);
    until(&sv.begun, 1);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told_rc), -ECANCELED);
    EXPECT(weir_close(c), 0);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, come_and_leave),
        GROUND_TEST(BEFORE_RUN, tls_on_every_loop),
        GROUND_TEST(EVERYWHERE, clients_that_do_not_shake_hands),
        GROUND_TEST(EVERYWHERE, end_with_handshakes_on_their_way),
    };
    client = meeting_client();
    server = meeting_server(NULL, NULL);
    int failed = ground_main(argc, argv, "tls_serve", tests, sizeof tests / sizeof *tests);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    pki_end();
    return failed;
}
