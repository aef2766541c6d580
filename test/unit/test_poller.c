/* The poller, from one thread. */
#include "support/poller_fixture.h"

#include "socket.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

/* ---- what is reported ------------------------------------------------------------------------ */

static void a_socket_is_reported_for_as_long_as_it_is_ready(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, pair), 0);
    expect_nothing(f);
    send_byte(pair[1]);
    for (int i = 0; i < 3; i++)
        expect_one(f, pair[0], WEIR_READABLE, pair);
    recv_byte(pair[0]);
    expect_nothing(f);
    conversation_close(pair);
}

static void only_what_was_asked_for_is_reported(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    send_byte(pair[1]);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    expect_one(f, pair[0], WEIR_WRITABLE, NULL);
    assert_int_equal(weir_poller_modify(f->p, pair[0], BOTH, pair), 0);
    expect_one(f, pair[0], BOTH, pair);
    assert_int_equal(weir_poller_modify(f->p, pair[0], WEIR_READABLE, f), 0);
    expect_one(f, pair[0], WEIR_READABLE, f);
    conversation_close(pair);
}

/* A hang-up, which epoll reports to everybody who is in the set, must not make a wait for nothing
 * spin. */
static void events_0_is_silence_even_after_a_hang_up(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], BOTH, NULL), 0);
    assert_int_equal(weir_poller_modify(f->p, pair[0], 0, NULL), 0);
    weir_close(pair[1]);
    faults_start(SYS_CALLS, 0, 0);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 5), 0);
    assert_int_equal(faults_calls(SYS_EPOLL_WAIT), 1);
    assert_false(poller_fd_ready(f->p));
    assert_int_equal(weir_poller_modify(f->p, pair[0], BOTH, NULL), 0);
    expect_one(f, pair[0], BOTH, NULL);
    weir_close(pair[0]);
}

static void a_hang_up_is_all_that_was_asked_for(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    weir_close(pair[1]);
    expect_one(f, pair[0], WEIR_READABLE, NULL);
    assert_int_equal(weir_poller_modify(f->p, pair[0], BOTH, NULL), 0);
    expect_one(f, pair[0], BOTH, NULL);
    weir_close(pair[0]);
}

static void an_abort_is_reported_until_the_socket_is_removed(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, pair), 0);
    weir_abort(pair[0]);
    assert_true(poller_fd_ready(f->p));
    for (int i = 0; i < 3; i++)
        expect_one(f, pair[0], WEIR_READABLE, pair);
    assert_int_equal(weir_poller_remove(f->p, pair[0]), 0);
    assert_false(poller_fd_ready(f->p));
    expect_nothing(f);
    /* One that was aborted before may be watched as well. */
    assert_int_equal(weir_poller_add(f->p, pair[0], BOTH, NULL), 0);
    expect_one(f, pair[0], BOTH, NULL);
    conversation_close(pair);
}

static void a_socket_in_blocking_mode_may_be_watched(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    assert_int_equal(weir_pair(pair, SOCK_DGRAM), 0);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    expect_nothing(f);
    send_byte(pair[1]);
    expect_one(f, pair[0], WEIR_READABLE, NULL);
    assert_int_equal(weir_get_blocking(pair[0]), 1);
    conversation_close(pair);
}

/* ---- kinds of descriptors -------------------------------------------------------------------- */

static void a_pipe_is_readable_when_bytes_or_the_end_are_there(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *reader;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(weir_from_fd(&reader, fds[0]), 0);
    assert_int_equal(weir_poller_add(f->p, reader, WEIR_READABLE, NULL), 0);
    expect_nothing(f);
    assert_int_equal(write(fds[1], "x", 1), 1);
    expect_one(f, reader, WEIR_READABLE, NULL);
    recv_byte(reader);
    expect_nothing(f);
    close(fds[1]);
    expect_one(f, reader, WEIR_READABLE, NULL);
    weir_close(reader);
}

static weir_socket *file_open(void)
{
    weir_socket *s;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(weir_from_fd(&s, fd), 0);
    return s;
}

