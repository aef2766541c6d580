/* The only includer of c-ares, of which it needs little: sending a question again, TCP, and
 * telling an answer from a forgery. Which server is asked when, and what an answer means, is
 * decided elsewhere, so there is a channel for each server. And one more for TCP: when a
 * connection breaks, c-ares gives up whatever else is on its way to that server.
 *
 * ares_library_init is not called: on Linux it does nothing but count, and it counts without a
 * lock. */
#include "dns.h"

#include "clock.h"
#include "conf.h"
#include "sys.h"

#include <ares.h>
#include <netinet/in.h>
#include <string.h>

/* When a set of source ports has been used enough. */
#define QUESTIONS_MAX 1000
#define AGE_MAX_NS    (60 * NS_PER_S)

#define IDS 128

struct dns_channel {
    struct dns *dns;
    ares_channel ares;
    weir_address server;
    bool stream;
    int fd; /* -1: not open */
    unsigned pending;
};

struct dns {
    int epoll_fd;
    struct dns_questions *answered;
    unsigned asked;
    uint64_t opened_ns;
    uint16_t ids[IDS]; /* random, used from the end */
    size_t ids_left;
    unsigned timeout_ms;
    size_t count;
    struct dns_channel datagrams[CONF_SERVERS_MAX];
    struct dns_channel streams[CONF_SERVERS_MAX]; /* opened when the first answer is truncated */
};

/* ---- The sockets of c-ares ------------------------------------------------------------------- */

static ares_ssize_t fail_with(ssize_t rc)
{
    errno = (int)-rc;
    return -1;
}

static ares_socket_t open_socket(int family, int type, int protocol, void *arg)
{
    struct dns_channel *c = arg;
    int fd = sys_socket(family, type | SOCK_NONBLOCK, protocol);

    if (fd < 0)
        return (ares_socket_t)fail_with(fd);
    c->fd = fd;
    return fd;
}

static int close_socket(ares_socket_t fd, void *arg)
{
    struct dns_channel *c = arg;

    c->fd = -1;
    sys_close(fd);
    return 0;
}

/* c-ares knows no scope of an address; this one is the same otherwise. */
static int connect_socket(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t to_length,
                          void *arg)
{
    const struct dns_channel *c = arg;
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&c->server, &length);
    int rc = sys_connect(fd, sa, length);

    (void)to;
    (void)to_length;
    return rc < 0 ? (int)fail_with(rc) : 0;
}

/* A datagram without bytes would make c-ares close the socket, and with it every question of the
 * server: anybody could send one. */
static ares_ssize_t receive(ares_socket_t fd, void *buf, size_t len, int flags,
                            struct sockaddr *from, ares_socklen_t *from_length, void *arg)
{
    const struct dns_channel *c = arg;
    struct iovec vector = {buf, len};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t n;

    message.msg_name = from;
    message.msg_namelen = from_length ? *from_length : 0;
    n = sys_recvmsg(fd, &message, flags | MSG_DONTWAIT);
    if (n == 0 && !c->stream)
        n = -EAGAIN;
    if (n < 0)
        return fail_with(n);
    if (from_length)
        *from_length = message.msg_namelen;
    return n;
}

/* A datagram that finds no room is as good as lost, and sent again later as those are. */
static ares_ssize_t send_vectors(ares_socket_t fd, const struct iovec *vectors, int count,
                                 void *arg)
{
    const struct dns_channel *c = arg;
    const union {
        const struct iovec *given;
        struct iovec *wanted; /* but not written to */
    } same = {vectors};
    struct msghdr message = {.msg_iov = same.wanted, .msg_iovlen = (size_t)count};
    ssize_t n;

    n = sys_sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if ((n == -EAGAIN || n == -ENOBUFS) && !c->stream)
        return (ares_ssize_t)vectors[0].iov_len;
    return n < 0 ? fail_with(n) : n;
}

