/* TLS as a layer of a socket: each operation takes the lock, lets connection.c try, and tells those
 * who wait if things stand otherwise than before. */
#include "connection.h"

#include "../context.h"
#include "../socket.h"
#include "../story.h"
#include "../sys.h"
#include "../target.h"
#include "../task/task.h"
#include "../wait.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>

bool tls_inherited(const struct tls *t)
{
    return t->fork_count != context_fork_count();
}

static bool same(const struct outlook *a, const struct outlook *b)
{
    return a->over == b->over && a->shaking == b->shaking && a->input == b->input &&
           a->output == b->output && a->reads == b->reads && a->writes == b->writes;
}

char *tls_take_story(struct tls *t)
{
    pthread_mutex_lock(&t->lock);
    char *story = t->story;
    t->story = NULL;
    pthread_mutex_unlock(&t->lock);
    return story;
}

/* (socket's lock) */
static void tell(weir_socket *s, bool over)
{
    if (over)
        story_give(s, tls_take_story(s->tls));
    socket_wake(s, WAKE_CHANGED);
}

/* Begins an attempt: 0 with the lock held, or -EPERM. */
static int enter(struct tls *t, struct outlook *ret_before)
{
    if (tls_inherited(t))
        return -EPERM;
    pthread_mutex_lock(&t->lock);
    *ret_before = connection_outlook(t);
    return 0;
}

/* Ends it. The caller does not hold the socket's lock. */
static void leave(weir_socket *s, struct tls *t, const struct outlook *before)
{
    struct outlook after = connection_outlook(t);

    pthread_mutex_unlock(&t->lock);
    if (same(before, &after))
        return;
    pthread_mutex_lock(&s->lock);
    tell(s, after.over && !before->over);
    pthread_mutex_unlock(&s->lock);
}

/* ---- attempts -------------------------------------------------------------------------------- */

/* What OpenSSL is asked for. It needs several pages of stack. */
struct attempt {
    ssize_t (*step)(const struct attempt *a);
    struct tls *tls;
    union {
        void *in;
        const void *out;
        const struct iovec *iov;
    };
    size_t len; /* bytes, or vectors */
    bool peek;
    int how; /* to shut down */
    ssize_t result;
};

static void take_step(void *arg)
{
    struct attempt *a = arg;

    a->result = a->step(a);
}

/* (lock of tls) */
static ssize_t step(struct attempt *a)
{
    task_call_deep(take_step, a);
    return a->result;
}

static ssize_t attempt(weir_socket *s, struct attempt *a)
{
    struct outlook before;
    int rc = enter(s->tls, &before);

    if (rc < 0)
        return rc;
    a->tls = s->tls;
    ssize_t n = step(a);
    leave(s, s->tls, &before);
    return n;
}

/* ---- the table ------------------------------------------------------------------------------- */

static ssize_t receive(const struct attempt *a)
{
    return connection_receive(a->tls, a->in, a->len, a->peek);
}

static ssize_t tls_recv(weir_socket *s, void *buf, size_t len)
{
    return attempt(s, &(struct attempt){.step = receive, .in = buf, .len = len});
}

static ssize_t send_bytes(const struct attempt *a)
{
    return connection_send(a->tls, a->out, a->len);
}

static ssize_t tls_send(weir_socket *s, const void *buf, size_t len)
{
    return attempt(s, &(struct attempt){.step = send_bytes, .out = buf, .len = len});
}

/* Into the first vector that has room; a part is allowed. */
static ssize_t tls_recvmsg(weir_socket *s, struct msghdr *message, int flags)
{
    const struct iovec *iov = message->msg_iov;

    if (flags & ~(MSG_PEEK | MSG_NOSIGNAL) || message->msg_control)
        return -EOPNOTSUPP;
    if (message->msg_iovlen > IOV_MAX)
        return -EMSGSIZE;
    while (iov->iov_len == 0)
        iov++;
    message->msg_namelen = 0;
    message->msg_flags = 0;
    return attempt(s, &(struct attempt){.step = receive,
                                        .in = iov->iov_base,
                                        .len = iov->iov_len,
                                        .peek = (flags & MSG_PEEK) != 0});
}

