/* Bytes from one stream to another through a pipe: they stay in the kernel (splice(2)). */
#ifndef RELAY_SPLICE_H
#define RELAY_SPLICE_H

#include <stdbool.h>
#include <weir/base.h>

/* What was taken from one side and not yet given to the other is in there, and nowhere else. */
struct pipe {
    int in, out; /* -1 while there is none */
    size_t size;
};

#define PIPE_NONE                                                                                  \
    {                                                                                              \
        -1, -1, 0                                                                                  \
    }

/* True if both are what the kernel splices without waiting. */
bool splice_fits(const weir_socket *from, const weir_socket *to);

/* 0, or -errno: then it is done without. */
int pipe_open(struct pipe *p);
void pipe_close(struct pipe *p);

/* As weir_recv, into the empty pipe, and as weir_send, of `len` bytes that are in there. Any
 * failure but that of a limit or cancel may be one of splicing: whoever goes on with weir_recv and
 * weir_send finds out. */
ssize_t splice_in(weir_socket *from, struct pipe *p);
ssize_t splice_out(weir_socket *to, struct pipe *p, size_t len);

/* As read(2). */
ssize_t pipe_read(const struct pipe *p, void *buf, size_t len);

#endif
