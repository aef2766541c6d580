/* getaddrinfo(3) and resolvers of the program's own, on threads that may wait. */
#include "clock.h"
#include "flight.h"
#include "sys.h"

#include <netdb.h>
#include <string.h>
#include <weir/error.h>

#define THREADS_MAX 4
#define IDLE_NS     (10 * NS_PER_S)
#define TTL_NS      (10 * NS_PER_S)
#define PROGRAM_MAX 256 /* addresses that a resolver of the program's own can give */

void system_init(void)
{
    resolver.system_threads = resolver.system_idle = 0;
    resolver.system_idle_ns = IDLE_NS;
    pthread_cond_init(&resolver.system_work, NULL);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static struct answer *failure(int rc, enum weir_name_source source)
{
    return answer_failure(rc, source, rc == WEIR_ENONAME ? sys_now() + TTL_NS : 0);
}

/* Ranks and dates an answer; one without addresses says that there is no name. */
static struct answer *complete(struct answer *a)
{
    struct order_probe probe = ORDER_PROBE_NONE;

    if (a->count == 0) {
        a->rc = WEIR_ENONAME;
    } else {
        order_rank(&probe, a->list, a->count);
        order_sort(a->list, a->count);
        order_probe_close(&probe);
    }
    a->expires_ns = sys_now() + TTL_NS;
    return a;
}

static int system_error(int rc)
{
    switch (rc) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return WEIR_ENONAME;
    case EAI_MEMORY:
        return -ENOMEM;
    default:
        return WEIR_ENAMEAGAIN;
    }
}

static struct answer *ask_system(const struct flight *f)
{
    const struct addrinfo hints = {.ai_family = f->family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct answer *a;
    size_t count = 0;
    int rc = sys_getaddrinfo(f->name.text, &hints, &list);

    if (rc)
        return failure(system_error(rc), WEIR_FROM_SYSTEM);
    for (const struct addrinfo *i = list; i; i = i->ai_next)
        count++;
    a = answer_new(WEIR_FROM_SYSTEM, count);
    if (a) {
        a->count = 0;
        for (const struct addrinfo *i = list; i; i = i->ai_next)
            if (i->ai_family == f->family &&
                weir_address_from_sockaddr(&a->list[a->count].address, i->ai_addr, i->ai_addrlen) ==
                    0)
                a->count++;
    }
    freeaddrinfo(list);
    return a ? complete(a) : failure(-ENOMEM, WEIR_FROM_SYSTEM);
}

static int program_error(int rc)
{
    return rc == WEIR_ENONAME || rc == WEIR_ENAMESERVER ? rc : WEIR_ENAMEAGAIN;
}

static struct answer *ask_program(const struct flight *f)
{
    weir_address list[PROGRAM_MAX];
    struct answer *a;
    int count = f->program(f->program_arg, f->name.text, f->family, list, PROGRAM_MAX);

    if (count < 0)
        return failure(program_error(count), WEIR_FROM_PROGRAM);
    count = count < PROGRAM_MAX ? count : PROGRAM_MAX;
    a = answer_new(WEIR_FROM_PROGRAM, (size_t)count);
    if (!a)
        return failure(-ENOMEM, WEIR_FROM_PROGRAM);
    a->count = 0;
    for (int i = 0; i < count; i++) {
        if (weir_address_family(&list[i]) != f->family)
            continue;
        weir_address_set_port(&list[i], 0);
        a->list[a->count++].address = list[i];
    }
    return complete(a);
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* Returns false if nothing has come for a while. (lock, given up meanwhile) */
static bool wait_for_work(void)
{
    const uint64_t until_ns = sys_now() + resolver.system_idle_ns;
    const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
                                   .tv_nsec = (long)(until_ns % NS_PER_S)};
    int rc = 0;

    resolver.system_idle++;
    while (rc == 0 && resolver.counts[STAGE_SYSTEM] == 0)
        rc = pthread_cond_clockwait(&resolver.system_work, &resolver.lock, CLOCK_MONOTONIC, &until);
    resolver.system_idle--;
    return resolver.counts[STAGE_SYSTEM] > 0;
}

/* Takes the next flight. A resolver of the program's own that has been replaced is not called any
 * more, whoever is waiting for it. (lock) */
static struct flight *take_flight(void)
{
    const struct settings *s = &resolver.settings;
    struct flight *f = TAILQ_FIRST(&resolver.stages[STAGE_SYSTEM]);

    if (f->program && (f->program != s->program || f->program_arg != s->program_arg)) {
        flight_restart(f);
        flight_wake(flight_must_wake());
        return NULL;
    }
    flight_move(f, STAGE_CALLING);
    return f;
}

static void *system_main(void *arg)
{
    const unsigned forks = resolver.forks;

    (void)arg;
    pthread_mutex_lock(&resolver.lock);
    while (wait_for_work()) {
        struct flight *f = take_flight();
        struct answer *a;

        if (!f)
            continue;
        pthread_mutex_unlock(&resolver.lock);
        a = f->program ? ask_program(f) : ask_system(f);
        /* The program's resolver may have forked, and this be the child, which is without the
         * flight. */
        if (resolver.forks != forks) {
            answer_unref(a);
            return NULL;
        }
        pthread_mutex_lock(&resolver.fork_lock);
        flight_finish(f, a);
        pthread_mutex_unlock(&resolver.fork_lock);
        pthread_mutex_lock(&resolver.lock);
    }
    resolver.system_threads--;
    pthread_mutex_unlock(&resolver.lock);
    return NULL;
}

bool system_wake(void)
{
    if (resolver.counts[STAGE_SYSTEM] <= resolver.system_idle ||
        resolver.system_threads == THREADS_MAX) {
        pthread_cond_signal(&resolver.system_work);
        return false;
    }
    resolver.system_threads++;
    return true;
}

void system_start_thread(void)
{
    struct flight *f;

    if (sys_thread(system_main, NULL) == 0)
        return;
    pthread_mutex_lock(&resolver.lock);
    resolver.system_threads--;
    while (resolver.system_threads == 0 && (f = TAILQ_FIRST(&resolver.stages[STAGE_SYSTEM]))) {
        flight_move(f, STAGE_CALLING);
        pthread_mutex_unlock(&resolver.lock);
        flight_finish(f, failure(WEIR_ENAMEAGAIN, WEIR_FROM_SYSTEM));
        pthread_mutex_lock(&resolver.lock);
    }
    pthread_mutex_unlock(&resolver.lock);
}
