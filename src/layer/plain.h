/* Sockets as the kernel has them: what calls do most, in line. */
#ifndef LAYER_PLAIN_H
#define LAYER_PLAIN_H

#include "../socket.h"
#include "../sys.h"

static inline ssize_t plain_recv(weir_socket *s, void *buf, size_t len)
{
    size_t asked = sys_amount(SYS_RECV, len);
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);
    ssize_t n = sys_recv(fd, buf, asked, MSG_DONTWAIT);

    if (s->tcp)
        s->drained = n > 0 && (size_t)n < asked;
    return n;
}

static inline ssize_t plain_send(weir_socket *s, const void *buf, size_t len)
{
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);

    return sys_send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The layer's own, without a call where it is this one. */
static inline ssize_t layer_recv(weir_socket *s, void *buf, size_t len)
{
    return s->layer == &layer_plain ? plain_recv(s, buf, len) : s->layer->recv(s, buf, len);
}

static inline ssize_t layer_send(weir_socket *s, const void *buf, size_t len)
{
    return s->layer == &layer_plain ? plain_send(s, buf, len) : s->layer->send(s, buf, len);
}

#endif
