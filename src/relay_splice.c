#include "relay_splice.h"

#include "socket.h"
#include "sys.h"

#define PIPE_SIZE  ((size_t)256 * 1024)
#define PIPE_LEAST ((size_t)64 * 1024) /* less does not pay */

/* TCP looks at the open file's O_NONBLOCK, not at the flag of the call. */
static bool never_waits(const weir_socket *s)
{
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);

    return s->layer == &layer_plain && fd >= 0 && sys_get_flags(fd) & O_NONBLOCK;
}

bool splice_fits(const weir_socket *from, const weir_socket *to)
{
    return never_waits(from) && never_waits(to);
}

/* How much a user's pipes may hold is limited; what there is may do. */
int pipe_open(struct pipe *p)
{
    int fds[2], rc = sys_pipe(fds);

    if (rc < 0)
        return rc;
    *p = (struct pipe){.in = fds[1], .out = fds[0]};
    rc = sys_pipe_size(p->in, PIPE_SIZE);
    if (rc >= 0 && (size_t)rc < PIPE_LEAST)
        rc = -EPERM;
    if (rc < 0)
        pipe_close(p);
    else
        p->size = (size_t)rc;
    return rc < 0 ? rc : 0;
}

void pipe_close(struct pipe *p)
{
    sys_close(p->in);
    sys_close(p->out);
    *p = (struct pipe)PIPE_NONE;
}

struct splice {
    struct transfer t; /* first: it is what a try is given */
    int fd;            /* of the pipe */
};

static ssize_t try_in(weir_socket *s, struct transfer *t)
{
    const struct splice *splice = (const struct splice *)t;

    if (s->tcp)
        s->drained = false;
    return sys_splice(atomic_load_explicit(&s->fd, memory_order_relaxed), splice->fd, t->len);
}

/* It sends in pieces, and if one fails says how many bytes went before. With that the kernel has
 * told a reset, which it does once. */
static ssize_t try_out(weir_socket *s, struct transfer *t)
{
    const struct splice *splice = (const struct splice *)t;
    ssize_t n = sys_splice(splice->fd, atomic_load_explicit(&s->fd, memory_order_relaxed), t->len);

    if (n > 0 && (size_t)n < t->len && s->receiving && stream_hung_up(s))
        socket_note_reset(s);
    return n;
}

ssize_t splice_in(weir_socket *from, struct pipe *p)
{
    struct splice splice = {.t = {.try = try_in, .len = p->size}, .fd = p->in};

    return transfer_in(from, &splice.t);
}

ssize_t splice_out(weir_socket *to, struct pipe *p, size_t len)
{
    struct splice splice = {.t = {.try = try_out, .len = len}, .fd = p->out};

    return transfer_out(to, &splice.t);
}

ssize_t pipe_read(const struct pipe *p, void *buf, size_t len)
{
    return sys_read(p->out, buf, len);
}
