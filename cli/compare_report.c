#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From here on a difference is worth having. Repeated runs of one program differ by half of
 * that. */
#define CLEAR_RATIO 1.10

#define ADVICE_MAX 600

/* ---- medians --------------------------------------------------------------------------------- */

enum figure { REQUESTS, CPU, MEDIAN, P99, MEMORY, FIGURES };

static double figure_of(const struct sample *s, enum figure f)
{
    switch (f) {
    case REQUESTS:
        return s->requests_per_second;
    case CPU:
        return s->cpu_us;
    case MEDIAN:
        return s->median_us;
    case P99:
        return s->p99_us;
    default:
        return s->memory_bytes;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return values[count / 2];
}

static double median_of(const struct report *r, size_t model, enum figure f)
{
    double values[COMPARE_ROUNDS];

    for (size_t i = 0; i < COMPARE_ROUNDS; i++)
        values[i] = figure_of(&r->columns[model].samples[i], f);
    return median(values, COMPARE_ROUNDS);
}

/* ---- advice ---------------------------------------------------------------------------------- */

/* How many times as much model `b` has as model `a`, round by round; exactly 1 if that is not
 * clear: too small a difference, or rounds that disagree. */
static double clear_ratio(const struct report *r, size_t a, size_t b, enum figure f)
{
    double ratios[COMPARE_ROUNDS], ratio;
    size_t above = 0;

    for (size_t i = 0; i < COMPARE_ROUNDS; i++) {
        double base = figure_of(&r->columns[a].samples[i], f);
        ratios[i] = base > 0 ? figure_of(&r->columns[b].samples[i], f) / base : 1;
        above += ratios[i] > 1;
    }
    ratio = median(ratios, COMPARE_ROUNDS);
    if (above > 1 && above < COMPARE_ROUNDS - 1)
        return 1;
    return ratio > CLEAR_RATIO || ratio < 1 / CLEAR_RATIO ? ratio : 1;
}

enum { THREADS, POLLER, TASKS };

/* How column `b` compares with column `a`; 1 is "no clear difference". */
struct comparison {
    double cpu, requests;
    int cheaper, faster; /* 1, 0 or -1 */
};

static struct comparison compare_columns(const struct report *r, size_t a, size_t b)
{
    double cpu = clear_ratio(r, a, b, CPU), requests = clear_ratio(r, a, b, REQUESTS);

    return (struct comparison){
        .cpu = cpu,
        .requests = requests,
        .cheaper = (cpu < 1) - (cpu > 1),
        .faster = (requests > 1) - (requests < 1),
    };
}

static bool is_better(struct comparison c)
{
    return c.cheaper + c.faster > 0;
}

static void describe_gains(struct comparison c, char *buf, size_t size)
{
    if (c.cpu == 1)
        snprintf(buf, size, "answers %.2f times as many requests per second, for as much CPU each",
                 c.requests);
    else if (c.requests == 1)
        snprintf(buf, size, "takes %.2f times the CPU per request, for as many requests per second",
                 c.cpu);
    else
        snprintf(buf, size,
                 "takes %.2f times the CPU per request and answers %.2f times as many per second",
                 c.cpu, c.requests);
}

/* The first of the loops that none of the others is better than. */
static size_t best_tasks(const struct report *r)
{
    size_t best = TASKS;

    for (size_t i = TASKS + 1; i < r->count; i++)
        if (is_better(compare_columns(r, best, i)))
            best = i;
    return best;
}

/* What the straight-line program should run on. Returns its column. */
static size_t advise_model(const struct report *r, char *buf, size_t size)
{
    size_t tasks = best_tasks(r), better;
    const char *loop = r->columns[tasks].model->loop;
    struct comparison c = compare_columns(r, THREADS, tasks);
    char gains[120];

    if (c.cheaper == 0 && c.faster == 0) {
        snprintf(buf, size,
                 "write it in a straight line; threads or tasks is too close to call at this load, "
                 "so measure again with as many --connections as you expect.");
        return tasks;
    }
    if (c.cheaper + c.faster == 0) {
        snprintf(
            buf, size,
            "write it in a straight line; it depends what it should run on: %s take less CPU "
            "(%.2f times), but %s answer more requests per second (%.2f times); choose by what "
            "you are short of.",
            c.cheaper > 0 ? "tasks" : "threads", c.cheaper > 0 ? c.cpu : 1 / c.cpu,
            c.faster > 0 ? "tasks" : "threads", c.faster > 0 ? c.requests : 1 / c.requests);
        return tasks;
    }
    better = is_better(c) ? tasks : THREADS;
    describe_gains(better == tasks ? c : compare_columns(r, tasks, THREADS), gains, sizeof(gains));
    snprintf(buf, size,
             "write it in a straight line and run it as %s (WEIR_MODEL=%s%s%s): that "
             "%s, compared with %s.",
             r->columns[better].model->model, r->columns[better].model->model,
             better == tasks && loop ? " WEIR_LOOP=" : "", better == tasks && loop ? loop : "",
             gains, better == tasks ? "threads" : "tasks");
    return better;
}

/* A program of the non-blocking model has to be written for that: it has to be worth it. */
static void advise(const struct report *r, char *buf, size_t size)
{
    size_t straight = advise_model(r, buf, size), length = strlen(buf);
    struct comparison c = compare_columns(r, straight, POLLER);
    char gains[120];

    if (!is_better(c)) {
        snprintf(buf + length, size - length, " A poller gains nothing over that.");
        return;
    }
    describe_gains(c, gains, sizeof(gains));
    snprintf(buf + length, size - length,
             " A poller, with a program written around it, %s, compared with %s.", gains,
             r->columns[straight].model->model);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct {
    const char *title, *unit, *key;
    double divisor;
    int decimals;
} figures[FIGURES] = {
    [REQUESTS] = {"requests per second", "", "requests_per_second", 1, 0},
    [CPU] = {"CPU time per request", "µs", "cpu_us_per_request", 1, 1},
    [MEDIAN] = {"latency, median", "µs", "latency_median_us", 1, 0},
    [P99] = {"latency, 99th percentile", "µs", "latency_p99_us", 1, 0},
    [MEMORY] = {"memory per connection", "KiB", "memory_bytes_per_connection", 1024, 1},
};

static void print_heads(const struct report *r)
{
    printf("%-26s", "");
    for (size_t i = 0; i < r->count; i++)
        printf("%16s", r->columns[i].model->title);
    printf("\n%-26s", "");
    for (size_t i = 0; i < r->count; i++) {
        char text[32];
        const char *explanation = r->columns[i].model->explanation;
        snprintf(text, sizeof(text), "on %s", r->columns[i].loop);
        printf("%16s", explanation ? explanation : text);
    }
}

/* Why this loop, where nobody has asked for it. */
static void print_reason(const struct column *tasks)
{
    if (!tasks->model->loop && tasks->reason[0])
        printf("\n\nTasks run on %s: %s.", tasks->loop, tasks->reason);
}

void report_table(const struct report *r)
{
    char advice[ADVICE_MAX];
    const struct load *load = &r->load;

    printf("%zu connection%s, %zu-byte messages, %s %s, %g s for each model in %d rounds\n\n",
           load->connections, load->connections == 1 ? "" : "s", load->size,
           load->embedded ? "own echo server at" : "to", load->target,
           (double)(load->round_ms * COMPARE_ROUNDS) / 1000, COMPARE_ROUNDS);
    print_heads(r);
    for (enum figure f = 0; f < FIGURES; f++) {
        printf("\n%-26s", figures[f].title);
        for (size_t i = 0; i < r->count; i++)
            printf("%16.*f", figures[f].decimals, median_of(r, i, f) / figures[f].divisor);
        printf(figures[f].unit[0] ? " %s" : "%s", figures[f].unit);
    }
    print_reason(&r->columns[TASKS]);
    advise(r, advice, sizeof(advice));
    printf("\n\nAdvice: %s\n", advice);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == '"' || c == '\\')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_column(const struct report *r, size_t column)
{
    const struct column *c = &r->columns[column];

    printf("    {\"name\": \"%s\",\n     \"loop\": \"%s\"", c->model->name, c->loop);
    for (enum figure f = 0; f < FIGURES; f++)
        printf(",\n     \"%s\": %.3f", figures[f].key, median_of(r, column, f));
    printf(",\n     \"rounds\": [");
    for (size_t i = 0; i < COMPARE_ROUNDS; i++) {
        printf("%s\n       {", i ? "," : "");
        for (enum figure f = 0; f < FIGURES; f++)
            printf("%s\"%s\": %.3f", f ? ", " : "", figures[f].key, figure_of(&c->samples[i], f));
        printf("}");
    }
    printf("]}%s\n", column + 1 < r->count ? "," : "");
}

void report_json(const struct report *r)
{
    char advice[ADVICE_MAX];

    advise(r, advice, sizeof(advice));
    printf("{\n  \"weir\": \"%s\",\n  \"to\": ", weir_version());
    print_string(r->load.target);
    printf(",\n  \"own_server\": %s,\n  \"connections\": %zu,\n  \"size_bytes\": %zu,\n",
           r->load.embedded ? "true" : "false", r->load.connections, r->load.size);
    printf("  \"seconds\": %g,\n  \"models\": [\n",
           (double)(r->load.round_ms * COMPARE_ROUNDS) / 1000);
    for (size_t i = 0; i < r->count; i++)
        print_column(r, i);
    printf("  ],\n  \"advice\": ");
    print_string(advice);
    printf("\n}\n");
}
