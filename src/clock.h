/* Time: nanoseconds of CLOCK_MONOTONIC. A deadline is absolute; NEVER is none. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

#define NEVER     UINT64_MAX
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* The deadline `timeout_ms` from now: 0 is "now"; negative is NEVER, and so is what would
 * overflow. */
uint64_t clock_deadline(int64_t timeout_ms);

/* 0 for nothing and less; UINT64_MAX for what would overflow. */
static inline uint64_t clock_ns(int64_t ms)
{
    uint64_t ns;

    if (ms <= 0)
        return 0;
    return __builtin_mul_overflow((uint64_t)ms, NS_PER_MS, &ns) ? UINT64_MAX : ns;
}

/* Time left until a deadline, for ppoll(2): NULL for NEVER, otherwise `*ts`, filled. */
const struct timespec *clock_left(uint64_t deadline_ns, struct timespec *ts);

/* Time left in milliseconds, rounded up, for epoll_wait(2): -1 for NEVER, at most INT_MAX. */
int clock_left_ms(uint64_t deadline_ns);

static inline uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
