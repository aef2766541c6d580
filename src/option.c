/* Options: recorded until there is a descriptor, applied to each one that is made. */
#include "connect.h"
#include "socket.h"
#include "sys.h"

#include <netinet/in.h>
#include <string.h>

bool setting_applies(const struct setting *o, int family)
{
    switch (o->level) {
    case IPPROTO_IP:
    case IPPROTO_TCP:
    case IPPROTO_UDP:
        return family != AF_UNIX;
    case IPPROTO_IPV6:
        return family == AF_INET6;
    default:
        return true;
    }
}

static int apply(int fd, int family, const struct setting *list)
{
    int rc = 0;

    for (const struct setting *o = list; o && rc == 0; o = o->next)
        if (setting_applies(o, family))
            rc = sys_setsockopt(fd, o->level, o->name, o->value, o->length);
    return rc;
}

void settings_free(struct setting *list)
{
    while (list) {
        struct setting *next = list->next;
        free(list);
        list = next;
    }
}

static int bind_again(weir_socket *s, int fd, int family)
{
    socklen_t length;

    if (!s->local)
        return 0;
    if (s->local->family != family)
        return -EAFNOSUPPORT;
    const struct sockaddr *address = weir_address_sockaddr(s->local, &length);
    return sys_bind(fd, address, length);
}

int socket_descriptor(weir_socket *s, int family, bool with_bind)
{
    int fd = sys_socket(family, s->type | SOCK_NONBLOCK | SOCK_CLOEXEC, s->protocol);

    if (fd < 0)
        return fd;
    int rc = apply(fd, family, s->settings);
    if (rc == 0 && with_bind)
        rc = bind_again(s, fd, family);
    if (rc < 0) {
        sys_close(fd);
        return rc;
    }
    return fd;
}

/* A descriptor to try options on before there is one; with an open family the one that takes the
 * option's level. */
static int probe_descriptor(weir_socket *s, int level)
{
    int family = s->family;

    if (family == AF_UNSPEC)
        family = level == IPPROTO_IP ? AF_INET : AF_INET6;
    int fd = socket_descriptor(s, family, false);
    if (fd == -EAFNOSUPPORT && s->family == AF_UNSPEC)
        fd = socket_descriptor(s, AF_INET, false);
    return fd;
}

/* Appends, in the place of an earlier value of the same option. (lock) */
static void record(weir_socket *s, struct setting *o)
{
    struct setting **at = &s->settings;

    while (*at) {
        struct setting *old = *at;
        if (old->level == o->level && old->name == o->name) {
            *at = old->next;
            free(old);
        } else {
            at = &old->next;
        }
    }
    *at = o;
}

static struct setting *setting_new(int level, int name, const void *value, socklen_t length)
{
    struct setting *o = sys_alloc(sizeof *o + length);

    if (o) {
        o->level = level;
        o->name = name;
        o->length = length;
        if (length > 0)
            memcpy(o->value, value, length);
    }
    return o;
}

int settings_copy(weir_socket *s, weir_socket *from)
{
    struct setting **at = &s->settings;
    int rc = 0;

    pthread_mutex_lock(&from->lock);
    for (const struct setting *o = from->settings; o && rc == 0; o = o->next) {
        *at = setting_new(o->level, o->name, o->value, o->length);
        if (*at)
            at = &(*at)->next;
        else
            rc = -ENOMEM;
    }
    s->low_mark = from->low_mark;
    pthread_mutex_unlock(&from->lock);
    return rc;
}

/* (lock) */
static int option_set(weir_socket *s, struct setting *o)
{
    int fd = s->fd;
    bool probe = fd < 0;

    if (probe)
        fd = probe_descriptor(s, o->level);
    if (fd < 0)
        return fd;
    int rc = sys_setsockopt(fd, o->level, o->name, o->value, o->length);
    if (probe)
        sys_close(fd);
    return rc;
}

int weir_set_option(weir_socket *s, int level, int name, const void *value, socklen_t length)
{
    if (!s || (!value && length > 0) || length > 65536)
        return -EINVAL;
    struct setting *o = setting_new(level, name, value, length);
    if (!o)
        return -ENOMEM;
    int rc = socket_enter(s, 0);
    if (rc < 0) {
        free(o);
        return rc;
    }
    pthread_mutex_lock(&s->lock);
    rc = socket_closed(s) ? WEIR_ECLOSED : option_set(s, o);
    if (rc == 0 && s->connect)
        connect_set_option(s, o);
    /* With a low mark an empty stream and one that is not reported are two things. */
    if (rc == 0 && level == SOL_SOCKET && name == SO_RCVLOWAT) {
        s->low_mark = true;
        s->tcp = false;
    }
    if (rc == 0 && socket_phase(s) != PHASE_CONNECTED)
        record(s, o);
    else
        free(o);
    pthread_mutex_unlock(&s->lock);
    socket_leave(s, 0);
    return rc;
}

int weir_get_option(weir_socket *s, int level, int name, void *value, socklen_t *length)
{
    if (!s || !value || !length)
        return -EINVAL;
    int rc = socket_enter(s, 0);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    int fd = socket_closed(s) ? WEIR_ECLOSED : s->fd;
    bool probe = fd == -1;
    if (probe)
        fd = probe_descriptor(s, level);
    rc = fd < 0 ? fd : sys_getsockopt(fd, level, name, value, length);
    if (rc == 0 && level == SOL_SOCKET && name == SO_ERROR)
        socket_note_error(s, value, *length);
    if (probe)
        sys_close(fd);
    pthread_mutex_unlock(&s->lock);
    socket_leave(s, 0);
    return rc;
}

int weir_set_blocking(weir_socket *s, bool blocking)
{
    if (!s)
        return -EINVAL;
    if (socket_closed(s))
        return WEIR_ECLOSED;
    atomic_store_explicit(&s->nonblocking, !blocking, memory_order_relaxed);
    return 0;
}

int weir_get_blocking(const weir_socket *s)
{
    return s ? !atomic_load_explicit(&s->nonblocking, memory_order_relaxed) : -EINVAL;
}

int weir_set_timeout(weir_socket *s, int64_t timeout_ms)
{
    if (!s)
        return -EINVAL;
    if (socket_closed(s))
        return WEIR_ECLOSED;
    atomic_store_explicit(&s->timeout_ms, timeout_ms < 0 ? -1 : timeout_ms, memory_order_relaxed);
    return 0;
}
