/* Where the kernel says one thing and means another. */
#include "sys.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <weir.h>

#include <cmocka.h>

static atomic_int polls;

static int count_polls(enum sys_call call)
{
    if (call == SYS_POLL)
        atomic_fetch_add(&polls, 1);
    return 0;
}

static const struct sys_faults counted = {.error = count_polls};

static weir_socket *bound(int type, weir_address *ret)
{
    weir_socket *s;

    assert_int_equal(weir_socket_open(&s, AF_INET, type, 0), 0);
    assert_int_equal(weir_bind(s, "127.0.0.1", 0), 0);
    assert_int_equal(weir_local_address(s, ret), 0);
    return s;
}

/* poll(2) calls a datagram socket readable for ever once its receiving side is shut down, while a
 * receive finds nothing: the limit holds all the same, and the processor is left alone. */
static void a_limit_holds_where_poll_is_wrong(void **state)
{
    weir_address a;
    weir_socket *s = bound(SOCK_DGRAM, &a);
    char byte;

    (void)state;
    assert_int_equal(weir_connect_address(s, &a), 0);
    assert_int_equal(weir_shutdown(s, SHUT_RD), 0);
    weir_set_timeout(s, 300);
    polls = 0;
    sys_faults = &counted;
    assert_int_equal(weir_recv(s, &byte, 1), WEIR_EDEADLINE);
    sys_faults = NULL;
    assert_in_range(polls, 1, 100);
    weir_close(s);
}

static atomic_int refusals;

static int refuse_and_count(enum sys_call call)
{
    if (call == SYS_ACCEPT && atomic_fetch_sub(&refusals, 1) > 0)
        return -EMFILE;
    return count_polls(call);
}

static const struct sys_faults exhausted_once = {.error = refuse_and_count};

/* A client is in the listener's queue. */
static weir_socket *listener_with(weir_socket **ret_client)
{
    weir_address a;
    weir_socket *l = bound(SOCK_STREAM, &a);

    assert_int_equal(weir_listen(l, 1), 0);
    assert_int_equal(weir_socket_open(ret_client, AF_INET, SOCK_STREAM, 0), 0);
    assert_int_equal(weir_connect_address(*ret_client, &a), 0);
    return l;
}

/* Descriptors that ran out once do not make later waits spin. */
static void an_accept_sleeps_again_after_exhaustion(void **state)
{
    weir_socket *client, *l = listener_with(&client), *accepted;

    (void)state;
    refusals = 1;
    sys_faults = &exhausted_once;
    assert_int_equal(weir_accept(l, &accepted), 0);
    weir_close(accepted);
    weir_set_timeout(l, 300);
    polls = 0;
    assert_int_equal(weir_accept(l, &accepted), WEIR_EDEADLINE);
    sys_faults = NULL;
    assert_in_range(polls, 1, 20);
    weir_close(client);
    weir_close(l);
}

