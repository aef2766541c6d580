/* Limits: how long everything that follows may take.
 *
 * A limit holds for the calling thread (for the calling task, where there are tasks), over any
 * number of sockets and calls: names, every address, handshakes and all I/O together. The earliest
 * limit wins. It is checked on entry to each call that could wait, so a peer that always has data
 * ready cannot outlast it. Calls on a socket in non-blocking mode cannot wait and take no notice of
 * it.
 *
 * All times are of CLOCK_MONOTONIC (clock_gettime(2)): a wall clock that jumps moves nothing. */
#ifndef WEIR_LIMIT_H
#define WEIR_LIMIT_H

#include <weir/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What held before a limit was started, so that it can hold again. A plain value: copy it, return
 * it, forget it. The fields are weir's own. */
typedef struct weir_scope {
    uint64_t saved_deadline_ns;
    uint32_t depth;
    bool saved_shielded;
} weir_scope;

/* Starts a limit: from now on, until weir_scope_end, no call of this thread waits longer than until
 * `timeout_ms` milliseconds from now; then it returns WEIR_EDEADLINE. A limit that ends later than
 * one that holds already changes nothing. Negative: no limit of its own. 0: nothing may wait.
 *
 * Cannot fail. */
WEIR_API weir_scope weir_deadline_start(int64_t timeout_ms);

/* Holds off every outer limit (and, in tasks, cancellation) for at most `timeout_ms` milliseconds,
 * for the goodbyes that are owed even when time is up: weir_finish, a last message. The bound is
 * the only limit that holds until weir_scope_end or a limit started inside. Negative counts as 0.
 *
 * Cannot fail. */
WEIR_API weir_scope weir_shield_start(int64_t timeout_ms);

/* Ends the limit or shield that gave `scope`: what held before it holds again. Limits started
 * inside it and forgotten end with it; ending those too, right after, does nothing.
 *
 * To be called by the thread that started it, once. */
WEIR_API void weir_scope_end(weir_scope scope);

/* The time that is left under the limits of the calling thread, in milliseconds, rounded up; 0 when
 * time is up, -1 when there is no limit. */
WEIR_API int64_t weir_time_left(void);

#if defined(__GNUC__)
/* For WEIR_WITHIN_MS and WEIR_SHIELDED_MS only. */
static inline void weir_scope_leave(const weir_scope *scope)
{
    weir_scope_end(*scope);
}

#define WEIR_SCOPE_NAME_(line) weir_scope_of_line_##line
#define WEIR_SCOPE_NAME(line)  WEIR_SCOPE_NAME_(line)

/* A limit, or a shield, for the rest of the enclosing block:
 *
 *     {
 *         WEIR_WITHIN_MS(3000);
 *         rc = weir_connect(s, host, port);
 *         …
 *     }
 */
#define WEIR_WITHIN_MS(timeout_ms)                                                                 \
    __attribute__((cleanup(weir_scope_leave), unused)) const weir_scope WEIR_SCOPE_NAME(           \
        __LINE__) = weir_deadline_start(timeout_ms)
#define WEIR_SHIELDED_MS(timeout_ms)                                                               \
    __attribute__((cleanup(weir_scope_leave), unused)) const weir_scope WEIR_SCOPE_NAME(           \
        __LINE__) = weir_shield_start(timeout_ms)
#endif

#ifdef __cplusplus
}
#endif

#endif
