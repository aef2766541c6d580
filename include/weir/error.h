/* Errors are values: 0 or a count is success, anything negative is not.
 *
 * A system error is the negated errno of the kernel, `-ECONNREFUSED`. What only weir can tell has a
 * code of its own below -4095; these are negative already, never negate them. */
#ifndef WEIR_ERROR_H
#define WEIR_ERROR_H

#include <weir/base.h>

#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* A limit of the program passed (weir_set_timeout, weir_deadline_start). The socket is still
     * good. `-ETIMEDOUT` is something else: the kernel gave the connection up. */
    WEIR_EDEADLINE = -5001,
    /* The socket was closed or aborted here, in this process. */
    WEIR_ECLOSED = -5002,
    /* The stream ended in the middle of what was asked for. */
    WEIR_EEND = -5003,
    /* There is no such host name, or it has no address of the family asked for. */
    WEIR_ENONAME = -5004,
    /* A name server could not tell; the same question may succeed later. */
    WEIR_ENAMEAGAIN = -5005,
    /* No name server answered. */
    WEIR_ENAMESERVER = -5006,
    /* The TLS handshake or the TLS stream is broken. */
    WEIR_ETLS = -5007,
    /* The peer's certificate was not accepted. */
    WEIR_ECERT = -5008,
    /* The TLS stream was cut off: it ended without its closing message. */
    WEIR_ETRUNCATED = -5009,
};

/* Names a result: "connection refused" for `-ECONNREFUSED`, "success" for anything not negative.
 *
 * The text is static, never NULL, the same in every locale; unknown codes give "unknown error". Any
 * thread may call it. */
WEIR_API const char *weir_strerror(int rc);

/* The symbol of a result: "ECONNREFUSED", "WEIR_EDEADLINE"; NULL when it has none. Static text. */
WEIR_API const char *weir_error_name(int rc);

/* True if `rc` means "not yet, ask again": `-EAGAIN`, `-EINPROGRESS`, `-EALREADY`; false for
 * success and for every failure. So the three outcomes of a call are
 *
 *     if (rc >= 0)                      it is done
 *     else if (weir_in_progress(rc))    not yet
 *     else                              it failed
 */
WEIR_API bool weir_in_progress(ssize_t rc);

/* Tells the story of the last failure: which addresses were tried and why each failed, what exactly
 * was wrong with a text. With a socket it is the story of that socket, with NULL that of the
 * calling thread (for calls that have no socket yet, such as weir_dial or weir_address_parse).
 *
 * Writes at most `size` bytes to `buf`, always terminated if `size` > 0; several lines are joined
 * with "; ". Without a story the text of the last error of the socket is given, or "". The story
 * stays until the next failure that has one.
 *
 * Returns the length of the whole text, which is ≥ `size` if it did not fit, or
 *   -EINVAL   `buf` is NULL while `size` is not 0 */
WEIR_API int weir_error_detail(const weir_socket *s, char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
