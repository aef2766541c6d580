/* Ending what waits for something that is no socket, or not yet: names, time, groups, mutexes,
 * channels, signals, the pool of threads; by everything that can end it, at every moment. */
#include "support/cell.h"

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

/* ---- names ---------------------------------------------------------------------------------- */

static void prepare_name(struct cell *c)
{
    ground_keeps_threads();
    EXPECT(weir_listen_on(&c->peer, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(c->peer, &c->where), 0);
    c->dns = stub_dns_open();
    stub_dns_add(c->dns, "held.test", "A:127.0.0.1,hold");
    EXPECT(weir_set_nameservers(stub_dns_servers(c->dns)), 0);
    EXPECT(weir_socket_open(&c->s, AF_INET, SOCK_STREAM, 0), 0);
}

static ssize_t call_connect_name(struct cell *c)
{
    return weir_connect(c->s, "held.test", weir_address_port(&c->where));
}

static void complete_name(struct cell *c)
{
    stub_dns_release(c->dns, "held.test");
}

static void check_connect_name(struct cell *c)
{
    char byte;
    EXPECT(weir_set_nameservers(stub_dns_servers(c->dns)), 0); /* no answer is remembered */
    if (!c->ended) {
        if (c->rc < 0)
            cell_expect_good(c, 0);
        EXPECT(weir_send(c->s, "x", 1), 1);
        do {
            EXPECT(weir_accept(c->peer, &c->accepted), 0);
            ssize_t n = weir_recv(c->accepted, &byte, 1);
            EXPECT(weir_close(c->accepted), 0);
            if (n == 1)
                break;
        } while (true);
    }
    EXPECT(weir_set_nameservers(NULL), 0);
    stub_dns_close(c->dns);
}

static const struct op op_connect_name = {
    "connect_name",    true, false, prepare_name, call_connect_name, complete_name,
    check_connect_name};

static ssize_t call_resolve(struct cell *c)
{
    weir_address list[4];
    (void)c;
    return weir_resolve("held.test", 80, AF_INET, list, 4, NULL);
}

static void check_resolve(struct cell *c)
{
    EXPECT(weir_set_nameservers(stub_dns_servers(c->dns)), 0);
    if (c->rc < 0)
        cell_expect_good(c, 1);
    else
        EXPECT(c->rc, 1);
    EXPECT(weir_set_nameservers(NULL), 0);
    stub_dns_close(c->dns);
}

static const struct op op_resolve = {"resolve",    false,         false,        prepare_name,
                                     call_resolve, complete_name, check_resolve};

/* ---- what is no socket ---------------------------------------------------------------------- */

static void prepare_nothing(struct cell *c)
{
    (void)c;
}

static ssize_t call_sleep(struct cell *c)
{
    (void)c;
    return weir_sleep(LONG_MS);
}

static void check_nothing(struct cell *c)
{
    (void)c;
}

static const struct op op_sleep = {"sleep",    false, false,        prepare_nothing,
                                   call_sleep, NULL,  check_nothing};

static int sleeps(void *arg)
{
    (void)arg;
    return weir_sleep(-1);
}

static void prepare_group_wait(struct cell *c)
{
    c->inner = group_open();
    EXPECT(weir_go(c->inner, sleeps, NULL), 0);
}

static ssize_t call_group_wait(struct cell *c)
{
    return weir_group_wait(c->inner, &c->item);
}

static void complete_group_wait(struct cell *c)
{
    EXPECT(weir_group_cancel(c->inner), 0);
}

static void check_group_wait(struct cell *c)
{
    if (c->ender == BY_SHUTDOWN) {
        EXPECT(weir_group_close(c->inner), 0);
        return;
    }
    if (c->rc < 0)
        cell_expect_good(c, 0);
    EXPECT(c->item, -ECANCELED);
    EXPECT(weir_group_close(c->inner), 0);
}

static const struct op op_group_wait = {"group_wait",       false,           false,
                                        prepare_group_wait, call_group_wait, complete_group_wait,
                                        check_group_wait};

static void prepare_mutex(struct cell *c)
{
    c->mutex = (weir_mutex)WEIR_MUTEX_INIT;
    EXPECT(weir_mutex_lock(&c->mutex), 0);
}

static ssize_t call_mutex(struct cell *c)
{
    return weir_mutex_lock(&c->mutex);
}

static void complete_mutex(struct cell *c)
{
    EXPECT(weir_mutex_unlock(&c->mutex), 0);
}

static void check_mutex(struct cell *c)
{
    if (c->rc < 0)
        cell_expect_good(c, 0);
    EXPECT(weir_mutex_try_lock(&c->mutex), -EAGAIN);
    EXPECT(weir_mutex_unlock(&c->mutex), 0);
    EXPECT(weir_mutex_unlock(&c->mutex), -EPERM);
}

static const struct op op_mutex = {"mutex_lock", false,          false,      prepare_mutex,
                                   call_mutex,   complete_mutex, check_mutex};

static void prepare_channel(struct cell *c)
{
    EXPECT(weir_channel_open(&c->channel, sizeof(int), 1), 0);
}

static void prepare_handover(struct cell *c)
{
    EXPECT(weir_channel_open(&c->channel, sizeof(int), 0), 0);
}

static ssize_t call_channel_recv(struct cell *c)
{
    return weir_channel_recv(c->channel, &c->item);
}

static void complete_channel_recv(struct cell *c)
{
    static const int item = 42;
    int rc = weir_channel_try_send(c->channel, &item);
    CHECK(rc == 0 || rc == -EAGAIN); /* nobody there to take it from hand to hand */
    c->completed = rc == 0;
}

static void check_channel_recv(struct cell *c)
{
    static const int item = 7;
    int another;
    if (c->rc < 0 && c->completed)
        EXPECT(weir_channel_try_recv(c->channel, &c->item), 1);
    if (c->rc == 1 || c->completed)
        EXPECT(c->item, 42);
    EXPECT(weir_channel_try_recv(c->channel, &another), -EAGAIN);
    CHECK(c->rc < 0 || c->rc == 1);
    int rc = weir_channel_try_send(c->channel, &item);
    CHECK(rc == 0 || rc == -EAGAIN);
    EXPECT(weir_channel_try_recv(c->channel, &another), rc == 0 ? 1 : -EAGAIN);
    EXPECT(weir_channel_close(c->channel), 0);
}

static const struct op op_channel_recv = {
    "channel_recv",    false, false, prepare_channel, call_channel_recv, complete_channel_recv,
    check_channel_recv};
static const struct op op_handover_recv = {
    "handover_recv",   false, false, prepare_handover, call_channel_recv, complete_channel_recv,
    check_channel_recv};

static void prepare_full_channel(struct cell *c)
{
    static const int item = 1;
    prepare_channel(c);
    EXPECT(weir_channel_send(c->channel, &item), 0);
    c->filled = 1;
}

static ssize_t call_channel_send(struct cell *c)
{
    static const int item = 42;
    return weir_channel_send(c->channel, &item);
}

static void complete_channel_send(struct cell *c)
{
    int item, rc = weir_channel_try_recv(c->channel, &item);
    CHECK(rc == 1 || rc == -EAGAIN);
    c->completed = rc == 1;
    if (rc == 1)
        EXPECT(item, c->filled ? 1 : 42);
    c->filled = c->completed && !c->filled ? 99 : 0; /* 99: the item itself has been taken */
}

static void check_channel_send(struct cell *c)
{
    int item;
    if (c->filled == 99)
        EXPECT(c->rc, 0); /* it was handed over: it was sent */
    if (c->filled == 1)
        CHECK(weir_channel_try_recv(c->channel, &item) == 1 && item == 1);
    if (c->rc == 0 && c->filled != 99)
        CHECK(weir_channel_try_recv(c->channel, &item) == 1 && item == 42);
    EXPECT(weir_channel_try_recv(c->channel, &item), -EAGAIN);
    EXPECT(weir_channel_close(c->channel), 0);
}

static const struct op op_channel_send = {
    "channel_send",    false, false, prepare_full_channel, call_channel_send, complete_channel_send,
    check_channel_send};
static const struct op op_handover_send = {
    "handover_send",   false, false, prepare_handover, call_channel_send, complete_channel_send,
    check_channel_send};

/* The pool is busy, so it has to wait for its turn. */
static void blocks(void *arg)
{
    struct cell *c = arg;
    atomic_fetch_add(&c->blocked, 1);
    while (!atomic_load(&c->released))
        sched_yield();
}

static int offloads_a_blocker(void *arg)
{
    EXPECT(weir_offload(blocks, arg), 0);
    return 0;
}

static void prepare_offload(struct cell *c)
{
    ground_keeps_threads();
    c->inner = group_open();
    for (int i = 0; i < 4; i++)
        EXPECT(weir_go(c->inner, offloads_a_blocker, c), 0);
    while (atomic_load(&c->blocked) < 4)
        give_way();
}

static void is_called(void *arg)
{
    atomic_fetch_add(&((struct cell *)arg)->called, 1);
}

static ssize_t call_offload(struct cell *c)
{
    return weir_offload(is_called, c);
}

static void complete_offload(struct cell *c)
{
    atomic_store(&c->released, true);
}

static void check_offload(struct cell *c)
{
    EXPECT(atomic_load(&c->called), c->rc == 0); /* called if and only if it says so */
    atomic_store(&c->released, true);
    if (c->ender != BY_SHUTDOWN)
        EXPECT(weir_group_wait(c->inner, NULL), 0);
    EXPECT(weir_group_close(c->inner), 0);
    EXPECT(call_offload(c), 0);
}

static const struct op op_offload = {
    "offload", false, true, prepare_offload, call_offload, complete_offload, check_offload};

static sigset_t signal_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return set;
}

