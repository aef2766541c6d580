/* What tasks know of a descriptor without asking the kernel: that must never let one sleep while
 * there is something for it. */
#include "support/ground.h"
#include "sys.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* Two ends of a TCP connection: what is known of an empty stream is known of these only. */
static void connect_with(weir_socket *ret[2], void (*set_listener)(weir_socket *),
                         void (*set_client)(weir_socket *))
{
    weir_socket *listener;
    weir_address where;
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    set_listener(listener);
    EXPECT(weir_local_address(listener, &where), 0);
    EXPECT(weir_socket_open(&ret[0], AF_INET, SOCK_STREAM, 0), 0);
    set_client(ret[0]);
    EXPECT(weir_connect_address(ret[0], &where), 0);
    EXPECT(weir_accept(listener, &ret[1]), 0);
    weir_close(listener);
}

static void nothing_to_set(weir_socket *s)
{
    (void)s;
}

static void connection(weir_socket *ret[2])
{
    connect_with(ret, nothing_to_set, nothing_to_set);
}

struct receipt {
    weir_socket *s;
    void *buf;
    size_t len;
    ssize_t n;
};

static int receives(void *arg)
{
    struct receipt *r = arg;
    r->n = weir_recv(r->s, r->buf, r->len);
    return 0;
}

/* Whether it ends, if a loop looks as often as it may have to. What was sent may be on its way
 * still: with patience, it looks again for a while. */
static bool ends_soon(struct other *o, int patience_ms)
{
    other_until_asleep(o);
    for (int looks = 0; looks < 10 + patience_ms && !atomic_load(&o->self.ended); looks++) {
        give_way();
        if (looks >= 10)
            poll(NULL, 0, 1);
    }
    if (!ground->tasks)
        other_until_ended(o);
    return atomic_load(&o->self.ended);
}

/* A receive of what is there already, which must not wait for more. */
static ssize_t receive_now(weir_socket *s, void *buf, size_t len)
{
    struct receipt r = {s, buf, len, 0};
    struct other other;
    weir_group *g = group_open();
    other_go(&other, g, receives, &r);
    CHECK(ends_soon(&other, 1000));
    group_end(g);
    return r.n;
}

static int send_one(void *s)
{
    EXPECT(weir_send(s, "-", 1), 1);
    return 0;
}

/* Waits for a byte, and finds the stream empty behind it: more than once, since only then the wait
 * is one that relies on it. */
static void find_empty(weir_socket *pair[2])
{
    char bytes[64];
    for (int i = 0; i < 3; i++) {
        weir_group *g = group_open();
        EXPECT(weir_go(g, send_one, pair[0]), 0);
        EXPECT(weir_recv(pair[1], bytes, sizeof bytes), 1);
        group_end(g);
    }
}

/* Others that are about to wait do so first. */
static int send_ten(void *s)
{
    give_way();
    give_way();
    EXPECT(weir_send(s, "abcdefghij", 10), 10);
    return 0;
}

/* The stream has just been found empty; ten bytes come while the caller waits in `wait`. */
static void receive_after(void (*wait)(weir_socket *s), ssize_t left)
{
    weir_socket *pair[2];
    char bytes[64];
    connection(pair);
    find_empty(pair);
    for (int i = 0; i < 3; i++) {
        weir_group *g = group_open();
        EXPECT(weir_go(g, send_ten, pair[0]), 0);
        wait(pair[1]);
        EXPECT(receive_now(pair[1], bytes, sizeof bytes), left);
        group_end(g);
    }
    pair_close(pair);
}

static void wait_for_it(weir_socket *s)
{
    EXPECT(weir_wait(s, WEIR_READABLE), WEIR_READABLE);
}

static void receive_comes_after_a_wait(void)
{
    receive_after(wait_for_it, 10);
}

static void receive_three(weir_socket *s, int flags)
{
    char bytes[3];
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    EXPECT(weir_recvmsg(s, &message, flags), 3);
}

static void take_a_part(weir_socket *s)
{
    receive_three(s, 0);
}

static void receive_comes_after_a_message(void)
{
    receive_after(take_a_part, 7);
}

static void look_at_it(weir_socket *s)
{
    receive_three(s, MSG_PEEK);
}

static void receive_comes_after_a_look(void)
{
    receive_after(look_at_it, 10);
}

