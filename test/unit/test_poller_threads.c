/* The poller and other threads, which add, change, remove, abort, connect and close while one
 * waits. */
#include "support/poller_fixture.h"

#include "poller_watch.h"
#include "socket.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* An assertion returns into the test runner, which only the first thread may do. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- one wait in another thread -------------------------------------------------------------- */

struct wait {
    struct poller_fixture *f;
    pthread_t thread;
    _Atomic pid_t tid;
    int rc;
};

static void *wait_run(void *arg)
{
    struct wait *w = arg;

    w->tid = gettid();
    w->rc = wait_once(w->f);
    return NULL;
}

/* Returns when the other thread sleeps in its wait. */
static void wait_start(struct wait *w, struct poller_fixture *f)
{
    *w = (struct wait){.f = f};
    assert_int_equal(pthread_create(&w->thread, NULL, wait_run, w), 0);
    while (w->tid == 0)
        sched_yield();
    watch_until_asleep(w->tid);
}

static int wait_end(struct wait *w)
{
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    return w->rc;
}

static void a_wake_ends_the_wait_that_runs(void **state)
{
    struct poller_fixture *f = *state;
    struct wait w;

    wait_start(&w, f);
    assert_int_equal(weir_poller_wake(f->p), 0);
    assert_int_equal(wait_end(&w), 0);
    assert_false(poller_fd_ready(f->p));
}

static void one_thread_waits_at_a_time(void **state)
{
    struct poller_fixture *f = *state;
    weir_event event;
    struct wait w;

    wait_start(&w, f);
    assert_int_equal(weir_poller_wait(f->p, &event, 1, -1), -EBUSY);
    assert_int_equal(weir_poller_wake(f->p), 0);
    assert_int_equal(wait_end(&w), 0);
    assert_int_equal(weir_poller_wait(f->p, &event, 1, 0), 0);
}

static void what_is_added_during_a_wait_is_reported(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct wait w;

    pair_open(pair);
    wait_start(&w, f);
    assert_int_equal(weir_poller_add(f->p, pair[0], 0, NULL), 0);
    watch_until_asleep(w.tid);
    assert_int_equal(weir_poller_modify(f->p, pair[0], WEIR_WRITABLE, pair), 0);
    assert_int_equal(wait_end(&w), 1);
    assert_ptr_equal(f->events[0].data, pair);
    conversation_close(pair);
}

static void an_abort_is_reported_during_a_wait(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct wait w;

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, pair), 0);
    wait_start(&w, f);
    weir_abort(pair[0]);
    assert_int_equal(wait_end(&w), 1);
    assert_ptr_equal(f->events[0].socket, pair[0]);
    assert_int_equal(f->events[0].events, WEIR_READABLE);
    conversation_close(pair);
}

static void a_close_during_a_wait_removes(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct wait w;

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, pair), 0);
    wait_start(&w, f);
    weir_close(pair[0]);
    watch_until_asleep(w.tid);
    assert_int_equal(weir_poller_wake(f->p), 0);
    assert_int_equal(wait_end(&w), 0);
    weir_close(pair[1]);
}

static void a_connect_that_begins_during_a_wait_is_driven(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *listener = listener_open(&where), *s = tcp_open();
    struct wait w;

    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    wait_start(&w, f);
    (void)weir_connect_address(s, &where);
    assert_int_equal(wait_end(&w), 1);
    assert_int_equal(weir_connect_status(s), 0);
    weir_close(s);
    weir_close(listener);
}

/* A thread that waits for hours must not keep the remains of all that came and went meanwhile. */
static void a_long_wait_does_not_hoard_memory(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct wait w;

    pair_open(pair);
    wait_start(&w, f);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
        assert_int_equal(weir_poller_remove(f->p, pair[0]), 0);
    }
    watch_until_asleep(w.tid);
    pthread_mutex_lock(&f->p->lock);
    unsigned kept = f->p->grave_count;
    pthread_mutex_unlock(&f->p->lock);
    assert_in_range(kept, 0, 100);
    assert_int_equal(weir_poller_wake(f->p), 0);
    assert_int_equal(wait_end(&w), 0);
    conversation_close(pair);
}

/* A socket that is removed between the moment at which the kernel has handed out its event and the
 * moment at which the waiting thread looks at that. */
static void an_event_that_comes_too_late_is_dropped(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct wait w;

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    wait_start(&w, f);
    pthread_mutex_lock(&pair[0]->lock);
    pthread_mutex_lock(&f->p->lock);
    send_byte(pair[1]);
    watch_until_asleep(w.tid); /* it has the event and wants the lock */
    watch_end(watch_find(f->p, pair[0]));
    pthread_mutex_unlock(&f->p->lock);
    pthread_mutex_unlock(&pair[0]->lock);
    watch_until_asleep(w.tid);
    assert_int_equal(weir_poller_wake(f->p), 0);
    assert_int_equal(wait_end(&w), 0);
    conversation_close(pair);
}

