/* Sockets as the kernel has them. */
#include "../socket.h"
#include "../sys.h"

static int descriptor(const weir_socket *s)
{
    return atomic_load_explicit(&s->fd, memory_order_relaxed);
}

static ssize_t plain_recv(weir_socket *s, void *buf, size_t len, unsigned *want)
{
    (void)want;
    size_t asked = sys_amount(SYS_RECV, len);
    ssize_t n = sys_recv(descriptor(s), buf, asked, MSG_DONTWAIT);
    if (s->tcp)
        s->drained = n > 0 && (size_t)n < asked;
    return n;
}

static ssize_t plain_send(weir_socket *s, const void *buf, size_t len, unsigned *want)
{
    (void)want;
    return sys_send(descriptor(s), buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t plain_recvmsg(weir_socket *s, struct msghdr *message, int flags, unsigned *want)
{
    (void)want;
    if (s->tcp)
        s->drained = false;
    if (flags & MSG_OOB)
        s->tcp = false; /* reads stop short at the place where the byte was */
    return sys_recvmsg(descriptor(s), message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
}

static ssize_t plain_sendmsg(weir_socket *s, const struct msghdr *message, int flags,
                             unsigned *want)
{
    (void)want;
    return sys_sendmsg(descriptor(s), message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A connection of which both directions have ended is not connected any more, says the kernel. */
static int plain_shutdown(weir_socket *s, int how, unsigned *want)
{
    (void)want;
    int rc = sys_shutdown(descriptor(s), how);
    return rc == -ENOTCONN && s->receiving ? 0 : rc;
}

static unsigned plain_pending(weir_socket *s)
{
    (void)s;
    return 0;
}

const struct layer_ops layer_plain = {
    .recv = plain_recv,
    .send = plain_send,
    .recvmsg = plain_recvmsg,
    .sendmsg = plain_sendmsg,
    .shutdown = plain_shutdown,
    .pending = plain_pending,
};
