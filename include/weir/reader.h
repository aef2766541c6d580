/* Messages out of a stream, and answers into it: lines, delimiters, exact sizes.
 *
 *     weir_reader *r;
 *     weir_bytes line;
 *
 *     weir_reader_open(&r, s, NULL);
 *     while ((rc = weir_read_line(r, &line)) > 0)
 *         weir_write(r, answer, length);
 *     weir_reader_close(r);
 *
 * What is written is gathered and goes out in one piece before the reader looks for more input. So
 * a client that sends sixteen requests at once gets sixteen answers at once, and does not wait for
 * an answer that lies in a buffer. Before a wait for anything else (another reader, a channel,
 * time) it takes a weir_flush.
 *
 * A reader is for one task or thread at a time; who reads in one task and writes in another opens
 * two on the same socket, and flushes the one that only writes. Everything works over whatever the
 * socket is: TCP, TLS, Unix streams, pipes.
 *
 * In non-blocking mode calls return -EAGAIN with what has come so far kept, and are made again when
 * weir_reader_wants holds (weir_wait, a poller).
 *
 * Each call is one call to the socket's time-out (weir_set_timeout): a peer that sends a byte now
 * and then does not put off the end of a line that is due. */
#ifndef WEIR_READER_H
#define WEIR_READER_H

#include <weir/base.h>
#include <weir/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that are somebody else's. */
typedef struct weir_bytes {
    const char *data; /* not ended by a zero byte */
    size_t len;
} weir_bytes;

typedef struct weir_reader weir_reader;

/* Made by WEIR_READER_OPTIONS(.max = 1 << 20). */
typedef struct weir_reader_options {
    size_t size;   /* sizeof(weir_reader_options), set by the macro */
    size_t max;    /* of a message, in bytes, its end included; 0: 65,536 */
    size_t gather; /* so much at most is gathered before it goes out; 0: 16,384 */
} weir_reader_options;

#define WEIR_READER_OPTIONS(...)                                                                   \
    (&(const weir_reader_options){.size = sizeof(weir_reader_options), __VA_ARGS__})

/* A reader of the stream `s`, which stays the caller's and has to stay until the reader is closed.
 * While it has bytes that came and were not asked for, nobody else should receive from `s`.
 * `options` may be NULL.
 *
 * Returns 0, -EOPNOTSUPP if `s` is no stream, -ENOMEM, or -EINVAL if `ret` or `s` is NULL or the
 * options are unknown. `*ret` is untouched on failure. */
WEIR_API int weir_reader_open(weir_reader **ret, weir_socket *s,
                              const weir_reader_options *options);

/* Sends what is left, as weir_flush, and frees the reader in any case. NULL is fine. Returns 0, or
 * why not everything was sent; what came and was not asked for is dropped. */
WEIR_API int weir_reader_close(weir_reader *r);

/* ---- reading ------------------------------------------------------------------------------------
 *
 * Each returns 1 and a view into the reader, valid until the next call that reads or closes; or
 *
 *   0              the stream has ended, with nothing left
 *   WEIR_EEND      it has ended in the middle of what was asked for; `*ret` is what there is
 *   -EMSGSIZE      there is no end within `max` bytes
 *   -EAGAIN        non-blocking: there is not enough yet
 *   -EINVAL        an argument is NULL; a size is 0 or more than `max`
 *   -ENOMEM, or as weir_recv: what came before such an error is read first
 *   -ECANCELED, WEIR_EDEADLINE   also while what was written goes out
 *
 * and then nothing was taken: the same call goes on where it stopped, and after an end or an error
 * weir_read_some still has the rest. `*ret` is untouched but for 1 and WEIR_EEND. What is there
 * already is returned without a look at the socket, at limits and at cancels.
 *
 * That what was written cannot be sent any more does not end the reading, since the peer may have
 * sent something before it left; weir_write, weir_flush and weir_reader_close tell of it. */

/* A line without its end, which is "\n" or "\r\n" and lies right behind it: functions for strings
 * that stop at such a character may be used on a line as it is, strncasecmp(3) with a word, or
 * strtol(3) where a digit or a sign before a digit stands: white space it skips, ends of lines too.
 * None runs further than to the zero byte behind what has come. */
WEIR_API int weir_read_line(weir_reader *r, weir_bytes *ret);

/* What comes before `delimiter`, which is taken and left out, and lies right behind it. 1 to 16
 * bytes. */
WEIR_API int weir_read_until(weir_reader *r, const void *delimiter, size_t len, weir_bytes *ret);

/* Exactly so many bytes. */
WEIR_API int weir_read_exact(weir_reader *r, size_t len, weir_bytes *ret);

/* What there is, one byte at least. */
WEIR_API int weir_read_some(weir_reader *r, weir_bytes *ret);

/* As weir_read_exact, and they stay where they are. */
WEIR_API int weir_peek(weir_reader *r, size_t len, weir_bytes *ret);

/* Exactly `len` bytes, of any number, into `buf`: first what the reader has, the rest straight from
 * the socket. `*done` says how many are there: it goes in as the number that earlier calls have
 * read (0 at first) and comes out as the number read so far, also on failure.
 *
 * Returns 1 when `*done` is `len`, else as above: 0 if the stream has ended and `*done` is 0,
 * WEIR_EEND if it is more; -EINVAL if `*done` > `len`. */
WEIR_API int weir_read_into(weir_reader *r, void *buf, size_t len, size_t *done);

/* How many bytes have come and were not asked for; 0 for NULL. */
WEIR_API size_t weir_reader_buffered(const weir_reader *r);

/* ---- writing ------------------------------------------------------------------------------------
 *
 * A reader of a peer that does not read: a blocking call waits, and does not read meanwhile. */

/* Gathers `len` bytes, or sends them if they are too many for that; all of them or none.
 *
 * Returns 0: they were taken; or why those before them could not be sent, and then none of these
 * was taken: -EAGAIN if there is no room for them in non-blocking mode, -ENOMEM, -EINVAL if `r` is
 * NULL, or `bytes` is while `len` is not 0, or as weir_send. */
WEIR_API int weir_write(weir_reader *r, const void *bytes, size_t len);

/* The same for text, as printf(3). Also what that fails with: -EOVERFLOW, -EILSEQ. */
WEIR_API int weir_writef(weir_reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends what has been gathered. 0, or as weir_send_all; what has not been sent stays. */
WEIR_API int weir_flush(weir_reader *r);

/* The events to wait for until the call that gave -EAGAIN is made again: WEIR_WRITABLE after one
 * that writes, WEIR_READABLE after one that reads, with WEIR_WRITABLE if something waits to be
 * sent and can be. -EINVAL for NULL. */
WEIR_API int weir_reader_wants(const weir_reader *r);

#ifdef __cplusplus
}
#endif

#endif