static void a_regular_file_is_always_ready(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *file = file_open();

    assert_int_equal(weir_poller_add(f->p, file, WEIR_READABLE, file), 0);
    assert_true(poller_fd_ready(f->p));
    for (int i = 0; i < 3; i++)
        expect_one(f, file, WEIR_READABLE, file);
    assert_int_equal(weir_poller_modify(f->p, file, BOTH, NULL), 0);
    expect_one(f, file, BOTH, NULL);
    assert_int_equal(weir_poller_modify(f->p, file, 0, NULL), 0);
    assert_false(poller_fd_ready(f->p));
    expect_nothing(f);
    assert_int_equal(weir_poller_modify(f->p, file, WEIR_READABLE, NULL), 0);
    expect_one(f, file, WEIR_READABLE, NULL);
    weir_close(file);
    assert_false(poller_fd_ready(f->p));
    expect_nothing(f);
}

/* What epoll does not take, though it is not a file that weir knows as such. */
static void the_null_device_is_always_ready(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *null;

    assert_int_equal(weir_from_fd(&null, open("/dev/null", O_RDWR | O_CLOEXEC)), 0);
    assert_int_equal(weir_poller_add(f->p, null, BOTH, NULL), 0);
    for (int i = 0; i < 3; i++)
        expect_one(f, null, BOTH, NULL);
    weir_close(null);
}

/* An unconnected TCP socket polls as writable and hung up. */
static void a_socket_that_is_only_bound_is_not_reported(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *s = tcp_open();

    assert_int_equal(weir_poller_add(f->p, s, BOTH, NULL), 0);
    expect_nothing(f);
    assert_int_equal(weir_bind(s, "127.0.0.1", 0), 0);
    expect_nothing(f);
    assert_int_equal(weir_listen(s, 1), 0);
    expect_nothing(f);
    weir_close(s);

    s = tcp_open();
    assert_int_equal(weir_bind(s, "127.0.0.1", 0), 0);
    assert_int_equal(weir_poller_add(f->p, s, BOTH, NULL), 0);
    expect_nothing(f);
    weir_close(s);
}

static void a_datagram_socket_may_be_watched_before_it_is_bound(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *receiver, *sender;

    assert_int_equal(weir_socket_open(&receiver, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_socket_open(&sender, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_poller_add(f->p, receiver, WEIR_READABLE, receiver), 0);
    assert_int_equal(weir_poller_add(f->p, sender, WEIR_WRITABLE, sender), 0);
    expect_nothing(f);
    assert_int_equal(weir_bind(receiver, "127.0.0.1", 0), 0);
    assert_int_equal(weir_local_address(receiver, &where), 0);
    expect_nothing(f);
    assert_int_equal(weir_send_to(sender, "x", 1, &where), 1);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, -1), 2);
    weir_close(sender);
    expect_one(f, receiver, WEIR_READABLE, receiver);
    weir_close(receiver);
}

static unsigned held_back;

static void interest(weir_socket *s, unsigned events, struct interest *ret)
{
    layer_interest(s, events, ret);
    ret->ready = held_back & events;
}

/* Bytes that a layer has taken off the descriptor and not given out yet. With what the descriptor
 * says they make one event. */
static void what_a_layer_holds_back_is_reported(void **state)
{
    struct poller_fixture *f = *state;
    struct layer_ops layer = layer_plain;
    weir_socket *pair[2];

    pair_open(pair);
    layer.interest = interest;
    pair[0]->layer = &layer;
    held_back = WEIR_READABLE;
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    assert_true(poller_fd_ready(f->p));
    expect_one(f, pair[0], WEIR_READABLE, NULL);
    assert_int_equal(weir_poller_modify(f->p, pair[0], BOTH, NULL), 0);
    for (int i = 0; i < 3; i++)
        expect_one(f, pair[0], BOTH, NULL);
    held_back = 0;
    assert_int_equal(weir_poller_modify(f->p, pair[0], WEIR_READABLE, NULL), 0);
    expect_nothing(f);
    assert_false(poller_fd_ready(f->p));
    conversation_close(pair);
}

