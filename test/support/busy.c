#include "support/busy.h"

#include <sys/socket.h>
#include <time.h>

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

bool busy_goes_on(struct busy *b)
{
    while (now_ns() < b->begin_ns)
        ; /* nobody else of this thread can run: what is to be ready by then is */
    if (atomic_load(b->until))
        return false;
    b->turns++;
    if (ground->tasks && b->turns > TURNS_MAX)
        EXPECT(b->turns, TURNS_MAX);
    return true;
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

void starve_each(int (*first)(void *), int (*second)(void *), unsigned count)
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
