#include "attempt.h"

#include "sys.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#define RETRY_MIN_NS NS_PER_MS
#define RETRY_MAX_NS (50 * NS_PER_MS)

/* A connect to a port of this machine from which nobody listens can meet itself, when the kernel
 * happens to pick that very port as the local one: both ends of the connection are then the same
 * socket. */
#define FIRST_PORT_TO_MEET 1024

static bool is_loopback(const weir_address *a)
{
    if (a->family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, a->bytes, sizeof in);
        uint32_t host = ntohl(in.sin_addr.s_addr);
        return host >> 24 == IN_LOOPBACKNET || host == INADDR_ANY;
    }
    if (a->family != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, a->bytes, sizeof in6);
    const struct in6_addr *host = &in6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(host) || IN6_IS_ADDR_UNSPECIFIED(host) ||
           (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == IN_LOOPBACKNET);
}

static int get_address(int fd, int (*get)(int, struct sockaddr *, socklen_t *), weir_address *ret)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;

    int rc = get(fd, (struct sockaddr *)&storage, &length);
    return rc < 0 ? rc : weir_address_from_sockaddr(ret, (struct sockaddr *)&storage, length);
}

static bool met_itself(int fd, const weir_address *to)
{
    weir_address local, peer;

    if (weir_address_port(to) < FIRST_PORT_TO_MEET || !is_loopback(to))
        return false;
    return get_address(fd, sys_getsockname, &local) == 0 &&
           weir_address_port(&local) == weir_address_port(to) &&
           get_address(fd, sys_getpeername, &peer) == 0 && weir_address_equal(&local, &peer);
}

/* A Unix listener's queue is full. poll(2) says "writable" to that, so there is nothing but to
 * ask again. */
static int retry_later(struct attempt *a, uint64_t now_ns)
{
    a->retry_ns = now_ns + a->delay_ns;
    a->delay_ns = earlier(2 * a->delay_ns, RETRY_MAX_NS);
    return -EINPROGRESS;
}

static int attempt_connect(struct attempt *a, const weir_address *to, uint64_t now_ns)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(to, &length);
    int rc = sys_connect(a->fd, sa, length);

    a->retry_ns = 0;
    if (to->family == AF_UNIX)
        return rc == -EAGAIN || rc == -EINTR ? retry_later(a, now_ns) : rc;
    switch (rc) {
    case -EINTR: /* it goes on, connect(2) */
    case -EALREADY:
        return -EINPROGRESS;
    case -EAGAIN: /* no free local port */
        return -EADDRNOTAVAIL;
    default:
        return rc;
    }
}

/* The descriptor to try with. One that is bound or adopted is used up by its first attempt,
 * because a TCP socket that has failed is of no further use; datagram and Unix sockets can try
 * again. */
static int take_descriptor(weir_socket *s, int family)
{
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);

    if (fd < 0)
        return socket_descriptor(s, family, true);
    assert(s->family == family);
    if (s->type == SOCK_DGRAM)
        return fd;
    int rc = socket_make_nonblocking(s);
    if (rc < 0)
        return rc;
    if (family != AF_UNIX)
        atomic_store_explicit(&s->fd, -1, memory_order_relaxed);
    return fd;
}

int attempt_start(struct attempt *a, weir_socket *s, const weir_address *to, uint64_t now_ns)
{
    bool adopted = atomic_load_explicit(&s->fd, memory_order_relaxed) >= 0;
    int fd = take_descriptor(s, to->family);

    if (fd < 0)
        return fd;
    *a = (struct attempt){.fd = fd, .adopted = adopted, .delay_ns = RETRY_MIN_NS};
    int rc = attempt_connect(a, to, now_ns);
    if (rc < 0 && rc != -EINPROGRESS)
        attempt_close(a, s);
    return rc;
}

int attempt_retry(struct attempt *a, const weir_address *to, uint64_t now_ns)
{
    return attempt_connect(a, to, now_ns);
}

/* POLLERR and POLLHUP may mean that there was no connection, or that there was one and the peer
 * has reset it already, with bytes of its still to be read. SO_ERROR would not tell, and would
 * take the error away from whoever reads later; a peek leaves it there as long as there is
 * something to read. */
static int failed_or_reset(struct attempt *a, short revents)
{
    char byte;
    ssize_t n = sys_recv(a->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n > 0 || (n == 0 && revents & POLLERR)) /* bytes, or an end, before the error */
        return 0;
    if (n == -ECONNRESET) {
        a->broken = -ECONNRESET;
        return 0;
    }
    if (n == -EAGAIN && !(revents & POLLHUP))
        return revents & POLLOUT ? 0 : -EINPROGRESS;
    /* 0: another process, a parent or child, that shares the attempt has fetched the error. */
    return n == 0 || n == -EAGAIN ? -ECONNABORTED : (int)n;
}

int attempt_outcome(struct attempt *a, const weir_address *to, short revents)
{
    int rc = revents & (POLLERR | POLLHUP | POLLNVAL) ? failed_or_reset(a, revents) : 0;

    return rc == 0 && met_itself(a->fd, to) ? -ECONNREFUSED : rc;
}

void attempt_close(struct attempt *a, weir_socket *s)
{
    if (a->fd == atomic_load_explicit(&s->fd, memory_order_relaxed))
        return;
    sys_close(a->fd);
    a->fd = -1;
    if (a->adopted)
        s->adopted_blocking = false;
}
