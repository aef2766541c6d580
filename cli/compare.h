/* `weir compare`: the same load, driven in each model, side by side.
 *
 * Every model is measured in a process of its own, forked for each round from one that has no
 * threads, so that CPU time and memory are the model's alone. */
#ifndef COMPARE_H
#define COMPARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <weir.h>

#define COMPARE_ROUNDS 5
#define MODELS_MAX     5

struct load {
    const char *target;
    bool embedded; /* the server is ours */
    size_t connections;
    size_t size; /* of a message, bytes */
    int64_t round_ms;
};

/* One round of one model. */
struct sample {
    double requests_per_second;
    double cpu_us; /* per request, user and system */
    double median_us, p99_us;
    double memory_bytes; /* resident, per connection */
};

struct connection {
    weir_socket *s;
    char *reply;
    size_t sent, received; /* of the request under way */
    uint64_t begun_ns;
};

/* Four buckets for each power of two would be off by up to 25 %; 32 are off by 3 %. */
#define BUCKET_BITS 5
#define BUCKETS     ((64 - BUCKET_BITS) << BUCKET_BITS)

struct run {
    const struct load *load;
    struct connection *connections;
    char *message;
    atomic_bool over;
    uint64_t memory_before;
    uint64_t start_ns, start_cpu_ns;
    atomic_uint latencies[BUCKETS];
};

/* A model drives the open connections of a run: run_start(), requests until run_end_ns(),
 * run_stop(). Returns 0 or why it failed.
 *
 * The straight-line program is there several times; what it runs on is chosen as its users would,
 * by WEIR_MODEL and WEIR_LOOP. */
struct model {
    const char *name, *title, *explanation;
    int (*drive)(struct run *r, struct sample *ret);
    const char *model; /* for WEIR_MODEL; NULL: it is not a matter of tasks */
    const char *loop;  /* for WEIR_LOOP; NULL: as it is */
};

extern const struct model model_blocking, model_nonblocking, model_tasks;
extern const struct model models_by_loop[3];

/* ---- compare_run.c --------------------------------------------------------------------------- */

/* Opens the connections and sends one message over each. On failure `*ret_what` says at what. */
int run_open(struct run *r, const struct load *load, const char **ret_what);
void run_close(struct run *r);

uint64_t run_end_ns(const struct run *r);
void run_start(struct run *r);
void run_stop(struct run *r, struct sample *ret);
void run_count(struct run *r, uint64_t latency_ns);

/* One request and its reply, in blocking mode. */
int exchange(struct connection *c, const char *message, size_t size);

/* ---- compare_process.c ----------------------------------------------------------------------- */

/* What a round's process tells its parent; it fits into a pipe at once. */
struct verdict {
    int rc;
    char what[40];
    char detail[400];
    char loop[16], reason[100];
    struct sample sample;
};

/* Measures one round in a process of its own; without a load it only sees whether the model works
 * here. Returns -errno if there is no such process; how it went is in `*v`. */
int measure(const struct model *model, const struct load *load, struct verdict *v);

/* An echo server on this machine; its address goes to `target`. */
int start_server(char *target, size_t size, pid_t *ret);
void stop_server(pid_t pid);

/* ---- compare_report.c ------------------------------------------------------------------------ */

struct column {
    const struct model *model;
    char loop[16];    /* that the tasks ran on; "" if it is not a matter of tasks */
    char reason[100]; /* why that one */
    struct sample samples[COMPARE_ROUNDS];
};

/* The first two are model_blocking and model_nonblocking, all others are of tasks. */
struct report {
    struct load load;
    size_t count;
    struct column columns[MODELS_MAX];
};

void report_table(const struct report *r);
void report_json(const struct report *r);

#endif
