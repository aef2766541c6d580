#include "flight.h"

#include "sys.h"

#include <string.h>

struct resolver resolver = {
    .fork_lock = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP, /* it is given up sooner than one falls asleep */
    .wake_fd = -1,
    .epoll_fd = -1,
};

/* ---- Making and counting --------------------------------------------------------------------- */

struct flight *flight_new(const struct name *name, int family)
{
    struct flight *f = sys_alloc(sizeof(*f));

    if (!f)
        return NULL;
    TAILQ_INIT(&f->waiters);
    f->family = family;
    f->name = *name;
    return f;
}

void flight_free(struct flight *f)
{
    if (!f)
        return;
    answer_unref(f->negative);
    free(f);
}

/* A flight counts as awaited while it is at a name server and somebody waits. */
static bool is_awaited(const struct flight *f)
{
    return f->stage == STAGE_ASKING && !TAILQ_EMPTY(&f->waiters);
}

static void enter_stage(struct flight *f, enum stage stage)
{
    f->stage = stage;
    TAILQ_INSERT_TAIL(&resolver.stages[stage], f, link);
    resolver.counts[stage]++;
    resolver.awaited += is_awaited(f);
}

static void leave_stage(struct flight *f)
{
    resolver.awaited -= is_awaited(f);
    resolver.counts[f->stage]--;
    TAILQ_REMOVE(&resolver.stages[f->stage], f, link);
}

void flight_move(struct flight *f, enum stage stage)
{
    leave_stage(f);
    enter_stage(f, stage);
}

static void set_joinable(struct flight *f, bool joinable)
{
    if (joinable && !f->joinable)
        LIST_INSERT_HEAD(&resolver.buckets[f->name.hash % FLIGHT_BUCKETS], f, bucket);
    if (!joinable && f->joinable)
        LIST_REMOVE(f, bucket);
    f->joinable = joinable;
}

static void add_waiter(struct flight *f, struct slot *slot)
{
    resolver.awaited -= is_awaited(f);
    TAILQ_INSERT_TAIL(&f->waiters, slot, link);
    slot->flight = f;
    resolver.awaited += is_awaited(f);
}

static void remove_waiter(struct slot *slot)
{
    struct flight *f = slot->flight;

    resolver.awaited -= is_awaited(f);
    TAILQ_REMOVE(&f->waiters, slot, link);
    slot->flight = NULL;
    resolver.awaited += is_awaited(f);
}

bool flight_room(void)
{
    return resolver.counts[STAGE_READY] > 0 && resolver.awaited < ASKING_MAX;
}

bool flight_must_wake(void)
{
    bool must = resolver.sleeping && (resolver.counts[STAGE_NEW] > 0 || flight_room());

    if (must)
        resolver.sleeping = false;
    return must;
}

void flight_wake(bool must)
{
    if (must)
        sys_eventfd_raise(resolver.wake_fd);
}

/* ---- fork(2) --------------------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&resolver.fork_lock);
    pthread_mutex_lock(&resolver.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&resolver.lock);
    pthread_mutex_unlock(&resolver.fork_lock);
}

/* What is in flight waits, in the child, for whoever asks for its answer; the rest of those who
 * waited are threads that are not there, and sockets whose locks they may hold. */
static void lose_flights(void)
{
    for (int stage = 0; stage < STAGES; stage++) {
        struct flight *f, *next;

        for (f = TAILQ_FIRST(&resolver.stages[stage]); f && stage != STAGE_LOST; f = next) {
            next = TAILQ_NEXT(f, link);
            set_joinable(f, false);
            f->plan = NULL;
            leave_stage(f);
            if (TAILQ_EMPTY(&f->waiters))
                flight_free(f);
            else
                enter_stage(f, STAGE_LOST);
        }
    }
}

static void in_child(void)
{
    thread_forget();
    lose_flights();
    resolver.running = resolver.sleeping = false;
    resolver.system_threads = resolver.system_idle = 0;
    system_init();
    atomic_fetch_add_explicit(&resolver.forks, 1, memory_order_relaxed);
    after_fork();
}

static void register_handlers(void)
{
    pthread_atfork(before_fork, after_fork, in_child);
    sys_thread_prepare();
    system_init();
}

void flight_handle_fork(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, register_handlers);
}

/* ---- Joining and leaving --------------------------------------------------------------------- */