static int waits_for_it(void *s)
{
    wait_for_it(s);
    return 0;
}

static void waited_for_by_another(weir_socket *s)
{
    weir_group *g = group_open();
    EXPECT(weir_go(g, waits_for_it, s), 0);
    group_end(g);
}

static void receive_comes_after_another_s_wait(void)
{
    receive_after(waited_for_by_another, 10);
}

static void send_urgent(weir_socket *s, char byte)
{
    EXPECT(send(weir_fd(s), &byte, 1, MSG_OOB), 1);
}

static void take_urgent(weir_socket *s, char want)
{
    char urgent;
    struct iovec part = {&urgent, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    EXPECT(weir_recvmsg(s, &message, MSG_OOB), 1);
    EXPECT(urgent, want);
}

/* What comes behind an urgent byte has come with it: there is no event of its own. */
static void receive_goes_on_behind_an_urgent_byte(void)
{
    weir_socket *pair[2];
    char bytes[64];
    connection(pair);
    find_empty(pair);
    EXPECT(send(weir_fd(pair[0]), "abc", 3, 0), 3);
    send_urgent(pair[0], '!');
    EXPECT(send(weir_fd(pair[0]), "def", 3, 0), 3);
    take_urgent(pair[1], '!'); /* the loop has not looked */
    EXPECT(weir_recv(pair[1], bytes, sizeof bytes), 3);
    EXPECT(receive_now(pair[1], bytes, sizeof bytes), 3);
    CHECK(memcmp(bytes, "def", 3) == 0);
    pair_close(pair);
}

/* What was known of the stream before the urgent byte is not taken for true ever after. */
static void receives_in_parts_after_an_urgent_byte(void)
{
    weir_socket *pair[2];
    char bytes[2];
    connection(pair);
    for (int i = 0; i < 3; i++) {
        find_empty(pair);
        send_urgent(pair[0], '!');
        take_urgent(pair[1], '!');
        weir_group *g = group_open();
        EXPECT(weir_go(g, send_ten, pair[0]), 0);
        EXPECT(weir_recv(pair[1], bytes, 2), 2);
        group_end(g);
        for (char next = 'c'; next < 'k'; next = (char)(next + 2)) {
            EXPECT(receive_now(pair[1], bytes, 2), 2);
            EXPECT(bytes[0], next);
        }
    }
    pair_close(pair);
}

/* ---- low marks ------------------------------------------------------------------------------ */

#define LOW_MARK 5

static const int low_mark = LOW_MARK;

static void set_low_mark(weir_socket *s)
{
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_RCVLOWAT, &low_mark, sizeof low_mark), 0);
}

/* Nothing is reported of so few bytes; they are there to be taken all the same. */
static void receive_less_than_the_mark(weir_socket *pair[2])
{
    char bytes[64];
    for (int i = 0; i < 3; i++) {
        int there = 0;
        EXPECT(weir_send(pair[0], "abc", 3), 3);
        while (there < 3)
            CHECK(!ioctl(weir_fd(pair[1]), FIONREAD, &there));
        EXPECT(receive_now(pair[1], bytes, sizeof bytes), 3);
    }
    pair_close(pair);
}

static void low_mark_of_a_connection(void)
{
    weir_socket *pair[2];
    connection(pair);
    find_empty(pair);
    set_low_mark(pair[1]);
    receive_less_than_the_mark(pair);
}

static int send_as_many_as_the_mark(void *s)
{
    EXPECT(weir_send(s, "12345", LOW_MARK), LOW_MARK);
    return 0;
}

/* The same for a mark that was there before the connection was known to be empty. */
static void receive_with_a_mark(weir_socket *pair[2])
{
    char bytes[64];
    weir_group *g = group_open();
    EXPECT(weir_go(g, send_as_many_as_the_mark, pair[0]), 0);
    EXPECT(weir_recv(pair[1], bytes, sizeof bytes), LOW_MARK);
    group_end(g);
    receive_less_than_the_mark(pair);
}

static void low_mark_before_the_connect(void)
{
    weir_socket *pair[2];
    connect_with(pair, nothing_to_set, set_low_mark);
    receive_with_a_mark((weir_socket *[2]){pair[1], pair[0]});
}

static void low_mark_of_the_listener(void)
{
    weir_socket *pair[2];
    connect_with(pair, set_low_mark, nothing_to_set);
    receive_with_a_mark(pair);
}