/* Short vectors share a record; a part is allowed. */
static ssize_t send_record(const struct attempt *a)
{
    char record[TLS_RECORD];
    size_t len = 0;

    for (size_t i = 0; i < a->len && len < sizeof record; i++) {
        const struct iovec *iov = &a->iov[i];
        size_t part = iov->iov_len < sizeof record - len ? iov->iov_len : sizeof record - len;
        if (part)
            memcpy(record + len, iov->iov_base, part);
        len += part;
    }
    ssize_t n = connection_send(a->tls, record, len);
    OPENSSL_cleanse(record, len);
    return n;
}

static ssize_t tls_sendmsg(weir_socket *s, const struct msghdr *message, int flags)
{
    const struct iovec *iov = message->msg_iov, *end = iov + message->msg_iovlen;

    if (flags & ~(MSG_NOSIGNAL | MSG_MORE) || message->msg_control || message->msg_name)
        return -EOPNOTSUPP;
    if (message->msg_iovlen > IOV_MAX)
        return -EMSGSIZE;
    while (iov->iov_len == 0)
        iov++;
    if (iov->iov_len >= TLS_RECORD || iov + 1 == end)
        return tls_send(s, iov->iov_base, iov->iov_len);
    return attempt(s,
                   &(struct attempt){.step = send_record, .iov = iov, .len = (size_t)(end - iov)});
}

static ssize_t end_direction(const struct attempt *a)
{
    if (a->how != SHUT_WR)
        a->tls->deaf = true;
    int rc = a->how == SHUT_RD ? 0 : connection_say_end(a->tls);
    if (rc < 0)
        return rc;
    rc = sys_shutdown(atomic_load_explicit(&a->tls->socket->fd, memory_order_relaxed), a->how);
    return rc == -ENOTCONN ? 0 : rc;
}

static int tls_shutdown(weir_socket *s, int how)
{
    return (int)attempt(s, &(struct attempt){.step = end_direction, .how = how});
}

/* While the handshake goes on nothing else can: whatever happens, it is for the handshake. Later an
 * outbox that is not empty waits beside what the caller waits for. */
static void tls_interest(weir_socket *s, unsigned events, struct interest *ret)
{
    struct outlook o;
    short wanted = 0;

    ret->fds[0] = (struct pollfd){.fd = atomic_load_explicit(&s->fd, memory_order_relaxed)};
    ret->count = 1;
    if (enter(s->tls, &o) < 0) {
        ret->ready = events;
        return;
    }
    pthread_mutex_unlock(&s->tls->lock);
    /* With something in the outbox an error is input, for who receives; the outbox waits on. */
    if (o.over && !o.output)
        ret->ready = events;
    else if (o.input)
        ret->ready = events & WEIR_READABLE;
    if (o.reads && (o.shaking || events & WEIR_READABLE))
        wanted |= POLLIN;
    if (o.output || o.writes || (!o.shaking && events & WEIR_WRITABLE))
        wanted |= POLLOUT;
    if (o.shaking)
        ret->drives = POLLIN | POLLOUT | POLLERR | POLLHUP;
    else if (o.output)
        ret->drives = POLLOUT | POLLERR | POLLHUP;
    ret->fds[0].events = wanted;
}

/* Looks at how things stand afterwards by itself, the socket's lock being held. */
static int drive(weir_socket *s, ssize_t (*how)(const struct attempt *a))
{
    struct tls *t = s->tls;
    struct outlook before, after;
    int rc = enter(t, &before);

    if (rc < 0)
        return rc;
    rc = (int)step(&(struct attempt){.step = how, .tls = t});
    after = connection_outlook(t);
    pthread_mutex_unlock(&t->lock);
    if (!same(&before, &after) && !s->connect)
        tell(s, after.over && !before.over);
    return rc;
}

static ssize_t go_on(const struct attempt *a)
{
    return connection_go_on(a->tls);
}

static int tls_drive(weir_socket *s)
{
    return drive(s, go_on);
}

const struct layer_ops layer_tls = {
    .recv = tls_recv,
    .send = tls_send,
    .recvmsg = tls_recvmsg,
    .sendmsg = tls_sendmsg,
    .shutdown = tls_shutdown,
    .interest = tls_interest,
    .drive = tls_drive,
};

/* ---- for the other files --------------------------------------------------------------------- */

static ssize_t shake(const struct attempt *a)
{
    (void)connection_flush(a->tls);
    return connection_handshake(a->tls);
}

int tls_handshake(weir_socket *s)
{
    return drive(s, shake);
}

