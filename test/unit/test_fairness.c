/* Nobody starves: whoever never waits, or is always ready, lets the others have their turn before
 * long. Counted in turns, not in time. */
#include "support/busy.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- kinds of busy tasks -------------------------------------------------------------------- */

/* A connection that always has data, and room. */
static int is_always_served(void *arg)
{
    struct busy *b = arg;
    char byte = 'x';
    while (busy_goes_on(b)) {
        EXPECT(weir_send(b->pair[0], &byte, 1), 1);
        EXPECT(weir_recv(b->pair[1], &byte, 1), 1);
    }
    return 0;
}

static int receives_whole(void *arg)
{
    struct busy *b = arg;
    char word[8] = "12345678";
    while (busy_goes_on(b)) {
        size_t sent = 0, received = 0;
        EXPECT(weir_send_all(b->pair[0], word, 8, &sent), 0);
        EXPECT(weir_recv_exact(b->pair[1], word, 8, &received), 0);
    }
    return 0;
}

static int asks_whether_it_may(void *arg)
{
    struct busy *b = arg;
    while (busy_goes_on(b))
        EXPECT(weir_wait(b->pair[0], WEIR_WRITABLE), WEIR_WRITABLE);
    return 0;
}

static int sends_messages(void *arg)
{
    struct busy *b = arg;
    char byte = 'x';
    struct iovec vector = {&byte, 1};
    while (busy_goes_on(b)) {
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        EXPECT(weir_sendmsg(b->pair[0], &message, 0), 1);
        EXPECT(weir_recvmsg(b->pair[1], &message, 0), 1);
    }
    return 0;
}

static int sends_datagrams(void *arg)
{
    struct busy *b = arg;
    weir_socket *pair[2];
    char byte = 'x';
    EXPECT(weir_pair(pair, SOCK_DGRAM), 0);
    while (busy_goes_on(b)) {
        EXPECT(weir_send_to(pair[0], &byte, 1, NULL), 1);
        EXPECT(weir_recv_from(pair[1], &byte, 1, NULL), 1);
    }
    pair_close(pair);
    return 0;
}

/* There is always somebody to be accepted. */
static int connects_and_accepts(void *arg)
{
    struct busy *b = arg;
    weir_socket *listener, *client, *accepted;
    weir_address where;
    char text[64];
    snprintf(text, sizeof text, "unix:@weir-fair-%d-%p", getpid(), arg);
    EXPECT(weir_listen_on(&listener, text, NULL), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    while (busy_goes_on(b)) {
        EXPECT(weir_socket_open(&client, AF_UNIX, SOCK_STREAM, 0), 0);
        EXPECT(weir_connect_address(client, &where), 0);
        EXPECT(weir_accept(listener, &accepted), 0);
        EXPECT(weir_close(client), 0);
        EXPECT(weir_close(accepted), 0);
    }
    EXPECT(weir_close(listener), 0);
    return 0;
}

static int polls_what_is_ready(void *arg)
{
    struct busy *b = arg;
    weir_poller *p;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, b->pair[0], WEIR_WRITABLE, NULL), 0);
    while (busy_goes_on(b))
        EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
    return 0;
}

static int yields(void *arg)
{
    struct busy *b = arg;
    while (busy_goes_on(b))
        EXPECT(weir_yield(), 0);
    return 0;
}

static int sleeps_for_nothing(void *arg)
{
    struct busy *b = arg;
    while (busy_goes_on(b))
        EXPECT(weir_sleep(0), 0);
    return 0;
}

static int ends_at_once(void *arg)
{
    (void)arg;
    return 0;
}

static int starts_tasks(void *arg)
{
    struct busy *b = arg;
    weir_group *g = group_open();
    while (busy_goes_on(b)) {
        EXPECT(weir_go(g, ends_at_once, NULL), 0);
        EXPECT(weir_group_wait(g, NULL), 0);
    }
    EXPECT(weir_group_close(g), 0);
    return 0;
}