/* Nobody wakes the poller when the last of them is given out: it looks by itself. */
static void what_a_layer_has_given_out_is_not_reported(void **state)
{
    struct poller_fixture *f = *state;
    struct layer_ops layer = layer_plain;
    weir_socket *pair[2];

    pair_open(pair);
    layer.interest = interest;
    pair[0]->layer = &layer;
    held_back = WEIR_READABLE;
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    expect_one(f, pair[0], WEIR_READABLE, NULL);
    held_back = 0;
    expect_nothing(f);
    assert_false(poller_fd_ready(f->p));
    conversation_close(pair);
}

static void a_listener_is_readable_when_somebody_has_come(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *accepted, *listener = listener_open(&where), *client = tcp_open();

    assert_int_equal(weir_poller_add(f->p, listener, WEIR_READABLE, NULL), 0);
    expect_nothing(f);
    (void)weir_connect_address(client, &where);
    expect_one(f, listener, WEIR_READABLE, NULL);
    assert_int_equal(weir_accept(listener, &accepted), 0);
    expect_nothing(f);
    weir_close(accepted);
    weir_close(client);
    weir_close(listener);
}

/* ---- adding, changing, removing -------------------------------------------------------------- */

static void wrong_use_is_refused(void **state)
{
    struct poller_fixture *f = *state;
    weir_poller *p = f->p;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_open(NULL), -EINVAL);
    assert_int_equal(weir_poller_close(NULL), 0);
    assert_int_equal(weir_poller_add(NULL, pair[0], 0, NULL), -EINVAL);
    assert_int_equal(weir_poller_add(p, NULL, 0, NULL), -EINVAL);
    assert_int_equal(weir_poller_add(p, pair[0], 4, NULL), -EINVAL);
    assert_int_equal(weir_poller_modify(p, pair[0], 0, NULL), -ENOENT);
    assert_int_equal(weir_poller_remove(p, pair[0]), -ENOENT);
    assert_int_equal(weir_poller_add(p, pair[0], 0, NULL), 0);
    assert_int_equal(weir_poller_add(p, pair[0], 0, NULL), -EEXIST);
    assert_int_equal(weir_poller_modify(p, pair[0], 8 | WEIR_READABLE, NULL), -EINVAL);
    assert_int_equal(weir_poller_modify(NULL, pair[0], 0, NULL), -EINVAL);
    assert_int_equal(weir_poller_modify(p, NULL, 0, NULL), -EINVAL);
    assert_int_equal(weir_poller_remove(NULL, pair[0]), -EINVAL);
    assert_int_equal(weir_poller_remove(p, NULL), -EINVAL);
    assert_int_equal(weir_poller_remove(p, pair[0]), 0);
    assert_int_equal(weir_poller_remove(p, pair[0]), -ENOENT);
    assert_int_equal(weir_poller_wait(NULL, f->events, 1, 0), -EINVAL);
    assert_int_equal(weir_poller_wait(p, NULL, 1, 0), -EINVAL);
    assert_int_equal(weir_poller_wait(p, f->events, 0, 0), -EINVAL);
    assert_int_equal(weir_poller_wait(p, f->events, -1, 0), -EINVAL);
    assert_int_equal(weir_poller_wake(NULL), -EINVAL);
    assert_int_equal(weir_poller_fd(NULL), -EINVAL);
    conversation_close(pair);
}

static void a_socket_that_is_removed_is_not_reported_again(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    for (int i = 0; i < 2; i++) {
        send_byte(pair[i]);
        assert_int_equal(weir_poller_add(f->p, pair[i], WEIR_READABLE, NULL), 0);
    }
    assert_int_equal(wait_once(f), 2);
    assert_int_equal(weir_poller_remove(f->p, f->events[1].socket), 0);
    expect_one(f, f->events[0].socket, WEIR_READABLE, NULL);
    conversation_close(pair);
}

