/* Reading: look through what is there; if it is not enough, look at the socket; again. */
#include "reader.h"

#include "socket.h"
#include "sys.h"

#include <string.h>

#define MAX_DEFAULT    65536
#define GATHER_DEFAULT 16384

int weir_reader_open(weir_reader **ret, weir_socket *s, const weir_reader_options *options)
{
    if (!ret || !s || (options && options->size != sizeof *options))
        return -EINVAL;
    if (!socket_is_stream(s))
        return -EOPNOTSUPP;
    weir_reader *r = sys_alloc_unset(sizeof *r + BUFFER_FIRST + 1);
    if (!r)
        return -ENOMEM;
    *r = (weir_reader){
        .socket = s,
        .max = options && options->max ? options->max : MAX_DEFAULT,
        .gather = options && options->gather ? options->gather : GATHER_DEFAULT,
        .in = {.data = r->first, .room = BUFFER_FIRST},
        .wants = WEIR_READABLE,
    };
    *ret = r;
    return 0;
}

static void free_input(weir_reader *r)
{
    if (r->in.data != r->first)
        free(r->in.data);
}

int weir_reader_close(weir_reader *r)
{
    struct effort e = {.begun = false};

    if (!r)
        return 0;
    int rc = reader_flush(r, &e);
    effort_end(&e);
    free_input(r);
    free(r->out.data);
    free(r);
    return rc;
}

void effort_go_on(struct effort *e, const weir_socket *s)
{
    int64_t timeout_ms = atomic_load_explicit(&s->timeout_ms, memory_order_relaxed);

    if (!e->begun) {
        e->begun = true;
        e->deadline_ns = clock_deadline(timeout_ms);
    } else if (!e->scoped && timeout_ms >= 0 && e->deadline_ns != NEVER) {
        e->scoped = true;
        e->scope = weir_deadline_start(clock_left_ms(e->deadline_ns));
    }
}

/* ---- the input ------------------------------------------------------------------------------ */

void buffer_move(struct buffer *b, char *data, size_t room)
{
    size_t used = buffer_used(b);

    if (used > 0)
        memmove(data, b->data + b->start, used);
    *b = (struct buffer){.data = data, .end = used, .room = room};
}

/* Before a wait: with nothing to do a reader holds no more than it began with. */
static void shrink(weir_reader *r)
{
    if (buffer_used(&r->in) == 0) {
        free_input(r);
        r->in = (struct buffer){.data = r->first, .room = BUFFER_FIRST};
    }
    if (buffer_used(&r->out) == 0 && r->out.room > BUFFER_FIRST) {
        free(r->out.data);
        r->out = (struct buffer){.data = NULL};
    }
}

/* Makes room behind what there is. */
static int make_room(weir_reader *r)
{
    struct buffer *in = &r->in;

    if (buffer_used(in) < in->room) {
        if (in->start > 0)
            buffer_move(in, in->data, in->room);
        return 0;
    }
    size_t room = in->room > r->max / 2 ? r->max : 2 * in->room;
    char *data = sys_alloc_unset(room + 1);
    if (!data)
        return -ENOMEM;
    struct buffer old = *in;
    buffer_move(in, data, room);
    if (old.data != r->first)
        free(old.data);
    return 0;
}

/* Sends what was written, as far as that goes. If it fails for good, the peer may still have sent
 * something; a limit or a cancel holds for the receive that follows as well. */
static int flush_first(weir_reader *r, struct effort *e)
{
    int rc = buffer_used(&r->out) > 0 ? reader_flush(r, e) : 0;

    shrink(r);
    return rc == -ENOMEM || rc == -ENOBUFS ? rc : 0;
}

/* A flush that has failed for good will fail again: poll(2) would say "writable" for ever. */
static unsigned read_wants(const weir_reader *r)
{
    bool left = buffer_used(&r->out) > 0 && r->flush_error == 0;

    return WEIR_READABLE | (left ? WEIR_WRITABLE : 0);
}

/* 1: more has come. 0: it has ended. What is there has a zero byte behind it, for those who use
 * functions for strings on it. */
static int look(weir_reader *r, struct effort *e)
{
    int rc = flush_first(r, e);

    if (rc == 0)
        rc = make_room(r);
    if (rc < 0)
        return rc;
    effort_go_on(e, r->socket);
    ssize_t n = weir_recv(r->socket, r->in.data + r->in.end, r->in.room - r->in.end);
    r->wants = read_wants(r);
    if (n > 0)
        r->in.end += (size_t)n;
    r->in.data[r->in.end] = '\0';
    return n > 0 ? 1 : (int)n;
}

static weir_bytes view(const weir_reader *r, size_t len)
{
    return (weir_bytes){.data = r->in.data + r->in.start, .len = len};
}

static void take(weir_reader *r, size_t len)
{
    r->in.start += len;
    r->looked = 0;
}

/* Nothing more comes. */
static int ended(const weir_reader *r, weir_bytes *ret)
{
    size_t left = buffer_used(&r->in);

    if (left == 0)
        return 0;
    *ret = view(r, left);
    return WEIR_EEND;
}

