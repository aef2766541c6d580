#include "socket.h"
#include "sys.h"
#include "tls/tls.h"

/* How long a listener is left alone when there was no descriptor for the next connection. */
#define EXHAUSTED_NS (50 * NS_PER_MS)

int weir_listen(weir_socket *s, int backlog)
{
    int rc = socket_enter(s, 0);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    enum phase phase = socket_phase(s);
    int family = s->family == AF_UNSPEC ? AF_INET6 : s->family;
    int fd = s->fd;
    if (socket_closed(s))
        rc = WEIR_ECLOSED;
    else if (s->type == SOCK_DGRAM)
        rc = -EOPNOTSUPP;
    else if (phase == PHASE_CONNECTED || phase == PHASE_CONNECTING)
        rc = -EISCONN;
    else if (phase == PHASE_NEW && family == AF_UNIX)
        rc = -EDESTADDRREQ;
    else if (fd < 0)
        rc = fd = socket_descriptor(s, family, true);
    if (rc >= 0 && s->tls)
        rc = tls_listen(s);
    if (rc >= 0 && s->fd >= 0)
        rc = socket_make_nonblocking(s);
    if (rc >= 0)
        rc = sys_listen(fd, backlog > 0 ? backlog : SOMAXCONN);
    if (rc == 0) {
        s->backlog = backlog;
        socket_attach(s, fd, family, PHASE_LISTENING);
    } else if (fd >= 0 && s->fd < 0) {
        sys_close(fd);
    }
    socket_wake(s, WAKE_CHANGED);
    pthread_mutex_unlock(&s->lock);
    socket_leave(s, 0);
    return rc;
}

/* So many connections that failed are skipped in a row. A call that is refused to the process fails
 * for ever, with the same error. */
#define SKIPPED_MOST 16

/* Errors of the one connection that was next, which is gone with it: accept(2). */
static bool skipped(int rc)
{
    switch (rc) {
    case -EINTR:
    case -ECONNABORTED:
    case -ENETDOWN:
    case -EPROTO:
    case -ENOPROTOOPT:
    case -EHOSTDOWN:
    case -ENONET:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -ETIMEDOUT:
    case -EPERM:
        return true;
    default:
        return false;
    }
}

bool accept_exhausted(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -ENOMEM;
}

static bool held_off(const weir_socket *s)
{
    uint64_t after_ns = atomic_load_explicit(&s->accept_after_ns, memory_order_relaxed);

    return after_ns && sys_now() < after_ns;
}

/* Nobody looks at the listener for a while: it stays readable, and each look would fail again.
 * Those who wait learn of it once; told by each other they would not come to rest. */
static void hold_off(weir_socket *s)
{
    pthread_mutex_lock(&s->lock);
    if (!held_off(s)) {
        s->accept_after_ns = sys_now() + EXHAUSTED_NS;
        socket_wake(s, WAKE_CHANGED);
    }
    pthread_mutex_unlock(&s->lock);
}

/* The object comes first: without memory for it the connection stays in the queue. */
static int accept_one(weir_socket *s, weir_socket **ret)
{
    weir_socket *accepted;
    int rc = socket_new(&accepted, s->family, s->type, s->protocol);

    if (rc == 0 && s->tls && (rc = tls_accepted(accepted, s)) < 0)
        socket_unref(accepted);
    if (rc < 0)
        return rc;
    int fd = sys_accept(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        socket_unref(accepted);
        return fd;
    }
    atomic_init(&accepted->low_mark, s->low_mark);
    socket_connected(accepted, fd);
    *ret = accepted;
    return 0;
}

/* The first that is there, or why there is none. */
static int accept_some(weir_socket *s, weir_socket **ret)
{
    unsigned skips = 0;
    int rc;

    do
        rc = accept_one(s, ret);
    while (skipped(rc) && ++skips < SKIPPED_MOST);
    if (accept_exhausted(rc) || skipped(rc))
        hold_off(s);
    return rc;
}

static int accept_next(weir_socket *s, weir_socket **ret, uint64_t deadline_ns)
{
    for (;;) {
        bool rests = held_off(s) && weir_get_blocking(s);
        int failed = rests ? -EMFILE : accept_some(s, ret);
        if (failed == 0 || (failed != -EAGAIN && !skipped(failed) && !accept_exhausted(failed)))
            return failed;
        int rc = wait_ready(s, WEIR_READABLE, deadline_ns, NEVER);
        if (rc < 0)
            return rc == -EAGAIN ? failed : rc;
    }
}

int accept_try(weir_socket *s, weir_socket **ret)
{
    int rc = socket_enter(s, 0);

    if (rc < 0)
        return rc;
    rc = held_off(s) ? -EAGAIN : accept_some(s, ret);
    if (skipped(rc))
        rc = -EAGAIN;
    if (rc < 0 && socket_closed(s))
        rc = WEIR_ECLOSED;
    socket_leave(s, 0);
    return rc;
}

int weir_accept(weir_socket *s, weir_socket **ret)
{
    uint64_t deadline_ns;
    int rc = ret ? socket_enter(s, 0) : -EINVAL;

    if (rc < 0)
        return rc;
    rc = socket_phase(s) == PHASE_LISTENING ? wait_enter(s, &deadline_ns) : -EINVAL;
    if (rc == 0)
        rc = accept_next(s, ret, deadline_ns);
    if (rc < 0 && socket_closed(s))
        rc = WEIR_ECLOSED;
    socket_leave(s, 0);
    return rc;
}
