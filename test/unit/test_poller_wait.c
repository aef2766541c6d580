/* How a wait of the poller ends, what it costs, and what happens when the system refuses. */
#include "support/poller_fixture.h"

#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- time and wakes -------------------------------------------------------------------------- */

static void a_wait_ends_when_its_time_is_up(void **state)
{
    struct poller_fixture *f = *state;

    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 0), 0);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 1), 0);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 10), 0);
}

static void a_limit_of_the_thread_ends_a_wait(void **state)
{
    struct poller_fixture *f = *state;

    {
        WEIR_WITHIN_MS(60000);
        assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 0), 0);
        assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 1), 0);
    }
    WEIR_WITHIN_MS(5);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 60000), WEIR_EDEADLINE);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, -1), WEIR_EDEADLINE);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 0), 0);
}

/* A peer that always has something cannot outlast a limit. */
static void a_limit_ends_waits_that_would_find_something(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    WEIR_WITHIN_MS(0);
    assert_int_equal(wait_once(f), WEIR_EDEADLINE);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 0), 1);
    conversation_close(pair);
}

static void a_signal_does_not_end_a_wait(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    faults_start(SYS_EPOLL_WAIT, -EINTR, 3);
    expect_one(f, pair[0], WEIR_WRITABLE, NULL);
    assert_int_equal(weir_poller_remove(f->p, pair[0]), 0);
    faults_start(SYS_EPOLL_WAIT, -EINTR, 3);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 5), 0);
    conversation_close(pair);
}

static void a_wake_ends_the_next_wait_once(void **state)
{
    struct poller_fixture *f = *state;

    assert_int_equal(weir_poller_wake(f->p), 0);
    assert_int_equal(weir_poller_wake(f->p), 0);
    assert_true(poller_fd_ready(f->p));
    assert_int_equal(wait_once(f), 0);
    assert_false(poller_fd_ready(f->p));
    WEIR_WITHIN_MS(5);
    assert_int_equal(wait_once(f), WEIR_EDEADLINE);
}

static void a_wake_does_not_hide_events(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    assert_int_equal(weir_poller_wake(f->p), 0);
    expect_one(f, pair[0], WEIR_WRITABLE, NULL);
    assert_int_equal(weir_poller_remove(f->p, pair[0]), 0);
    assert_false(poller_fd_ready(f->p));
    conversation_close(pair);
}

/* Reported, a wait makes one system call. */
static void a_wait_that_finds_something_is_one_call(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    faults_start(SYS_CALLS, 0, 0);
    for (int i = 0; i < 10; i++)
        expect_one(f, pair[0], WEIR_WRITABLE, NULL);
    assert_int_equal(faults_calls(SYS_EPOLL_WAIT), 10);
    for (int call = 0; call < SYS_CALLS; call++)
        if (call != SYS_EPOLL_WAIT)
            assert_int_equal(faults_calls(call), 0);
    conversation_close(pair);
}

static void the_descriptor_shows_data(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    int fd = weir_poller_fd(f->p);

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    assert_false(poller_fd_ready(f->p));
    send_byte(pair[1]);
    assert_true(poller_fd_ready(f->p));
    expect_one(f, pair[0], WEIR_READABLE, NULL);
    assert_true(poller_fd_ready(f->p));
    recv_byte(pair[0]);
    assert_false(poller_fd_ready(f->p));
    assert_int_equal(weir_poller_fd(f->p), fd);
    conversation_close(pair);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void what_cannot_be_opened_leaves_nothing_behind(void **state)
{
    static const struct {
        enum sys_call call;
        int rc;
    } failures[] = {
        {SYS_ALLOC, -ENOMEM},   {SYS_EPOLL_CREATE, -EMFILE}, {SYS_EVENTFD, -ENFILE},
        {SYS_TIMERFD, -EMFILE}, {SYS_EPOLL_CTL, -ENOMEM},
    };
    weir_poller *p = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        faults_start(failures[i].call, failures[i].rc, 1);
        assert_int_equal(weir_poller_open(&p), failures[i].rc);
        assert_null(p);
    }
}

static void a_socket_that_cannot_be_added_is_not_watched(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    faults_start(SYS_EPOLL_CTL, -ENOSPC, 1);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), -ENOSPC);
    assert_int_equal(weir_poller_remove(f->p, pair[0]), -ENOENT);
    faults_start(SYS_ALLOC, -ENOMEM, 1);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), -ENOMEM);
    sys_faults = NULL;
    conversation_close(pair);
}

static void a_change_that_fails_changes_nothing(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, f), 0);
    faults_start(SYS_EPOLL_CTL, -ENOSPC, 1);
    assert_int_equal(weir_poller_modify(f->p, pair[0], BOTH, NULL), -ENOSPC);
    expect_nothing(f);
    send_byte(pair[1]);
    expect_one(f, pair[0], WEIR_READABLE, f);
    assert_int_equal(weir_poller_modify(f->p, pair[0], BOTH, pair), 0);
    expect_one(f, pair[0], BOTH, pair);
    conversation_close(pair);
}

/* Without memory for all the room that there is in `events`, a wait takes fewer at a time. */
static void a_wait_needs_no_memory(void **state)
{
    struct poller_fixture *f = *state;
    weir_event events[200];
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    faults_start(SYS_ALLOC, -ENOMEM, 1000);
    assert_int_equal(weir_poller_wait(f->p, events, 200, -1), 1);
    conversation_close(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(a_wait_ends_when_its_time_is_up),
        POLLER_TEST(a_limit_of_the_thread_ends_a_wait),
        POLLER_TEST(a_limit_ends_waits_that_would_find_something),
        POLLER_TEST(a_signal_does_not_end_a_wait),
        POLLER_TEST(a_wake_ends_the_next_wait_once),
        POLLER_TEST(a_wake_does_not_hide_events),
        POLLER_TEST(a_wait_that_finds_something_is_one_call),
        POLLER_TEST(the_descriptor_shows_data),
        POLLER_TEST(what_cannot_be_opened_leaves_nothing_behind),
        POLLER_TEST(a_socket_that_cannot_be_added_is_not_watched),
        POLLER_TEST(a_change_that_fails_changes_nothing),
        POLLER_TEST(a_wait_needs_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
