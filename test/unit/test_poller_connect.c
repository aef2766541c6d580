/* The poller and sockets that connect: it drives them, and says nothing before it is decided. */
#include "support/poller_fixture.h"
#include "support/stub_dns.h"

#include "sys.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* What becomes of a connect that is begun now. */
static void expect_connects(struct poller_fixture *f, weir_socket *s, int rc)
{
    expect_one(f, s, WEIR_WRITABLE, s);
    assert_int_equal(weir_connect_status(s), rc);
}

static void begin(weir_socket *s, const weir_address *where)
{
    int rc = weir_connect_address(s, where);
    assert_true(rc == 0 || rc == -EINPROGRESS);
}

/* A fresh TCP socket polls as writable and hung up; that must not be taken for a connection. */
static void a_fresh_socket_is_silent_until_it_is_connected(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *listener = listener_open(&where), *s = tcp_open();

    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    expect_nothing(f);
    begin(s, &where);
    expect_connects(f, s, 0);
    assert_int_equal(weir_poller_modify(f->p, s, WEIR_READABLE, s), 0);
    expect_nothing(f);
    weir_close(s);
    weir_close(listener);
}

static void a_socket_may_be_added_while_it_connects(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *listener = listener_open(&where), *s = tcp_open();

    begin(s, &where);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    expect_connects(f, s, 0);
    weir_close(s);
    weir_close(listener);
}

/* What a wait drives to its end it also reports, even if it may not wait: once a foreign loop has
 * been told of something, one call brings it. */
static void a_connect_is_driven_and_reported_in_one_call(void **state)
{
    struct poller_fixture *f = *state;
    struct pollfd fd = {.fd = weir_poller_fd(f->p), .events = POLLIN};
    weir_address where;
    weir_socket *listener = listener_open(&where), *s = tcp_open();

    begin(s, &where);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    assert_int_equal(poll(&fd, 1, -1), 1);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 0), 1);
    weir_close(s);
    weir_close(listener);
}

/* Reported as ready for everything, so that whatever is tried next returns the error; after it
 * connects again the failure is forgotten. */
static void a_refused_connect_is_reported_with_its_error(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *s = tcp_open();
    char byte;

    weir_close(listener_open(&where)); /* nobody listens there any more */
    assert_int_equal(weir_poller_add(f->p, s, BOTH, s), 0);
    begin(s, &where);
    for (int i = 0; i < 2; i++) {
        expect_one(f, s, BOTH, s);
        assert_int_equal(weir_connect_status(s), -ECONNREFUSED);
        assert_int_equal(weir_recv(s, &byte, 1), -ECONNREFUSED);
    }
    struct full_listener full;
    full_listener_open(&full);
    weir_socket *listener = listener_open(&where);
    begin(s, &where);
    assert_int_equal(weir_poller_modify(f->p, s, WEIR_WRITABLE, s), 0);
    expect_connects(f, s, 0);
    weir_close(s);
    weir_close(listener);
    full_listener_close(&full);
}

