#include "support/rig_private.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define CONVERSATION (STREAM | CONNECTION | LISTENER)

const struct transport rig_transports[] = {
    {"tcp4", AF_INET, SOCK_STREAM, CONVERSATION | INTERNET | TCP | RAW | PLAIN, .scheme = "tcp://"},
    {"tcp6", AF_INET6, SOCK_STREAM, CONVERSATION | INTERNET | TCP | RAW | PLAIN,
     .scheme = "tcp://"},
    {"unix", AF_UNIX, SOCK_STREAM, CONVERSATION | LOCAL | RAW | PLAIN, .scheme = ""},
    {"abstract", AF_UNIX, SOCK_STREAM, CONVERSATION | LOCAL | RAW | PLAIN, .abstract = true,
     .scheme = ""},
    {"seqpacket", AF_UNIX, SOCK_SEQPACKET, MESSAGES | CONNECTION | LISTENER | LOCAL | RAW | PLAIN,
     .scheme = ""},
    {"pair", AF_UNIX, SOCK_STREAM, STREAM | CONNECTION | LOCAL | RAW | OWN | PLAIN, .scheme = ""},
    {"udp4", AF_INET, SOCK_DGRAM, MESSAGES | DATAGRAMS | INTERNET | RAW | PLAIN,
     .scheme = "udp://"},
    {"udp6", AF_INET6, SOCK_DGRAM, MESSAGES | DATAGRAMS | INTERNET | RAW | PLAIN,
     .scheme = "udp://"},
    {"unixdgram", AF_UNIX, SOCK_DGRAM, MESSAGES | DATAGRAMS | LOCAL | RAW | PLAIN, .scheme = ""},
    {"tls12", AF_INET, SOCK_STREAM, CONVERSATION | INTERNET | TCP | HANDSHAKE, .scheme = "tls://",
     .end_of_abort = WEIR_ETRUNCATED, .tls_version = WEIR_TLS_1_2},
    {"tls13", AF_INET, SOCK_STREAM, CONVERSATION | INTERNET | TCP | HANDSHAKE, .scheme = "tls://",
     .end_of_abort = WEIR_ETRUNCATED, .tls_version = WEIR_TLS_1_3},
    {NULL, 0, 0, 0, .scheme = NULL},
};

/* ---- what is closed at the end -------------------------------------------------------------- */

weir_socket *rig_keep(struct rig *rig, weir_socket *s)
{
    int i = 0;
    pthread_mutex_lock(&rig->estate->lock);
    while (i < ESTATE_MAX && rig->estate->sockets[i])
        i++;
    CHECK(i < ESTATE_MAX);
    rig->estate->sockets[i] = s;
    pthread_mutex_unlock(&rig->estate->lock);
    return s;
}

void rig_forget(struct rig *rig, weir_socket *s)
{
    int i = 0;
    pthread_mutex_lock(&rig->estate->lock);
    while (i < ESTATE_MAX && rig->estate->sockets[i] != s)
        i++;
    CHECK(i < ESTATE_MAX);
    rig->estate->sockets[i] = NULL;
    pthread_mutex_unlock(&rig->estate->lock);
}

void rig_close(struct rig *rig, weir_socket *s)
{
    rig_forget(rig, s);
    EXPECT(weir_close(s), 0);
}

int rig_keep_fd(struct rig *rig, int fd)
{
    int i = 0;
    CHECK(fd >= 0);
    pthread_mutex_lock(&rig->estate->lock);
    while (i < ESTATE_MAX && rig->estate->fds[i] >= 0)
        i++;
    CHECK(i < ESTATE_MAX);
    rig->estate->fds[i] = fd;
    pthread_mutex_unlock(&rig->estate->lock);
    return fd;
}