static void low_mark_of_what_is_adopted(void)
{
    weir_socket *pair[2];
    connection(pair);
    int fd = weir_detach(pair[1]);
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low_mark, sizeof low_mark));
    EXPECT(weir_from_fd(&pair[1], fd), 0);
    receive_with_a_mark(pair);
}

/* ---- tries in vain -------------------------------------------------------------------------- */

#define ROUND_TRIPS 200

static atomic_uint tries;

static int count_receives(enum sys_call call)
{
    if (call == SYS_RECV)
        atomic_fetch_add(&tries, 1);
    return 0;
}

static int echoes(weir_socket *s, void *arg)
{
    char bytes[64];
    ssize_t n;
    (void)arg;
    while ((n = weir_recv(s, bytes, sizeof bytes)) > 0)
        EXPECT(weir_send(s, bytes, (size_t)n), n);
    return 0;
}

static void go_round(weir_socket *s, void (*wait)(weir_socket *s))
{
    char bytes[64];
    EXPECT(weir_send(s, "abc", 3), 3);
    if (wait)
        wait(s);
    EXPECT(weir_recv(s, bytes, sizeof bytes), 3);
}

/* Each receives once and finds what there is, but for a few that have to find out. A loop of
 * poll(2) does not know that there is nothing before, and tries. */
static void expect_no_vain_tries(weir_socket *s)
{
    static const struct sys_faults counted = {.error = count_receives};
    unsigned each = ground->loop == WEIR_LOOP_POLL ? 4 : 2;
    atomic_store(&tries, 0);
    sys_faults = &counted;
    for (int i = 0; i < ROUND_TRIPS; i++)
        go_round(s, NULL);
    sys_faults = NULL;
    CHECK(atomic_load(&tries) <= each * ROUND_TRIPS + 8);
}

/* Nor after whatever else has waited for the bytes, or looked at them. */
static void round_trips_make_no_vain_tries(void)
{
    static void (*const waits[])(weir_socket *) = {wait_for_it, look_at_it, waited_for_by_another};
    weir_socket *pair[2];
    weir_group *g = group_open();
    connection(pair);
    EXPECT(weir_go_socket(g, echoes, pair[1], NULL), 0);
    expect_no_vain_tries(pair[0]);
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        go_round(pair[0], waits[i]);
        expect_no_vain_tries(pair[0]);
    }
    weir_close(pair[0]);
    group_end(g);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Whatever ways a call waits in, its time-out is one. */
static void time_out_is_counted_once(void)
{
    struct other other;
    weir_group *g = group_open();
    weir_socket *pair[2];
    char byte;
    connection(pair);
    find_empty(pair);
    EXPECT(weir_set_timeout(pair[1], 20 * MOMENT_MS), 0);
    struct receipt r = {pair[1], &byte, 1, 0};
    other_go(&other, g, receives, &r);
    other_until_asleep(&other);
    EXPECT(weir_sleep(30 * MOMENT_MS), 0);
    CHECK(ends_soon(&other, 0));
    EXPECT(r.n, WEIR_EDEADLINE);
    group_end(g);
    pair_close(pair);
}

/* ---- started from elsewhere ----------------------------------------------------------------- */

static int sees_a_cancel(void *runs)
{
    EXPECT(weir_sleep(-1), -ECANCELED);
    atomic_fetch_add((atomic_int *)runs, 1);
    return 0;
}

static atomic_int runs;

static void *starts_some(void *g)
{
    for (int i = 0; i < 10; i++)
        EXPECT(weir_go(g, sees_a_cancel, &runs), 0);
    return NULL;
}

/* The loop has not heard of them when they are cancelled on it. */
static void tasks_of_another_thread_are_cancelled_before_they_run(void)
{
    weir_group *g = group_open();
    pthread_t thread;
    atomic_store(&runs, 0);
    EXPECT(pthread_create(&thread, NULL, starts_some, g), 0);
    pthread_join(thread, NULL);
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load(&runs), 10);
}

/* ---- exhaustion ----------------------------------------------------------------------------- */

static atomic_long accepts;

static int no_descriptors(enum sys_call call)
{
    if (call != SYS_ACCEPT)
        return 0;
    atomic_fetch_add(&accepts, 1);
    return -EMFILE;
}

