#include "socket.h"

#include "connect.h"
#include "context.h"
#include "resolve/resolve.h"
#include "sys.h"
#include "tls/tls.h"

#include <netinet/in.h>
#include <string.h>

static const struct layer_ops *layer_for(mode_t mode)
{
    if (S_ISSOCK(mode))
        return &layer_plain;
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISBLK(mode) ? &layer_file : &layer_descriptor;
}

int socket_new(weir_socket **ret, int family, int type, int protocol)
{
    weir_socket *s = sys_alloc(sizeof *s);
    bool stream = type == SOCK_STREAM || type == SOCK_SEQPACKET;

    if (!s)
        return -ENOMEM;
    atomic_init(&s->state, STATE_OWNER | STATE_REFERENCE | STATE_UNREADY);
    atomic_init(&s->fd, -1);
    atomic_init(&s->timeout_ms, -1);
    atomic_init(&s->phase, PHASE_NEW);
    s->layer = &layer_plain;
    atomic_init(&s->family, (sa_family_t)family);
    s->type = type;
    s->protocol = protocol;
    s->receiving = stream ? STATE_RECEIVING : 0;
    s->sending = stream ? STATE_SENDING : 0;
    s->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    *ret = s;
    return 0;
}

static bool is_tcp(const weir_socket *s, int family)
{
    return s->layer == &layer_plain && s->type == SOCK_STREAM && !s->low_mark &&
           (family == AF_INET || family == AF_INET6) &&
           (s->protocol == 0 || s->protocol == IPPROTO_TCP);
}

void socket_connected(weir_socket *s, int fd)
{
    atomic_init(&s->tcp, is_tcp(s, s->family));
    atomic_init(&s->fd, fd);
    atomic_init(&s->phase, PHASE_CONNECTED);
    atomic_init(&s->state, STATE_OWNER | STATE_REFERENCE | (s->tls ? STATE_UNREADY : 0));
}

void socket_attach(weir_socket *s, int fd, int family, enum phase phase)
{
    atomic_store_explicit(&s->family, (sa_family_t)family, memory_order_relaxed);
    atomic_store_explicit(&s->fd, fd, memory_order_relaxed);
    atomic_store_explicit(&s->phase, (uint8_t)phase, memory_order_release);
    s->tcp = is_tcp(s, family);
    if (phase == PHASE_CONNECTED && !s->tls)
        atomic_fetch_and_explicit(&s->state, ~STATE_UNREADY, memory_order_release);
}

bool socket_try_ref(weir_socket *s)
{
    uint64_t old = atomic_load_explicit(&s->state, memory_order_relaxed);

    do {
        if ((old & STATE_REFERENCES) == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&s->state, &old, old + STATE_REFERENCE,
                                                    memory_order_acquire, memory_order_relaxed));
    return true;
}

/* What a socket lets go of when it is closed, not only when the last reference is gone: the connect
 * holds a reference through its look-up. (lock) */
static void stop_background(weir_socket *s, int rc)
{
    if (s->connect)
        connect_abandon(s, rc);
    resolve_end(s->lookup);
    s->lookup = NULL;
}

/* False if the lock was held at the fork: then there is nothing behind it for the child. */
static bool lock_unless_stale(weir_socket *s)
{
    if (socket_inherited(s))
        return pthread_mutex_trylock(&s->lock) == 0;
    pthread_mutex_lock(&s->lock);
    return true;
}

/* Nobody else can reach it, but for a poller that watches it. */
static void socket_destroy(weir_socket *s)
{
    if ((s->waiters || s->connect || s->lookup) && lock_unless_stale(s)) {
        stop_background(s, WEIR_ECLOSED);
        socket_wake(s, WAKE_GONE);
        pthread_mutex_unlock(&s->lock);
    }
    if (s->tls)
        tls_goodbye(s);
    tls_free(s->tls);
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);
    /* A forked child may keep the file open, and what is registered for it. */
    if (loop_here && fd >= 0 && context_has_forked())
        loop_forget(loop_here, fd, &s->home);
    else if (loop_here && fd >= 0)
        loop_closing(loop_here, fd, &s->home);
    sys_close(fd);
    pthread_mutex_destroy(&s->lock);
    settings_free(s->settings);
    free(s->local);
    free(s->story);
    free(s);
}