/* ---- the last reference ---------------------------------------------------------------------- */

struct closing {
    weir_socket *s;
    weir_poller *p;
    pthread_t thread;
    _Atomic pid_t tid;
};

static void *closing_run(void *arg)
{
    struct closing *c = arg;

    c->tid = gettid();
    weir_close(c->s);
    weir_poller_close(c->p);
    return NULL;
}

/* Closes a socket or a poller in another thread, as far as it goes. */
static void closing_start(struct closing *c, weir_socket *s, weir_poller *p)
{
    *c = (struct closing){.s = s, .p = p};
    assert_int_equal(pthread_create(&c->thread, NULL, closing_run, c), 0);
    while (c->tid == 0)
        sched_yield();
    watch_until_asleep(c->tid);
}

static void closing_end(struct closing *c)
{
    assert_int_equal(pthread_join(c->thread, NULL), 0);
}

/* The last reference is gone, the watch not yet. */
static void a_socket_that_is_about_to_go_is_left_alone(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct closing c;

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    weir_abort(pair[0]);
    pthread_mutex_lock(&pair[0]->lock);
    closing_start(&c, pair[0], NULL);
    expect_nothing(f);
    pthread_mutex_unlock(&pair[0]->lock);
    closing_end(&c);
    expect_nothing(f);
    weir_close(pair[1]);
}

static void a_poller_outlives_a_socket_that_is_about_to_go(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct closing socket, poller;

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    pthread_mutex_lock(&pair[0]->lock);
    closing_start(&socket, pair[0], NULL);
    closing_start(&poller, NULL, f->p);
    pthread_mutex_unlock(&pair[0]->lock);
    closing_end(&socket);
    closing_end(&poller);
    f->p = NULL;
    weir_close(pair[1]);
}

/* ---- coming and going ------------------------------------------------------------------------ */

#define OWNERS 3
#define ROUNDS 150

/* One for each socket that is ever watched, so that an event which comes late is not taken for that
 * of another. */
struct place {
    sem_t seen;
    atomic_bool told;
};

struct owner {
    weir_poller *p, *also; /* `also` may be NULL */
    weir_address where;
    pthread_t thread;
    atomic_int *running;
    struct place slots[ROUNDS];
};

static void slot_await(struct place *slot)
{
    while (sem_wait(&slot->seen))
        continue;
}

static void owner_start(struct owner *o, void *(*run)(void *arg))
{
    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(sem_init(&o->slots[i].seen, 0, 0), 0);
    assert_int_equal(pthread_create(&o->thread, NULL, run, o), 0);
}

static void owner_join(struct owner *o)
{
    assert_int_equal(pthread_join(o->thread, NULL), 0);
    for (int i = 0; i < ROUNDS; i++)
        sem_destroy(&o->slots[i].seen);
}

static void owner_done(struct owner *o)
{
    atomic_fetch_sub(o->running, 1);
    CHECK(weir_poller_wake(o->p) == 0);
    CHECK(!o->also || weir_poller_wake(o->also) == 0);
}

/* Reports to the owners what the poller says, until they have all ended. */
static void serve(weir_poller *p, atomic_int *running)
{
    weir_event events[4];

    while (atomic_load(running)) {
        int n = weir_poller_wait(p, events, 4, -1);
        CHECK(n >= 0);
        for (int i = 0; i < n; i++) {
            struct place *slot = events[i].data;
            if (!atomic_exchange(&slot->told, true))
                sem_post(&slot->seen);
        }
    }
}

/* Each socket that becomes ready is reported, however many others are removed, aborted and closed
 * in the same instant, and however soon their numbers are used again. */
static void *come_and_go(void *arg)
{
    struct owner *o = arg;

    for (int i = 0; i < ROUNDS; i++) {
        weir_socket *pair[2];
        CHECK(weir_pair(pair, SOCK_STREAM | SOCK_NONBLOCK) == 0);
        CHECK(weir_poller_add(o->p, pair[0], i % 2 ? WEIR_READABLE : 0, &o->slots[i]) == 0);
        CHECK(weir_send(pair[1], "x", 1) == 1);
        if (i % 2 == 0)
            CHECK(weir_poller_modify(o->p, pair[0], BOTH, &o->slots[i]) == 0);
        slot_await(&o->slots[i]);
        if (i % 3 == 0)
            CHECK(weir_poller_remove(o->p, pair[0]) == 0);
        if (i % 3 == 1)
            weir_abort(pair[0]);
        weir_close(pair[0]);
        weir_close(pair[1]);
    }
    owner_done(o);
    return NULL;
}