static int start_thread(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int rc;

    if (resolver.running)
        return 0;
    resolver.epoll_fd = sys_epoll_create();
    resolver.wake_fd = sys_eventfd();
    event.data.fd = resolver.wake_fd;
    rc = resolver.epoll_fd < 0 || resolver.wake_fd < 0
             ? -EAGAIN
             : sys_epoll_ctl(resolver.epoll_fd, EPOLL_CTL_ADD, resolver.wake_fd, &event);
    if (rc == 0)
        rc = sys_thread(thread_main, NULL);
    if (rc == 0) {
        resolver.running = true;
        return 0;
    }
    sys_close(resolver.epoll_fd);
    sys_close(resolver.wake_fd);
    resolver.epoll_fd = resolver.wake_fd = -1;
    return -EAGAIN;
}

static struct flight *find_joinable(const struct flight *like)
{
    struct flight *f;

    for (f = LIST_FIRST(&resolver.buckets[like->name.hash % FLIGHT_BUCKETS]); f;
         f = LIST_NEXT(f, bucket))
        if (f->name.hash == like->name.hash && f->family == like->family &&
            f->generation == resolver.settings.generation && f->name.len == like->name.len &&
            memcmp(f->name.text, like->name.text, like->name.len) == 0)
            return f;
    return NULL;
}

int flight_join(struct slot *slot, struct flight **spare)
{
    struct flight *f = find_joinable(*spare);
    int rc;

    if (!f) {
        rc = start_thread();
        if (rc < 0)
            return rc;
        f = *spare;
        *spare = NULL;
        f->generation = resolver.settings.generation;
        enter_stage(f, STAGE_NEW);
        set_joinable(f, true);
    }
    add_waiter(f, slot);
    return 0;
}

static void retire(struct flight *f)
{
    set_joinable(f, false);
    leave_stage(f);
    plan_leave(f->plan);
}

struct flight *flight_leave(struct slot *slot)
{
    struct flight *f = slot->flight;

    remove_waiter(slot);
    if (!TAILQ_EMPTY(&f->waiters) || f->stage == STAGE_ROUTING || f->stage == STAGE_ASKING ||
        f->stage == STAGE_CALLING || f->stage == STAGE_DONE)
        return NULL;
    retire(f);
    return f;
}

bool flight_drop(struct flight *f)
{
    if (!TAILQ_EMPTY(&f->waiters))
        return false;
    retire(f);
    flight_free(f);
    return true;
}

void flight_restart(struct flight *f)
{
    plan_leave(f->plan);
    f->plan = NULL;
    f->source = f->candidate = 0;
    f->asked = false;
    f->failure = 0;
    answer_unref(f->negative);
    f->negative = NULL;
    flight_move(f, STAGE_NEW);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Into the cache, unless the settings have changed since it was asked for. */
static void keep(const struct flight *f, struct answer *a)
{
    struct cache_entry *e = a->expires_ns ? cache_entry_new(&f->name, f->family, a) : NULL;
    struct cache_entry *dropped = e;
    struct cache *fresh = NULL;

    if (!e)
        return;
    pthread_mutex_lock(&resolver.lock);
    if (!resolver.cache) {
        pthread_mutex_unlock(&resolver.lock);
        fresh = cache_new();
        pthread_mutex_lock(&resolver.lock);
    }
    if (f->generation == resolver.settings.generation && (resolver.cache || fresh)) {
        if (!resolver.cache) {
            resolver.cache = fresh;
            fresh = NULL;
        }
        dropped = cache_put(resolver.cache, e);
    }
    pthread_mutex_unlock(&resolver.lock);
    cache_entry_free(dropped);
    cache_free(fresh);
}

/* Tells one who waited. The request may be ended at any moment while the lock is not held, also
 * from inside `notify`: then its memory stays, and its release is ours. (lock, given up meanwhile)
 */
static void tell(struct slot *slot, struct answer *a)
{
    struct resolve_request *r = slot->request;
    const struct resolve_client client = r->client;
    bool release, gone;

    remove_waiter(slot);
    atomic_store_explicit(&slot->answer, answer_ref(a), memory_order_release);
    r->missing--;
    r->told = true;
    pthread_mutex_unlock(&resolver.lock);
    client.notify(client.arg);
    pthread_mutex_lock(&resolver.lock);
    r->told = false;
    gone = r->ended;
    release = gone || r->missing == 0;
    r->released = release;
    if (!release)
        return;
    pthread_mutex_unlock(&resolver.lock);
    if (gone)
        request_free(r);
    client.release(client.arg);
    pthread_mutex_lock(&resolver.lock);
}

void flight_finish(struct flight *f, struct answer *a)
{
    struct slot *slot;

    keep(f, a);
    pthread_mutex_lock(&resolver.lock);
    set_joinable(f, false);
    flight_move(f, STAGE_DONE);
    while ((slot = TAILQ_FIRST(&f->waiters)))
        tell(slot, a);
    leave_stage(f);
    pthread_mutex_unlock(&resolver.lock);
    plan_leave(f->plan);
    answer_unref(a);
    flight_free(f);
}
