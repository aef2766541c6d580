/* The two models. Each connection has one request under way; the next follows its reply. */
#include "compare.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

/* How long a server may take for the last replies. */
#define GRACE_S 5

#define EVENTS_MAX   256
#define STACK_BYTES  ((size_t)256 * 1024)
#define WAIT_STEP_MS 1000

const struct model models[MODELS] = {
    {"blocking", "blocking", "a thread each", drive_threads},
    {"nonblocking", "non-blocking", "one poller", drive_poller},
};

/* ---- blocking: a thread for each connection -------------------------------------------------- */

struct crew {
    struct run *run;
    sem_t ready, go;
};

struct worker {
    struct crew *crew;
    struct connection *connection;
    pthread_t thread;
    int rc;
};

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        ;
}

static void *converse(void *arg)
{
    struct worker *w = arg;
    struct run *r = w->crew->run;

    w->rc = exchange(w->connection, r->message, r->load->size);
    sem_post(&w->crew->ready);
    wait_for(&w->crew->go);
    while (w->rc == 0 && !atomic_load_explicit(&r->over, memory_order_relaxed)) {
        uint64_t begun_ns = now_ns();
        w->rc = exchange(w->connection, r->message, r->load->size);
        if (w->rc == 0)
            run_count(r, now_ns() - begun_ns);
    }
    return NULL;
}

static void sleep_until(uint64_t time_ns)
{
    const struct timespec until = {(time_t)(time_ns / 1000000000), (long)(time_ns % 1000000000)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void abort_all(struct run *r)
{
    for (size_t i = 0; i < r->load->connections; i++)
        weir_abort(r->connections[i].s);
}

/* Waits for the threads; those that a silent server keeps are freed by weir_abort. */
static int dismiss(struct run *r, struct worker *workers, size_t count)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GRACE_S;
    for (size_t i = 0; i < count; i++) {
        if (pthread_timedjoin_np(workers[i].thread, NULL, &until) != 0) {
            rc = WEIR_EDEADLINE;
            abort_all(r);
            pthread_join(workers[i].thread, NULL);
        }
        if (rc == 0)
            rc = workers[i].rc;
    }
    return rc;
}

/* Starts a thread for each connection and returns how many there are; fewer if no more can be
 * had. */
static size_t hire(struct crew *crew, struct worker *workers, int *ret_rc)
{
    size_t count = crew->run->load->connections, i;
    pthread_attr_t attributes;
    int rc = 0;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (i = 0; i < count; i++) {
        workers[i].crew = crew;
        workers[i].connection = &crew->run->connections[i];
        rc = pthread_create(&workers[i].thread, &attributes, converse, &workers[i]);
        if (rc != 0)
            break;
    }
    pthread_attr_destroy(&attributes);
    *ret_rc = -rc;
    return i;
}

static void start_together(struct crew *crew, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wait_for(&crew->ready);
    run_start(crew->run);
    for (size_t i = 0; i < count; i++)
        sem_post(&crew->go);
}

int drive_threads(struct run *r, struct sample *ret)
{
    size_t hired, count = r->load->connections;
    struct crew crew = {.run = r};
    struct worker *workers = calloc(count, sizeof(*workers));
    int rc, ended;

    if (!workers)
        return -ENOMEM;
    sem_init(&crew.ready, 0, 0);
    sem_init(&crew.go, 0, 0);
    hired = hire(&crew, workers, &rc);
    atomic_store(&r->over, hired < count);
    start_together(&crew, hired);
    if (hired == count) {
        sleep_until(run_end_ns(r));
        run_stop(r, ret);
        atomic_store(&r->over, true);
    }
    ended = dismiss(r, workers, hired);
    sem_destroy(&crew.go);
    sem_destroy(&crew.ready);
    free(workers);
    return rc < 0 ? rc : ended;
}

/* ---- non-blocking: one thread, one poller ---------------------------------------------------- */

/* Sends what there is room for; the poller watches for room only where that was not all. */
static int send_request(struct run *r, struct connection *c, weir_poller *p, bool watched)
{
    int rc = weir_send_all(c->s, r->message, r->load->size, &c->sent);

    if (weir_in_progress(rc))
        return watched ? 0 : weir_poller_modify(p, c->s, WEIR_WRITABLE, c);
    if (rc == 0 && watched)
        rc = weir_poller_modify(p, c->s, WEIR_READABLE, c);
    return rc;
}

static int begin_request(struct run *r, struct connection *c, weir_poller *p)
{
    c->sent = c->received = 0;
    c->begun_ns = now_ns();
    return send_request(r, c, p, false);
}

static int go_on(struct run *r, struct connection *c, weir_poller *p)
{
    int rc;

    if (c->sent < r->load->size)
        return send_request(r, c, p, true);
    rc = weir_recv_exact(c->s, c->reply, r->load->size, &c->received);
    if (weir_in_progress(rc))
        return 0;
    if (rc < 0)
        return rc;
    run_count(r, now_ns() - c->begun_ns);
    return begin_request(r, c, p);
}

static int begin_all(struct run *r, weir_poller *p)
{
    int rc = 0;

    for (size_t i = 0; i < r->load->connections && rc == 0; i++) {
        weir_set_blocking(r->connections[i].s, false);
        rc = weir_poller_add(p, r->connections[i].s, WEIR_READABLE, &r->connections[i]);
    }
    run_start(r);
    for (size_t i = 0; i < r->load->connections && rc == 0; i++)
        rc = begin_request(r, &r->connections[i], p);
    return rc;
}

int drive_poller(struct run *r, struct sample *ret)
{
    weir_event events[EVENTS_MAX];
    weir_poller *p = NULL;
    uint64_t end_ns;
    int count, rc = weir_poller_open(&p);

    if (rc == 0)
        rc = begin_all(r, p);
    end_ns = run_end_ns(r);
    while (rc == 0 && now_ns() < end_ns) {
        rc = count = weir_poller_wait(p, events, EVENTS_MAX, WAIT_STEP_MS);
        for (int i = 0; i < count; i++) {
            rc = go_on(r, events[i].data, p);
            if (rc < 0)
                break;
        }
        if (rc > 0)
            rc = 0;
    }
    if (rc == 0)
        run_stop(r, ret);
    weir_poller_close(p);
    return rc;
}
