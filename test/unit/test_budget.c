/* Nobody starves beside one call that moves much for long, nor beside calls that fail at once. */
#include "support/busy.h"
#include "sys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- a call that moves much ----------------------------------------------------------------- */

/* So many bytes go a byte at a time as long as another could go on. A pipe takes them all. */
#define MUCH      65536
#define MOVES_MAX (8 * TURNS_MAX)

static const atomic_bool *_Atomic waiting;
static atomic_uint moves;

static size_t one_byte(enum sys_call call, size_t len)
{
    const atomic_bool *served = atomic_load(&waiting);
    (void)call;
    if (!served || atomic_load(served))
        return len;
    unsigned moved = atomic_fetch_add(&moves, 1);
    if (ground->tasks)
        CHECK(moved < MOVES_MAX);
    return 1;
}

static void begin_to_move(struct busy *b)
{
    if (busy_goes_on(b))
        atomic_store(&waiting, b->until);
}

static void end_moving(void)
{
    atomic_store(&waiting, NULL);
    atomic_store(&moves, 0);
}

static char much[MUCH];

static void stuff(int fd)
{
    EXPECT(write(fd, much, MUCH), MUCH);
}

static void open_pipe(weir_socket **ret, int end, int *ret_other)
{
    int fds[2];
    CHECK(!pipe2(fds, O_CLOEXEC | O_NONBLOCK));
    EXPECT(weir_from_fd(ret, fds[end]), 0);
    *ret_other = fds[!end];
}

static int receives_much(void *arg)
{
    char *bytes = malloc(MUCH);
    weir_socket *s;
    size_t done = 0;
    int other;
    open_pipe(&s, 0, &other);
    stuff(other);
    begin_to_move(arg);
    EXPECT(weir_recv_exact(s, bytes, MUCH, &done), 0);
    end_moving();
    weir_close(s);
    close(other);
    free(bytes);
    return 0;
}

static int sends_much(void *arg)
{
    weir_socket *s;
    size_t done = 0;
    int other;
    open_pipe(&s, 1, &other);
    begin_to_move(arg);
    EXPECT(weir_send_all(s, much, MUCH, &done), 0);
    end_moving();
    weir_close(s);
    close(other);
    return 0;
}

static int finishes_after_much(void *arg)
{
    struct busy *b = arg;
    int other = weir_fd(b->pair[1]);
    stuff(other);
    CHECK(!shutdown(other, SHUT_WR));
    begin_to_move(b);
    EXPECT(weir_finish(b->pair[0]), 0);
    end_moving();
    return 0;
}

static void starve_slowly(int (*busy)(void *))
{
    static const struct sys_faults slowly = {.amount = one_byte};
    sys_faults = &slowly;
    starve_each(busy, NULL, 1);
    starve_each(busy, NULL, 8);
    sys_faults = NULL;
}

static void receiving_much_starves_nobody(void)
{
    starve_slowly(receives_much);
}

static void sending_much_starves_nobody(void)
{
    starve_slowly(sends_much);
}

static void finishing_starves_nobody(void)
{
    starve_slowly(finishes_after_much);
}

/* ---- calls that fail at once ---------------------------------------------------------------- */

/* What they are made on: nothing of it is there, but for the room to send. */
struct props {
    weir_socket *stream[2], *datagram[2], *listener;
    weir_poller *poller;
    weir_channel *channel;
    weir_mutex mutex;
};

static char byte;
static struct iovec one = {&byte, 1};