static int accepts_nothing(void *listener)
{
    weir_socket *s;
    EXPECT(weir_accept(listener, &s), -ECANCELED);
    return 0;
}

/* Each that finds no descriptor for the connection would otherwise wake the others for it. */
static void many_who_accept_come_to_rest_without_descriptors(void)
{
    static const struct sys_faults faults = {.error = no_descriptors};
    weir_socket *listener, *client;
    weir_address where;
    weir_group *g = group_open();
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    EXPECT(weir_socket_open(&client, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(client, &where), 0);
    atomic_store(&accepts, 0);
    sys_faults = &faults;
    for (int i = 0; i < 8; i++)
        EXPECT(weir_go(g, accepts_nothing, listener), 0);
    EXPECT(weir_sleep(3 * MOMENT_MS), 0);
    EXPECT(weir_group_close(g), 0);
    sys_faults = NULL;
    CHECK(atomic_load(&accepts) >= 1 && atomic_load(&accepts) < 1000);
    weir_close(client);
    weir_close(listener);
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC ? -ENOMEM : 0;
}

/* What nobody has set is not zero by chance. */
static __attribute__((noinline)) void spoil_stack(void)
{
    volatile char waste[8192];
    for (size_t i = 0; i < sizeof waste; i++)
        waste[i] = 0x5a;
}

/* A descriptor with a number that the loop has no room for as yet. */
static void wait_without_memory_fails(void)
{
    static const struct sys_faults faults = {.error = no_memory};
    weir_socket *pair[2], *high;
    char bytes[2];
    connection(pair);
    int fd = fcntl(weir_fd(pair[1]), F_DUPFD_CLOEXEC, 900);
    CHECK(fd >= 900);
    EXPECT(weir_from_fd(&high, fd), 0);
    spoil_stack();
    sys_faults = &faults;
    EXPECT(weir_recv(high, bytes, sizeof bytes), -ENOMEM);
    sys_faults = NULL;
    EXPECT(weir_send(pair[0], "x", 1), 1);
    EXPECT(weir_recv(high, bytes, sizeof bytes), 1);
    weir_close(high);
    pair_close(pair);
}

static int waits_without_memory(void *pair)
{
    static const struct sys_faults faults = {.error = no_memory};
    weir_socket **ends = pair;
    char byte;
    spoil_stack();
    sys_faults = &faults;
    EXPECT(weir_recv(ends[1], &byte, 1), -ENOMEM);
    sys_faults = NULL;
    EXPECT(weir_send(ends[0], "x", 1), 1);
    EXPECT(receive_now(ends[1], &byte, 1), 1);
    return 0;
}

/* The loop knows of no descriptor at all. */
static void first_wait_without_memory_fails(void)
{
    weir_socket *pair[2];
    stream_pair(pair);
    if (ground->tasks)
        ground_run(waits_without_memory, pair);
    pair_close(pair);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(IN_RUNS, receive_comes_after_a_wait),
        GROUND_TEST(IN_RUNS, receive_comes_after_a_message),
        GROUND_TEST(IN_RUNS, receive_comes_after_a_look),
        GROUND_TEST(IN_RUNS, receive_comes_after_another_s_wait),
        GROUND_TEST(IN_RUNS, receive_goes_on_behind_an_urgent_byte),
        GROUND_TEST(IN_RUNS, receives_in_parts_after_an_urgent_byte),
        GROUND_TEST(IN_RUNS, low_mark_of_a_connection),
        GROUND_TEST(IN_RUNS, low_mark_before_the_connect),
        GROUND_TEST(IN_RUNS, low_mark_of_the_listener),
        GROUND_TEST(IN_RUNS, low_mark_of_what_is_adopted),
        GROUND_TEST(IN_TASKS, round_trips_make_no_vain_tries),
        GROUND_TEST(IN_TASKS, time_out_is_counted_once),
        GROUND_TEST(IN_TASKS, tasks_of_another_thread_are_cancelled_before_they_run),
        GROUND_TEST(IN_RUNS, many_who_accept_come_to_rest_without_descriptors),
        GROUND_TEST(IN_TASKS, wait_without_memory_fails),
        GROUND_TEST(BEFORE_RUN, first_wait_without_memory_fails),
    };
    return ground_main(argc, argv, "readiness", tests, sizeof tests / sizeof *tests);
}
