/* The models. Each connection has one request under way; the next follows its reply. */
#include "cli.h"
#include "compare.h"

#include <errno.h>

/* How long a server may take for the first replies, and for the last. */
#define GRACE_MS 5000

#define EVENTS_MAX   256
#define WAIT_STEP_MS 1000

static int drive_straight(struct run *r, struct sample *ret);
static int drive_poller(struct run *r, struct sample *ret);

const struct model model_blocking = {
    "blocking", "blocking", "a thread each", drive_straight, "threads", NULL,
};
const struct model model_nonblocking = {
    "nonblocking", "non-blocking", "one poller", drive_poller, NULL, NULL,
};
const struct model model_tasks = {
    "tasks", "tasks", NULL, drive_straight, "tasks", NULL,
};
const struct model models_by_loop[3] = {
    {"tasks-epoll", "tasks", NULL, drive_straight, "tasks", "epoll"},
    {"tasks-io_uring", "tasks", NULL, drive_straight, "tasks", "io_uring"},
    {"tasks-poll", "tasks", NULL, drive_straight, "tasks", "poll"},
};

/* ---- the straight line: a task, or a thread, for each connection ----------------------------- */

struct crew {
    struct run *run;
    weir_group *tasks;
    weir_channel *ready; /* each says so once */
    weir_channel *start; /* which is when this is shut */
};

struct worker {
    struct crew *crew;
    struct connection *connection;
};

static int converse(void *worker)
{
    const struct worker *w = worker;
    struct run *r = w->crew->run;
    char nothing = 0;
    int rc = exchange(w->connection, r->message, r->load->size);

    weir_channel_send(w->crew->ready, &nothing);
    weir_channel_recv(w->crew->start, &nothing);
    while (rc == 0 && !atomic_load_explicit(&r->over, memory_order_relaxed)) {
        uint64_t begun_ns = now_ns();
        rc = exchange(w->connection, r->message, r->load->size);
        if (rc == 0)
            run_count(r, now_ns() - begun_ns);
    }
    return rc;
}

static int crew_open(struct crew *crew)
{
    int rc = weir_group_open(&crew->tasks, NULL);

    if (rc == 0)
        rc = weir_channel_open(&crew->ready, 1, 0);
    if (rc == 0)
        rc = weir_channel_open(&crew->start, 1, 0);
    return rc;
}

static void crew_close(struct crew *crew)
{
    weir_group_close(crew->tasks);
    weir_channel_close(crew->start);
    weir_channel_close(crew->ready);
}

/* Tasks inherit the limits of whoever starts them, so none holds here. */
static int crew_hire(struct crew *crew)
{
    struct run *r = crew->run;
    int rc = 0;

    for (size_t i = 0; i < r->load->connections && rc == 0; i++) {
        const struct worker worker = {crew, &r->connections[i]};
        rc = weir_go_copy(crew->tasks, converse, &worker, sizeof(worker));
    }
    return rc;
}

/* Waits until each has had an answer. */
static int crew_assemble(struct crew *crew)
{
    char nothing;
    int rc = 0;
    WEIR_WITHIN_MS(GRACE_MS);

    for (size_t i = 0; i < crew->run->load->connections && rc >= 0; i++)
        rc = weir_channel_recv(crew->ready, &nothing);
    return rc < 0 ? rc : 0;
}

/* A server may leave some without their last answer: closing the group ends those. */
static int crew_dismiss(struct crew *crew)
{
    int rc, failure = 0;
    WEIR_WITHIN_MS(GRACE_MS);

    atomic_store(&crew->run->over, true);
    rc = weir_group_wait(crew->tasks, &failure);
    return rc < 0 ? rc : failure;
}

static int drive_straight(struct run *r, struct sample *ret)
{
    struct crew crew = {.run = r};
    int rc = crew_open(&crew);

    if (rc == 0)
        rc = crew_hire(&crew);
    if (rc == 0)
        rc = crew_assemble(&crew);
    if (rc == 0) {
        run_start(r);
        weir_channel_shut(crew.start);
        rc = weir_sleep(r->load->round_ms);
    }
    if (rc == 0) {
        run_stop(r, ret);
        rc = crew_dismiss(&crew);
    }
    crew_close(&crew);
    return rc;
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

static int drive_poller(struct run *r, struct sample *ret)
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