static void open_props(struct props *p)
{
    *p = (struct props){.mutex = WEIR_MUTEX_INIT};
    stream_pair(p->stream);
    EXPECT(weir_pair(p->datagram, SOCK_DGRAM), 0);
    EXPECT(weir_listen_on(&p->listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_poller_open(&p->poller), 0);
    EXPECT(weir_channel_open(&p->channel, 1, 0), 0);
    EXPECT(weir_mutex_lock(&p->mutex), 0);
}

static void close_props(struct props *p)
{
    weir_mutex_unlock(&p->mutex);
    EXPECT(weir_channel_close(p->channel), 0);
    EXPECT(weir_poller_close(p->poller), 0);
    weir_close(p->listener);
    pair_close(p->datagram);
    pair_close(p->stream);
}

static ssize_t receives(struct props *p)
{
    return weir_recv(p->stream[0], &byte, 1);
}

static ssize_t receives_whole(struct props *p)
{
    size_t done = 0;
    return weir_recv_exact(p->stream[0], &byte, 1, &done);
}

static ssize_t receives_a_message(struct props *p)
{
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
    return weir_recvmsg(p->stream[0], &message, 0);
}

static ssize_t receives_a_datagram(struct props *p)
{
    return weir_recv_from(p->datagram[0], &byte, 1, NULL);
}

static ssize_t sends(struct props *p)
{
    return weir_send(p->stream[0], &byte, 1);
}

static ssize_t sends_whole(struct props *p)
{
    size_t done = 0;
    return weir_send_all(p->stream[0], &byte, 1, &done);
}

static ssize_t sends_a_message(struct props *p)
{
    const struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
    return weir_sendmsg(p->stream[0], &message, 0);
}

static ssize_t sends_a_datagram(struct props *p)
{
    return weir_send_to(p->datagram[0], &byte, 1, NULL);
}

static ssize_t finishes(struct props *p)
{
    return weir_finish(p->stream[0]);
}

static ssize_t waits(struct props *p)
{
    return weir_wait(p->stream[0], WEIR_READABLE);
}

static ssize_t accepts(struct props *p)
{
    weir_socket *s;
    return weir_accept(p->listener, &s);
}

static ssize_t polls(struct props *p)
{
    weir_event event;
    return weir_poller_wait(p->poller, &event, 1, -1);
}

static ssize_t sleeps(struct props *p)
{
    (void)p;
    return weir_sleep(-1);
}

static ssize_t yields(struct props *p)
{
    (void)p;
    return weir_yield();
}

static ssize_t gives(struct props *p)
{
    return weir_channel_send(p->channel, &byte);
}

static ssize_t takes(struct props *p)
{
    return weir_channel_recv(p->channel, &byte);
}

static ssize_t locks(struct props *p)
{
    return weir_mutex_lock(&p->mutex);
}

static ssize_t (*const calls[])(struct props *p) = {
    receives,
    receives_whole,
    receives_a_message,
    receives_a_datagram,
    sends,
    sends_whole,
    sends_a_message,
    sends_a_datagram,
    finishes,
    waits,
    accepts,
    polls,
    sleeps,
    yields,
    gives,
    takes,
    locks,
};
#define CALLS (sizeof calls / sizeof *calls)

static size_t tried; /* which of them */

static void call_in_vain(struct busy *b, ssize_t want)
{
    struct props props;
    {
        WEIR_SHIELDED_MS(LONG_MS);
        open_props(&props);
    }
    while (busy_goes_on(b))
        EXPECT(calls[tried](&props), want);
    close_props(&props);
}

static int calls_though_late(void *arg)
{
    WEIR_WITHIN_MS(0);
    call_in_vain(arg, WEIR_EDEADLINE);
    return 0;
}

static int is_cancelled(void *arg)
{
    call_in_vain(arg, -ECANCELED);
    return 0;
}

static int calls_though_cancelled(void *arg)
{
    weir_group *g = group_open();
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_go(g, is_cancelled, arg), 0);
    group_end(g);
    return 0;
}

static void late_calls_starve_nobody(void)
{
    for (tried = 0; tried < CALLS; tried++)
        starve_each(calls_though_late, NULL, 1);
}

static void cancelled_calls_starve_nobody(void)
{
    for (tried = 0; tried < CALLS; tried++)
        starve_each(calls_though_cancelled, NULL, 1);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, receiving_much_starves_nobody),
        GROUND_TEST(EVERYWHERE, sending_much_starves_nobody),
        GROUND_TEST(EVERYWHERE, finishing_starves_nobody),
        GROUND_TEST(EVERYWHERE, late_calls_starve_nobody),
        GROUND_TEST(EVERYWHERE, cancelled_calls_starve_nobody),
    };
    return ground_main(argc, argv, "budget", tests, sizeof tests / sizeof *tests);
}