/* A numeric address, or a name as certificates have them. */
static int check_name(const char *name)
{
    weir_address a;

    return target_numeric(name, 0, &a) == 0 ? 0 : target_check_name(name);
}

static int set_name(struct tls *t, const char *name)
{
    char *copy = NULL;

    story_append(&copy, "%s", name);
    if (!copy)
        return -ENOMEM;
    free(t->name);
    t->name = copy;
    return 0;
}

int tls_new(struct tls **ret, weir_socket *s, weir_tls_config *c, const char *name, bool server)
{
    int rc = name ? check_name(name) : 0;

    if (rc == 0)
        rc = config_use(c, server);
    if (rc < 0)
        return rc;
    struct tls *t = connection_new(s, c);
    rc = t && name ? set_name(t, name) : 0;
    if (!t || rc < 0) {
        tls_free(t);
        return -ENOMEM;
    }
    t->server = server;
    t->name_given = name != NULL;
    *ret = t;
    return 0;
}

int tls_check_server(weir_tls_config *c)
{
    return c ? config_use(c, true)
             : story_tell(-EINVAL, "a server needs a configuration with a certificate");
}

int tls_listen(weir_socket *s)
{
    int rc = config_use(s->tls->config, true);

    if (rc == 0) {
        s->tls->server = true;
        s->layer = &layer_plain;
    }
    return rc;
}

int tls_accepted(weir_socket *s, const weir_socket *listener)
{
    struct tls *from = listener->tls, *t;
    /* There nothing is ever released, and the lock may have been copied while it was held. */
    bool locks = !tls_inherited(from);

    if (locks)
        pthread_mutex_lock(&from->lock);
    bool closed = !from->config;
    t = closed ? NULL : connection_new(s, from->config);
    if (locks)
        pthread_mutex_unlock(&from->lock);
    if (!t)
        return closed ? WEIR_ECLOSED : -ENOMEM;
    t->server = true;
    s->tls = t;
    s->layer = &layer_tls;
    return 0;
}

int tls_aim(weir_socket *s, const char *host, const weir_address *to)
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    socklen_t length;
    struct tls *t = s->tls;

    t->server = false; /* also if it has tried to listen before */
    if (t->name_given || t->config->insecure)
        return host && !t->name_given ? set_name(t, host) : 0;
    if (host)
        return set_name(t, host);
    const struct sockaddr *sa = weir_address_sockaddr(to, &length);
    const void *bytes =
        sa->sa_family == AF_INET
            ? (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr
            : &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    if (sa->sa_family == AF_UNIX)
        return story_tell(-EINVAL, "a Unix address is no name: weir_set_tls needs one to check the "
                                   "certificate for");
    return set_name(t, inet_ntop(sa->sa_family, bytes, text, sizeof text));
}

void tls_reset(struct tls *t)
{
    pthread_mutex_lock(&t->lock);
    connection_reset(t);
    pthread_mutex_unlock(&t->lock);
}

void tls_silence(struct tls *t)
{
    atomic_store_explicit(&t->silent, true, memory_order_relaxed);
}

/* A close that finds bytes unread is a reset, which can cost the peer what it has not read yet. The
 * tickets of a server are such bytes, and nobody else's business. */
static void take_tickets(struct tls *t)
{
    char byte;

    if (t->done && !t->server)
        (void)connection_receive(t, &byte, 1, true);
}

void tls_goodbye(weir_socket *s)
{
    struct tls *t = s->tls;

    if (atomic_load_explicit(&t->silent, memory_order_relaxed) || tls_inherited(t))
        return;
    pthread_mutex_lock(&t->lock);
    (void)connection_say_end(t);
    take_tickets(t);
    pthread_mutex_unlock(&t->lock);
}

void tls_release(struct tls *t)
{
    tls_silence(t);
    if (tls_inherited(t))
        return;
    pthread_mutex_lock(&t->lock);
    connection_end(t);
    pthread_mutex_unlock(&t->lock);
}

/* In a child of the process the lock may have been copied while a thread of the parent held it;
 * what it guards is then left as it is. */
void tls_free(struct tls *t)
{
    if (!t || (tls_inherited(t) && pthread_mutex_trylock(&t->lock) != 0))
        return;
    if (tls_inherited(t))
        pthread_mutex_unlock(&t->lock);
    connection_free(t);
}
