/* The resolver's thread. It has no timer unless a name server is being waited for. */
#include "sys.h"
#include "walk.h"

#define BATCH 64

/* Flights that are moved to another stage together, so that the lock is held shortly. */
struct batch {
    struct flight *flights[BATCH];
    int count;
};

static void take(struct batch *b, enum stage from, enum stage to)
{
    struct flight *f = TAILQ_FIRST(&resolver.stages[from]);

    flight_move(f, to);
    b->flights[b->count++] = f;
}

static void route_new(void)
{
    struct batch b = {.count = 0};
    struct cache *garbage;
    unsigned generation;
    struct plan *plan;

    pthread_mutex_lock(&resolver.lock);
    resolver.sleeping = false;
    generation = resolver.settings.generation;
    garbage = resolver.garbage;
    resolver.garbage = NULL;
    while (b.count < BATCH && resolver.counts[STAGE_NEW] > 0)
        take(&b, STAGE_NEW, STAGE_ROUTING);
    pthread_mutex_unlock(&resolver.lock);
    cache_free(garbage);
    plan = b.count > 0 ? plan_current(generation) : NULL;
    for (int i = 0; i < b.count; i++)
        walk_begin(b.flights[i], plan);
}

static void start_ready(void)
{
    struct batch b = {.count = 0};
    bool full;

    pthread_mutex_lock(&resolver.lock);
    while (b.count < BATCH && flight_room() && resolver.counts[STAGE_ASKING] < ASKING_TOTAL_MAX)
        take(&b, STAGE_READY, STAGE_ASKING);
    full = flight_room() && b.count < BATCH;
    pthread_mutex_unlock(&resolver.lock);
    for (int i = 0; i < b.count; i++)
        walk_ask(b.flights[i]);
    if (full)
        plan_give_up();
}

/* Going on with one may answer it again at once: not by a call of its own, so the stack does not
 * grow. */
static void handle_answered(void)
{
    struct dns_question *q;

    while ((q = TAILQ_FIRST(&plan_answered))) {
        TAILQ_REMOVE(&plan_answered, q, link);
        walk_answered(q);
    }
}

static void handle_events(const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++)
        if (events[i].data.fd == resolver.wake_fd)
            sys_eventfd_drain(resolver.wake_fd);
        else
            plan_ready(events[i].data.fd, events[i].events);
    plan_expire();
    handle_answered();
}

/* How long to sleep; from then on it has to be woken. */
static int begin_sleep(void)
{
    bool more;

    pthread_mutex_lock(&resolver.lock);
    more = resolver.counts[STAGE_NEW] > 0 || flight_room();
    resolver.sleeping = !more;
    pthread_mutex_unlock(&resolver.lock);
    return more ? 0 : plan_timeout_ms();
}

void *thread_main(void *arg)
{
    struct epoll_event events[BATCH] = {{.events = 0}};
    int count = 0, timeout_ms;

    (void)arg;
    for (;;) {
        pthread_mutex_lock(&resolver.fork_lock);
        handle_events(events, count);
        route_new();
        start_ready();
        handle_answered();
        walk_rest();
        plan_sweep();
        timeout_ms = begin_sleep();
        pthread_mutex_unlock(&resolver.fork_lock);
        count = sys_epoll_wait(resolver.epoll_fd, events, BATCH, timeout_ms);
    }
    return NULL;
}

void thread_forget(void)
{
    if (!resolver.running)
        return;
    sys_close(resolver.epoll_fd);
    sys_close(resolver.wake_fd);
    resolver.epoll_fd = resolver.wake_fd = -1;
    plan_forget();
}