static void sockets_come_and_go_during_waits(void **state)
{
    static struct owner owners[OWNERS];
    struct poller_fixture *f = *state;
    atomic_int running = OWNERS;

    for (int i = 0; i < OWNERS; i++) {
        owners[i] = (struct owner){.p = f->p, .running = &running};
        owner_start(&owners[i], come_and_go);
    }
    serve(f->p, &running);
    for (int i = 0; i < OWNERS; i++)
        owner_join(&owners[i]);
}

/* Two pollers in two threads drive each connect, its owner begins and ends it. */
static void *connect_and_close(void *arg)
{
    struct owner *o = arg;

    for (int i = 0; i < ROUNDS; i++) {
        weir_socket *s;
        CHECK(weir_socket_open(&s, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) == 0);
        CHECK(weir_poller_add(o->p, s, WEIR_WRITABLE, &o->slots[i]) == 0);
        CHECK(weir_poller_add(o->also, s, WEIR_WRITABLE, &o->slots[i]) == 0);
        int rc = weir_connect_address(s, &o->where);
        CHECK(rc == 0 || rc == -EINPROGRESS);
        if (i % 5) {
            slot_await(&o->slots[i]);
            CHECK(weir_connect_status(s) == 0);
        }
        weir_close(s);
    }
    owner_done(o);
    return NULL;
}

static void *serve_also(void *arg)
{
    struct owner *o = arg;

    serve(o->also, o->running);
    return NULL;
}

static void connects_begin_and_end_during_waits(void **state)
{
    static struct owner owners[2];
    struct poller_fixture *f = *state, *other;
    weir_address where;
    weir_socket *listener = listener_open(&where);
    atomic_int running = 2;
    pthread_t second;

    assert_int_equal(poller_fixture_open((void **)&other), 0);
    for (int i = 0; i < 2; i++) {
        owners[i] =
            (struct owner){.p = f->p, .also = other->p, .where = where, .running = &running};
        owner_start(&owners[i], connect_and_close);
    }
    assert_int_equal(pthread_create(&second, NULL, serve_also, &owners[0]), 0);
    serve(f->p, &running);
    assert_int_equal(pthread_join(second, NULL), 0);
    for (int i = 0; i < 2; i++)
        owner_join(&owners[i]);
    assert_int_equal(poller_fixture_close((void **)&other), 0);
    weir_close(listener);
}

/* ---- the end of both ------------------------------------------------------------------------- */

struct ending {
    weir_socket *pairs[4][2];
    pthread_barrier_t *start;
};

static void *close_sockets(void *arg)
{
    struct ending *e = arg;

    pthread_barrier_wait(e->start);
    for (int i = 0; i < 4; i++) {
        weir_close(e->pairs[i][0]);
        weir_close(e->pairs[i][1]);
    }
    return NULL;
}

/* Whichever is faster: neither may touch what the other has freed, nor forget it. */
static void a_poller_and_its_sockets_may_end_at_the_same_time(void **state)
{
    pthread_barrier_t start;
    struct ending e = {.start = &start};
    pthread_t thread;
    weir_poller *p;

    (void)state;
    pthread_barrier_init(&start, NULL, 2);
    for (int round = 0; round < 200; round++) {
        assert_int_equal(weir_poller_open(&p), 0);
        for (int i = 0; i < 4; i++) {
            pair_open(e.pairs[i]);
            assert_int_equal(weir_poller_add(p, e.pairs[i][0], WEIR_READABLE, NULL), 0);
        }
        assert_int_equal(pthread_create(&thread, NULL, close_sockets, &e), 0);
        pthread_barrier_wait(&start);
        assert_int_equal(weir_poller_close(p), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    pthread_barrier_destroy(&start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(a_wake_ends_the_wait_that_runs),
        POLLER_TEST(one_thread_waits_at_a_time),
        POLLER_TEST(what_is_added_during_a_wait_is_reported),
        POLLER_TEST(an_abort_is_reported_during_a_wait),
        POLLER_TEST(a_close_during_a_wait_removes),
        POLLER_TEST(a_connect_that_begins_during_a_wait_is_driven),
        POLLER_TEST(a_long_wait_does_not_hoard_memory),
        POLLER_TEST(an_event_that_comes_too_late_is_dropped),
        POLLER_TEST(a_socket_that_is_about_to_go_is_left_alone),
        POLLER_TEST(a_poller_outlives_a_socket_that_is_about_to_go),
        POLLER_TEST(sockets_come_and_go_during_waits),
        POLLER_TEST(connects_begin_and_end_during_waits),
        POLLER_TEST(a_poller_and_its_sockets_may_end_at_the_same_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