void socket_unref(weir_socket *s)
{
    uint64_t old = atomic_fetch_sub_explicit(&s->state, STATE_REFERENCE, memory_order_acq_rel);

    if ((old & STATE_REFERENCES) == 1)
        socket_destroy(s);
}

void socket_leave_home(weir_socket *s)
{
    if (loop_here)
        loop_forget(loop_here, atomic_load_explicit(&s->fd, memory_order_relaxed), &s->home);
    atomic_store_explicit(&s->home.key, 0, memory_order_relaxed);
}

/* Lets the kernel's socket go while others still hold the object: something harmless takes the
 * descriptor's number until the last of them is gone. A listener so stops listening, and a peer
 * hears the end, at once. Pollers have dropped the descriptor before. With no descriptor left for
 * the exchange the thread's own eventfd serves; where there is none, the socket stays open. (lock,
 * unless that is stale) */
static void release_descriptor(weir_socket *s)
{
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);
    socket_leave_home(s);
    int fresh = fd < 0 ? -1 : sys_epoll_create();
    int harmless = fresh;

    if (fd < 0)
        return;
    /* A call that has just missed the end may still try the descriptor; on a socket it uses no call
     * that an eventfd would take. */
    if (fresh < 0 && s->layer == &layer_plain)
        harmless = context_current()->wake_fd;
    if (harmless >= 0)
        (void)sys_dup_over(harmless, fd);
    sys_close(fresh);
}

static void wake_task(struct task *t)
{
    if (t)
        task_wake(t);
}

/* Ends the use of the socket by whoever still has it. With TLS a close says goodbye. */
static void shut_down(weir_socket *s, enum wake_reason why, bool closes)
{
    uint64_t old = atomic_fetch_or(&s->state, STATE_CLOSED);

    if (old & STATE_CLOSED && why == WAKE_CLOSED)
        return;
    if (!lock_unless_stale(s)) {
        release_descriptor(s);
        return;
    }
    stop_background(s, WEIR_ECLOSED);
    socket_wake(s, why);
    wake_task(atomic_load(&s->receiver));
    wake_task(atomic_load(&s->sender));
    if (s->tls && closes)
        tls_goodbye(s);
    if (s->tls)
        tls_release(s->tls);
    if (!(old & STATE_CLOSED))
        release_descriptor(s);
    pthread_mutex_unlock(&s->lock);
}

int weir_abort(weir_socket *s)
{
    if (s)
        shut_down(s, WAKE_CLOSED, false);
    return 0;
}

int weir_close(weir_socket *s)
{
    if (!s)
        return 0;
    uint64_t alone = atomic_load_explicit(&s->state, memory_order_relaxed);
    if ((alone & STATE_REFERENCES) == STATE_REFERENCE &&
        atomic_compare_exchange_strong_explicit(&s->state, &alone, STATE_CLOSED,
                                                memory_order_acq_rel, memory_order_relaxed)) {
        socket_destroy(s);
        return 0;
    }
    uint64_t old = atomic_fetch_sub_explicit(&s->state, STATE_OWNER, memory_order_acq_rel);
    shut_down(s, old / STATE_OWNER == 1 ? WAKE_GONE : WAKE_CLOSED, true);
    socket_unref(s);
    return 0;
}

int weir_drop(weir_socket *s)
{
    if (s && s->tls)
        tls_silence(s->tls);
    return weir_close(s);
}

weir_socket *weir_ref(weir_socket *s)
{
    if (s)
        atomic_fetch_add_explicit(&s->state, STATE_OWNER | STATE_REFERENCE, memory_order_relaxed);
    return s;
}

/* ---- making -------------------------------------------------------------------------------- */

