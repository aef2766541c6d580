/* Local addresses: binding, and asking who is at either end. */
#include "connect.h"
#include "resolve/resolve.h"
#include "socket.h"
#include "story.h"
#include "sys.h"
#include "target.h"

#include <string.h>
#include <weir/names.h>

/* (lock) */
static int bind_check(weir_socket *s, const weir_address *a)
{
    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (socket_phase(s) != PHASE_NEW || s->local)
        return -EINVAL;
    if (a->family == AF_UNSPEC)
        return -EINVAL;
    return s->family == AF_UNSPEC || s->family == a->family ? 0 : -EAFNOSUPPORT;
}

/* (lock) */
static int bind_descriptor(weir_socket *s, const weir_address *a)
{
    socklen_t length;
    const struct sockaddr *address = weir_address_sockaddr(a, &length);
    int fd = s->fd >= 0 ? s->fd : socket_descriptor(s, a->family, false);

    if (fd < 0)
        return fd;
    int rc = sys_bind(fd, address, length);
    if (rc < 0) {
        if (s->fd < 0)
            sys_close(fd);
        return rc;
    }
    socket_attach(s, fd, a->family, PHASE_BOUND);
    socket_wake(s, WAKE_CHANGED);
    return 0;
}

/* (lock) */
static int bind_address(weir_socket *s, const weir_address *a)
{
    int rc = bind_check(s, a);

    if (rc < 0)
        return rc;
    weir_address *local = sys_alloc(sizeof *local);
    if (!local)
        return -ENOMEM;
    *local = *a;
    rc = bind_descriptor(s, a);
    if (rc < 0)
        free(local);
    else
        s->local = local;
    return rc;
}

int weir_bind_address(weir_socket *s, const weir_address *a)
{
    int rc = a ? socket_enter(s, 0) : -EINVAL;

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    rc = bind_address(s, a);
    pthread_mutex_unlock(&s->lock);
    socket_leave(s, 0);
    return rc;
}

/* ---- by name ------------------------------------------------------------------------------- */

static void lookup_notify(void *arg)
{
    weir_socket *s = arg;

    pthread_mutex_lock(&s->lock);
    socket_wake(s, WAKE_CHANGED);
    pthread_mutex_unlock(&s->lock);
}

static void lookup_release(void *arg)
{
    socket_unref(arg);
}

/* The first address that both look-ups have given, or why there is none. (lock) */
static int lookup_outcome(weir_socket *s, uint16_t port, weir_address *ret)
{
    static const int families[] = {AF_INET6, AF_INET};
    const struct ranked *best = NULL;
    int rc = WEIR_ENONAME;

    for (int i = 0; i < 2; i++) {
        if (s->family != AF_UNSPEC && s->family != families[i])
            continue;
        const struct answer *a = resolve_answer(s->lookup, families[i]);
        if (!a)
            return -EINPROGRESS;
        if (a->rc < 0 && a->rc != WEIR_ENONAME)
            rc = a->rc;
        if (a->rc == 0 && (!best || order_compare(&a->list[0], best) < 0))
            best = &a->list[0];
    }
    if (!best)
        return rc;
    *ret = best->address;
    return weir_address_set_port(ret, port);
}

bool socket_lookup_done(weir_socket *s)
{
    weir_address a;

    return lookup_outcome(s, 0, &a) != -EINPROGRESS;
}

/* Begins the look-up, or goes on with it; -EINPROGRESS until the socket is bound. (lock) */
static int bind_by_name(weir_socket *s, const char *host, uint16_t port)
{
    struct resolve_client client = {lookup_notify, lookup_release, s};
    weir_address a;
    int rc = 0;

    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (socket_phase(s) != PHASE_NEW || s->local)
        return -EINVAL;
    if (!s->lookup) {
        socket_ref(s);
        rc = resolve_begin(&s->lookup, host, s->family, &client);
        if (rc == -EAGAIN) /* no thread, which is final: not "not yet" */
            rc = WEIR_ENAMEAGAIN;
    }
    if (rc < 0 && rc != -EINPROGRESS)
        return rc;
    rc = lookup_outcome(s, port, &a);
    if (rc == -EINPROGRESS)
        return rc;
    resolve_end(s->lookup);
    s->lookup = NULL;
    return rc < 0 ? rc : bind_address(s, &a);
}

static int bind_name(weir_socket *s, const char *host, uint16_t port)
{
    uint64_t deadline_ns;
    int rc = wait_enter(s, &deadline_ns);

    while (rc == 0) {
        pthread_mutex_lock(&s->lock);
        rc = bind_by_name(s, host, port);
        pthread_mutex_unlock(&s->lock);
        if (rc != -EINPROGRESS)
            return rc;
        rc = wait_ready(s, 0, deadline_ns, NEVER);
    }
    if (rc == -EAGAIN)
        return -EINPROGRESS;
    pthread_mutex_lock(&s->lock);
    resolve_end(s->lookup);
    s->lookup = NULL;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Every local address: of the socket's family, of IPv6 (and with it IPv4) where that is open, of
 * IPv4 where there is no IPv6. */
static int bind_any(weir_socket *s, uint16_t port)
{
    const char *host = s->family == AF_INET ? "0.0.0.0" : "::";
    weir_address a;
    int rc = weir_address_from_host(host, port, &a);

    if (rc == 0)
        rc = weir_bind_address(s, &a);
    if (s->family == AF_UNSPEC && (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)) {
        rc = weir_address_from_host("0.0.0.0", port, &a);
        if (rc == 0)
            rc = weir_bind_address(s, &a);
    }
    return rc;
}

int weir_bind(weir_socket *s, const char *host, uint16_t port)
{
    weir_address a;

    if (!s)
        return -EINVAL;
    if (!host || !*host || strcmp(host, "*") == 0)
        return bind_any(s, port);
    int rc = strncmp(host, "unix:", 5) == 0 ? weir_address_parse(host, &a)
                                            : target_numeric(host, port, &a);
    if (rc == 0)
        return weir_bind_address(s, &a);
    if (rc != WEIR_ENONAME)
        return rc;
    rc = target_check_name(host);
    if (rc == 0)
        rc = socket_enter(s, 0);
    if (rc < 0)
        return rc;
    rc = bind_name(s, host, port);
    socket_leave(s, 0);
    return rc;
}

/* ---- addresses of the ends ----------------------------------------------------------------- */

static int name_of(weir_socket *s, weir_address *ret,
                   int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int rc = ret ? socket_enter(s, 0) : -EINVAL;

    if (rc < 0)
        return rc;
    int fd = weir_fd(s);
    rc = fd < 0 ? fd : get(fd, (struct sockaddr *)&address, &length);
    if (rc == 0)
        rc = weir_address_from_sockaddr(ret, (struct sockaddr *)&address, length);
    if (rc < 0 && socket_closed(s))
        rc = WEIR_ECLOSED;
    socket_leave(s, 0);
    return rc;
}

int weir_local_address(weir_socket *s, weir_address *ret)
{
    return name_of(s, ret, sys_getsockname);
}

int weir_peer_address(weir_socket *s, weir_address *ret)
{
    return name_of(s, ret, sys_getpeername);
}
