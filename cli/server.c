/* What the servers of the command have in common: a task for each connection, until a signal; and
 * what they tell about themselves. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

/* How long to wait for descriptors at a time. */
#define RETRY_MS 50

/* ---- statistics ------------------------------------------------------------------------------ */

static uint64_t count_of(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void server_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void count_tasks(void *ret)
{
    weir_counters counters;

    if (weir_inspect_counters(&counters, sizeof(counters)) == 0)
        *(uint64_t *)ret = counters.tasks;
}

/* With very many tasks counting takes a while: no loop waits for it. */
static void describe_tasks(char *buf, size_t size)
{
    weir_run_info info = {.model = WEIR_THREADS};
    uint64_t tasks = 0;

    buf[0] = '\0';
    (void)weir_inspect_run(&info, sizeof(info));
    if (info.model == WEIR_TASKS && weir_offload(count_tasks, &tasks) == 0)
        snprintf(buf, size, "%" PRIu64 " ", tasks);
}

static void tell(struct server *s)
{
    uint64_t ended = count_of(&s->ended), accepted = count_of(&s->accepted);
    char how[200], tasks[40];

    run_describe(how, sizeof(how));
    describe_tasks(tasks, sizeof(tasks));
    say("%" PRIu64 " accepted, %" PRIu64 " open, %" PRIu64 " failed; %" PRIu64 " bytes %s, %" PRIu64
        " %s; %s%s",
        accepted, accepted - ended, count_of(&s->failed), count_of(&s->there),
        s->there_is ? s->there_is : "in", count_of(&s->back), s->back_is ? s->back_is : "out",
        tasks, how);
}

static void stats_signal(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGUSR1);
}

int server_block_signals(bool stats)
{
    sigset_t set;
    int rc = block_stop_signals();

    stats_signal(&set);
    if (rc == 0 && stats)
        rc = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    return rc;
}

static int tell_at_signal(void *server)
{
    sigset_t set;
    int rc = 0;

    stats_signal(&set);
    while (rc >= 0) {
        rc = weir_signal_wait(&set);
        if (rc > 0)
            tell(server);
        else if (out_of_descriptors(rc))
            rc = weir_sleep(RETRY_MS);
    }
    return rc;
}

/* ---- connections ----------------------------------------------------------------------------- */

static int converse(weir_socket *s, void *server)
{
    struct server *all = server;

    server_count(&all->accepted, 1);
    int rc = all->handler(s, all);
    if (rc < 0 && rc != -ECANCELED)
        server_count(&all->failed, 1);
    server_count(&all->ended, 1);
    return 0;
}

/* Of handlers there is nothing to note: they speak for themselves. One shortage is often followed
 * by the next. */
static void note_shortage(void *server, weir_socket *s, int rc)
{
    struct server *all = server;

    if (atomic_exchange(&all->said, true))
        return;
    failed(all->listener, rc,
           s ? "start a task for a peer, which is turned away"
             : "accept; the connection waits until another ends");
}

static int serve(void *server)
{
    struct server *all = server;

    if (all->work)
        return all->work(all);
    return weir_serve(all->listener, converse, all,
                      WEIR_SERVE_OPTIONS(.max_connections = all->max_connections,
                                         .drain_ms = all->drain_ms, .failed = note_shortage));
}

/* Whoever is there may come to an end. A second signal has its usual effect, which ends all; where
 * tasks are threads, as long as there is one that does not hold it off. */
static int stop_at_signal(void *server)
{
    struct server *all = server;
    int rc = wait_for_stop_signal();

    if (rc == -ECANCELED)
        return rc;
    weir_group_cancel(all->serving);
    if (all->drain_ms <= 0)
        return rc;
    unblock_stop_signals();
    return weir_sleep(-1);
}

static int run(struct server *all, weir_group *others)
{
    int failure = 0, rc = weir_go(others, stop_at_signal, all);

    if (rc == 0 && all->stats)
        rc = weir_go(others, tell_at_signal, all);
    if (rc == 0)
        rc = weir_go(all->serving, serve, all);
    if (rc == 0)
        rc = weir_group_wait(all->serving, &failure);
    return rc < 0 ? rc : failure;
}

int serve_until_signal(struct server *all)
{
    weir_group *others = NULL;
    int rc = weir_group_open(&all->serving, NULL);

    if (rc == 0)
        rc = weir_group_open(&others, NULL);
    if (rc == 0)
        rc = run(all, others);
    weir_group_close(others);
    weir_group_close(all->serving);
    if (all->stats)
        tell(all);
    return rc == -ECANCELED ? 0 : rc;
}
