/* The runs of the process, and what is counted of them. */
#include "inspect.h"

#include "../clock.h"
#include "../serve.h"
#include "../sys.h"
#include "../wait.h"

#include <string.h>

static pthread_mutex_t runs_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct run *runs;

static pthread_cond_t lookers_gone = PTHREAD_COND_INITIALIZER;

static uint64_t generation; /* (runs) */

/* Of runs that have ended. (runs) */
static weir_counters past;

/* ---- forks ----------------------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&runs_mutex);
}

static void after_fork_here(void)
{
    pthread_mutex_unlock(&runs_mutex);
}

/* The runs stay with the parent. */
static void after_fork_in_child(void)
{
    pthread_mutex_init(&runs_mutex, NULL);
    pthread_cond_init(&lookers_gone, NULL);
    runs = NULL;
    past = (weir_counters){.tasks_started = 0};
}

static void first_use(void)
{
    pthread_atfork(before_fork, after_fork_here, after_fork_in_child);
}

struct run *runs_lock(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, first_use);
    pthread_mutex_lock(&runs_mutex);
    return runs;
}

uint64_t runs_generation(void)
{
    return generation;
}

void runs_unlock(void)
{
    pthread_mutex_unlock(&runs_mutex);
}

/* ---- counters -------------------------------------------------------------------------------- */

static void count_loop(const struct loop *l, weir_counters *sum)
{
    sum->tasks_started += loop_counted(&l->started);
    sum->switches += loop_counted(&l->switches);
    sum->turns += loop_counted(&l->turns) / 2;
    sum->wakes += loop_counted(&l->posts);
}

/* (runs) */
static void count_run(struct run *run, weir_counters *sum)
{
    size_t most = atomic_load_explicit(&run->most, memory_order_relaxed);

    for (unsigned i = 0; i < run->loop_count; i++)
        count_loop(run->loops[i], sum);
    if (run->model == WEIR_THREADS) {
        most++; /* the main task is in no list */
        pthread_mutex_lock(&run->lock);
        sum->tasks_started += run->started + 1;
        pthread_mutex_unlock(&run->lock);
    }
    if (sum->tasks_most < most)
        sum->tasks_most = most;
}

/* (runs) */
static void count_now(struct run *run, weir_counters *sum)
{
    sum->runs++;
    sum->loops += run->loop_count;
    sum->tasks += atomic_load(&run->live) + (run->model == WEIR_THREADS);
    if (run->model == WEIR_TASKS)
        sum->stacks += stack_arena_count(&run->stacks);
}

/* ---- how much of stacks is used -------------------------------------------------------------- */

/* So many are looked at until others get their turn. */
#define STACKS_AT_ONCE 64

/* Where that goes on: with this run, or else the next older one. */
struct look {
    uint64_t number;
    size_t from;
};

/* A run that stays until look_ends, NULL if there are no more. */
static struct run *look_begins(struct look *look)
{
    struct run *run = runs_lock();

    while (run && (run->number > look->number || run->leaves || run->model != WEIR_TASKS))
        run = run->next;
    if (run) {
        if (run->number != look->number)
            *look = (struct look){.number = run->number};
        run->lookers++;
    }
    runs_unlock();
    return run;
}

static void look_ends(struct run *run)
{
    (void)runs_lock();
    if (--run->lookers == 0 && run->leaves)
        pthread_cond_broadcast(&lookers_gone);
    runs_unlock();
}

/* Nobody else waits meanwhile, but for the end of a run, and that for a few stacks only. */
static uint64_t count_most(void)
{
    struct look look = {.number = UINT64_MAX};
    uint64_t most = 0;

    for (struct run *run; (run = look_begins(&look));) {
        size_t count = stack_arena_most(&run->stacks, look.from, STACKS_AT_ONCE, &most);
        look_ends(run);
        look.from += count;
        if (count == 0)
            look.number--;
        else
            wait_spent();
    }
    return most;
}

static void count_servers(weir_counters *sum)
{
    struct serve_counts servers;

    serve_count(&servers);
    sum->accepted = servers.accepted;
    sum->serving = servers.serving;
    sum->serve_failed = servers.failed;
    sum->accept_rests = servers.rests;
}

int weir_inspect_counters(weir_counters *ret, size_t size)
{
    weir_counters sum;

    if (!ret || size != sizeof *ret)
        return -EINVAL;
    struct run *run = runs_lock();
    sum = past;
    for (; run; run = run->next) {
        count_run(run, &sum);
        count_now(run, &sum);
    }
    runs_unlock();
    sum.stack_most = count_most();
    count_servers(&sum);
    *ret = sum;
    return 0;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

void inspect_begins(struct run *run)
{
    static uint64_t last_number;

    run->next = runs_lock();
    run->number = ++last_number;
    run->link = &runs;
    if (runs)
        runs->link = &run->next;
    runs = run;
    generation++;
    runs_unlock();
}

void inspect_ends(struct run *run)
{
    (void)runs_lock();
    run->leaves = true;
    while (run->lookers)
        pthread_cond_wait(&lookers_gone, &runs_mutex);
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    count_run(run, &past);
    generation++;
    runs_unlock();
}

/* ---- the caller ------------------------------------------------------------------------------ */

int weir_task_name(const char *name)
{
    struct task *t = context_current()->task;
    struct run *run = context_current()->run;

    if (!name)
        return -EINVAL;
    if (!t)
        return 0;
    bool shared = !t->context.loop && run;
    if (shared)
        pthread_mutex_lock(&run->lock);
    (void)strncpy(t->name, name, sizeof t->name - 1);
    if (shared)
        pthread_mutex_unlock(&run->lock);
    return 0;
}

int weir_inspect_run(weir_run_info *ret, size_t size)
{
    const struct context *c = context_current();

    if (!ret || size != sizeof *ret)
        return -EINVAL;
    *ret = (weir_run_info){.loop = "", .reason = ""};
    if (!c->run)
        return 0;
    ret->model = c->run->model;
    if (c->loop) {
        ret->loop = c->loop->ops->name;
        ret->loops = c->run->loop_count;
        ret->reason = c->run->reason;
        ret->tasks = c->loop->tasks;
        ret->switches = c->loop->switches;
    }
    return 0;
}
