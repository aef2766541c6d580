/* Options, addresses, descriptors of a socket, before and after there is one in the kernel. */
#include "support/rig.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static int get_int(weir_socket *s, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT(weir_get_option(s, level, name, &value, &length), 0);
    EXPECT(length, sizeof value);
    return value;
}

SCENARIO_FOR(option_before_and_after_connecting, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    int size = 30000, on = 1;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    EXPECT(get_int(s, SOL_SOCKET, SO_SNDBUF), 2 * size);
    EXPECT(get_int(s, SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    on = 0;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on),
           0); /* the last one counts */
    rig_meet(rig, s, &where, listener, &accepted);
    EXPECT(get_int(s, SOL_SOCKET, SO_SNDBUF), 2 * size);
    EXPECT(get_int(s, SOL_SOCKET, SO_KEEPALIVE), 0);
    on = 1;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    EXPECT(get_int(s, SOL_SOCKET, SO_KEEPALIVE), 1);
}

SCENARIO_FOR(option_of_tcp, TCP)
{
    weir_socket *listener = rig_open(rig), *s = rig_open(rig), *accepted;
    weir_address place = rig_place(rig);
    int on = 1;
    EXPECT(weir_set_option(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    EXPECT(weir_bind_address(listener, &place), 0);
    EXPECT(weir_listen(listener, 0), 0);
    weir_address where = rig_where(listener);
    rig_meet(rig, s, &where, listener, &accepted);
    EXPECT(get_int(s, IPPROTO_TCP, TCP_NODELAY), rig->tls != NULL); /* or left to the program */
    EXPECT(get_int(listener, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT(get_int(accepted, IPPROTO_TCP, TCP_NODELAY), 1); /* inherited */
}

/* With TLS it is on by itself, for those that are accepted too. */
SCENARIO_FOR(small_messages_over_tls, HANDSHAKE)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *late = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    int off = 0;
    rig_meet(rig, s, &where, listener, &accepted);
    EXPECT(get_int(s, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT(get_int(accepted, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT(weir_set_option(late, IPPROTO_TCP, TCP_NODELAY, &off, sizeof off), 0);
    rig_meet(rig, late, &where, listener, &accepted);
    EXPECT(get_int(late, IPPROTO_TCP, TCP_NODELAY), 0);
}

SCENARIO(option_that_is_wrong)
{
    weir_socket *fresh = rig_open(rig), *bound = rig_bound(rig);
    weir_socket *each[] = {fresh, bound};
    for (int i = 0; i < 2; i++) {
        int value = 1;
        socklen_t length = sizeof value;
        EXPECT(weir_set_option(each[i], SOL_SOCKET, 9999, &value, sizeof value), -ENOPROTOOPT);
        EXPECT(weir_get_option(each[i], SOL_SOCKET, 9999, &value, &length), -ENOPROTOOPT);
        EXPECT(weir_set_option(each[i], SOL_SOCKET, SO_KEEPALIVE, &value, 1), -EINVAL);
        EXPECT(weir_set_option(each[i], SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof value), -EINVAL);
        EXPECT(weir_get_option(each[i], SOL_SOCKET, SO_KEEPALIVE, NULL, &length), -EINVAL);
        EXPECT(weir_get_option(each[i], SOL_SOCKET, SO_KEEPALIVE, &value, NULL), -EINVAL);
        CHECK(weir_set_option(each[i], 4711, 1, &value, sizeof value) < 0);
        EXPECT(get_int(each[i], SOL_SOCKET, SO_KEEPALIVE), 0);
    }
    EXPECT(weir_set_option(NULL, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int)), -EINVAL);
    EXPECT(weir_get_option(NULL, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, &(socklen_t){4}), -EINVAL);
    weir_address place = rig_place(rig);
    EXPECT(weir_bind_address(fresh, &place), 0); /* nothing wrong was kept to be applied */
}

/* They would turn "not yet" into a second kind of time-out. */
SCENARIO(kernel_timeouts_have_no_effect)
{
    weir_socket *a, *b;
    struct timeval soon = {.tv_usec = 1000};
    char byte;
    rig_pair(rig, &a, &b);
    weir_set_option(a, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    weir_set_option(a, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    EXPECT(RIG_BRIEFLY(rig, a, WEIR_READABLE, weir_recv(a, &byte, 1)), WEIR_EDEADLINE);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(rig_recv(rig, a, &byte, 1), 1);
}

SCENARIO(descriptor_is_there_when_bound)
{
    weir_socket *s = rig_open(rig);
    weir_address place = rig_place(rig), local, peer;
    int type = 0;
    socklen_t length = sizeof type;
    EXPECT(weir_fd(s), -ENOTCONN);
    EXPECT(weir_local_address(s, &local), -ENOTCONN);
    EXPECT(weir_bind_address(s, &place), 0);
    int fd = weir_fd(s);
    CHECK(fd >= 0 && !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length));
    CHECK(type == rig->transport->type);
    EXPECT(weir_local_address(s, &local), 0);
    CHECK(weir_address_family(&local) == rig->transport->family);
    CHECK(rig->transport->family == AF_UNIX ? weir_address_equal(&local, &place)
                                            : weir_address_port(&local) != 0);
    EXPECT(weir_peer_address(s, &peer), -ENOTCONN);
    if (rig->transport->has & LISTENER) {
        EXPECT(weir_listen(s, 0), 0);
        EXPECT(weir_fd(s), fd);
        EXPECT(weir_peer_address(s, &peer), -ENOTCONN);
    }
    EXPECT(weir_local_address(s, NULL), -EINVAL);
    EXPECT(weir_peer_address(s, NULL), -EINVAL);
    EXPECT(weir_local_address(NULL, &local), -EINVAL);
    EXPECT(weir_peer_address(NULL, &peer), -EINVAL);
}

SCENARIO(socket_open_with_wrong_arguments)
{
    const struct transport *t = rig->transport;
    weir_socket *untouched = (weir_socket *)rig;
    EXPECT(weir_socket_open(&untouched, 4711, t->type, 0), -EAFNOSUPPORT);
    EXPECT(weir_socket_open(&untouched, AF_NETLINK, t->type, 0), -EAFNOSUPPORT);
    int rc = weir_socket_open(&untouched, t->family, 77, 0);
    CHECK(rc == -ESOCKTNOSUPPORT || rc == -EPROTONOSUPPORT);
    rc = weir_socket_open(&untouched, t->family, t->type, 200);
    CHECK(rc == -EPROTONOSUPPORT || rc == -ESOCKTNOSUPPORT);
    EXPECT(weir_socket_open(NULL, t->family, t->type, 0), -EINVAL);
    CHECK(untouched == (weir_socket *)rig);
}

SCENARIO(socket_open_in_nonblocking_mode)
{
    weir_socket *s;
    EXPECT(weir_socket_open(&s, rig->transport->family, rig->transport->type | SOCK_NONBLOCK, 0),
           0);
    EXPECT(weir_get_blocking(s), 0);
    EXPECT(weir_close(s), 0);
    EXPECT(weir_socket_open(&s, rig->transport->family, rig->transport->type, 0), 0);
    EXPECT(weir_get_blocking(s), 1);
    EXPECT(weir_close(s), 0);
}

/* A program that is started must not inherit what weir made. */
SCENARIO(descriptors_are_close_on_exec)
{
    weir_socket *a, *b, *bound = rig_bound(rig);
    rig_pair(rig, &a, &b);
    CHECK(fcntl(weir_fd(a), F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(weir_fd(b), F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(weir_fd(bound), F_GETFD) & FD_CLOEXEC);
    weir_poller *p;
    EXPECT(weir_poller_open(&p), 0);
    CHECK(fcntl(weir_poller_fd(p), F_GETFD) & FD_CLOEXEC);
    EXPECT(weir_poller_close(p), 0);
}