static void forget_fd(struct rig *rig, int fd)
{
    int i = 0;
    pthread_mutex_lock(&rig->estate->lock);
    while (i < ESTATE_MAX && rig->estate->fds[i] != fd)
        i++;
    CHECK(i < ESTATE_MAX);
    rig->estate->fds[i] = -1;
    pthread_mutex_unlock(&rig->estate->lock);
}

void rig_close_fd(struct rig *rig, int fd)
{
    forget_fd(rig, fd);
    close(fd);
}

/* ---- weir's sockets ------------------------------------------------------------------------- */

void rig_set_mode(struct rig *rig, weir_socket *s)
{
    if (rig->mode->kind == MODE_TIMEOUT)
        EXPECT(weir_set_timeout(s, RIG_LONG_MS), 0);
    if (rig->mode->kind == MODE_NONBLOCKING)
        EXPECT(weir_set_blocking(s, false), 0);
}

static weir_socket *open_bare(struct rig *rig, int family)
{
    weir_socket *s = NULL;
    EXPECT(weir_socket_open(&s, family, rig->transport->type, 0), 0);
    rig_set_mode(rig, s);
    return rig_keep(rig, s);
}

weir_socket *rig_open_bare(struct rig *rig)
{
    return open_bare(rig, rig->transport->family);
}

/* Whether it becomes a client or a listener is seen later. */
weir_socket *rig_open_family(struct rig *rig, int family)
{
    weir_socket *s = open_bare(rig, family);
    if (rig->tls)
        EXPECT(weir_set_tls(s, rig->tls, rig->tls_name), 0);
    return s;
}

weir_socket *rig_open(struct rig *rig)
{
    return rig_open_family(rig, rig->transport->family);
}

weir_address rig_place(struct rig *rig)
{
    const struct transport *t = rig->transport;
    weir_address a;
    char text[128];
    unsigned number = atomic_fetch_add(&rig->names, 1);
    if (t->family != AF_UNIX) {
        EXPECT(weir_address_from_host(t->family == AF_INET ? "127.0.0.1" : "::1", 0, &a), 0);
        return a;
    }
    if (t->abstract)
        snprintf(text, sizeof text, "unix:@weir-%d-%u", getpid(), number);
    else
        snprintf(text, sizeof text, "unix:%s/%u.sock", rig->dir, number);
    EXPECT(weir_address_parse(text, &a), 0);
    return a;
}

weir_address rig_where(weir_socket *s)
{
    weir_address a;
    EXPECT(weir_local_address(s, &a), 0);
    return a;
}

static weir_socket *bind_somewhere(struct rig *rig, weir_socket *s)
{
    weir_address a = rig_place(rig);
    EXPECT(weir_bind_address(s, &a), 0);
    return s;
}

weir_socket *rig_bound(struct rig *rig)
{
    return bind_somewhere(rig, rig_open(rig));
}

weir_socket *rig_bare_listener(struct rig *rig)
{
    weir_socket *s = bind_somewhere(rig, rig_open_bare(rig));
    EXPECT(weir_listen(s, 0), 0);
    return s;
}

/* TLS is set before it listens, or afterwards. */
weir_socket *rig_listener(struct rig *rig)
{
    weir_socket *s;
    if (rig->tls && rig_random(rig) % 2) {
        s = rig_bare_listener(rig);
        EXPECT(weir_set_tls(s, rig->tls, NULL), 0);
        return s;
    }
    s = rig_bound(rig);
    EXPECT(weir_listen(s, 0), 0);
    return s;
}

/* So that a peer that does not read is felt on every machine, however its system is tuned. The
 * receive buffer is the system's to size: one of a fixed size that is full of small segments has
 * TCP drop what comes, acknowledgements too, and two full ends who write to each other never hear
 * that there is room again (Linux 6.18). */
static void limit_send_buffer(weir_socket *s)
{
    static const int size = 1 << 17;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
}

static void connected_pair(struct rig *rig, weir_socket **a, weir_socket **b)
{
    weir_socket *listener = rig_listener(rig);
    weir_address where = rig_where(listener);
    *a = rig_open(rig);
    rig_meet(rig, *a, &where, listener, b);
    rig_close(rig, listener);
}