/* Looks until there are `len` bytes. */
static __attribute__((noinline)) int look_for_more(weir_reader *r, size_t len, weir_bytes *ret)
{
    struct effort e = {.begun = false};
    int rc = 1;

    while (rc > 0 && buffer_used(&r->in) < len)
        rc = look(r, &e);
    effort_end(&e);
    if (rc > 0)
        *ret = view(r, len);
    return rc == 0 ? ended(r, ret) : rc;
}

/* Most of what is asked for is there already: this is kept short, the rest is apart. */
static inline int await(weir_reader *r, size_t len, weir_bytes *ret)
{
    if (buffer_used(&r->in) < len)
        return look_for_more(r, len, ret);
    *ret = view(r, len);
    return 1;
}

/* ---- delimiters ----------------------------------------------------------------------------- */

static void seek(weir_reader *r, const void *delimiter, size_t len)
{
    if (r->delimiter_len == len && memcmp(r->delimiter, delimiter, len) == 0)
        return;
    memcpy(r->delimiter, delimiter, len);
    r->delimiter_len = len;
    r->looked = 0;
}

/* Where the delimiter is, NULL if it is not there: then what was looked through is not looked at
 * again. */
static inline const char *find(weir_reader *r)
{
    size_t len = r->delimiter_len, used = buffer_used(&r->in),
           within = used < r->max ? used : r->max;
    const char *from = r->in.data + r->in.start + r->looked;
    const char *at = len == 1 ? memchr(from, r->delimiter[0], within - r->looked)
                              : memmem(from, within - r->looked, r->delimiter, len);

    if (!at && within >= len)
        r->looked = within - (len - 1);
    return at;
}

static inline bool take_before(weir_reader *r, weir_bytes *ret)
{
    const char *at = find(r);

    if (!at)
        return false;
    *ret = view(r, (size_t)(at - (r->in.data + r->in.start)));
    take(r, ret->len + r->delimiter_len);
    return true;
}

/* Looks until the delimiter is there. */
static __attribute__((noinline)) int look_for_end(weir_reader *r, weir_bytes *ret)
{
    struct effort e = {.begun = false};
    int rc;

    do
        rc = buffer_used(&r->in) < r->max ? look(r, &e) : -EMSGSIZE;
    while (rc > 0 && !take_before(r, ret));
    effort_end(&e);
    return rc == 0 ? ended(r, ret) : rc;
}

static inline int until(weir_reader *r, weir_bytes *ret)
{
    return take_before(r, ret) ? 1 : look_for_end(r, ret);
}

int weir_read_line(weir_reader *r, weir_bytes *ret)
{
    if (!r || !ret)
        return -EINVAL;
    seek(r, "\n", 1);
    int rc = until(r, ret);
    if (rc > 0 && ret->len > 0 && ret->data[ret->len - 1] == '\r')
        ret->len--;
    return rc;
}

int weir_read_until(weir_reader *r, const void *delimiter, size_t len, weir_bytes *ret)
{
    if (!r || !ret || !delimiter || len == 0 || len > DELIMITER_MAX || len > r->max)
        return -EINVAL;
    seek(r, delimiter, len);
    return until(r, ret);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

int weir_peek(weir_reader *r, size_t len, weir_bytes *ret)
{
    if (!r || !ret || len == 0 || len > r->max)
        return -EINVAL;
    return await(r, len, ret);
}

int weir_read_exact(weir_reader *r, size_t len, weir_bytes *ret)
{
    if (!r || !ret || len == 0 || len > r->max)
        return -EINVAL;
    int rc = await(r, len, ret);
    if (rc > 0)
        take(r, len);
    return rc;
}

int weir_read_some(weir_reader *r, weir_bytes *ret)
{
    if (!r || !ret)
        return -EINVAL;
    int rc = await(r, 1, ret);
    if (rc > 0) {
        ret->len = buffer_used(&r->in);
        take(r, ret->len);
    }
    return rc;
}

/* What the reader has of it. */
static void move_out(weir_reader *r, char *buf, size_t len, size_t *done)
{
    size_t left = len - *done, used = buffer_used(&r->in), n = used < left ? used : left;

    if (n == 0)
        return;
    memcpy(buf + *done, r->in.data + r->in.start, n);
    take(r, n);
    *done += n;
}

int weir_read_into(weir_reader *r, void *buf, size_t len, size_t *done)
{
    struct effort e = {.begun = false};

    if (!r || !done || *done > len || (!buf && len > 0))
        return -EINVAL;
    move_out(r, buf, len, done);
    if (*done == len)
        return 1;
    int rc = flush_first(r, &e);
    if (rc == 0) {
        effort_go_on(&e, r->socket);
        rc = weir_recv_exact(r->socket, buf, len, done);
        r->wants = read_wants(r);
    }
    effort_end(&e);
    if (rc == WEIR_EEND && *done == 0)
        return 0;
    return rc == 0 ? 1 : rc;
}

size_t weir_reader_buffered(const weir_reader *r)
{
    return r ? buffer_used(&r->in) : 0;
}

int weir_reader_wants(const weir_reader *r)
{
    return r ? (int)r->wants : -EINVAL;
}