static void watch_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
    const struct dns_channel *c = arg;
    struct epoll_event event = {
        .events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0),
        .data.fd = fd,
    };
    int op = event.events ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;

    if (c->dns->epoll_fd < 0)
        return;
    if (sys_epoll_ctl(c->dns->epoll_fd, op, fd, &event) == -EEXIST)
        sys_epoll_ctl(c->dns->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

static const struct ares_socket_functions sockets = {
    open_socket, close_socket, connect_socket, receive, send_vectors,
};

/* ---- Channels -------------------------------------------------------------------------------- */

/* Datagrams have two tries, of one and two thirds of the time: c-ares doubles. Everything is
 * given, so that no file is read. */
static int open_channel(struct dns_channel *c, unsigned timeout_ms)
{
    char lookups[] = "b", nowhere[] = "/dev/null";
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP |
                 (c->stream ? ARES_FLAG_USEVC : ARES_FLAG_IGNTC),
        .timeout = (int)(c->stream ? timeout_ms : timeout_ms / 3),
        .tries = c->stream ? 1 : 2,
        .ndots = 1,
        .lookups = lookups,
        .resolvconf_path = nowhere,
        .sock_state_cb = watch_socket,
        .sock_state_cb_data = c,
    };
    const int given = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
                      ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB |
                      ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST | ARES_OPT_NOROTATE;
    struct ares_addr_port_node node = {.family = c->server.family};
    const unsigned char *bytes = c->server.bytes;

    node.udp_port = node.tcp_port = weir_address_port(&c->server);
    if (node.family == AF_INET6)
        memcpy(&node.addr, bytes + offsetof(struct sockaddr_in6, sin6_addr), 16);
    else
        memcpy(&node.addr, bytes + offsetof(struct sockaddr_in, sin_addr), 4);
    if (ares_init_options(&c->ares, &options, given) != ARES_SUCCESS) {
        c->ares = NULL;
        return -ENOMEM;
    }
    ares_set_socket_functions(c->ares, &sockets, c);
    return ares_set_servers_ports(c->ares, &node) == ARES_SUCCESS ? 0 : -ENOMEM;
}

int dns_open(struct dns **ret, const weir_address *servers, size_t count, unsigned timeout_ms,
             int epoll_fd, struct dns_questions *answered)
{
    struct dns *d = sys_alloc(sizeof(*d));
    int rc = 0;

    if (!d)
        return -ENOMEM;
    d->epoll_fd = epoll_fd;
    d->answered = answered;
    d->opened_ns = sys_now();
    d->timeout_ms = timeout_ms;
    for (size_t i = 0; i < count && i < CONF_SERVERS_MAX && rc == 0; i++) {
        d->streams[i] =
            (struct dns_channel){.dns = d, .server = servers[i], .stream = true, .fd = -1};
        d->datagrams[i] = (struct dns_channel){.dns = d, .server = servers[i], .fd = -1};
        rc = open_channel(&d->datagrams[i], timeout_ms);
        d->count++;
    }
    if (rc < 0) {
        dns_close(d);
        return rc;
    }
    *ret = d;
    return 0;
}

/* Calls `fn` with each channel that is open. */
static void for_each(const struct dns *d, void (*fn)(const struct dns_channel *c, void *arg),
                     void *arg)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->datagrams[i].ares)
            fn(&d->datagrams[i], arg);
        if (d->streams[i].ares)
            fn(&d->streams[i], arg);
    }
}

static void close_channel(const struct dns_channel *c, void *arg)
{
    (void)arg;
    ares_destroy(c->ares);
}

void dns_close(struct dns *d)
{
    for_each(d, close_channel, NULL);
    free(d);
}

void dns_forget_epoll(struct dns *d)
{
    d->epoll_fd = -1;
}

/* ---- Questions ------------------------------------------------------------------------------- */

/* c-ares draws its own numbers from a weaker source. */
static uint16_t next_id(struct dns *d)
{
    if (d->ids_left == 0) {
        arc4random_buf(d->ids, sizeof(d->ids));
        d->ids_left = IDS;
    }
    return d->ids[--d->ids_left];
}

