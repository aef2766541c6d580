#include "socket.h"
#include "sys.h"

#include <netinet/in.h>
#include <string.h>
#include <weir/datagram.h>

/* A socket that has no descriptor yet gets one, of the family of the address it sends to. */
static int ensure_descriptor(weir_socket *s, const weir_address *to)
{
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    if (socket_closed(s)) {
        rc = WEIR_ECLOSED;
    } else if (s->fd < 0 && socket_phase(s) == PHASE_NEW) {
        rc = socket_descriptor(s, to->family, false);
        if (rc >= 0)
            socket_attach(s, rc, to->family, PHASE_BOUND);
    } else if (socket_phase(s) == PHASE_NEW) {
        socket_attach(s, s->fd, s->family, PHASE_BOUND);
    }
    if (rc >= 0)
        socket_wake(s, WAKE_CHANGED);
    pthread_mutex_unlock(&s->lock);
    return rc < 0 ? rc : 0;
}

static int check_destination(weir_socket *s, const weir_address *to)
{
    if (to->family == AF_UNSPEC)
        return -EDESTADDRREQ;
    if (s->family != AF_UNSPEC && s->family != to->family)
        return -EAFNOSUPPORT;
    if (socket_phase(s) != PHASE_NEW)
        return 0;
    int rc = socket_enter(s, 0);
    if (rc == 0) {
        rc = ensure_descriptor(s, to);
        socket_leave(s, 0);
    }
    return rc;
}

int datagram_aim(weir_socket *s, const struct sockaddr *to, socklen_t length)
{
    weir_address a;

    if (s->type != SOCK_DGRAM || socket_phase(s) != PHASE_NEW)
        return 0;
    int rc = weir_address_from_sockaddr(&a, to, length);
    return rc < 0 ? rc : check_destination(s, &a);
}

ssize_t weir_send_to(weir_socket *s, const void *buf, size_t len, const weir_address *to)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct transfer t = {.try = transfer_sendmsg, .const_message = &message, .to_address = to};

    if (!s || (!buf && len > 0))
        return -EINVAL;
    if (s->type != SOCK_DGRAM)
        return -EOPNOTSUPP;
    int rc = to ? check_destination(s, to) : 0;
    if (rc < 0)
        return rc;
    if (!to && socket_phase(s) <= PHASE_BOUND)
        return -EDESTADDRREQ;
    if (to) {
        message.msg_name = (void *)(uintptr_t)weir_address_sockaddr(to, &message.msg_namelen);
    }
    return transfer_out(s, &t);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void ask_for_destination(weir_socket *s)
{
    static const int on = 1;

    if (atomic_exchange_explicit(&s->wants_destination, true, memory_order_relaxed))
        return;
    if (s->family == AF_INET)
        (void)sys_setsockopt(s->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    else if (s->family == AF_INET6)
        (void)sys_setsockopt(s->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
}

static uint16_t local_port(weir_socket *s)
{
    weir_address local;

    return weir_local_address(s, &local) == 0 ? weir_address_port(&local) : 0;
}

static void destination_of(weir_socket *s, struct msghdr *message, weir_address *ret)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            struct sockaddr_in to = {
                .sin_family = AF_INET,
                .sin_addr = info.ipi_addr,
                .sin_port = htons(local_port(s)),
            };
            (void)weir_address_from_sockaddr(ret, (struct sockaddr *)&to, sizeof to);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            struct sockaddr_in6 to = {
                .sin6_family = AF_INET6,
                .sin6_addr = info.ipi6_addr,
                .sin6_port = htons(local_port(s)),
                .sin6_scope_id = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0,
            };
            (void)weir_address_from_sockaddr(ret, (struct sockaddr *)&to, sizeof to);
        }
    }
}

ssize_t weir_recv_from(weir_socket *s, void *buf, size_t len, weir_datagram_info *ret)
{
    struct sockaddr_storage from;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control = {.bytes = {0}};
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    struct msghdr message = {
        .msg_name = &from,
        .msg_namelen = sizeof from,
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    struct transfer t = {.try = transfer_recvmsg, .message = &message, .flags = MSG_TRUNC};

    if (!s || (!buf && len > 0))
        return -EINVAL;
    if (s->type != SOCK_DGRAM)
        return -EOPNOTSUPP;
    /* Without room for them the kernel drops descriptors that come along. */
    if (s->family == AF_UNIX)
        message.msg_controllen = 0;
    if (ret && socket_phase(s) >= PHASE_BOUND && socket_phase(s) != PHASE_CONNECTING)
        ask_for_destination(s);
    ssize_t n = transfer_in(s, &t);
    if (n < 0)
        return n;
    if (ret) {
        *ret = (weir_datagram_info){.size = (size_t)n, .truncated = (size_t)n > len};
        (void)weir_address_from_sockaddr(&ret->from, (struct sockaddr *)&from, message.msg_namelen);
        destination_of(s, &message, &ret->to);
    }
    return (size_t)n > len ? (ssize_t)len : n;
}