/* An option that is set while a connect goes on reaches the attempt that wins. */
static void an_option_reaches_attempts_that_go_on(void **state)
{
    static const int on = 1;
    weir_address a;
    weir_socket *l = bound(SOCK_STREAM, &a), *s;
    int value = 0;
    socklen_t length = sizeof value;

    (void)state;
    assert_int_equal(weir_listen(l, 1), 0);
    assert_int_equal(weir_socket_open(&s, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_connect_address(s, &a), -EINPROGRESS);
    assert_int_equal(weir_set_option(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_get_option(s, SOL_SOCKET, SO_KEEPALIVE, &value, &length), 0);
    assert_int_equal(value, 1);
    weir_close(s);
    weir_close(l);
}

static void reset_by_peer(weir_socket **ret)
{
    const struct linger at_once = {.l_onoff = 1};
    weir_address a;
    weir_socket *l = bound(SOCK_STREAM, &a), *peer;

    assert_int_equal(weir_listen(l, 1), 0);
    assert_int_equal(weir_socket_open(ret, AF_INET, SOCK_STREAM, 0), 0);
    assert_int_equal(weir_connect_address(*ret, &a), 0);
    assert_int_equal(weir_accept(l, &peer), 0);
    assert_int_equal(weir_send(peer, "tail!", 5), 5);
    assert_int_equal(weir_wait(*ret, WEIR_READABLE), WEIR_READABLE);
    assert_int_equal(weir_set_option(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    weir_close(peer);
    weir_close(l);
}

/* A program that fetches the error itself does not turn a reset into a clean end. */
static void a_fetched_error_stays(void **state)
{
    weir_socket *s;
    char buf[8];
    int error = 0;
    socklen_t length = sizeof error;

    (void)state;
    reset_by_peer(&s);
    while (error == 0)
        assert_int_equal(weir_get_option(s, SOL_SOCKET, SO_ERROR, &error, &length), 0);
    assert_int_equal(error, ECONNRESET);
    ssize_t n = weir_recv(s, buf, sizeof buf);
    assert_true(n == 5 || n == -ECONNRESET);
    assert_int_equal(weir_recv(s, buf, sizeof buf), -ECONNRESET);
    assert_int_equal(weir_send(s, "x", 1), -ECONNRESET);
    weir_close(s);
}

/* What a peer sent before it reset the connection can still be read by who adopts it. */
static void an_adopted_reset_keeps_its_bytes(void **state)
{
    weir_socket *s, *adopted;
    char buf[8];

    (void)state;
    reset_by_peer(&s);
    int fd = weir_detach(s);
    struct pollfd hung_up = {.fd = fd};
    while (!(hung_up.revents & POLLHUP))
        poll(&hung_up, 1, -1);
    assert_int_equal(weir_from_fd(&adopted, fd), 0);
    assert_int_equal(weir_recv(adopted, buf, sizeof buf), 5);
    assert_int_equal(weir_recv(adopted, buf, sizeof buf), -ECONNRESET);
    weir_close(adopted);
}

/* A message with an address is enough to give a datagram socket its descriptor, by either call. */
static void a_message_to_an_address_needs_no_bind(void **state)
{
    weir_address a;
    weir_socket *to = bound(SOCK_DGRAM, &a), *from;
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    (void)state;
    message.msg_name = (void *)(uintptr_t)weir_address_sockaddr(&a, &message.msg_namelen);
    assert_int_equal(weir_socket_open(&from, AF_UNSPEC, SOCK_DGRAM, 0), 0);
    assert_int_equal(weir_sendmsg(from, &message, 0), 1);
    weir_close(from);
    weir_close(to);
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC && atomic_fetch_sub(&refusals, 1) > 0 ? -ENOMEM : 0;
}

static const struct sys_faults out_of_memory = {.error = no_memory};

/* Without memory for its object a connection stays in the queue. */
static void an_accept_without_memory_loses_nobody(void **state)
{
    weir_socket *client, *l = listener_with(&client), *accepted;

    (void)state;
    refusals = 1;
    sys_faults = &out_of_memory;
    assert_int_equal(weir_accept(l, &accepted), 0);
    sys_faults = NULL;
    assert_int_equal(weir_send(accepted, "x", 1), 1);
    weir_close(accepted);
    weir_close(client);
    weir_close(l);
}

/* An option of the other family is no reason not to connect. */
static void an_option_of_another_family_is_left_out(void **state)
{
    static const int hops = 9;
    weir_address a;
    weir_socket *l = bound(SOCK_STREAM, &a), *s;

    (void)state;
    assert_int_equal(weir_listen(l, 1), 0);
    assert_int_equal(weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM, 0), 0);
    assert_int_equal(weir_set_option(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof hops), 0);
    assert_int_equal(weir_connect_address(s, &a), 0);
    weir_close(s);
    weir_close(l);
}

/* A bind outlives the connect that failed after it. */
static void a_listener_keeps_its_bind_after_a_failed_connect(void **state)
{
    weir_address nobody, before, after;
    weir_socket *closed = bound(SOCK_STREAM, &nobody), *s = bound(SOCK_STREAM, &before);

    (void)state;
    assert_int_equal(weir_connect_address(s, &nobody), -ECONNREFUSED);
    assert_int_equal(weir_listen(s, 1), 0);
    assert_int_equal(weir_local_address(s, &after), 0);
    assert_int_equal(weir_address_set_port(&after, weir_address_port(&before)), 0);
    assert_true(weir_address_equal(&after, &before));
    weir_close(s);
    weir_close(closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_holds_where_poll_is_wrong),
        cmocka_unit_test(an_accept_sleeps_again_after_exhaustion),
        cmocka_unit_test(an_option_reaches_attempts_that_go_on),
        cmocka_unit_test(a_fetched_error_stays),
        cmocka_unit_test(an_adopted_reset_keeps_its_bytes),
        cmocka_unit_test(a_message_to_an_address_needs_no_bind),
        cmocka_unit_test(an_accept_without_memory_loses_nobody),
        cmocka_unit_test(an_option_of_another_family_is_left_out),
        cmocka_unit_test(a_listener_keeps_its_bind_after_a_failed_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
