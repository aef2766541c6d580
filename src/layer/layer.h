/* What carries the bytes: one table of operations per kind.
 *
 * Each operation tries once and never waits: -EAGAIN means "would block", and `*want` then is what
 * to wait for (WEIR_READABLE, WEIR_WRITABLE; a receive may want to write, a send to read). It
 * comes in as the natural direction, so a layer that never wants the other one need not touch it.
 * -EINTR is allowed and means "try again". The descriptor is s->fd. */
#ifndef LAYER_H
#define LAYER_H

#include <sys/socket.h>
#include <weir/base.h>

struct layer_ops {
    ssize_t (*recv)(weir_socket *s, void *buf, size_t len, unsigned *want);
    ssize_t (*send)(weir_socket *s, const void *buf, size_t len, unsigned *want);
    ssize_t (*recvmsg)(weir_socket *s, struct msghdr *message, int flags, unsigned *want);
    ssize_t (*sendmsg)(weir_socket *s, const struct msghdr *message, int flags, unsigned *want);
    int (*shutdown)(weir_socket *s, int how, unsigned *want);
    /* Events that hold though the descriptor does not say so. */
    unsigned (*pending)(weir_socket *s);
};

extern const struct layer_ops layer_plain;      /* sockets */
extern const struct layer_ops layer_descriptor; /* pipes, terminals: polled before each try */
extern const struct layer_ops layer_file;       /* regular files: always ready */

#endif
