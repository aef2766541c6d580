#include "compare.h"
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 100000
#define SIZE_MAX_BYTES  65536
#define SECONDS_MAX_MS  3600000
#define SECONDS_MIN_MS  100

/* Descriptors besides those of the connections. */
#define DESCRIPTORS_SPARE 64

static const char help[] =
    "usage: weir compare [--to ADDRESS] [--connections N] [--size BYTES] [--seconds S] [--json]\n"
    "\n"
    "Measures what the two models cost the program that uses them: N connections to\n"
    "an echo server, each sending a message, waiting for it to come back, and\n"
    "sending the next; once in the blocking model (a thread for each connection)\n"
    "and once in the non-blocking model (one thread, a poller). Prints requests per\n"
    "second, CPU time per request, latency and memory per connection, and what\n"
    "follows from them.\n"
    "\n"
    "  --to ADDRESS        an echo server of yours (`weir echo` is one):\n"
    "                      tcp://HOST:PORT, unix:/PATH, unix:@NAME; by default one\n"
    "                      is started on this machine for the purpose\n"
    "  --connections N     1 to 100000 (default 50)\n"
    "  --size BYTES        of a message, 1 to 65536 (default 64); larger ones would\n"
    "                      fill the buffers of both sides while nobody reads\n"
    "  --seconds S         for each model, 0.1 to 3600 (default 2), in 5 rounds\n"
    "                      that take turns\n"
    "  --json              print an object for programs instead; see weir(1)\n"
    "\n"
    "Each figure is the median of the rounds. CPU time is this side's, in user\n"
    "space and kernel, not the server's. Memory is how much the process grows by,\n"
    "stacks and message included, the kernel's own buffers not. Each round runs in\n"
    "a process of its own.\n";

/* What a round's process tells its parent; it fits into a pipe at once. */
struct verdict {
    int rc;
    char what[40];
    char detail[400];
    struct sample sample;
};

/* ---- processes ------------------------------------------------------------------------------- */

/* Forks; the child ends with its parent, however that ends. */
static pid_t fork_child(void)
{
    pid_t parent = getpid(), pid = fork();

    if (pid != 0)
        return pid < 0 ? -errno : pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
    return 0;
}

/* The server is a process, so that its CPU time and memory are not taken for the client's. */
static int start_server(char *target, size_t size, pid_t *ret)
{
    weir_socket *listener = NULL, *stop = NULL;
    pid_t pid;
    int rc = weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL);

    if (rc < 0)
        return rc;
    rc = target_of_listener(listener, "tcp://", target, size);
    pid = rc < 0 ? rc : fork_child();
    if (pid == 0)
        _exit(stop_signals(&stop) < 0 || echo_streams(listener, stop) < 0);
    weir_close(listener);
    if (pid < 0)
        return (int)pid;
    *ret = pid;
    return 0;
}

static void stop_server(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* In the child. */
static void run_model(const struct model *model, const struct load *load, struct verdict *v)
{
    static struct run run;
    const char *what;

    v->rc = run_open(&run, load, &what);
    if (v->rc == 0) {
        what = "talk to";
        v->rc = model->drive(&run, &v->sample);
    }
    if (v->rc == 0 && v->sample.cpu_us <= 0) {
        what = "any echo in a round from";
        v->rc = WEIR_EDEADLINE;
    }
    snprintf(v->what, sizeof(v->what), "%s", what);
    weir_error_detail(NULL, v->detail, sizeof(v->detail));
    if (v->rc == 0)
        run_close(&run);
}

static int measure(const struct model *model, const struct load *load, struct verdict *v)
{
    ssize_t got;
    int fds[2];
    pid_t pid;

    if (pipe(fds) < 0)
        return -errno;
    pid = fork_child();
    if (pid == 0) {
        run_model(model, load, v);
        _exit(write(fds[1], v, sizeof(*v)) != (ssize_t)sizeof(*v));
    }
    close(fds[1]);
    got = pid < 0 ? 0 : read(fds[0], v, sizeof(*v));
    close(fds[0]);
    if (pid < 0)
        return (int)pid;
    waitpid(pid, NULL, 0);
    return got == (ssize_t)sizeof(*v) ? 0 : -EIO;
}

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

/* A B, B A, A B …: what changes slowly on the machine hits all alike. */
static int run_rounds(const struct load *load, struct report *report)
{
    struct verdict verdict;

    for (unsigned round = 0; round < COMPARE_ROUNDS; round++) {
        for (unsigned i = 0; i < MODELS; i++) {
            unsigned m = round % 2 == 0 ? i : MODELS - 1 - i;
            int rc;

            show_progress(round, &models[m]);
            memset(&verdict, 0, sizeof(verdict));
            rc = measure(&models[m], load, &verdict);
            if (rc < 0 || verdict.rc < 0)
                end_progress();
            if (rc < 0)
                return failed(NULL, rc, "compare: the process that measures");
            if (verdict.rc < 0)
                return explain(load, &models[m], &verdict);
            report->samples[m][round] = verdict.sample;
        }
    }
    end_progress();
    return EXIT_SUCCESS;
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

static int compare(struct load *load, bool json)
{
    static struct report report;
    static char target[TARGET_TEXT_MAX];
    pid_t server = 0;
    int status = check_descriptors(load);

    if (status != EXIT_SUCCESS)
        return status;
    if (!load->target) {
        int rc = start_server(target, sizeof(target), &server);
        if (rc < 0)
            return failed(NULL, rc, "compare: start an echo server on 127.0.0.1");
        load->target = target;
        load->embedded = true;
    }
    report.load = *load;
    status = run_rounds(load, &report);
    stop_server(server);
    if (status == EXIT_SUCCESS)
        (json ? report_json : report_table)(&report);
    return status;
}

/* ---- options --------------------------------------------------------------------------------- */

/* Returns 0, or the exit status of wrong use. */
static int take_option(const char *command, int option, struct load *load, bool *json)
{
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
    default:
        *json = true;
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
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    struct load load = {.connections = 50, .size = 64, .round_ms = 2000 / COMPARE_ROUNDS};
    bool json = false;
    int option, status;

    while ((option = next_option(argc, argv, "h", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        status = take_option(argv[0], option, &load, &json);
        if (status != 0)
            return status;
    }
    if (argc > optind)
        return wrong_use(argv[0], "\"%s\" is one argument too many", argv[optind]);
    return compare(&load, json);
}
