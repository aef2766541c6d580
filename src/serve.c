#include "serve.h"

#include "context.h"
#include "socket.h"
#include "sys.h"

#include <weir/inspect.h>
#include <weir/limit.h>

/* ---- what a server is made of ---------------------------------------------------------------- */

/* Ends all connections. */
static void server_free(struct server *v)
{
    (void)weir_group_close(v->tasks);
    for (unsigned i = 0; i < v->count; i++)
        (void)weir_group_cancel(v->acceptors[i].connections);
    for (unsigned i = 0; i < v->count; i++) {
        struct acceptor *a = &v->acceptors[i];
        (void)weir_group_close(a->connections);
        if (a->listener != v->listener)
            (void)weir_close(a->listener);
    }
    (void)weir_channel_close(v->bell);
    free(v);
}

/* One acceptor is all there is where tasks are threads. */
static unsigned count_loops(const struct context *c, const weir_serve_options *o)
{
    unsigned all = c->loop ? c->run->loop_count : 1;

    return o->loops && o->loops < all ? o->loops : all;
}

/* The caller's loop comes first, with the caller's listener. A loop without one of its own gets its
 * connections from the others. */
static int acceptor_open(struct acceptor *a, struct server *v, unsigned i)
{
    const struct context *c = context_current();

    a->server = v;
    if (c->loop)
        a->loop = c->run->loops[(c->loop->number + i) % c->run->loop_count];
    if (i == 0)
        a->listener = v->listener;
    else
        (void)listener_share(v->listener, &a->listener);
    return weir_group_open(&a->connections, NULL);
}

static int server_fill(struct server *v, unsigned count)
{
    int rc = weir_group_open(&v->tasks, WEIR_GROUP_OPTIONS(.fail_fast = true));

    if (rc == 0 && v->options.max_connections)
        rc = weir_channel_open(&v->bell, 1, 1);
    while (rc == 0 && v->count < count) {
        unsigned i = v->count++;
        rc = acceptor_open(&v->acceptors[i], v, i);
    }
    return rc;
}

static int server_open(struct server **ret, weir_socket *listener, const weir_serve_options *o)
{
    unsigned count = count_loops(context_current(), o);
    struct server *v = sys_alloc(sizeof *v + count * sizeof v->acceptors[0]);

    if (!v)
        return -ENOMEM;
    v->options = *o;
    v->listener = listener;
    int rc = server_fill(v, count);
    if (rc < 0)
        server_free(v);
    else
        *ret = v;
    return rc;
}

/* ---- the listener ---------------------------------------------------------------------------- */

/* Somebody has aborted it. An acceptor that waits for a seat would not see that. */
static void listener_lost(struct waiter *w, enum wake_reason why)
{
    struct server *v = (struct server *)w;

    if (why == WAKE_CHANGED)
        return;
    atomic_store(&v->lost, true);
    (void)weir_group_cancel(v->tasks);
    if (why == WAKE_GONE)
        waiter_unlink(w);
}

static void watch_listener(struct server *v)
{
    weir_socket *s = v->listener;

    v->watch.wake = listener_lost;
    pthread_mutex_lock(&s->lock);
    if (socket_closed(s))
        atomic_store(&v->lost, true);
    else
        waiter_link(s, &v->watch);
    pthread_mutex_unlock(&s->lock);
}

void server_end_listener(struct server *v, weir_socket *listener)
{
    if (listener == v->listener) {
        pthread_mutex_lock(&listener->lock);
        waiter_unlink(&v->watch);
        pthread_mutex_unlock(&listener->lock);
    }
    (void)weir_abort(listener);
}

/* ---- from beginning to end ------------------------------------------------------------------- */

/* Whoever sees it first decides by when the handlers have to be done. */
int64_t server_time_left(struct server *v)
{
    uint64_t unset = 0, drain_ms = v->options.drain_ms > 0 ? (uint64_t)v->options.drain_ms : 0;
    uint64_t end_ns = clock_deadline((int64_t)drain_ms);

    if (!atomic_compare_exchange_strong(&v->end_ns, &unset, end_ns))
        end_ns = unset;
    return end_ns == NEVER ? INT64_MAX : clock_left_ms(end_ns);
}

static int stop_at_signal(void *server)
{
    struct server *v = *(struct server **)server;

    (void)weir_task_name(SERVE_TASK_NAME);
    int rc = weir_signal_wait(v->options.stop);

    return rc > 0 ? -ECANCELED : rc;
}

/* A failure of one ends all. */
static int start(struct server *v)
{
    int rc = v->options.stop
                 ? group_go_on(v->tasks, NULL, stop_at_signal, &v, sizeof(struct server *), 0)
                 : 0;

    for (unsigned i = 0; i < v->count && rc == 0; i++) {
        struct acceptor *a = &v->acceptors[i];
        if (a->listener)
            rc = group_go_on(v->tasks, a->loop, acceptor_run, &a, sizeof(struct acceptor *), 0);
    }
    return rc;
}

/* The acceptors take what their queues hold; the handlers have what is left of the time. */
static void drain(struct server *v)
{
    WEIR_SHIELDED_MS(server_time_left(v));
    (void)weir_group_cancel(v->tasks);
    (void)weir_group_wait(v->tasks, NULL);
    for (unsigned i = 0; i < v->count; i++)
        (void)weir_group_wait(v->acceptors[i].connections, NULL);
}

static int run(struct server *v)
{
    int failure = 0;

    watch_listener(v);
    int rc = start(v);
    if (rc == 0)
        rc = weir_group_wait(v->tasks, &failure);
    drain(v);
    server_end_listener(v, v->listener);
    if (v->lost)
        return WEIR_ECLOSED;
    if (rc == -ECANCELED || rc == WEIR_EDEADLINE || (rc == 0 && failure == -ECANCELED))
        return 0;
    if (rc == 0 && failure == -EINVAL)
        return WEIR_ECLOSED; /* by somebody who shares the descriptor: shutdown(2) */
    return rc < 0 ? rc : failure;
}

int weir_serve(weir_socket *listener, int (*handler)(weir_socket *s, void *arg), void *arg,
               const weir_serve_options *options)
{
    const weir_serve_options *o = options ? options : WEIR_SERVE_OPTIONS();
    struct server *v = NULL;
    int rc = !listener || !handler || o->size != sizeof *o ? -EINVAL : 0;

    if (rc == 0 && o->stop)
        rc = signal_check(o->stop);
    if (rc == 0)
        rc = socket_enter(listener, 0);
    if (rc < 0)
        return rc;
    rc = socket_phase(listener) == PHASE_LISTENING ? server_open(&v, listener, o) : -EINVAL;
    if (rc == 0) {
        v->handler = handler;
        v->arg = arg;
        rc = run(v);
        server_free(v);
    } else if (rc != -EINVAL) {
        (void)weir_abort(listener);
    }
    socket_leave(listener, 0);
    return rc;
}
