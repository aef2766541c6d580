#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <weir.h>

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

uint64_t bench_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t bench_thread_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void bench_fail(const char *what, long rc)
{
    fprintf(stderr, "%s: %s (%ld)\n", what, weir_strerror((int)rc), rc);
    exit(1);
}

long bench_check(const char *what, long rc)
{
    if (rc < 0)
        bench_fail(what, rc);
    return rc;
}

long bench_errno(const char *what, long rc)
{
    if (rc < 0)
        bench_fail(what, -errno);
    return rc;
}

long bench_number(const char *text, long least)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end || value < least) {
        fprintf(stderr, "\"%s\" is not a number of at least %ld\n", text, least);
        exit(2);
    }
    return value;
}

void bench_many_descriptors(void)
{
    struct rlimit limit = {.rlim_cur = 1 << 17, .rlim_max = 1 << 17};

    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return;
    bench_errno("getrlimit", getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    bench_errno("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
}

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

uint64_t bench_quantile(uint64_t *values, size_t count, double q)
{
    size_t at = (size_t)((double)count * q);

    qsort(values, count, sizeof *values, compare);
    return count == 0 ? 0 : values[at < count ? at : count - 1];
}