/* A look-up or a call in another thread may hold the socket a moment longer than its owner. Whoever
 * has closed it may have freed `data`: no event of it may come any more. */
static void a_closed_socket_is_not_reported_while_a_call_still_holds_it(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], BOTH, NULL), 0);
    assert_true(socket_try_ref(pair[0]));
    weir_close(pair[0]);
    assert_false(poller_fd_ready(f->p));
    expect_nothing(f);
    socket_unref(pair[0]);
    weir_close(pair[1]);
}

static void an_owner_who_closes_leaves_the_others_their_events(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    weir_ref(pair[0]);
    weir_close(pair[0]);
    expect_one(f, pair[0], WEIR_READABLE, NULL);
    weir_close(pair[0]);
    expect_nothing(f);
    weir_close(pair[1]);
}

/* The number of a closed descriptor goes to the next that is opened. */
static void a_number_that_is_used_again_brings_no_old_event(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *old[2], *new[2];

    pair_open(old);
    assert_int_equal(weir_poller_add(f->p, old[0], WEIR_READABLE, old), 0);
    send_byte(old[1]);
    expect_one(f, old[0], WEIR_READABLE, old);
    int fd = weir_fd(old[0]);
    weir_close(old[0]);
    pair_open(new);
    assert_int_equal(weir_fd(new[0]), fd);
    assert_int_equal(weir_poller_add(f->p, new[0], WEIR_READABLE, new), 0);
    expect_nothing(f);
    send_byte(new[1]);
    expect_one(f, new[0], WEIR_READABLE, new);
    conversation_close(new);
    weir_close(old[1]);
}

static void detaching_ends_the_watch(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    int fd = weir_detach(pair[0]);
    assert_true(fd >= 0);
    send_byte(pair[1]);
    assert_false(poller_fd_ready(f->p));
    expect_nothing(f);
    close(fd);
    weir_close(pair[1]);
}

static void several_pollers_may_watch_a_socket(void **state)
{
    struct poller_fixture *f = *state, *other;
    weir_socket *pair[2];

    assert_int_equal(poller_fixture_open((void **)&other), 0);
    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, f), 0);
    assert_int_equal(weir_poller_add(other->p, pair[0], BOTH, other), 0);
    send_byte(pair[1]);
    expect_one(f, pair[0], WEIR_READABLE, f);
    expect_one(other, pair[0], BOTH, other);
    assert_int_equal(weir_poller_remove(f->p, pair[0]), 0);
    expect_nothing(f);
    expect_one(other, pair[0], BOTH, other);
    conversation_close(pair);
    expect_nothing(other);
    assert_int_equal(poller_fixture_close((void **)&other), 0);
}

static void closing_a_poller_leaves_its_sockets_as_they_are(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], BOTH, NULL), 0);
    assert_int_equal(weir_poller_add(f->p, pair[1], BOTH, NULL), 0);
    weir_poller_close(f->p);
    send_byte(pair[0]);
    recv_byte(pair[1]);
    assert_int_equal(weir_poller_open(&f->p), 0);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    expect_one(f, pair[0], WEIR_WRITABLE, NULL);
    conversation_close(pair);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define PAIRS 1000

static int room_for_descriptors(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < WATCH_FDS ? limit.rlim_max : WATCH_FDS;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return (int)limit.rlim_cur;
}

/* All of 2,000 sockets are ready; with room for 16, each gets its turn before any gets a second. */
static void all_of_many_ready_sockets_get_their_turn(void **state)
{
    static weir_socket *sockets[PAIRS][2];
    static unsigned char turns[PAIRS];
    struct poller_fixture *f = *state;

    if (room_for_descriptors() < 2 * PAIRS + 100) {
        print_message("skipped: too few descriptors are allowed here\n");
        skip();
    }
    memset(turns, 0, sizeof turns);
    for (int i = 0; i < PAIRS; i++) {
        pair_open(sockets[i]);
        assert_int_equal(weir_poller_add(f->p, sockets[i][0], WEIR_WRITABLE, &turns[i]), 0);
        assert_int_equal(weir_poller_add(f->p, sockets[i][1], WEIR_READABLE, NULL), 0);
    }
    for (int seen = 0; seen < PAIRS;) {
        int n = wait_once(f);
        for (int i = 0; i < n && seen < PAIRS; i++, seen++)
            assert_int_equal((*(unsigned char *)f->events[i].data)++, 0);
    }
    for (int i = 0; i < PAIRS; i++)
        conversation_close(sockets[i]);
    expect_nothing(f);
}

