/* Connecting, by address. */
#include "support/rig.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>

/* Says something in each direction. */
static void check_conversation(struct rig *rig, weir_socket *a, weir_socket *b)
{
    char buf[8];
    EXPECT(rig_send(rig, a, "there", 5), 5);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 5);
    CHECK(!memcmp(buf, "there", 5));
    EXPECT(rig_send(rig, b, "back", 4), 4);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 4);
    CHECK(!memcmp(buf, "back", 4));
}

SCENARIO_FOR(connect_reaches_the_listener, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener), peer;
    rig_meet(rig, s, &where, listener, &accepted);
    EXPECT(weir_peer_address(s, &peer), 0);
    CHECK(weir_address_equal(&peer, &where));
    EXPECT(weir_peer_address(accepted, &peer), 0);
    weir_address local = rig_where(s);
    CHECK(weir_address_equal(&peer, &local));
    check_conversation(rig, s, accepted);
}

SCENARIO_FOR(connect_refused_says_so, LISTENER)
{
    weir_address nobody = rig_nobody(rig);
    weir_socket *s = rig_open(rig);
    EXPECT(rig_connect_address(rig, s, &nobody), -ECONNREFUSED);
    EXPECT(weir_connect_status(s), -ECONNREFUSED);
    EXPECT_STORY(s, "refused");
}

/* In non-blocking mode too: calling again and again must come to an end. */
SCENARIO_FOR(connect_called_again_reports_the_refusal, LISTENER)
{
    weir_address nobody = rig_nobody(rig);
    weir_socket *s = rig_open(rig);
    EXPECT(RIG_DONE(rig, s, WEIR_WRITABLE, weir_connect_address(s, &nobody)), -ECONNREFUSED);
}

SCENARIO_FOR(connect_called_again_reports_success_once, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig);
    weir_address where = rig_where(listener);
    struct rig_thread *t = rig_go(rig, rig_admit_one, listener);
    EXPECT(RIG_DONE(rig, s, WEIR_WRITABLE, weir_connect_address(s, &where)), 0);
    EXPECT(weir_connect_address(s, &where), -EISCONN);
    EXPECT(weir_connect_address(s, &where), -EISCONN);
    EXPECT(weir_connect_status(s), 0);
    rig_join(t);
}

SCENARIO_FOR(connect_to_no_such_path, LISTENER | LOCAL)
{
    weir_address where = rig_place(rig);
    weir_socket *s = rig_open(rig);
    int want = rig->transport->abstract ? -ECONNREFUSED : -ENOENT;
    EXPECT(rig_connect_address(rig, s, &where), want);
}

SCENARIO_FOR(connect_after_a_failure, LISTENER)
{
    weir_address nobody = rig_nobody(rig);
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    for (int i = 0; i < 3; i++)
        EXPECT(rig_connect_address(rig, s, &nobody), -ECONNREFUSED);
    rig_meet(rig, s, &where, listener, &accepted);
    EXPECT(weir_connect_status(s), 0);
    check_conversation(rig, s, accepted);
}

SCENARIO_FOR(connect_limit_passes_and_connect_again, LISTENER)
{
    weir_address full;
    rig_full_listener(rig, &full);
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    EXPECT(rig_connect_briefly(rig, s, &full), WEIR_EDEADLINE);
    EXPECT(weir_connect_status(s), WEIR_EDEADLINE);
    EXPECT(weir_fd(s), -ENOTCONN);
    rig_meet(rig, s, &where, listener, &accepted);
    check_conversation(rig, s, accepted);
}

/* Each attempt has a socket of its own in the kernel; what was set on the first must be on the
 * last. */
SCENARIO_FOR(connect_again_replays_options_and_bind, LISTENER | INTERNET)
{
    bool v4 = rig->transport->family == AF_INET;
    weir_address nobody = rig_nobody(rig), full, peer;
    rig_full_listener(rig, &full);
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    int on = 1, got = 0, size = 20000;
    socklen_t length = sizeof got;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    EXPECT(weir_bind(s, v4 ? "127.0.0.2" : "::1", 0), 0);
    EXPECT(rig_connect_address(rig, s, &nobody), -ECONNREFUSED);
    EXPECT(rig_connect_briefly(rig, s, &full), WEIR_EDEADLINE);
    rig_meet(rig, s, &where, listener, &accepted);
    EXPECT(weir_get_option(s, SOL_SOCKET, SO_KEEPALIVE, &got, &length), 0);
    CHECK(got == 1);
    EXPECT(weir_get_option(s, SOL_SOCKET, SO_SNDBUF, &got, &length), 0);
    CHECK(got == 2 * size);
    EXPECT(weir_peer_address(accepted, &peer), 0);
    weir_address from;
    EXPECT(weir_address_from_host(v4 ? "127.0.0.2" : "::1", weir_address_port(&peer), &from), 0);
    CHECK(weir_address_equal(&peer, &from));
}

