/* The calls that connect. */
#include "connect.h"
#include "sys.h"

/* Begins a connect, or joins the one that goes on: 0, the failure, -EINPROGRESS if it has begun,
 * -EALREADY if it had. How a connect has ended in the background is told once before another can
 * begin. (lock) */
static int begin_or_join(weir_socket *s, const char *host, uint16_t port, const weir_address *to)
{
    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (s->connect) {
        connect_drive(s);
        return s->connect ? -EALREADY : connect_outcome(s);
    }
    if (s->connect_untold)
        return connect_outcome(s);
    if (socket_phase(s) == PHASE_LISTENING)
        return -EINVAL;
    if (socket_phase(s) == PHASE_CONNECTED && s->type != SOCK_DGRAM)
        return -EISCONN;
    int rc = connect_begin(s, host, port, to);
    s->connect_untold = rc == -EINPROGRESS;
    return rc;
}

/* What a call returns whose wait ended with `waited`; 0 in `*ret_over` if it has to wait on. A
 * connect that has ended in the same instant counts. (lock) */
static int after_wait(weir_socket *s, int waited, const void *call, bool *ret_over)
{
    connect_drive(s);
    *ret_over = !s->connect || waited < 0;
    if (s->connect && waited < 0) {
        bool may_end = connect_may_end(s, call);
        if (waited == -EAGAIN || !may_end) {
            if (may_end)
                connect_own(s, NULL);
            return waited == -EAGAIN ? -EALREADY : waited;
        }
        connect_abandon(s, waited);
    }
    return *ret_over ? connect_outcome(s) : 0;
}

/* Waits until a connect has ended; out of time, it is ended, unless it is another call's that
 * still waits for it. */
static int wait_for_end(weir_socket *s, uint64_t deadline_ns, const void *call)
{
    for (;;) {
        bool over;
        int waited = wait_ready(s, WEIR_WRITABLE | WAIT_CONNECT, deadline_ns, NEVER);
        pthread_mutex_lock(&s->lock);
        int rc = after_wait(s, waited, call, &over);
        pthread_mutex_unlock(&s->lock);
        if (over)
            return rc;
    }
}

static int connect_to(weir_socket *s, const char *host, uint16_t port, const weir_address *to)
{
    uint64_t deadline_ns;
    int rc = socket_enter(s, 0);

    if (rc < 0)
        return rc;
    bool waits = !atomic_load_explicit(&s->nonblocking, memory_order_relaxed);
    rc = socket_inherited(s) ? -EPERM : wait_enter(s, &deadline_ns);
    if (rc == 0) {
        pthread_mutex_lock(&s->lock);
        rc = begin_or_join(s, host, port, to);
        if (rc == -EINPROGRESS && waits)
            connect_own(s, &rc);
        pthread_mutex_unlock(&s->lock);
        if (waits && (rc == -EINPROGRESS || rc == -EALREADY))
            rc = wait_for_end(s, deadline_ns, &rc);
    }
    socket_leave(s, 0);
    return rc;
}

int weir_connect(weir_socket *s, const char *host, uint16_t port)
{
    return s && host ? connect_to(s, host, port, NULL) : -EINVAL;
}

int weir_connect_address(weir_socket *s, const weir_address *a)
{
    return s && a && a->family != AF_UNSPEC ? connect_to(s, NULL, 0, a) : -EINVAL;
}

int weir_connect_status(weir_socket *s)
{
    int rc = socket_enter(s, 0);

    if (rc < 0)
        return rc;
    if (socket_inherited(s)) {
        rc = -EPERM;
    } else {
        pthread_mutex_lock(&s->lock);
        connect_drive(s);
        rc = s->connect ? -EINPROGRESS : connect_outcome(s);
        pthread_mutex_unlock(&s->lock);
    }
    socket_leave(s, 0);
    return rc;
}
