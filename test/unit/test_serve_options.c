/* What is set on the listener of weir_serve holds for connections on every loop. */
#include "support/serve_crowd.h"

#include <netinet/in.h>

static int option_of(weir_socket *s, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT(weir_get_option(s, level, name, &value, &length), 0);
    return value;
}

static void set(weir_socket *s, int level, int name, int value)
{
    EXPECT(weir_set_option(s, level, name, &value, sizeof value), 0);
}

static int has_the_options(weir_socket *s, struct serving *sv)
{
    EXPECT(option_of(s, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT(option_of(s, SOL_SOCKET, SO_RCVLOWAT), 3);
    EXPECT(option_of(s, SOL_SOCKET, SO_RCVBUF), *(int *)sv->arg);
    set(s, SOL_SOCKET, SO_RCVLOWAT, 1);
    return stays_and_echoes(s, sv);
}

static void give_options(void)
{
    for (int before = 0; before < 2; before++) {
        int room;
        struct serving sv = {.handler = has_the_options, .arg = &room};
        weir_socket *listener;
        forget_threads();
        EXPECT(weir_socket_open(&listener, AF_INET, SOCK_STREAM, 0), 0);
        EXPECT(weir_bind(listener, "127.0.0.1", 0), 0);
        for (int listening = 0; listening < 2; listening++) {
            if (listening != before) {
                set(listener, SOL_SOCKET, SO_KEEPALIVE, 1);
                set(listener, SOL_SOCKET, SO_RCVBUF, 20000);
                set(listener, SOL_SOCKET, SO_RCVLOWAT, 3);
            }
            if (!listening)
                EXPECT(weir_listen(listener, 0), 0);
        }
        room = option_of(listener, SOL_SOCKET, SO_RCVBUF);
        serving_listen_on(&sv, listener);
        serving_start(&sv);
        other_until_asleep(&sv.other);
        EXPECT(listeners_at(&sv), LOOPS);
        crowd_comes(&sv);
        EXPECT(threads_used(), LOOPS);
        crowd_asks_and_leaves();
        until(&sv.ended, CROWD);
        serving_end(&sv);
    }
}

static void options_hold_on_every_loop(void)
{
    on_loops(LOOPS, give_options);
}

/* Set by weir, or by whoever made a descriptor that is adopted. */
static weir_socket *listen_on_v6(int only, bool adopted)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    weir_socket *listener;
    if (adopted) {
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(!setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only));
        CHECK(!bind(fd, (struct sockaddr *)&any, sizeof any));
        CHECK(!listen(fd, SOMAXCONN));
        EXPECT(weir_from_fd(&listener, fd), 0);
        return listener;
    }
    EXPECT(weir_socket_open(&listener, AF_INET6, SOCK_STREAM, 0), 0);
    set(listener, IPPROTO_IPV6, IPV6_V6ONLY, only);
    EXPECT(weir_bind(listener, "::", 0), 0);
    EXPECT(weir_listen(listener, 0), 0);
    return listener;
}

/* What is for IPv6 alone leaves the port to others over IPv4, on each of its listeners. */
static void serve_v6(int only, bool adopted)
{
    struct serving sv = {.handler = stays_and_echoes};
    weir_address v4;
    forget_threads();
    serving_listen_on(&sv, listen_on_v6(only, adopted));
    uint16_t port = weir_address_port(&sv.where);
    EXPECT(weir_address_from_host("::1", port, &sv.where), 0);
    EXPECT(weir_address_from_host("127.0.0.1", port, &v4), 0);
    serving_start(&sv);
    other_until_asleep(&sv.other);
    EXPECT(listeners_at(&sv), adopted ? 1 : LOOPS);
    crowd_comes(&sv);
    EXPECT(threads_used(), LOOPS);
    crowd_asks_and_leaves();
    sv.where = v4;
    for (int i = 0; i < CROWD && only; i++)
        visitor_is_refused(&sv);
    if (!only) {
        crowd_comes(&sv);
        crowd_asks_and_leaves();
    }
    until(&sv.ended, only ? CROWD : 2 * CROWD);
    serving_end(&sv);
}

static void serve_v6_alone_and_both(void)
{
    for (int only = 0; only < 2; only++)
        for (int adopted = 0; adopted < 2; adopted++)
            serve_v6(only, adopted);
}

static void v6only_holds_on_every_loop(void)
{
    on_loops(LOOPS, serve_v6_alone_and_both);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(BEFORE_RUN, options_hold_on_every_loop),
        GROUND_TEST(BEFORE_RUN, v6only_holds_on_every_loop),
    };
    return ground_main(argc, argv, "serve_options", tests, sizeof tests / sizeof *tests);
}