static bool plain_kind(int family, int type, int protocol)
{
    if (protocol != 0)
        return false;
    return type == SOCK_STREAM || type == SOCK_DGRAM
               ? family == AF_UNSPEC || family == AF_INET || family == AF_INET6 || family == AF_UNIX
               : type == SOCK_SEQPACKET && family == AF_UNIX;
}

/* Asks the kernel, which is made only now and then: for kinds that are not known to be there. */
static int check_kind(int family, int type, int protocol)
{
    if (plain_kind(family, type, protocol))
        return 0;
    if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return -EAFNOSUPPORT;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    int fd = sys_socket(family == AF_UNSPEC ? AF_INET : family, type, protocol);
    sys_close(fd);
    return fd < 0 ? fd : 0;
}

int weir_socket_open(weir_socket **ret, int family, int type, int protocol)
{
    weir_socket *s;
    int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (!ret)
        return -EINVAL;
    int rc = check_kind(family, kind, protocol);
    if (rc == 0)
        rc = socket_new(&s, family, kind, protocol);
    if (rc < 0)
        return rc;
    atomic_init(&s->nonblocking, (type & SOCK_NONBLOCK) != 0);
    *ret = s;
    return 0;
}

int weir_pair(weir_socket *ret[2], int type)
{
    weir_socket *pair[2];
    int fds[2], kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (!ret)
        return -EINVAL;
    int rc = sys_socketpair(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
    if (rc < 0)
        return rc;
    rc = socket_new(&pair[0], AF_UNIX, kind, 0);
    if (rc == 0 && (rc = socket_new(&pair[1], AF_UNIX, kind, 0)) < 0)
        weir_close(pair[0]);
    if (rc < 0) {
        sys_close(fds[0]);
        sys_close(fds[1]);
        return rc;
    }
    for (int i = 0; i < 2; i++) {
        socket_connected(pair[i], fds[i]);
        atomic_init(&pair[i]->nonblocking, (type & SOCK_NONBLOCK) != 0);
        ret[i] = pair[i];
    }
    return 0;
}

/* ---- adopting ------------------------------------------------------------------------------ */

/* What there is to know of a descriptor. */
struct kind {
    const struct layer_ops *layer;
    int family, type, protocol, listens;
    enum phase phase;
    bool poll_first, low_mark;
};

static int int_option(int fd, int name, int *ret)
{
    socklen_t length = sizeof *ret;

    return sys_getsockopt(fd, SOL_SOCKET, name, ret, &length);
}

/* A connection that the peer has reset has no peer any more, but maybe bytes that are not read. */
static bool has_come_and_gone(int fd, const struct kind *k)
{
    static const struct timespec at_once = {0};
    struct pollfd end = {.fd = fd, .events = POLLIN | POLLRDHUP};

    return k->type == SOCK_STREAM && k->family != AF_UNIX && sys_poll(&end, 1, &at_once) > 0 &&
           end.revents & (POLLIN | POLLRDHUP);
}

/* An enum phase, or -errno. A family that weir knows nothing of is just read and written. */
static int phase_of(int fd, const struct kind *k)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    weir_address a;

    if (k->listens)
        return PHASE_LISTENING;
    if (sys_getpeername(fd, (struct sockaddr *)&address, &length) == 0)
        return PHASE_CONNECTED;
    if (has_come_and_gone(fd, k))
        return PHASE_CONNECTED;
    length = sizeof address;
    int rc = sys_getsockname(fd, (struct sockaddr *)&address, &length);
    if (rc < 0)
        return rc == -EOPNOTSUPP ? PHASE_CONNECTED : rc;
    if (weir_address_from_sockaddr(&a, (struct sockaddr *)&address, length) < 0)
        return PHASE_CONNECTED;
    if (a.family == AF_UNIX ? length > sizeof(sa_family_t) : weir_address_port(&a) != 0)
        return PHASE_BOUND;
    return PHASE_NEW;
}

