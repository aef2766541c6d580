/* Nobody starves: whoever never waits, or is always ready, lets the others have their turn before
 * long. Counted in turns, not in time. */
#include "support/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

/* So many calls of a busy task at most, from when another could go on until it has. */
#define TURNS_MAX 2048

struct busy {
    atomic_bool stop;
    const atomic_bool *until; /* whom it must not starve */
    int64_t begin_ns;         /* it counts from then; until then it does not give way at all */
    unsigned turns;
    weir_socket *pair[2];
    weir_channel *there, *back;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Counts a call. False when it has been long enough. */
static bool goes_on(struct busy *b)
{
    while (now_ns() < b->begin_ns)
        ; /* nobody else of this thread can run: what is to be ready by then is */
    if (atomic_load(b->until))
        return false;
    b->turns++;
    if (ground->tasks && b->turns > TURNS_MAX)
        EXPECT(b->turns, TURNS_MAX);
    return !atomic_load(&b->stop);
}

/* ---- kinds of busy tasks -------------------------------------------------------------------- */

/* A connection that always has data, and room. */
static int is_always_served(void *arg)
{
    struct busy *b = arg;
    char byte = 'x';
    while (goes_on(b)) {
        EXPECT(weir_send(b->pair[0], &byte, 1), 1);
        EXPECT(weir_recv(b->pair[1], &byte, 1), 1);
    }
    return 0;
}

static int receives_whole(void *arg)
{
    struct busy *b = arg;
    char word[8] = "12345678";
    while (goes_on(b)) {
        size_t sent = 0, received = 0;
        EXPECT(weir_send_all(b->pair[0], word, 8, &sent), 0);
        EXPECT(weir_recv_exact(b->pair[1], word, 8, &received), 0);
    }
    return 0;
}

static int asks_whether_it_may(void *arg)
{
    struct busy *b = arg;
    while (goes_on(b))
        EXPECT(weir_wait(b->pair[0], WEIR_WRITABLE), WEIR_WRITABLE);
    return 0;
}

static int sends_messages(void *arg)
{
    struct busy *b = arg;
    char byte = 'x';
    struct iovec vector = {&byte, 1};
    while (goes_on(b)) {
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
    while (goes_on(b)) {
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
    while (goes_on(b)) {
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
    while (goes_on(b))
        EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
    return 0;
}

static int yields(void *arg)
{
    struct busy *b = arg;
    while (goes_on(b))
        EXPECT(weir_yield(), 0);
    return 0;
}

static int sleeps_for_nothing(void *arg)
{
    struct busy *b = arg;
    while (goes_on(b))
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
    while (goes_on(b)) {
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
    while (goes_on(b)) {
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

/* ---- who must not starve -------------------------------------------------------------------- */

struct patient {
    atomic_bool served;
    weir_socket *s, *peer;
    weir_address where;
};

static int is_woken_by_time(void *arg)
{
    struct patient *p = arg;
    EXPECT(weir_sleep(2), 0);
    atomic_store(&p->served, true);
    return 0;
}

static int is_ended_by_a_limit(void *arg)
{
    struct patient *p = arg;
    char byte;
    WEIR_WITHIN_MS(2);
    EXPECT(weir_recv(p->s, &byte, 1), WEIR_EDEADLINE);
    atomic_store(&p->served, true);
    return 0;
}

static int is_sent_a_byte(void *arg)
{
    struct patient *p = arg;
    char byte;
    EXPECT(weir_recv(p->s, &byte, 1), 1);
    atomic_store(&p->served, true);
    return 0;
}

static int accepts(void *arg)
{
    struct patient *p = arg;
    weir_socket *s;
    EXPECT(weir_accept(p->s, &s), 0);
    EXPECT(weir_close(s), 0);
    atomic_store(&p->served, true);
    return 0;
}

static void make_pair(struct patient *p)
{
    weir_socket *pair[2];
    stream_pair(pair);
    p->s = pair[0];
    p->peer = pair[1];
}

static void make_listener(struct patient *p)
{
    EXPECT(weir_listen_on(&p->s, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(p->s, &p->where), 0);
    EXPECT(weir_socket_open(&p->peer, AF_INET, SOCK_STREAM, 0), 0);
}

static void do_nothing(struct patient *p)
{
    (void)p;
}

static void send_a_byte(struct patient *p)
{
    EXPECT(weir_send(p->peer, "x", 1), 1);
}

static void connect_to_it(struct patient *p)
{
    EXPECT(weir_connect_address(p->peer, &p->where), 0);
}

static const struct {
    void (*prepare)(struct patient *p);
    int (*fn)(void *arg);
    void (*serve)(struct patient *p);
    bool by_time;
} patients[] = {
    {do_nothing, is_woken_by_time, do_nothing, true},
    {make_pair, is_ended_by_a_limit, do_nothing, true},
    {make_pair, is_sent_a_byte, send_a_byte, false},
    {make_listener, accepts, connect_to_it, false},
};

/* ---- together ------------------------------------------------------------------------------- */

static void open_busy(struct busy *b, const struct patient *p)
{
    *b = (struct busy){.until = &p->served};
    stream_pair(b->pair);
    EXPECT(weir_channel_open(&b->there, sizeof(int), 0), 0);
    EXPECT(weir_channel_open(&b->back, sizeof(int), 1), 0);
}

static void close_busy(struct busy *b)
{
    pair_close(b->pair);
    EXPECT(weir_channel_close(b->there), 0);
    EXPECT(weir_channel_close(b->back), 0);
}

/* Starts the patient, has it wait, makes what it waits for come true, and then the busy ones, so
 * many of them, keep the thread. */
static void starve_each(int (*first)(void *), int (*second)(void *), unsigned count)
{
    for (size_t i = 0; i < sizeof patients / sizeof *patients; i++) {
        struct patient p = {.served = false};
        struct other patient;
        struct busy busy[8];
        weir_group *g = group_open();
        patients[i].prepare(&p);
        other_go(&patient, g, patients[i].fn, &p);
        other_until_asleep(&patient);
        patients[i].serve(&p);
        for (unsigned j = 0; j < count; j++) {
            open_busy(&busy[j], &p);
            busy[j].begin_ns = patients[i].by_time ? now_ns() + 4000000 : 0;
            if (second)
                EXPECT(weir_go(g, second, &busy[j]), 0);
            EXPECT(weir_go(g, first, &busy[j]), 0);
        }
        EXPECT(weir_group_wait(g, NULL), 0);
        CHECK(atomic_load(&p.served));
        for (unsigned j = 0; j < count; j++)
            close_busy(&busy[j]);
        EXPECT(weir_close(p.s), 0);
        EXPECT(weir_close(p.peer), 0);
        EXPECT(weir_group_close(g), 0);
    }
}

#define STARVE(name, first, second)                                                                \
    static void name(void)                                                                         \
    {                                                                                              \
        starve_each(first, second, 1);                                                             \
        starve_each(first, second, 8);                                                             \
    }

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