static ssize_t call_signal_wait(struct cell *c)
{
    sigset_t set = signal_set();
    (void)c;
    return weir_signal_wait(&set);
}

static void complete_signal_wait(struct cell *c)
{
    (void)c;
    CHECK(!kill(getpid(), SIGUSR2));
}

static bool signal_is_pending(void)
{
    sigset_t set;
    CHECK(!sigpending(&set));
    return sigismember(&set, SIGUSR2);
}

static void check_signal_wait(struct cell *c)
{
    CHECK(c->rc < 0 || c->rc == SIGUSR2);
    EXPECT(signal_is_pending(), c->rc < 0 && c->completed);
    if (c->rc < 0)
        cell_expect_good(c, SIGUSR2);
    CHECK(!signal_is_pending());
}

static const struct op op_signal_wait = {
    "signal_wait",    false, false, prepare_nothing, call_signal_wait, complete_signal_wait,
    check_signal_wait};

/* clang-format off */
#define FOR_EACH_OP(X) \
    X(connect_name) X(resolve) X(sleep) X(group_wait) X(mutex) \
    X(channel_recv) X(handover_recv) X(channel_send) X(handover_send) \
    X(offload) X(signal_wait)
/* clang-format on */

FOR_EACH_OP(CELL_TESTS)

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {FOR_EACH_OP(CELL_ENTRIES)};
    sigset_t set = signal_set();
    sigprocmask(SIG_BLOCK, &set, NULL);
    return ground_main(argc, argv, "cancel_others", tests, sizeof tests / sizeof *tests);
}