/* What epoll reports and what weir itself knows to be ready share the room fairly. */
static void no_kind_of_readiness_starves_another(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *sockets[6];
    int turns[6] = {0};

    for (size_t i = 0; i < 2; i++) {
        pair_open(&sockets[2 * i]);
        sockets[4 + i] = file_open();
    }
    for (int i = 0; i < 6; i++)
        assert_int_equal(weir_poller_add(f->p, sockets[i], WEIR_WRITABLE, &turns[i]), 0);
    for (int room = 1; room <= 3; room++) {
        memset(turns, 0, sizeof turns);
        for (int wait = 0; wait < 24; wait++) {
            int n = weir_poller_wait(f->p, f->events, room, -1);
            assert_in_range(n, 1, room);
            for (int i = 0; i < n; i++)
                ++*(int *)f->events[i].data;
        }
        for (int i = 0; i < 6; i++)
            assert_in_range(turns[i], 2, 24);
    }
    for (int i = 0; i < 6; i++)
        weir_close(sockets[i]);
}

/* A file with bytes to be read and a socket are both reported in one wait when there is room. */
static void all_that_is_ready_is_reported_if_there_is_room(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *file = file_open(), *pair[2];

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, file, WEIR_READABLE, NULL), 0);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_WRITABLE, NULL), 0);
    assert_int_equal(weir_poller_add(f->p, pair[1], WEIR_WRITABLE, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wait_once(f), 3);
    conversation_close(pair);
    weir_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(a_socket_is_reported_for_as_long_as_it_is_ready),
        POLLER_TEST(only_what_was_asked_for_is_reported),
        POLLER_TEST(events_0_is_silence_even_after_a_hang_up),
        POLLER_TEST(a_hang_up_is_all_that_was_asked_for),
        POLLER_TEST(an_abort_is_reported_until_the_socket_is_removed),
        POLLER_TEST(a_socket_in_blocking_mode_may_be_watched),
        POLLER_TEST(a_pipe_is_readable_when_bytes_or_the_end_are_there),
        POLLER_TEST(a_regular_file_is_always_ready),
        POLLER_TEST(the_null_device_is_always_ready),
        POLLER_TEST(a_socket_that_is_only_bound_is_not_reported),
        POLLER_TEST(a_datagram_socket_may_be_watched_before_it_is_bound),
        POLLER_TEST(what_a_layer_holds_back_is_reported),
        POLLER_TEST(what_a_layer_has_given_out_is_not_reported),
        POLLER_TEST(a_listener_is_readable_when_somebody_has_come),
        POLLER_TEST(wrong_use_is_refused),
        POLLER_TEST(a_socket_that_is_removed_is_not_reported_again),
        POLLER_TEST(a_closed_socket_is_not_reported_while_a_call_still_holds_it),
        POLLER_TEST(an_owner_who_closes_leaves_the_others_their_events),
        POLLER_TEST(a_number_that_is_used_again_brings_no_old_event),
        POLLER_TEST(detaching_ends_the_watch),
        POLLER_TEST(several_pollers_may_watch_a_socket),
        POLLER_TEST(closing_a_poller_leaves_its_sockets_as_they_are),
        POLLER_TEST(all_of_many_ready_sockets_get_their_turn),
        POLLER_TEST(no_kind_of_readiness_starves_another),
        POLLER_TEST(all_that_is_ready_is_reported_if_there_is_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
