#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From here on a difference is worth having. Repeated runs of one program differ by half of
 * that. */
#define CLEAR_RATIO 1.10

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
        values[i] = figure_of(&r->samples[model][i], f);
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
        double base = figure_of(&r->samples[a][i], f);
        ratios[i] = base > 0 ? figure_of(&r->samples[b][i], f) / base : 1;
        above += ratios[i] > 1;
    }
    ratio = median(ratios, COMPARE_ROUNDS);
    if (above > 1 && above < COMPARE_ROUNDS - 1)
        return 1;
    return ratio > CLEAR_RATIO || ratio < 1 / CLEAR_RATIO ? ratio : 1;
}

/* Ratios of the better model to the other; 1 is "no clear difference". */
static void describe_gains(double cpu, double requests, char *buf, size_t size)
{
    if (cpu == 1)
        snprintf(buf, size, "answers %.2f times as many requests per second, for as much CPU each",
                 requests);
    else if (requests == 1)
        snprintf(buf, size, "takes %.2f times the CPU per request, for as many requests per second",
                 cpu);
    else
        snprintf(buf, size,
                 "takes %.2f times the CPU per request and answers %.2f times as many per second",
                 cpu, requests);
}

/* The better one in CPU per request and in requests per second is advised; where both are alike,
 * the blocking one, for its simpler code. */
static void advise(const struct report *r, char *buf, size_t size)
{
    enum { BLOCKING, NONBLOCKING };
    double cpu = clear_ratio(r, BLOCKING, NONBLOCKING, CPU);
    double requests = clear_ratio(r, BLOCKING, NONBLOCKING, REQUESTS);
    int cheaper = (cpu < 1) - (cpu > 1), faster = (requests > 1) - (requests < 1);
    bool nonblocking = cheaper + faster > 0;
    char gains[120];

    if (cheaper == 0 && faster == 0) {
        snprintf(buf, size,
                 "too close to call at this load, so choose blocking, the simpler program, and "
                 "measure again with as many --connections as you expect.");
    } else if (cheaper + faster == 0) {
        snprintf(
            buf, size,
            "it depends: %s takes less CPU (%.2f times), but %s answers more requests per second "
            "(%.2f times); choose by what you are short of.",
            cheaper > 0 ? "non-blocking" : "blocking", cheaper > 0 ? cpu : 1 / cpu,
            faster > 0 ? "non-blocking" : "blocking", faster > 0 ? requests : 1 / requests);
    } else {
        describe_gains(nonblocking ? cpu : 1 / cpu, nonblocking ? requests : 1 / requests, gains,
                       sizeof(gains));
        snprintf(buf, size, "choose %s for this load%s: it %s.",
                 nonblocking ? "non-blocking" : "blocking",
                 nonblocking ? "" : ", and have the simpler program too", gains);
    }
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

void report_table(const struct report *r)
{
    char advice[300];
    const struct load *load = &r->load;

    printf("%zu connection%s, %zu-byte messages, %s %s, %g s for each model in %d rounds\n\n",
           load->connections, load->connections == 1 ? "" : "s", load->size,
           load->embedded ? "own echo server at" : "to", load->target,
           (double)(load->round_ms * COMPARE_ROUNDS) / 1000, COMPARE_ROUNDS);
    printf("%-26s", "");
    for (size_t m = 0; m < MODELS; m++)
        printf("%16s", models[m].title);
    printf("\n%-26s", "");
    for (size_t m = 0; m < MODELS; m++)
        printf("%16s", models[m].explanation);
    for (enum figure f = 0; f < FIGURES; f++) {
        printf("\n%-26s", figures[f].title);
        for (size_t m = 0; m < MODELS; m++)
            printf("%16.*f", figures[f].decimals, median_of(r, m, f) / figures[f].divisor);
        printf(figures[f].unit[0] ? " %s" : "%s", figures[f].unit);
    }
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

static void print_model(const struct report *r, size_t m)
{
    printf("    {\"name\": \"%s\"", models[m].name);
    for (enum figure f = 0; f < FIGURES; f++)
        printf(",\n     \"%s\": %.3f", figures[f].key, median_of(r, m, f));
    printf(",\n     \"rounds\": [");
    for (size_t i = 0; i < COMPARE_ROUNDS; i++) {
        printf("%s\n       {", i ? "," : "");
        for (enum figure f = 0; f < FIGURES; f++)
            printf("%s\"%s\": %.3f", f ? ", " : "", figures[f].key,
                   figure_of(&r->samples[m][i], f));
        printf("}");
    }
    printf("]}%s\n", m + 1 < MODELS ? "," : "");
}

void report_json(const struct report *r)
{
    char advice[300];

    advise(r, advice, sizeof(advice));
    printf("{\n  \"weir\": \"%s\",\n  \"to\": ", weir_version());
    print_string(r->load.target);
    printf(",\n  \"own_server\": %s,\n  \"connections\": %zu,\n  \"size_bytes\": %zu,\n",
           r->load.embedded ? "true" : "false", r->load.connections, r->load.size);
    printf("  \"seconds\": %g,\n  \"models\": [\n",
           (double)(r->load.round_ms * COMPARE_ROUNDS) / 1000);
    for (size_t m = 0; m < MODELS; m++)
        print_model(r, m);
    printf("  ],\n  \"advice\": ");
    print_string(advice);
    printf("\n}\n");
}
