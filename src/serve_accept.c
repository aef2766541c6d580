/* Accepting: from the listener's queue to a task on the right loop. */
#include "context.h"
#include "serve.h"
#include "socket.h"
#include "sys.h"
#include "tls/tls.h"

#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <weir/inspect.h>
#include <weir/limit.h>

/* When a task cannot be started, the next connection is taken after this. */
#define REST_MS 50

/* How many connections are in a queue that does not tell. */
#define QUEUE_MOST 4096

/* ---- counting -------------------------------------------------------------------------------- */

static struct {
    _Atomic uint64_t accepted, failed, rests;
    atomic_uint serving;
} counts;

void serve_count(struct serve_counts *ret)
{
    ret->accepted = atomic_load(&counts.accepted);
    ret->failed = atomic_load(&counts.failed);
    ret->rests = atomic_load(&counts.rests);
    ret->serving = atomic_load(&counts.serving);
}

/* In a child after fork: the servers stay with the parent. */
static void forget_counts(void)
{
    atomic_store(&counts.accepted, 0);
    atomic_store(&counts.failed, 0);
    atomic_store(&counts.rests, 0);
    atomic_store(&counts.serving, 0);
}

static void count_from_now(void)
{
    pthread_atfork(NULL, NULL, forget_counts);
}

static void tell_failure(const struct server *v, weir_socket *s, int rc)
{
    if (v->options.failed)
        v->options.failed(v->arg, s, rc);
}

/* Of what may go on for some time only the beginning is told. */
static void tell_shortage(struct acceptor *a, weir_socket *s, int rc)
{
    atomic_fetch_add(&counts.rests, 1);
    if (!a->starved)
        tell_failure(a->server, s, rc);
    a->starved = true;
}

/* ---- seats ----------------------------------------------------------------------------------- */

static bool sit_down(struct server *v)
{
    unsigned taken = atomic_load(&v->taken);

    do {
        if (taken >= v->options.max_connections)
            return false;
    } while (!atomic_compare_exchange_weak(&v->taken, &taken, taken + 1));
    return true;
}

static void ring(const struct server *v)
{
    (void)weir_channel_try_send(v->bell, "");
}

/* The bell rings once for several seats that are given up in a row: who hears it passes it on. */
static int take_seat(struct server *v)
{
    bool waited = false;
    char item;

    while (v->bell && !sit_down(v)) {
        int rc = weir_channel_recv(v->bell, &item);
        if (rc < 0)
            return rc;
        waited = true;
    }
    if (waited)
        ring(v);
    return 0;
}

static void give_seat(struct server *v)
{
    if (!v->bell)
        return;
    atomic_fetch_sub(&v->taken, 1);
    ring(v);
}

/* ---- a connection ---------------------------------------------------------------------------- */

struct connection {
    struct acceptor *acceptor;
    weir_socket *s;
};

static void move_in(struct acceptor *a)
{
    atomic_fetch_add(&a->open, 1);
    atomic_fetch_add(&counts.serving, 1);
}

/* Closes the socket first: a seat is a descriptor, too. */
static void move_out(const struct connection *n)
{
    (void)weir_close(n->s);
    atomic_fetch_sub(&n->acceptor->open, 1);
    atomic_fetch_sub(&counts.serving, 1);
    give_seat(n->acceptor->server);
}

static int converse(void *connection)
{
    const struct connection *n = connection;
    const struct server *v = n->acceptor->server;
    unsigned forks = context_fork_count();

    if (v->options.idle_ms > 0)
        (void)weir_set_timeout(n->s, v->options.idle_ms);
    weir_scope limit = weir_deadline_start(v->options.total_ms > 0 ? v->options.total_ms : -1);
    int rc = v->handler(n->s, v->arg);
    weir_scope_end(limit);
    if (rc < 0 && context_fork_count() == forks) {
        atomic_fetch_add(&counts.failed, 1);
        tell_failure(v, n->s, rc);
    }
    if (context_fork_count() != forks)
        return rc; /* a child, where the server is the parent's */
    move_out(n);
    return 0;
}

/* Where a connection goes that `a` has accepted: to another loop only if that has clearly fewer,
 * since the way there is not free; what comes from one queue for all is dealt out evenly. */
static struct acceptor *place(struct acceptor *a)
{
    struct server *v = a->server;
    struct acceptor *least = a;
    unsigned own = atomic_load_explicit(&a->open, memory_order_relaxed), fewest = own;

    for (unsigned i = 0; i < v->count; i++) {
        unsigned open = atomic_load_explicit(&v->acceptors[i].open, memory_order_relaxed);
        if (open < fewest) {
            fewest = open;
            least = &v->acceptors[i];
        }
    }
    return !least->listener || own > fewest + fewest / 4 + 1 ? least : a;
}

