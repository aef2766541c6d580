#include "cli.h"
#include "compare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SETUP_MS   20000
#define DIAL_BATCH 128

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The resident memory of the process. statm is off by some pages for each processor, this is
 * not. */
static uint64_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    unsigned long long kib = 0;
    char line[256];

    while (f && kib == 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, "Anonymous:", 10) == 0)
            kib = strtoull(line + 10, NULL, 10);
    if (f)
        fclose(f);
    return kib * 1024;
}

/* ---- latencies ------------------------------------------------------------------------------- */

static size_t bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < 2u << BUCKET_BITS)
        return value;
    shift = 63u - (unsigned)__builtin_clzll(value) - BUCKET_BITS;
    return ((size_t)shift << BUCKET_BITS) + (value >> shift);
}

static double bucket_middle(size_t bucket)
{
    size_t shift = (bucket >> BUCKET_BITS) - 1;

    if (bucket < 2u << BUCKET_BITS)
        return (double)bucket;
    return ((double)(bucket - (shift << BUCKET_BITS)) + 0.5) * (double)(UINT64_C(1) << shift);
}

void run_count(struct run *r, uint64_t latency_ns)
{
    atomic_fetch_add_explicit(&r->latencies[bucket_of(latency_ns)], 1, memory_order_relaxed);
}

static uint64_t requests_done(const struct run *r)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < BUCKETS; i++)
        sum += atomic_load_explicit(&r->latencies[i], memory_order_relaxed);
    return sum;
}

static double percentile_us(const struct run *r, uint64_t requests, double share)
{
    double wanted = (double)requests * share, sum = 0;
    size_t i;

    for (i = 0; i < BUCKETS - 1; i++) {
        sum += atomic_load_explicit(&r->latencies[i], memory_order_relaxed);
        if (sum > wanted)
            break;
    }
    return bucket_middle(i) / 1000;
}

/* ---- the time that is measured --------------------------------------------------------------- */

void run_start(struct run *r)
{
    r->start_ns = now_ns();
    r->start_cpu_ns = cpu_ns();
}

uint64_t run_end_ns(const struct run *r)
{
    return r->start_ns + (uint64_t)r->load->round_ms * 1000000;
}

void run_stop(struct run *r, struct sample *ret)
{
    uint64_t used_ns = cpu_ns() - r->start_cpu_ns;
    uint64_t elapsed_ns = now_ns() - r->start_ns;
    uint64_t requests = requests_done(r);
    uint64_t memory = resident_bytes();
    double grown = memory > r->memory_before ? (double)(memory - r->memory_before) : 0;

    *ret = (struct sample){
        .requests_per_second = (double)requests * 1e9 / (double)elapsed_ns,
        .cpu_us = requests ? (double)used_ns / 1000 / (double)requests : 0,
        .median_us = percentile_us(r, requests, 0.5),
        .p99_us = percentile_us(r, requests, 0.99),
        .memory_bytes = grown / (double)r->load->connections,
    };
}

/* ---- connections ----------------------------------------------------------------------------- */

int exchange(struct connection *c, const char *message, size_t size)
{
    int rc;

    c->sent = c->received = 0;
    rc = weir_send_all(c->s, message, size, &c->sent);
    return rc < 0 ? rc : weir_recv_exact(c->s, c->reply, size, &c->received);
}

static int dial(struct connection *c, const struct load *load)
{
    /* So that thousands of connections in a row do not use up the ports of this machine:
     * TIME_WAIT. */
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int rc = weir_dial(&c->s, load->target, WEIR_DIAL_OPTIONS(.nonblocking = true));

    if (rc < 0 && !weir_in_progress(rc))
        return rc;
    if (load->embedded)
        weir_set_option(c->s, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    return 0;
}

static int settle(struct connection *c)
{
    int rc;

    while (weir_in_progress(rc = weir_connect_status(c->s)))
        if ((rc = weir_wait(c->s, WEIR_WRITABLE)) == WEIR_EDEADLINE)
            return rc;
    weir_set_blocking(c->s, true);
    return rc;
}

/* A batch at a time is on its way: a server far away is not waited for once for each connection. */
static int connect_all(struct connection *list, size_t count, const struct load *load)
{
    size_t settled = 0;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = dial(&list[i], load);
        if (rc < 0 || (i + 1 - settled < DIAL_BATCH && i + 1 < count))
            continue;
        for (; settled <= i && rc == 0; settled++)
            rc = settle(&list[settled]);
    }
    return rc;
}

static int greet_all(struct run *r, size_t count)
{
    size_t size = r->load->size;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        r->connections[i].sent = r->connections[i].received = 0;
        rc = weir_send_all(r->connections[i].s, r->message, size, &r->connections[i].sent);
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct connection *c = &r->connections[i];
        rc = weir_recv_exact(c->s, c->reply, size, &c->received);
        if (rc == 0 && memcmp(c->reply, r->message, size) != 0)
            rc = -EBADMSG;
    }
    return rc;
}

static int open_some(struct run *r, size_t count, const char **ret_what)
{
    int rc;
    WEIR_WITHIN_MS(SETUP_MS);

    *ret_what = "connect to";
    rc = connect_all(r->connections, count, r->load);
    if (rc < 0)
        return rc;
    *ret_what = "the first echo from";
    return greet_all(r, count);
}

static int allocate(struct run *r, size_t count)
{
    r->connections = calloc(count, sizeof(*r->connections));
    if (!r->connections)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        r->connections[i].reply = calloc(1, r->load->size);
        if (!r->connections[i].reply)
            return -ENOMEM;
    }
    return 0;
}

static void release(struct run *r, size_t count)
{
    for (size_t i = 0; r->connections && i < count; i++) {
        weir_close(r->connections[i].s);
        free(r->connections[i].reply);
    }
    free(r->connections);
    r->connections = NULL;
}

static int open_counted(struct run *r, size_t count, const char **ret_what)
{
    int rc = allocate(r, count);

    return rc < 0 ? rc : open_some(r, count, ret_what);
}

int run_open(struct run *r, const struct load *load, const char **ret_what)
{
    int rc;

    *ret_what = "memory for";
    memset(r, 0, sizeof(*r));
    r->load = load;
    r->message = malloc(load->size);
    if (!r->message)
        return -ENOMEM;
    for (size_t i = 0; i < load->size; i++)
        r->message[i] = (char)('a' + i % 26);

    /* One that does not count, so that what is needed once is not taken for a connection's. */
    rc = open_counted(r, 1, ret_what);
    release(r, 1);
    r->memory_before = resident_bytes();
    return rc < 0 ? rc : open_counted(r, load->connections, ret_what);
}

void run_close(struct run *r)
{
    release(r, r->load->connections);
    free(r->message);
}
