/* Descriptors that are no sockets: pipes, terminals, files.
 *
 * They have no call that does not wait, unless O_NONBLOCK is on, which is not weir's to turn on: it
 * belongs to the open file. So poll(2) is asked first. */
#include "../socket.h"
#include "../sys.h"

#include <limits.h>

static int descriptor(const weir_socket *s)
{
    return atomic_load_explicit(&s->fd, memory_order_relaxed);
}

static int poll_first(const weir_socket *s, short events)
{
    static const struct timespec at_once = {0};
    struct pollfd fd = {.fd = descriptor(s), .events = events};

    if (!s->poll_first)
        return 0;
    int rc = sys_poll(&fd, 1, &at_once);
    return rc == 0 || rc == -EINTR ? -EAGAIN : rc < 0 ? rc : 0;
}

static ssize_t descriptor_recv(weir_socket *s, void *buf, size_t len)
{
    ssize_t n = poll_first(s, POLLIN);
    return n < 0 ? n : sys_read(descriptor(s), buf, len);
}

/* A pipe that is writable has room for PIPE_BUF bytes; more could wait (pipe(7)). */
static ssize_t descriptor_send(weir_socket *s, const void *buf, size_t len)
{
    ssize_t n = poll_first(s, POLLOUT);
    if (s->poll_first && len > PIPE_BUF)
        len = PIPE_BUF;
    return n < 0 ? n : sys_write(descriptor(s), buf, len);
}

/* The first vector that has bytes; a part is allowed. */
static const struct iovec *first_vector(const struct msghdr *message)
{
    const struct iovec *iov = message->msg_iov;

    while (iov->iov_len == 0)
        iov++;
    return iov;
}

static ssize_t descriptor_recvmsg(weir_socket *s, struct msghdr *message, int flags)
{
    if (flags || message->msg_control)
        return -ENOTSOCK;
    const struct iovec *iov = first_vector(message);
    message->msg_namelen = 0;
    message->msg_flags = 0;
    return descriptor_recv(s, iov->iov_base, iov->iov_len);
}

static ssize_t descriptor_sendmsg(weir_socket *s, const struct msghdr *message, int flags)
{
    if (flags & ~MSG_NOSIGNAL || message->msg_control || message->msg_name)
        return -ENOTSOCK;
    const struct iovec *iov = first_vector(message);
    return descriptor_send(s, iov->iov_base, iov->iov_len);
}

static int descriptor_shutdown(weir_socket *s, int how)
{
    (void)s, (void)how;
    return -ENOTSOCK;
}

static void file_interest(weir_socket *s, unsigned events, struct interest *ret)
{
    layer_interest(s, events, ret);
    ret->ready = events;
}

const struct layer_ops layer_descriptor = {
    .recv = descriptor_recv,
    .send = descriptor_send,
    .recvmsg = descriptor_recvmsg,
    .sendmsg = descriptor_sendmsg,
    .shutdown = descriptor_shutdown,
    .interest = layer_interest,
};

const struct layer_ops layer_file = {
    .recv = descriptor_recv,
    .send = descriptor_send,
    .recvmsg = descriptor_recvmsg,
    .sendmsg = descriptor_sendmsg,
    .shutdown = descriptor_shutdown,
    .interest = file_interest,
};
