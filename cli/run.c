/* How the subcommands run: as tasks, until a signal, with as many descriptors as there may be. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

/* More loops than processors are never started. */
#define LOOPS_MAX 1024

/* How long to wait for a descriptor at a time. */
#define RETRY_MS 50

int run_command(int (*command)(void *arg), void *arg, bool many_loops)
{
    int status = EXIT_FAILED;
    int rc = weir_run(command, arg,
                      WEIR_RUN_OPTIONS(.models = WEIR_TASKS | WEIR_THREADS,
                                       .max_loops = many_loops ? LOOPS_MAX : 1),
                      &status);

    return rc < 0 ? failed(NULL, rc, "start") : status;
}

void run_describe(char *buf, size_t size)
{
    weir_run_info info;

    if (weir_inspect_run(&info, sizeof(info)) < 0 || info.model != WEIR_TASKS)
        snprintf(buf, size, "threads");
    else
        snprintf(buf, size, "tasks on %u loop%s, %s (%s)", info.loops, info.loops == 1 ? "" : "s",
                 info.loop, info.reason);
}

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

int block_stop_signals(void)
{
    sigset_t set;

    stop_signals(&set);
    return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void unblock_stop_signals(void)
{
    sigset_t set;

    stop_signals(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool out_of_descriptors(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS;
}

int wait_for_stop_signal(void)
{
    sigset_t set;
    int rc;

    stop_signals(&set);
    do
        rc = weir_signal_wait(&set);
    while (out_of_descriptors(rc) && weir_sleep(RETRY_MS) == 0);
    return rc;
}

uint64_t raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        const struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur;
}

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
