/* Writing: gathered until it is much, or until the reader is about to look for input. */
#include "reader.h"

#include "socket.h"
#include "sys.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int send_buffer(weir_reader *r, struct effort *e)
{
    struct buffer *out = &r->out;
    size_t done = 0;

    effort_go_on(e, r->socket);
    int rc = weir_send_all(r->socket, out->data + out->start, buffer_used(out), &done);
    out->start += done;
    if (out->start == out->end)
        out->start = out->end = 0;
    return rc;
}

int reader_flush(weir_reader *r, struct effort *e)
{
    int rc = buffer_used(&r->out) > 0 ? send_buffer(r, e) : 0;

    r->flush_error = rc == -EAGAIN ? 0 : rc;
    return rc;
}

static int flush(weir_reader *r, struct effort *e)
{
    int rc = reader_flush(r, e);

    r->wants = rc == -EAGAIN ? WEIR_WRITABLE : WEIR_READABLE;
    return rc;
}

int weir_flush(weir_reader *r)
{
    struct effort e = {.begun = false};

    if (!r)
        return -EINVAL;
    int rc = flush(r, &e);
    effort_end(&e);
    return rc;
}

/* ---- room ----------------------------------------------------------------------------------- */

/* Sees to it that `len` more bytes can lie in the buffer. */
static int reserve(weir_reader *r, size_t len)
{
    struct buffer *out = &r->out;
    size_t used = buffer_used(out), room = out->room ? out->room : BUFFER_FIRST;

    if (len <= out->room - out->end)
        return 0;
    if (len <= out->room - used) {
        buffer_move(out, out->data, out->room);
        return 0;
    }
    while (room - used < len)
        room = room > r->gather / 2 ? used + len : 2 * room;
    char *data = sys_alloc_unset(room);
    if (!data)
        return -ENOMEM;
    char *old = out->data;
    buffer_move(out, data, room);
    free(old);
    return 0;
}

static void append(weir_reader *r, const void *bytes, size_t len)
{
    memcpy(r->out.data + r->out.end, bytes, len);
    r->out.end += len;
}

static bool fits(const weir_reader *r, size_t len)
{
    size_t used = buffer_used(&r->out);

    return used <= r->gather && len <= r->gather - used;
}

/* As it is, with nothing to be moved or sent before. */
static inline bool fits_behind(const weir_reader *r, size_t len)
{
    return len <= r->out.room - r->out.end && r->flush_error == 0 && fits(r, len);
}

/* What was gathered before goes out if `len` more bytes are too many, or if it has failed to. */
static int make_way(weir_reader *r, size_t len, struct effort *e)
{
    int rc = r->flush_error < 0 || !fits(r, len) ? flush(r, e) : 0;

    return rc == -EAGAIN && fits(r, len) ? 0 : rc;
}

/* More than is gathered goes by itself. There is room for what may be left of it beforehand, so
 * that no message is cut. */
static int send_past(weir_reader *r, const void *bytes, size_t len, struct effort *e)
{
    size_t done = 0;
    int rc = reserve(r, len);

    if (rc < 0)
        return rc;
    effort_go_on(e, r->socket);
    rc = weir_send_all(r->socket, bytes, len, &done);
    if (rc == -EAGAIN)
        r->wants = WEIR_WRITABLE;
    if (rc == 0 || done == 0)
        return rc;
    append(r, (const char *)bytes + done, len - done);
    return 0;
}

static int write_with_effort(weir_reader *r, const void *bytes, size_t len, struct effort *e)
{
    int rc = make_way(r, len, e);

    if (rc < 0 || len == 0)
        return rc;
    if (!fits(r, len))
        return send_past(r, bytes, len, e);
    rc = reserve(r, len);
    if (rc == 0)
        append(r, bytes, len);
    return rc;
}

int weir_write(weir_reader *r, const void *bytes, size_t len)
{
    struct effort e = {.begun = false};

    if (!r || (!bytes && len > 0))
        return -EINVAL;
    if (len > 0 && fits_behind(r, len)) {
        append(r, bytes, len);
        return 0;
    }
    int rc = write_with_effort(r, bytes, len, &e);
    effort_end(&e);
    return rc;
}

/* ---- text ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static int print_past(weir_reader *r, size_t len,
                                                            const char *format, va_list arguments)
{
    char *text = sys_alloc_unset(len + 1);

    if (!text)
        return -ENOMEM;
    int rc = vsnprintf(text, len + 1, format, arguments) < 0 ? -errno : 0;
    if (rc == 0)
        rc = weir_write(r, text, len);
    free(text);
    return rc;
}

/* Most texts fit behind what is there, and are printed once. */
__attribute__((format(printf, 2, 0))) static int print_shortly(weir_reader *r, const char *format,
                                                               va_list arguments)
{
    struct buffer *out = &r->out;
    int rc = out->data ? 0 : reserve(r, 1);

    if (rc < 0)
        return rc;
    int len = vsnprintf(out->data + out->end, out->room - out->end, format, arguments);
    if (len < 0)
        return -errno;
    if (fits_behind(r, (size_t)len + 1)) { /* with the zero behind it */
        out->end += (size_t)len;
        return 0;
    }
    return len;
}

int weir_writef(weir_reader *r, const char *format, ...)
{
    va_list arguments;

    if (!r || !format)
        return -EINVAL;
    va_start(arguments, format);
    int len = print_shortly(r, format, arguments);
    va_end(arguments);
    if (len <= 0)
        return len;
    va_start(arguments, format);
    int rc = print_past(r, (size_t)len, format, arguments);
    va_end(arguments);
    return rc;
}