static int examine(int fd, struct kind *k)
{
    struct stat st;
    int low_mark = 1, flags = sys_get_flags(fd);
    int rc = flags < 0 ? flags : sys_fstat(fd, &st);

    if (rc < 0)
        return rc;
    *k = (struct kind){.layer = layer_for(st.st_mode), .type = SOCK_STREAM};
    k->poll_first = k->layer == &layer_descriptor && !(flags & O_NONBLOCK);
    k->phase = PHASE_CONNECTED;
    if (!S_ISSOCK(st.st_mode))
        return 0;
    if ((rc = int_option(fd, SO_DOMAIN, &k->family)) == 0 &&
        (rc = int_option(fd, SO_TYPE, &k->type)) == 0 &&
        (rc = int_option(fd, SO_PROTOCOL, &k->protocol)) == 0 &&
        (rc = int_option(fd, SO_ACCEPTCONN, &k->listens)) == 0)
        rc = phase_of(fd, k);
    if (rc >= 0)
        k->phase = (enum phase)rc;
    k->low_mark = int_option(fd, SO_RCVLOWAT, &low_mark) == 0 && low_mark > 1;
    return rc < 0 ? rc : 0;
}

int weir_from_fd(weir_socket **ret, int fd)
{
    weir_socket *s;
    struct kind k;

    if (!ret)
        return -EINVAL;
    int rc = examine(fd, &k);
    if (rc == 0)
        rc = socket_new(&s, k.family, k.type, k.protocol);
    if (rc < 0)
        return rc;
    s->adopted = true;
    s->layer = k.layer;
    s->poll_first = k.poll_first;
    s->low_mark = k.low_mark;
    socket_attach(s, fd, k.family, k.phase);
    if (k.phase == PHASE_LISTENING)
        rc = socket_make_nonblocking(s);
    if (rc < 0) {
        atomic_store(&s->fd, -1);
        socket_unref(s);
        return rc;
    }
    *ret = s;
    return 0;
}

int socket_make_nonblocking(weir_socket *s)
{
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);
    int flags = sys_get_flags(fd);

    if (flags < 0 || flags & O_NONBLOCK)
        return flags < 0 ? flags : 0;
    s->adopted_blocking = true;
    return sys_set_flags(fd, flags | O_NONBLOCK);
}

#define CLAIM_NS 100000

/* Closes the socket if the caller's reference is the only one, and nothing has been put on it since
 * it was as `unready`. A look-up that has just ended and a poller that looks at the socket hold a
 * reference of their own for an instant. */
static int claim(weir_socket *s, uint64_t unready)
{
    for (unsigned tries = 0;; tries++) {
        uint64_t alone = STATE_OWNER | STATE_REFERENCE | unready;
        if (atomic_compare_exchange_strong(&s->state, &alone, alone | STATE_CLOSED))
            return 0;
        if (alone & STATE_CLOSED)
            return WEIR_ECLOSED;
        if (alone / STATE_OWNER != 1 || tries == 100)
            return -EBUSY;
        wait_moment(CLAIM_NS);
    }
}

int weir_detach(weir_socket *s)
{
    if (!s)
        return -EINVAL;
    int fd = weir_fd(s);
    if (fd < 0)
        return fd;
    uint64_t unready = atomic_load(&s->state) & STATE_UNREADY;
    if (s->layer != &layer_plain && s->layer != &layer_descriptor && s->layer != &layer_file)
        return -EOPNOTSUPP;
    int rc = claim(s, unready);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    socket_wake(s, WAKE_GONE);
    socket_leave_home(s);
    pthread_mutex_unlock(&s->lock);
    if (s->adopted_blocking)
        (void)sys_set_flags(fd, sys_get_flags(fd) & ~O_NONBLOCK);
    atomic_store(&s->fd, -1);
    socket_unref(s);
    return fd;
}

int weir_fd(const weir_socket *s)
{
    if (!s)
        return -EINVAL;
    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (socket_phase(s) == PHASE_CONNECTING)
        return -ENOTCONN;
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);
    return fd < 0 ? -ENOTCONN : fd;
}