/* Connected first, TLS afterwards. */
static void secured_pair(struct rig *rig, weir_socket **a, weir_socket **b)
{
    weir_socket *listener = rig_bare_listener(rig);
    weir_address where = rig_where(listener);
    *a = rig_open_bare(rig);
    EXPECT(rig_connect_address(rig, *a, &where), 0);
    EXPECT(rig_accept(rig, listener, b), 0);
    rig_close(rig, listener);
    EXPECT(weir_set_tls(*a, rig->tls, rig->tls_name), 0);
    EXPECT(weir_set_tls(*b, rig->tls, NULL), 0);
    struct rig_thread *t = rig_go(rig, rig_take_greeting, *a);
    rig_welcome(rig, *b);
    rig_join(t);
}

static void datagram_pair(struct rig *rig, weir_socket **a, weir_socket **b)
{
    *a = rig_bound(rig);
    *b = rig_bound(rig);
    weir_address to_a = rig_where(*a), to_b = rig_where(*b);
    EXPECT(weir_connect_address(*a, &to_b), 0);
    EXPECT(weir_connect_address(*b, &to_a), 0);
}

/* A small message that waits for an acknowledgement, which waits too, takes more than a moment. */
static void send_at_once(weir_socket *s)
{
    static const int on = 1;
    EXPECT(weir_set_option(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

void rig_pair(struct rig *rig, weir_socket **a, weir_socket **b)
{
    bool swapped = rig_random(rig) % 2;
    weir_socket *ends[2];
    if (rig->tls && rig_random(rig) % 4 == 0) {
        secured_pair(rig, &ends[0], &ends[1]);
    } else if (rig->transport->has & LISTENER) {
        connected_pair(rig, &ends[0], &ends[1]);
    } else if (rig->transport->has & DATAGRAMS) {
        datagram_pair(rig, &ends[0], &ends[1]);
    } else {
        EXPECT(weir_pair(ends, rig->transport->type), 0);
        for (int i = 0; i < 2; i++)
            rig_set_mode(rig, rig_keep(rig, ends[i]));
    }
    for (int i = 0; i < 2; i++) {
        if (rig->transport->has & STREAM)
            limit_send_buffer(ends[i]);
        if (rig->transport->has & TCP)
            send_at_once(ends[i]);
    }
    *a = ends[swapped];
    *b = ends[!swapped];
}

void rig_reset(struct rig *rig, weir_socket *a, weir_socket *b)
{
    /* TCP resets when told so; Unix sockets when something is left unread. */
    struct linger at_once = {.l_onoff = 1};
    if (rig->transport->has & TCP)
        EXPECT(weir_set_option(b, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    else
        EXPECT(rig_send(rig, a, "unread", 6), 6);
    EXPECT(weir_abort(b), 0);
    rig_close(rig, b);
}

/* ---- plain descriptors ---------------------------------------------------------------------- */

static int raw_socket(struct rig *rig)
{
    const struct transport *t = rig->transport;
    return rig_keep_fd(rig, socket(t->family, t->type | SOCK_CLOEXEC, 0));
}

static int raw_bound(struct rig *rig, weir_address *where)
{
    weir_address place = rig_place(rig);
    struct sockaddr_storage name;
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&place, &length);
    int fd = raw_socket(rig);
    CHECK(!bind(fd, sa, length));
    length = sizeof name;
    CHECK(!getsockname(fd, (struct sockaddr *)&name, &length));
    EXPECT(weir_address_from_sockaddr(where, (const struct sockaddr *)&name, length), 0);
    return fd;
}

/* connect(2) until it is done, also when signals come in. */
static bool raw_connect(int fd, const weir_address *where)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(where, &length);
    int error = 0;
    if (!connect(fd, sa, length))
        return true;
    if (errno != EINTR)
        return false;
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    while (poll(&writable, 1, -1) < 0 && errno == EINTR)
        ;
    length = sizeof error;
    return !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) && !error;
}

static int raw_accept(struct rig *rig, int listener)
{
    int fd;
    do
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return rig_keep_fd(rig, fd);
}

int rig_raw_listener(struct rig *rig, int backlog, weir_address *where)
{
    int fd = raw_bound(rig, where);
    CHECK(!listen(fd, backlog));
    return fd;
}

static void raw_connects(struct rig *rig, weir_socket **s, int *fd)
{
    weir_socket *listener = rig_listener(rig);
    weir_address where = rig_where(listener);
    *fd = raw_socket(rig);
    CHECK(raw_connect(*fd, &where));
    EXPECT(rig_accept(rig, listener, s), 0);
    rig_close(rig, listener);
}

static void raw_accepts(struct rig *rig, weir_socket **s, int *fd)
{
    weir_address where;
    int listener = rig_raw_listener(rig, 8, &where);
    *s = rig_open(rig);
    EXPECT(rig_connect_address(rig, *s, &where), 0);
    *fd = raw_accept(rig, listener);
    rig_close_fd(rig, listener);
}

static void raw_datagrams(struct rig *rig, weir_socket **s, int *fd)
{
    weir_address to_fd;
    *fd = raw_bound(rig, &to_fd);
    *s = rig_bound(rig);
    weir_address to_s = rig_where(*s);
    EXPECT(weir_connect_address(*s, &to_fd), 0);
    CHECK(raw_connect(*fd, &to_s));
}

static void raw_adopted(struct rig *rig, weir_socket **s, int *fd)
{
    int fds[2];
    CHECK(!socketpair(rig->transport->family, rig->transport->type | SOCK_CLOEXEC, 0, fds));
    EXPECT(weir_from_fd(s, fds[0]), 0);
    rig_set_mode(rig, rig_keep(rig, *s));
    *fd = rig_keep_fd(rig, fds[1]);
}

void rig_raw_pair(struct rig *rig, weir_socket **s, int *fd)
{
    CHECK(rig->scenario->needs & RAW);
    if (rig->transport->has & DATAGRAMS)
        raw_datagrams(rig, s, fd);
    else if (!(rig->transport->has & LISTENER))
        raw_adopted(rig, s, fd);
    else if (rig_random(rig) % 2)
        raw_connects(rig, s, fd);
    else
        raw_accepts(rig, s, fd);
}

weir_address rig_nobody(struct rig *rig)
{
    weir_address where;
    raw_bound(rig, &where); /* bound, so that nobody else gets the port, but not listening */
    return where;
}

/* Whether a connect that never waits gets no answer. */
static bool stays_unanswered(struct rig *rig, const weir_address *where)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(where, &length);
    int fd = raw_socket(rig);
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    CHECK(!fcntl(fd, F_SETFL, O_NONBLOCK));
    if (!connect(fd, sa, length))
        return false;
    return errno == EAGAIN || (errno == EINPROGRESS && !poll(&writable, 1, 0));
}

int rig_full_listener(struct rig *rig, weir_address *where)
{
    if (rig->tls && rig_random(rig) % 2)
        return rig_raw_listener(rig, 16, where);
    int fd = rig_raw_listener(rig, 0, where);
    for (int unanswered = 0; unanswered < 2;)
        unanswered = stays_unanswered(rig, where) ? unanswered + 1 : 0;
    return fd;
}

void rig_raw_reset(struct rig *rig, weir_socket *s, int fd)
{
    /* TCP resets when told so; Unix sockets when something is left unread. */
    struct linger at_once = {.l_onoff = 1};
    if (rig->transport->has & TCP)
        CHECK(!setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    else
        EXPECT(rig_send(rig, s, "unread", 6), 6);
    rig_close_fd(rig, fd);
}