SCENARIO_FOR(connect_from_a_bound_path, LISTENER | LOCAL)
{
    weir_address nobody = rig_nobody(rig), place = rig_place(rig), peer;
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    EXPECT(weir_bind_address(s, &place), 0);
    EXPECT(rig_connect_address(rig, s, &nobody), -ECONNREFUSED);
    rig_meet(rig, s, &where, listener, &accepted);
    EXPECT(weir_peer_address(accepted, &peer), 0);
    CHECK(weir_address_equal(&peer, &place));
}

SCENARIO_FOR(connect_on_a_listener, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *other = rig_listener(rig);
    weir_address where = rig_where(other);
    EXPECT(weir_connect_address(listener, &where), -EINVAL);
    weir_socket *s = rig_open(rig), *accepted;
    weir_address own = rig_where(listener);
    rig_meet(rig, s, &own, listener, &accepted); /* it still listens */
}

SCENARIO(connect_to_another_family)
{
    weir_address other, where = rig_place(rig);
    weir_socket *s = rig_open(rig);
    if (rig->transport->family == AF_UNIX)
        EXPECT(weir_address_from_host("127.0.0.1", 9, &other), 0);
    else
        EXPECT(weir_address_parse("unix:@nobody", &other), 0);
    EXPECT(weir_connect_address(s, &other), -EAFNOSUPPORT);
    EXPECT(weir_bind_address(s, &other), -EAFNOSUPPORT);
    EXPECT(weir_bind_address(s, &where), 0); /* unharmed */
}

SCENARIO_FOR(connect_without_a_family, TCP)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open_family(rig, AF_UNSPEC), *accepted;
    weir_address where = rig_where(listener);
    rig_meet(rig, s, &where, listener, &accepted);
    check_conversation(rig, s, accepted);
}

SCENARIO_FOR(connect_status_of_nothing, LISTENER)
{
    weir_socket *s = rig_open(rig);
    EXPECT(weir_connect_status(s), -ENOTCONN);
    EXPECT(weir_fd(s), -ENOTCONN);
    weir_address a;
    EXPECT(weir_local_address(s, &a), -ENOTCONN);
    EXPECT(weir_peer_address(s, &a), -ENOTCONN);
}

/* ---- non-blocking --------------------------------------------------------------------------- */

SCENARIO_FOR(connect_in_progress_answers_not_yet, LISTENER)
{
    weir_address full;
    char byte = 'x';
    rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_connect_address(s, &full), -EINPROGRESS);
    EXPECT(weir_connect_address(s, &full), -EALREADY);
    EXPECT(weir_connect_status(s), -EINPROGRESS);
    EXPECT(weir_send(s, &byte, 1), -EAGAIN);
    EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
    size_t done = 0;
    if (rig->transport->has & STREAM) {
        EXPECT(weir_send_all(s, &byte, 1, &done), -EAGAIN);
        EXPECT(weir_recv_exact(s, &byte, 1, &done), -EAGAIN);
    }
    CHECK(done == 0);
    EXPECT(weir_shutdown(s, SHUT_WR), -EAGAIN);
    EXPECT(weir_fd(s), -ENOTCONN);
}

/* A fresh TCP socket polls as writable; that must not be taken for a connection. */
SCENARIO_FOR(connect_in_progress_is_neither_readable_nor_writable, LISTENER)
{
    weir_address full;
    rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    weir_poller *p;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_connect_address(s, &full), -EINPROGRESS);
    EXPECT(weir_poller_wait(p, &event, 1, RIG_MOMENT_MS), 0);
    {
        WEIR_WITHIN_MS(RIG_MOMENT_MS);
        EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_EDEADLINE);
        EXPECT(weir_wait(s, WEIR_READABLE), WEIR_EDEADLINE);
    }
    EXPECT(weir_connect_status(s), -EINPROGRESS);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO_FOR(connect_that_fails_gives_its_error_to_every_call, LISTENER)
{
    weir_address nobody = rig_nobody(rig);
    char byte = 'x';
    weir_socket *s = rig_open(rig);
    EXPECT(rig_connect_address(rig, s, &nobody), -ECONNREFUSED);
    EXPECT(weir_send(s, &byte, 1), -ECONNREFUSED);
    EXPECT(weir_recv(s, &byte, 1), -ECONNREFUSED);
    EXPECT(weir_connect_status(s), -ECONNREFUSED);
}

