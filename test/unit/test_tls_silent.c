/* Clients that never finish their handshake, a crowd of them: others are accepted and served
 * meanwhile, in tasks none of them costs a thread, and a limit ends each. */
#include "support/ground.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"
#include "support/watch.h"

#include <stdlib.h>

/* What they do: nothing; send half of their first message; send it all, and read nothing; read, and
 * do not answer. */
enum habit { SAYS_NOTHING, HALF_A_HELLO, READS_NOTHING, DOES_NOT_ANSWER, HABITS };

struct service {
    weir_socket *listener;
    weir_address where;
    weir_group *peers;
    _Atomic int64_t timeout_ms;
    atomic_int waiting, served, ended[4]; /* how: all is well, limit, cancel, anything else */
};

static int converses(weir_socket *s, void *arg)
{
    struct service *v = arg;
    char bytes[100];
    ssize_t n;
    atomic_fetch_add(&v->waiting, 1);
    EXPECT(weir_set_timeout(s, atomic_load(&v->timeout_ms)), 0);
    while ((n = weir_recv(s, bytes, sizeof bytes)) > 0) {
        size_t done = 0;
        EXPECT(weir_send_all(s, bytes, (size_t)n, &done), 0);
        atomic_fetch_add(&v->served, 1);
    }
    atomic_fetch_add(&v->waiting, -1);
    atomic_fetch_add(&v->ended[n == 0 ? 0 : n == WEIR_EDEADLINE ? 1 : n == -ECANCELED ? 2 : 3], 1);
    return 0;
}

static int accepts(void *arg)
{
    struct service *v = arg;
    weir_socket *s;
    int rc;
    while ((rc = weir_accept(v->listener, &s)) == 0)
        EXPECT(weir_go_socket(v->peers, converses, s, v), 0);
    return rc == WEIR_ECLOSED || rc == -ECANCELED ? 0 : rc;
}

static weir_socket *connect_to(const struct service *v)
{
    weir_socket *s;
    EXPECT(weir_socket_open(&s, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(s, &v->where), 0);
    return s;
}

static struct puppet *start_silent(const struct service *v, enum habit habit)
{
    struct puppet *p = puppet_open(connect_to(v), true, 0);
    puppet_shake(p);
    if (habit == HALF_A_HELLO)
        puppet_give(p, puppet_owes(p) / 2);
    else if (habit > HALF_A_HELLO)
        puppet_give(p, ALL);
    return p;
}

/* The answer comes, and is not answered. */
static void let_hear(struct puppet *p)
{
    while (p->taken == 0) {
        puppet_take(p, ALL);
        give_way();
    }
    puppet_shake(p);
}

static void be_served(const struct service *v)
{
    weir_socket *s = connect_to(v);
    char byte = 'x';
    EXPECT(weir_set_timeout(s, LONG_MS), 0);
    EXPECT(weir_set_tls(s, puppet_config(false), "server.test"), 0);
    EXPECT(weir_send(s, &byte, 1), 1);
    EXPECT(weir_recv(s, &byte, 1), 1);
    EXPECT(weir_finish(s), 0);
    EXPECT(weir_close(s), 0);
}

static void open_service(struct service *v, int64_t timeout_ms)
{
    *v = (struct service){.peers = group_open()};
    atomic_store(&v->timeout_ms, timeout_ms);
    EXPECT(weir_listen_on(&v->listener, "tls://127.0.0.1:0",
                          WEIR_LISTEN_OPTIONS(.tls = puppet_config(true))),
           0);
    EXPECT(weir_local_address(v->listener, &v->where), 0);
    EXPECT(weir_go(v->peers, accepts, v), 0);
}

static void close_service(struct service *v)
{
    EXPECT(weir_group_close(v->peers), 0);
    EXPECT(weir_close(v->listener), 0);
}

static int crowd_size(void)
{
    return ground_is_slow() ? 24 : ground->tasks ? 400 : 80;
}

static void a_crowd(int64_t timeout_ms)
{
    int count = crowd_size();
    struct puppet **crowd = calloc((size_t)count, sizeof *crowd);
    struct service v;
    open_service(&v, LONG_MS);
    be_served(&v);
    while (atomic_load(&v.ended[0]) < 1)
        give_way();
    atomic_store(&v.timeout_ms, timeout_ms);
    int threads = watch_threads();
    for (int i = 0; i < count; i++)
        crowd[i] = start_silent(&v, (enum habit)(i % HABITS));
    if (timeout_ms < 0) {
        for (int i = DOES_NOT_ANSWER; i < count; i += HABITS)
            let_hear(crowd[i]);
        while (atomic_load(&v.waiting) < count)
            give_way();
        CHECK(!ground->tasks || watch_threads() <= threads);
        for (int i = 0; i < 5; i++)
            be_served(&v);
    } else {
        while (atomic_load(&v.ended[1]) < count)
            weir_sleep(1);
        atomic_store(&v.timeout_ms, LONG_MS);
        be_served(&v);
    }
    close_service(&v);
    EXPECT(v.ended[timeout_ms < 0 ? 2 : 1], count);
    EXPECT(v.ended[3], 0);
    for (int i = 0; i < count; i++)
        puppet_close(crowd[i]);
    free(crowd);
}

static void a_crowd_of_silent_clients(void)
{
    a_crowd(-1);
}

static void a_limit_ends_each(void)
{
    a_crowd(MOMENT_MS);
}

/* The same for a program with a poller: it sleeps, and serves others. */
static void a_crowd_and_a_poller(void)
{
    enum { COUNT = 100 };
    struct service v = {.listener = NULL};
    struct puppet *crowd[COUNT], *good;
    weir_socket *s[COUNT + 1];
    weir_poller *poller;
    weir_event e;
    EXPECT(weir_poller_open(&poller), 0);
    EXPECT(weir_listen_on(&v.listener, "tls://127.0.0.1:0",
                          WEIR_LISTEN_OPTIONS(.tls = puppet_config(true))),
           0);
    EXPECT(weir_local_address(v.listener, &v.where), 0);
    for (int i = 0; i <= COUNT; i++) {
        struct puppet *p = start_silent(&v, i == COUNT ? READS_NOTHING : (enum habit)(i % HABITS));
        *(i == COUNT ? &good : &crowd[i]) = p;
        EXPECT(weir_accept(v.listener, &s[i]), 0);
        EXPECT(weir_set_blocking(s[i], false), 0);
        EXPECT(weir_poller_add(poller, s[i], WEIR_READABLE, NULL), 0);
    }
    while (good->heard == 0) {
        int n = weir_poller_wait(poller, &e, 1, 0);
        if (!good->said && good->shaken)
            CHECK(puppet_say(good, 1));
        puppet_turn(good);
        if (n == 1) {
            unsigned char byte;
            CHECK(e.socket == s[COUNT]);
            if (weir_recv(e.socket, &byte, 1) == 1)
                EXPECT(weir_send(e.socket, &byte, 1), 1);
        }
    }
    EXPECT(weir_poller_wait(poller, &e, 1, 0), 0);
    EXPECT(weir_poller_close(poller), 0);
    for (int i = 0; i <= COUNT; i++) {
        EXPECT(weir_close(s[i]), 0);
        puppet_close(i == COUNT ? good : crowd[i]);
    }
    EXPECT(weir_close(v.listener), 0);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, a_crowd_of_silent_clients),
        GROUND_TEST(EVERYWHERE, a_limit_ends_each),
        GROUND_TEST(ONCE, a_crowd_and_a_poller),
    };
    int failed = ground_main(argc, argv, "tls_silent", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
