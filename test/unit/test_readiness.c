/* What tasks know of a descriptor without asking the kernel: that must never let one sleep while
 * there is something for it. */
#include "support/ground.h"
#include "sys.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>

/* A hang would show too, but not where. */
#define PATIENCE_MS 5000

/* Two ends of a TCP connection: what is known of an empty stream is known of these only. */
static void connection(weir_socket *ret[2])
{
    weir_socket *listener;
    weir_address where;
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    EXPECT(weir_socket_open(&ret[0], AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(ret[0], &where), 0);
    EXPECT(weir_accept(listener, &ret[1]), 0);
    weir_close(listener);
}

static int send_ten(void *s)
{
    EXPECT(weir_send(s, "abcdefghij", 10), 10);
    return 0;
}

/* The stream has just been found empty; ten bytes come while the caller waits in `wait`. */
static void receive_after(void (*wait)(weir_socket *s), ssize_t left)
{
    weir_socket *pair[2];
    char bytes[64];
    connection(pair);
    EXPECT(weir_set_timeout(pair[1], PATIENCE_MS), 0);
    EXPECT(weir_send(pair[0], "-", 1), 1);
    EXPECT(weir_recv(pair[1], bytes, sizeof bytes), 1);
    for (int i = 0; i < 3; i++) {
        weir_group *g = group_open();
        EXPECT(weir_go(g, send_ten, pair[0]), 0);
        wait(pair[1]);
        EXPECT(weir_recv(pair[1], bytes, sizeof bytes), left);
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

/* What comes behind an urgent byte has come with it: there is no event of its own. */
static void receive_goes_on_behind_an_urgent_byte(void)
{
    weir_socket *pair[2];
    char bytes[64], urgent;
    struct iovec part = {&urgent, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    connection(pair);
    EXPECT(weir_set_timeout(pair[1], PATIENCE_MS), 0);
    EXPECT(weir_send(pair[0], "-", 1), 1);
    EXPECT(weir_recv(pair[1], bytes, sizeof bytes), 1);
    EXPECT(send(weir_fd(pair[0]), "abc", 3, 0), 3);
    EXPECT(send(weir_fd(pair[0]), "!", 1, MSG_OOB), 1);
    EXPECT(send(weir_fd(pair[0]), "def", 3, 0), 3);
    EXPECT(weir_recvmsg(pair[1], &message, MSG_OOB), 1);
    CHECK(urgent == '!');
    EXPECT(weir_recv(pair[1], bytes, sizeof bytes), 3);
    EXPECT(weir_recv(pair[1], bytes, sizeof bytes), 3);
    CHECK(memcmp(bytes, "def", 3) == 0);
    pair_close(pair);
}

/* ---- time ----------------------------------------------------------------------------------- */

static int sleeps_longer(void *ended)
{
    EXPECT(weir_sleep(30 * MOMENT_MS), 0);
    atomic_store((atomic_bool *)ended, true);
    return 0;
}

/* Whatever ways a call waits in, its time-out is one. */
static void time_out_is_counted_once(void)
{
    atomic_bool ended = false;
    weir_group *g = group_open();
    weir_socket *pair[2];
    char byte, bytes[2];
    connection(pair);
    EXPECT(weir_send(pair[0], "-", 1), 1);
    EXPECT(weir_recv(pair[1], bytes, sizeof bytes), 1);
    EXPECT(weir_go(g, sleeps_longer, &ended), 0);
    EXPECT(weir_yield(), 0);
    EXPECT(weir_set_timeout(pair[1], 20 * MOMENT_MS), 0);
    EXPECT(weir_recv(pair[1], &byte, 1), WEIR_EDEADLINE);
    CHECK(!atomic_load(&ended));
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
    sys_faults = &faults;
    EXPECT(weir_recv(high, bytes, sizeof bytes), -ENOMEM);
    sys_faults = NULL;
    EXPECT(weir_send(pair[0], "x", 1), 1);
    EXPECT(weir_recv(high, bytes, sizeof bytes), 1);
    weir_close(high);
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
        GROUND_TEST(IN_TASKS, time_out_is_counted_once),
        GROUND_TEST(IN_TASKS, tasks_of_another_thread_are_cancelled_before_they_run),
        GROUND_TEST(IN_RUNS, many_who_accept_come_to_rest_without_descriptors),
        GROUND_TEST(IN_TASKS, wait_without_memory_fails),
    };
    return ground_main(argc, argv, "readiness", tests, sizeof tests / sizeof *tests);
}
