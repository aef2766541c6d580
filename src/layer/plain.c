/* Sockets as the kernel has them. */
#include "plain.h"

static int descriptor(const weir_socket *s)
{
    return atomic_load_explicit(&s->fd, memory_order_relaxed);
}

static ssize_t plain_recvmsg(weir_socket *s, struct msghdr *message, int flags)
{
    if (s->tcp)
        s->drained = false;
    if (flags & MSG_OOB)
        s->tcp = false; /* reads stop short at the place where the byte was */
    return sys_recvmsg(descriptor(s), message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
}

static ssize_t plain_sendmsg(weir_socket *s, const struct msghdr *message, int flags)
{
    return sys_sendmsg(descriptor(s), message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A connection of which both directions have ended is not connected any more, says the kernel. */
static int plain_shutdown(weir_socket *s, int how)
{
    int rc = sys_shutdown(descriptor(s), how);
    return rc == -ENOTCONN && s->receiving ? 0 : rc;
}

void layer_interest(weir_socket *s, unsigned events, struct interest *ret)
{
    short wanted =
        (short)((events & WEIR_READABLE ? POLLIN : 0) | (events & WEIR_WRITABLE ? POLLOUT : 0));

    ret->fds[0] = (struct pollfd){.fd = descriptor(s), .events = wanted};
    ret->count = wanted != 0;
}

const struct layer_ops layer_plain = {
    .recv = plain_recv,
    .send = plain_send,
    .recvmsg = plain_recvmsg,
    .sendmsg = plain_sendmsg,
    .shutdown = plain_shutdown,
    .interest = layer_interest,
};
