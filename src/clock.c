#include "clock.h"

#include "sys.h"

#include <limits.h>

static uint64_t left_ns(uint64_t deadline_ns)
{
    uint64_t now = sys_now();
    return deadline_ns > now ? deadline_ns - now : 0;
}

uint64_t clock_deadline(int64_t timeout_ms)
{
    uint64_t timeout_ns, deadline_ns;

    if (timeout_ms < 0 || __builtin_mul_overflow((uint64_t)timeout_ms, NS_PER_MS, &timeout_ns) ||
        __builtin_add_overflow(sys_now(), timeout_ns, &deadline_ns))
        return NEVER;
    return deadline_ns;
}

const struct timespec *clock_left(uint64_t deadline_ns, struct timespec *ts)
{
    uint64_t left;

    if (deadline_ns == NEVER)
        return NULL;
    left = left_ns(deadline_ns);
    ts->tv_sec = (time_t)(left / NS_PER_S);
    ts->tv_nsec = (long)(left % NS_PER_S);
    return ts;
}

int clock_left_ms(uint64_t deadline_ns)
{
    uint64_t left, left_ms;

    if (deadline_ns == NEVER)
        return -1;
    left = left_ns(deadline_ns);
    left_ms = left / NS_PER_MS + (left % NS_PER_MS != 0);
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}