static int plays_ping(void *arg)
{
    struct busy *b = arg;
    int ball = 0;
    while (busy_goes_on(b)) {
        EXPECT(weir_channel_send(b->there, &ball), 0);
        EXPECT(weir_channel_recv(b->back, &ball), 1);
    }
    EXPECT(weir_channel_shut(b->there), 0);
    return 0;
}

static int plays_pong(void *arg)
{
    struct busy *b = arg;
    int ball;
    while (weir_channel_recv(b->there, &ball) == 1)
        EXPECT(weir_channel_send(b->back, &ball), 0);
    return 0;
}

/* ---- together ------------------------------------------------------------------------------- */

STARVE(connection_that_always_has_data_starves_nobody, is_always_served, NULL)
STARVE(whole_calls_starve_nobody, receives_whole, NULL)
STARVE(messages_starve_nobody, sends_messages, NULL)
STARVE(datagrams_starve_nobody, sends_datagrams, NULL)
STARVE(accepting_starves_nobody, connects_and_accepts, NULL)
STARVE(polling_starves_nobody, polls_what_is_ready, NULL)
STARVE(waits_that_hold_already_starve_nobody, asks_whether_it_may, NULL)
STARVE(yielding_starves_nobody, yields, NULL)
STARVE(sleeping_for_nothing_starves_nobody, sleeps_for_nothing, NULL)
STARVE(starting_tasks_starves_nobody, starts_tasks, NULL)
STARVE(ping_pong_starves_nobody, plays_ping, plays_pong)

/* ---- acceptors and connections among themselves --------------------------------------------- */

struct counted {
    weir_socket *s;
    atomic_uint served;
};

static int serves(void *arg)
{
    struct counted *c = arg;
    char byte;
    while (weir_recv(c->s, &byte, 1) == 1)
        atomic_fetch_add(&c->served, 1);
    return 0;
}

/* Ten connections with as much to do as they can take get about as much each. */
static void connections_share_the_thread(void)
{
    enum { MANY = 10, BYTES = 20000 };
    static char bytes[BYTES];
    struct counted counted[MANY] = {0};
    weir_socket *pairs[MANY][2];
    weir_group *g = group_open();
    unsigned least = UINT32_MAX, most = 0;
    for (int i = 0; i < MANY; i++) {
        size_t done = 0;
        stream_pair(pairs[i]);
        counted[i].s = pairs[i][0];
        EXPECT(weir_send_all(pairs[i][1], bytes, BYTES, &done), 0);
        EXPECT(weir_go(g, serves, &counted[i]), 0);
    }
    do {
        least = UINT32_MAX;
        most = 0;
        for (int i = 0; i < MANY; i++) {
            unsigned served = atomic_load(&counted[i].served);
            least = served < least ? served : least;
            most = served > most ? served : most;
        }
        CHECK(most - least <= 2 * TURNS_MAX);
        EXPECT(weir_yield(), 0);
    } while (least < BYTES);
    EXPECT(weir_group_close(g), 0);
    for (int i = 0; i < MANY; i++)
        pair_close(pairs[i]);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, connection_that_always_has_data_starves_nobody),
        GROUND_TEST(EVERYWHERE, whole_calls_starve_nobody),
        GROUND_TEST(EVERYWHERE, messages_starve_nobody),
        GROUND_TEST(EVERYWHERE, datagrams_starve_nobody),
        GROUND_TEST(EVERYWHERE, accepting_starves_nobody),
        GROUND_TEST(EVERYWHERE, polling_starves_nobody),
        GROUND_TEST(EVERYWHERE, waits_that_hold_already_starve_nobody),
        GROUND_TEST(EVERYWHERE, yielding_starves_nobody),
        GROUND_TEST(EVERYWHERE, sleeping_for_nothing_starves_nobody),
        GROUND_TEST(EVERYWHERE, starting_tasks_starves_nobody),
        GROUND_TEST(EVERYWHERE, ping_pong_starves_nobody),
        GROUND_TEST(IN_TASKS, connections_share_the_thread),
    };
    return ground_main(argc, argv, "fairness", tests, sizeof tests / sizeof *tests);
}
