/* What carries the bytes: one table of operations per kind.
 *
 * Each operation tries once and never waits: -EAGAIN means "would block", and `interest` then says
 * what to wait for: a receive may want to write, a send to read. -EINTR is allowed and means "try
 * again". The descriptor is s->fd. */
#ifndef LAYER_H
#define LAYER_H

#include <sys/socket.h>
#include <weir/base.h>

struct interest;

struct layer_ops {
    ssize_t (*recv)(weir_socket *s, void *buf, size_t len);
    ssize_t (*send)(weir_socket *s, const void *buf, size_t len);
    ssize_t (*recvmsg)(weir_socket *s, struct msghdr *message, int flags);
    ssize_t (*sendmsg)(weir_socket *s, const struct msghdr *message, int flags);
    int (*shutdown)(weir_socket *s, int how);
    /* What to watch until one of `events` (WEIR_READABLE, WEIR_WRITABLE) may hold; `ret` is empty.
     * (socket's lock) */
    void (*interest)(weir_socket *s, unsigned events, struct interest *ret);
    /* Carries on what goes on behind the calls: 0 when nothing is left to do, -EAGAIN, or why it
     * has failed. NULL where nothing does. (socket's lock) */
    int (*drive)(weir_socket *s);
};

/* The descriptor itself tells. */
void layer_interest(weir_socket *s, unsigned events, struct interest *ret);

extern const struct layer_ops layer_plain;      /* sockets */
extern const struct layer_ops layer_descriptor; /* pipes, terminals: polled before each try */
extern const struct layer_ops layer_file;       /* regular files: always ready */

#endif
