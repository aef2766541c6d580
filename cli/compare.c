#include "compare.h"
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS_MAX 100000
#define SIZE_MAX_BYTES  65536
#define SECONDS_MAX_MS  3600000
#define SECONDS_MIN_MS  100

/* Descriptors besides those of the connections. */
#define DESCRIPTORS_SPARE 64

static const char help[] =
    "usage: weir compare [--to ADDRESS] [--connections N] [--size BYTES] [--seconds S] [--loops]\n"
    "                    [--json]\n"
    "\n"
    "Measures what the models cost the program that uses them: N connections to an\n"
    "echo server, each sending a message, waiting for it to come back, and sending\n"
    "the next. One program in a straight line is run twice, with a thread and with a\n"
    "task for each connection; a program of the non-blocking model does the same in\n"
    "one thread with a poller. Prints requests per second, CPU time per request,\n"
    "latency and memory per connection, and what follows from them.\n"
    "\n"
    "  --to ADDRESS        an echo server of yours (`weir echo` is one):\n"
    "                      tcp://HOST:PORT, unix:/PATH, unix:@NAME; by default one\n"
    "                      is started on this machine for the purpose\n"
    "  --connections N     1 to 100000 (default 50)\n"
    "  --size BYTES        of a message, 1 to 65536 (default 64); larger ones would\n"
    "                      fill the buffers of both sides while nobody reads\n"
    "  --seconds S         for each model, 0.1 to 3600 (default 2), in 5 rounds\n"
    "                      that take turns\n"
    "  --loops             tasks once on each loop that works here: epoll, io_uring,\n"
    "                      poll; otherwise the environment chooses (WEIR_LOOP)\n"
    "  --json              print an object for programs instead; see weir(1)\n"
    "\n"
    "Each figure is the median of the rounds. CPU time is this side's, in user\n"
    "space and kernel, not the server's. Memory is how much the process grows by,\n"
    "stacks and message included, the kernel's own buffers not. Each round runs in\n"
    "a process of its own.\n";

/* ---- rounds ---------------------------------------------------------------------------------- */

static int explain(const struct load *load, const struct model *model, const struct verdict *v)
{
    const char *hint = "";

    if (v->rc == -EBADMSG)
        hint = ": it does not send back what it gets; is it an echo server? `weir echo` is one";
    else if (v->rc == -ECONNREFUSED)
        hint = ": is an echo server listening there? try `weir echo ADDRESS`, or leave --to out";
    else if (v->rc == -EAGAIN)
        hint = ": no more threads can be had; use fewer --connections, or raise `ulimit -u`";
    else if (v->rc == -EADDRNOTAVAIL)
        hint = ": the ports of this machine are used up; wait a minute or use fewer --connections";
    else if (v->rc == -EMFILE)
        hint = ": raise the limit of open files (ulimit -Hn) or use fewer --connections";
    else if (v->rc == WEIR_EDEADLINE)
        hint = ": is it an echo server? if it is a slow one, use a larger --seconds";
    say("compare: %s %s: %s%s%s%s (%s model)%s", v->what, load->target, weir_strerror(v->rc),
        v->detail[0] ? " (" : "", v->detail, v->detail[0] ? ")" : "", model->title, hint);
    return EXIT_FAILED;
}

static void show_progress(unsigned round, const struct model *model)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kround %u of %d: %s", round + 1, COMPARE_ROUNDS,
                model ? model->title : "");
}

static void end_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static int measure_column(const struct load *load, struct column *c, unsigned round)
{
    struct verdict v;
    int rc;

    show_progress(round, c->model);
    rc = measure(c->model, load, &v);
    if (rc < 0 || v.rc < 0)
        end_progress();
    if (rc < 0)
        return failed(NULL, rc, "compare: the process that measures");
    if (v.rc < 0)
        return explain(load, c->model, &v);
    c->samples[round] = v.sample;
    snprintf(c->loop, sizeof(c->loop), "%s", v.loop);
    snprintf(c->reason, sizeof(c->reason), "%s", v.reason);
    return EXIT_SUCCESS;
}

/* A B C, C B A, A B C …: what changes slowly on the machine hits all alike. */
static int run_rounds(struct report *report)
{
    int status = EXIT_SUCCESS;

    for (unsigned round = 0; round < COMPARE_ROUNDS; round++) {
        for (size_t i = 0; i < report->count && status == EXIT_SUCCESS; i++) {
            size_t column = round % 2 == 0 ? i : report->count - 1 - i;
            status = measure_column(&report->load, &report->columns[column], round);
        }
    }
    end_progress();
    return status;
}

/* ---- what to measure ------------------------------------------------------------------------- */