static enum reply read_reply(struct dns_question *q, int status, const unsigned char *buf, int len)
{
    if (status == ARES_SUCCESS)
        return message_read(buf, (size_t)len, q->family, sys_now(), &q->answer);
    if (status == ARES_EDESTRUCTION)
        return REPLY_DROPPED;
    return status == ARES_ENOMEM || status == ARES_EBADNAME ? REPLY_FAILED : REPLY_NONE;
}

static void answer_question(struct dns_question *q, int status, const unsigned char *buf, int len)
{
    struct dns *d = q->channel->dns;

    q->reply = read_reply(q, status, buf, len);
    q->channel = NULL;
    TAILQ_INSERT_TAIL(d->answered, q, link);
}

static void on_reply(void *arg, int status, int timeouts, unsigned char *buf, int len);

static void ask(struct dns_question *q, struct dns_channel *c)
{
    const int class_in = 1, type = q->family == AF_INET6 ? 28 : 1, recurse = 1;
    unsigned char *buf = NULL;
    int len, status;

    q->channel = c;
    status = ares_create_query(q->name, class_in, type, next_id(c->dns), recurse, &buf, &len, 0);
    if (status == ARES_SUCCESS) {
        c->pending++;
        ares_send(c->ares, buf, len, on_reply, q);
    } else {
        answer_question(q, status, NULL, 0);
    }
    if (buf)
        ares_free_string(buf);
}

/* Asks again over TCP. Returns false if that is not possible. */
static bool ask_stream(struct dns_question *q)
{
    struct dns *d = q->channel->dns;
    struct dns_channel *c = &d->streams[q->channel - d->datagrams];

    if (!c->ares && open_channel(c, d->timeout_ms) < 0)
        return false;
    ask(q, c);
    return true;
}

static bool is_truncated(const unsigned char *buf, int len)
{
    return len > 2 && buf[2] & 0x02;
}

static void on_reply(void *arg, int status, int timeouts, unsigned char *buf, int len)
{
    struct dns_question *q = arg;

    (void)timeouts;
    q->channel->pending--;
    if (status == ARES_SUCCESS && is_truncated(buf, len) && !q->channel->stream && ask_stream(q))
        return;
    answer_question(q, status, buf, len);
}

void dns_ask(struct dns *d, size_t server, struct dns_question *q)
{
    q->answer = NULL;
    d->asked++;
    ask(q, &d->datagrams[server]);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void process(const struct dns_channel *c, void *arg)
{
    const struct epoll_event *event = arg;
    const uint32_t broken = EPOLLERR | EPOLLHUP;

    if (c->fd == event->data.fd)
        ares_process_fd(c->ares, event->events & (EPOLLIN | broken) ? c->fd : ARES_SOCKET_BAD,
                        event->events & (EPOLLOUT | broken) ? c->fd : ARES_SOCKET_BAD);
}

void dns_ready(struct dns *d, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    for_each(d, process, &event);
}

static void expire(const struct dns_channel *c, void *arg)
{
    (void)arg;
    if (c->pending > 0)
        ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

void dns_expire(struct dns *d)
{
    for_each(d, expire, NULL);
}

/* c-ares rounds down: a millisecond more, or the thread would spin for the last one. */
static void find_timeout(const struct dns_channel *c, void *arg)
{
    int *least_ms = arg, ms;
    struct timeval left;

    if (c->pending == 0 || !ares_timeout(c->ares, NULL, &left))
        return;
    ms = (int)(left.tv_sec * 1000 + left.tv_usec / 1000 + 1);
    *least_ms = *least_ms < 0 || ms < *least_ms ? ms : *least_ms;
}

int dns_timeout_ms(const struct dns *d)
{
    int least_ms = -1;

    for_each(d, find_timeout, &least_ms);
    return least_ms;
}

static void add_pending(const struct dns_channel *c, void *arg)
{
    *(unsigned *)arg += c->pending;
}

bool dns_idle(const struct dns *d)
{
    unsigned pending = 0;

    for_each(d, add_pending, &pending);
    return pending == 0;
}

bool dns_worn(const struct dns *d, uint64_t now_ns)
{
    return d->asked >= QUESTIONS_MAX || now_ns - d->opened_ns >= AGE_MAX_NS;
}