/* `events` 0 says that nothing is to be reported, not that the connect has to stand still. */
static void a_connect_goes_on_while_nothing_is_asked_for(void **state)
{
    struct poller_fixture *f = *state;
    struct full_listener full;
    weir_socket *s;

    full_listener_open(&full);
    assert_int_equal(weir_socket_open(&s, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    begin(s, &full.where);
    assert_int_equal(weir_poller_add(f->p, s, 0, s), 0);
    full_listener_drain(&full);
    assert_int_equal(weir_poller_add(f->p, full.listener, WEIR_READABLE, full.listener), 0);
    expect_one(f, full.listener, WEIR_READABLE, full.listener);
    assert_int_equal(weir_poller_remove(f->p, full.listener), 0);
    expect_nothing(f);
    assert_int_equal(weir_poller_modify(f->p, s, WEIR_WRITABLE, s), 0);
    expect_connects(f, s, 0);
    weir_close(s);
    full_listener_close(&full);
}

/* The queue of a Unix listener is full: only time drives that connect on, and a foreign loop sees
 * nothing but the poller's descriptor. */
static void time_drives_a_connect_in_a_foreign_loop(void **state)
{
    struct poller_fixture *f = *state;
    struct pollfd fd = {.fd = weir_poller_fd(f->p), .events = POLLIN};
    struct full_listener full;
    weir_socket *s;

    full_listener_open(&full);
    assert_int_equal(weir_socket_open(&s, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    begin(s, &full.where);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(poll(&fd, 1, -1), 1);
        expect_nothing(f);
    }
    full_listener_drain(&full);
    do
        assert_int_equal(poll(&fd, 1, -1), 1);
    while (weir_poller_wait(f->p, f->events, EVENTS, 0) == 0);
    assert_ptr_equal(f->events[0].socket, s);
    assert_int_equal(weir_connect_status(s), 0);
    weir_close(s);
    full_listener_close(&full);
}

static void a_connect_that_is_out_of_time_is_reported(void **state)
{
    struct poller_fixture *f = *state;
    struct full_listener full;
    weir_socket *s;

    full_listener_open(&full);
    assert_int_equal(weir_socket_open(&s, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_set_timeout(s, 10), 0);
    begin(s, &full.where);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    expect_connects(f, s, WEIR_EDEADLINE);
    weir_close(s);
    full_listener_close(&full);
}

static void a_connecting_socket_that_is_closed_leaves_nothing_behind(void **state)
{
    struct poller_fixture *f = *state;
    struct full_listener full;
    weir_address where;
    weir_socket *listener = listener_open(&where), *s;

    full_listener_open(&full);
    assert_int_equal(weir_socket_open(&s, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_poller_add(f->p, s, BOTH, s), 0);
    begin(s, &full.where);
    weir_close(s);
    s = tcp_open();
    assert_int_equal(weir_poller_add(f->p, s, BOTH, s), 0);
    begin(s, &where);
    weir_close(s);
    expect_nothing(f);
    full_listener_close(&full);
    weir_close(listener);
}

/* Each poller drives, and each learns of the outcome. */
static void several_pollers_may_drive_a_connect(void **state)
{
    struct poller_fixture *f = *state, *other;
    weir_address where;
    weir_socket *listener = listener_open(&where), *s = tcp_open();

    assert_int_equal(poller_fixture_open((void **)&other), 0);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    assert_int_equal(weir_poller_add(other->p, s, WEIR_WRITABLE, s), 0);
    begin(s, &where);
    expect_connects(f, s, 0);
    expect_connects(other, s, 0);
    weir_close(s);
    weir_close(listener);
    assert_int_equal(poller_fixture_close((void **)&other), 0);
}

/* The kernel has no room for the new descriptor in the middle of a connect, where nobody can be
 * told. It must be tried again, or the socket would never be heard of. */
static void a_refusal_of_the_kernel_to_watch_heals(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *listener = listener_open(&where), *s = tcp_open();

    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    faults_start(SYS_EPOLL_CTL, -ENOSPC, 2);
    begin(s, &where);
    expect_connects(f, s, 0);
    assert_true(faults_calls(SYS_EPOLL_CTL) > 2);
    weir_close(s);
    weir_close(listener);
}

/* ---- by name --------------------------------------------------------------------------------- */

/* The answer comes from another thread and nothing but the poller makes anything of it. */
static void a_late_answer_drives_a_connect_by_name(void **state)
{
    struct poller_fixture *f = *state;
    struct stub_dns *dns = stub_dns_open();
    weir_address where;
    weir_socket *listener = listener_open(&where), *s;

    f->resolver = true;
    stub_dns_add(dns, "late.test", "A:127.0.0.1,hold");
    assert_int_equal(weir_set_nameservers(stub_dns_servers(dns)), 0);
    assert_int_equal(weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_connect(s, "late.test", weir_address_port(&where)), -EINPROGRESS);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    stub_dns_wait(dns, "late.test", STUB_DNS_A, 1);
    expect_nothing(f);
    stub_dns_release(dns, "late.test");
    expect_connects(f, s, 0);
    weir_close(s);
    weir_close(listener);
    assert_int_equal(weir_set_nameservers(NULL), 0);
    stub_dns_close(dns);
}

/* The same, with a foreign loop that only polls; the failure is an event too. */
static void a_name_that_does_not_exist_is_reported(void **state)
{
    struct poller_fixture *f = *state;
    struct pollfd fd = {.fd = weir_poller_fd(f->p), .events = POLLIN};
    struct stub_dns *dns = stub_dns_open();
    weir_socket *s;

    f->resolver = true;
    assert_int_equal(weir_set_nameservers(stub_dns_servers(dns)), 0);
    assert_int_equal(weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_poller_add(f->p, s, BOTH, s), 0);
    assert_int_equal(weir_connect(s, "nowhere.test", 80), -EINPROGRESS);
    do
        assert_int_equal(poll(&fd, 1, -1), 1);
    while (weir_poller_wait(f->p, f->events, EVENTS, 0) == 0);
    assert_int_equal(f->events[0].events, BOTH);
    assert_int_equal(weir_connect_status(s), WEIR_ENONAME);
    weir_close(s);
    assert_int_equal(weir_set_nameservers(NULL), 0);
    stub_dns_close(dns);
}

static void a_socket_whose_look_up_never_ends_can_be_closed(void **state)
{
    struct poller_fixture *f = *state;
    struct stub_dns *dns = stub_dns_open();
    weir_socket *s;

    f->resolver = true;
    stub_dns_add(dns, "silent.test", "silent");
    assert_int_equal(weir_set_nameservers(stub_dns_servers(dns)), 0);
    assert_int_equal(weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, s), 0);
    assert_int_equal(weir_connect(s, "silent.test", 80), -EINPROGRESS);
    stub_dns_wait(dns, "silent.test", STUB_DNS_A, 1);
    expect_nothing(f);
    weir_abort(s);
    expect_connects(f, s, WEIR_ECLOSED);
    weir_close(s);
    expect_nothing(f);
    assert_int_equal(weir_set_nameservers(NULL), 0);
    stub_dns_close(dns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(a_fresh_socket_is_silent_until_it_is_connected),
        POLLER_TEST(a_socket_may_be_added_while_it_connects),
        POLLER_TEST(a_connect_is_driven_and_reported_in_one_call),
        POLLER_TEST(a_refused_connect_is_reported_with_its_error),
        POLLER_TEST(a_connect_goes_on_while_nothing_is_asked_for),
        POLLER_TEST(time_drives_a_connect_in_a_foreign_loop),
        POLLER_TEST(a_connect_that_is_out_of_time_is_reported),
        POLLER_TEST(a_connecting_socket_that_is_closed_leaves_nothing_behind),
        POLLER_TEST(several_pollers_may_drive_a_connect),
        POLLER_TEST(a_refusal_of_the_kernel_to_watch_heals),
        POLLER_TEST(a_late_answer_drives_a_connect_by_name),
        POLLER_TEST(a_name_that_does_not_exist_is_reported),
        POLLER_TEST(a_socket_whose_look_up_never_ends_can_be_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