static void add_column(struct report *report, const struct model *model)
{
    report->columns[report->count++].model = model;
}

/* Those that do not work here are left out, which is said. */
static void add_loops(struct report *report)
{
    for (size_t i = 0; i < sizeof(models_by_loop) / sizeof(models_by_loop[0]); i++) {
        const struct model *model = &models_by_loop[i];
        struct verdict v;
        int rc = measure(model, NULL, &v);

        if (rc == 0 && v.rc == 0)
            add_column(report, model);
        else
            say("compare: %s is left out: %s%s%s%s", model->loop, weir_strerror(rc < 0 ? rc : v.rc),
                v.detail[0] ? " (" : "", v.detail, v.detail[0] ? ")" : "");
    }
}

static void choose_columns(struct report *report, bool loops)
{
    add_column(report, &model_blocking);
    add_column(report, &model_nonblocking);
    if (loops)
        add_loops(report);
    if (report->count == 2)
        add_column(report, &model_tasks);
}

/* A connection takes a descriptor, and so does each thread that waits. */
static int check_descriptors(const struct load *load)
{
    uint64_t have = raise_descriptor_limit();
    uint64_t need = 2 * (uint64_t)load->connections + DESCRIPTORS_SPARE;

    if (need <= have)
        return EXIT_SUCCESS;
    say("compare: %zu connections, with a thread for each, take %llu descriptors, and this process "
        "may "
        "have %llu; raise the limit (as root: ulimit -Hn %llu) or use fewer --connections",
        load->connections, (unsigned long long)need, (unsigned long long)have,
        (unsigned long long)need);
    return EXIT_FAILED;
}

struct wishes {
    struct load load;
    bool loops, json;
};

static int compare(const struct wishes *wishes)
{
    static struct report report;
    static char target[TARGET_TEXT_MAX];
    struct load *load = &report.load;
    pid_t server = 0;
    int rc, status = check_descriptors(&wishes->load);

    if (status != EXIT_SUCCESS)
        return status;
    unsetenv("WEIR_MODEL");
    unsetenv("WEIR_LOOPS");
    *load = wishes->load;
    choose_columns(&report, wishes->loops);
    if (!load->target) {
        rc = start_server(target, sizeof(target), &server);
        if (rc < 0)
            return failed(NULL, rc, "compare: start an echo server on 127.0.0.1");
        load->target = target;
        load->embedded = true;
    }
    status = run_rounds(&report);
    stop_server(server);
    if (status == EXIT_SUCCESS)
        (wishes->json ? report_json : report_table)(&report);
    return status;
}

/* ---- options --------------------------------------------------------------------------------- */

/* Returns 0, or the exit status of wrong use. */
static int take_option(const char *command, int option, struct wishes *wishes)
{
    struct load *load = &wishes->load;
    uint64_t count;
    int64_t ms;

    switch (option) {
    case 't':
        if (target_is_datagram(optarg))
            return wrong_use(command, "--to: udp:// may lose messages; use tcp:// or unix:");
        load->target = optarg;
        return 0;
    case 'c':
        if (!parse_count(optarg, 1, CONNECTIONS_MAX, &count))
            return wrong_use(command, "--connections: \"%s\" is not 1 to %d", optarg,
                             CONNECTIONS_MAX);
        load->connections = count;
        return 0;
    case 'b':
        if (!parse_count(optarg, 1, SIZE_MAX_BYTES, &count))
            return wrong_use(command, "--size: \"%s\" is not 1 to %d", optarg, SIZE_MAX_BYTES);
        load->size = count;
        return 0;
    case 's':
        if (!parse_seconds(optarg, &ms) || ms < SECONDS_MIN_MS || ms > SECONDS_MAX_MS)
            return wrong_use(command, "--seconds: \"%s\" is not 0.1 to 3600", optarg);
        load->round_ms = ms / COMPARE_ROUNDS;
        return 0;
    case 'l':
        wishes->loops = true;
        return 0;
    default:
        wishes->json = true;
        return 0;
    }
}

int command_compare(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"to", required_argument, NULL, 't'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"size", required_argument, NULL, 'b'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"loops", no_argument, NULL, 'l'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    struct wishes wishes = {
        .load = {.connections = 50, .size = 64, .round_ms = 2000 / COMPARE_ROUNDS},
    };
    int option, status;

    while ((option = next_option(argc, argv, "h", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        status = take_option(argv[0], option, &wishes);
        if (status != 0)
            return status;
    }
    if (argc > optind)
        return wrong_use(argv[0], "\"%s\" is one argument too many", argv[optind]);
    return compare(&wishes);
}