/* The time-out of the socket holds in the background too; it needs nobody to wait for it. */
SCENARIO_FOR(connect_in_the_background_obeys_the_timeout, LISTENER)
{
    weir_address full;
    char byte = 'x';
    rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_set_timeout(s, RIG_WHILE_MS), 0);
    EXPECT(weir_connect_address(s, &full), -EINPROGRESS);
    EXPECT(weir_set_timeout(s, -1), 0); /* for later calls, such as the wait */
    EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    EXPECT(weir_send(s, &byte, 1), WEIR_EDEADLINE);
    EXPECT(weir_connect_status(s), WEIR_EDEADLINE);
}

/* A poller alone drives it to its end. */
SCENARIO_FOR(connect_is_driven_by_a_poller, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig);
    weir_address where = rig_where(listener);
    weir_poller *p;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_WRITABLE, &where), 0);
    EXPECT(weir_set_blocking(s, false), 0);
    struct rig_thread *t = rig_go(rig, rig_admit_one, listener);
    int rc = weir_connect_address(s, &where);
    CHECK(rc == 0 || rc == -EINPROGRESS);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.socket == s && event.data == &where && event.events == WEIR_WRITABLE);
    EXPECT(weir_connect_status(s), 0);
    EXPECT(weir_poller_close(p), 0);
    rig_join(t);
    rig_set_mode(rig, s);
    EXPECT(weir_set_blocking(s, true), 0);
    EXPECT(weir_send(s, "x", 1), 1);
}

static void accept_raw(struct rig *rig, void *arg)
{
    int fd;
    do
        fd = accept(*(int *)arg, NULL, NULL);
    while (fd < 0 && errno == EINTR);
    rig_keep_fd(rig, fd);
}

/* poll(2) never tells when a Unix listener has room again. */
SCENARIO_FOR(connect_waits_for_room_at_a_unix_listener, LISTENER | LOCAL | RAW)
{
    weir_address full;
    int listener = rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    struct rig_thread *t = rig_when_asleep(rig, accept_raw, &listener);
    EXPECT(rig_connect_address(rig, s, &full), 0);
    rig_join(t);
}

static void abort_socket(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

SCENARIO_FOR(abort_wakes_a_connect, LISTENER)
{
    weir_address full;
    rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    struct rig_thread *t = rig_when_asleep(rig, abort_socket, s);
    EXPECT(rig_connect_address(rig, s, &full), WEIR_ECLOSED);
    rig_join(t);
    EXPECT(weir_connect_address(s, &full), WEIR_ECLOSED);
    EXPECT(weir_connect_status(s), WEIR_ECLOSED);
}

/* Closing in the middle leaves nothing behind; what is left is counted when the scenario ends. */
SCENARIO_FOR(close_in_the_middle_of_a_connect, LISTENER)
{
    weir_address full;
    rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    weir_poller *p;
    weir_event event;
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_connect_address(s, &full), -EINPROGRESS);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    rig_close(rig, s);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_close(p), 0);
}

static void send_through(struct rig *rig, void *arg)
{
    EXPECT(rig_send(rig, arg, "x", 1), 1);
}

static void admit_and_receive(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    char byte;
    rig_admit(rig, arg, &accepted);
    EXPECT(rig_recv(rig, accepted, &byte, 1), 1);
}

SCENARIO_FOR(two_threads_drive_one_connect, LISTENER | WAITS)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig);
    weir_address where = rig_where(listener);
    struct rig_thread *peer = rig_go(rig, admit_and_receive, listener);
    EXPECT(weir_set_blocking(s, false), 0);
    int rc = weir_connect_address(s, &where);
    CHECK(rc == 0 || rc == -EINPROGRESS);
    EXPECT(weir_set_blocking(s, true), 0);
    struct rig_thread *t = rig_go(rig, send_through, s);
    EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    rig_join(t);
    rig_join(peer);
}