/* Somebody who was told has forked, and come back there too: the server is the parent's. */
static bool in_child(const struct acceptor *a)
{
    return context_fork_count() != a->forks;
}

static int begin(struct acceptor *a, weir_socket *s)
{
    struct acceptor *to = place(a);
    const struct connection n = {.acceptor = to, .s = s};

    atomic_fetch_add(&counts.accepted, 1);
    move_in(to);
    int rc = group_go_on(to->connections, to->loop, converse, &n, sizeof n,
                         (uintptr_t)a->server->handler);
    if (rc == 0) {
        a->starved = false;
        return 0;
    }
    tell_shortage(a, s, rc);
    if (in_child(a))
        return -ECANCELED;
    move_out(&n);
    return weir_sleep(REST_MS);
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* With a seat taken. Does not wait. 0, -EAGAIN if there is no connection, or why there is none. */
static int accept_one(struct acceptor *a)
{
    weir_socket *s;
    int rc = accept_try(a->listener, &s);

    if (rc == 0)
        return begin(a, s);
    if (accept_exhausted(rc)) {
        tell_shortage(a, NULL, rc);
        rc = in_child(a) ? -ECANCELED : -EAGAIN;
    }
    if (!in_child(a))
        give_seat(a->server);
    return rc;
}

static int accept_until_cancelled(struct acceptor *a)
{
    uint64_t unused_ns;
    int rc;

    do {
        rc = take_seat(a->server);
        if (rc == 0)
            rc = accept_one(a);
        if (rc == 0)
            rc = wait_begin(&unused_ns);
        else if (rc == -EAGAIN)
            rc = wait_always(a->listener, WEIR_READABLE, NEVER, NEVER);
    } while (rc >= 0);
    return rc;
}

static unsigned queue_length(const weir_socket *listener)
{
    struct tcp_info info;
    socklen_t length = sizeof info;
    int rc = sys_getsockopt(atomic_load_explicit(&listener->fd, memory_order_relaxed), IPPROTO_TCP,
                            TCP_INFO, &info, &length);

    return rc < 0 ? QUEUE_MOST : info.tcpi_unacked; /* so it is while a socket listens */
}

/* Those who find no seat now would be kept waiting by a server that ends. */
static bool accept_many(struct acceptor *a, unsigned count)
{
    struct server *v = a->server;
    bool some = true;

    while (count-- > 0 && some)
        some = weir_time_left() != 0 && !socket_closed(a->listener) && (!v->bell || sit_down(v)) &&
               accept_one(a) == 0;
    return some;
}

/* Others may come as fast as they are taken: it goes on only as long as they become fewer. */
static void accept_queue(struct acceptor *a)
{
    unsigned now = queue_length(a->listener), before = UINT_MAX;

    while (now > 0 && now < before && accept_many(a, now)) {
        before = now;
        now = queue_length(a->listener);
    }
}

int acceptor_run(void *acceptor)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct acceptor *a = *(struct acceptor **)acceptor;

    pthread_once(&once, count_from_now);
    (void)weir_task_name(SERVE_TASK_NAME);
    a->forks = context_fork_count();
    int rc = accept_until_cancelled(a);
    if (in_child(a))
        return rc;
    weir_scope shield = weir_shield_start(server_time_left(a->server));
    accept_queue(a);
    weir_scope_end(shield);
    if (in_child(a))
        return rc;
    server_end_listener(a->server, a->listener);
    return rc;
}

/* ---- sharing an address ---------------------------------------------------------------------- */

static int preset_flag(weir_socket *s, weir_socket *from, int level, int name)
{
    int value = 0;
    socklen_t length = sizeof value;
    int rc = weir_get_option(from, level, name, &value, &length);

    return rc == 0 ? weir_set_option(s, level, name, &value, sizeof value) : rc;
}

/* What it takes to listen where another does, and as he does. */
static int share(weir_socket *s, weir_socket *from)
{
    static const int on = 1;
    weir_address address;
    int rc = weir_local_address(from, &address);

    if (rc == 0)
        rc = weir_set_option(from, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (rc == 0)
        rc = settings_copy(s, from);
    if (rc == 0 && from->family == AF_INET6)
        rc = preset_flag(s, from, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc == 0 && from->tls)
        rc = tls_accepted(s, from);
    if (rc == 0)
        rc = weir_bind_address(s, &address);
    return rc < 0 ? rc : weir_listen(s, from->backlog);
}

int listener_share(weir_socket *s, weir_socket **ret)
{
    weir_socket *twin;

    if (s->family == AF_UNIX || s->adopted)
        return -EOPNOTSUPP;
    int rc = socket_new(&twin, s->family, s->type, s->protocol);
    if (rc < 0)
        return rc;
    rc = share(twin, s);
    if (rc < 0)
        (void)weir_close(twin);
    else
        *ret = twin;
    return rc;
}
