#include "stub_dns.h"

#include "stub_reply.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH       64
#define CONNECTIONS 64
#define BUCKETS     16384

/* How often a name was asked for. */
struct tally {
    struct tally *next;
    unsigned counts[3]; /* A, AAAA, others */
    char name[];
};

struct held {
    struct held *next;
    struct sockaddr_in from;
    struct stub_question question;
};

struct connection {
    int fd; /* -1: free */
    size_t have;
    unsigned char buf[2 + STUB_QUESTION_MAX];
};

struct stub_dns {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    int udp, other_udp, tcp, wake;
    uint16_t port;
    char servers[32];
    bool ending, deaf;
    struct stub_rule *rules[BUCKETS];
    struct tally *tallies[BUCKETS];
    unsigned total[3];
    struct held *held;
    struct connection connections[CONNECTIONS];
};

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    perror(what);
    abort();
}

static void *must_alloc(size_t size)
{
    void *p = calloc(1, size);

    must(p != NULL, "stub_dns");
    return p;
}

static unsigned hash(const char *name)
{
    unsigned h = 5381;

    while (*name)
        h = h * 33 + (unsigned char)*name++;
    return (h ^ h >> 15) % BUCKETS;
}

static void lower(char *to, const char *from, size_t size)
{
    size_t i = 0;

    for (; from[i] && i + 1 < size; i++)
        to[i] = (char)tolower((unsigned char)from[i]);
    to[i] = '\0';
}

static int type_index(int type)
{
    return type == STUB_DNS_A ? 0 : type == STUB_DNS_AAAA ? 1 : 2;
}

/* ---- Rules and counts ------------------------------------------------------------------------ */

static struct stub_rule **find_rule(struct stub_dns *d, const char *name)
{
    struct stub_rule **link = &d->rules[hash(name)];

    while (*link && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

/* The most exact one: the name, then wildcards from the longest to "*". */
static struct stub_rule *match_rule(struct stub_dns *d, const char *name)
{
    char wildcard[STUB_NAME_MAX + 2];
    struct stub_rule *rule = *find_rule(d, name);
    const char *dot = name;

    while (!rule && (dot = strchr(dot, '.'))) {
        snprintf(wildcard, sizeof(wildcard), "*%s", dot++);
        rule = *find_rule(d, wildcard);
    }
    return rule ? rule : *find_rule(d, "*");
}

void stub_dns_add(struct stub_dns *d, const char *name, const char *text)
{
    struct stub_rule *rule = must_alloc(sizeof(*rule)), **link, *old;

    lower(rule->name, name, sizeof(rule->name));
    if (!stub_rule_parse(rule, text)) {
        fprintf(stderr, "stub_dns: \"%s\" is no rule\n", text);
        abort();
    }
    pthread_mutex_lock(&d->lock);
    link = find_rule(d, rule->name);
    old = *link;
    rule->next = old ? old->next : NULL;
    *link = rule;
    pthread_mutex_unlock(&d->lock);
    stub_rule_free(old);
}

static struct tally *find_tally(struct stub_dns *d, const char *name, bool make)
{
    struct tally **link = &d->tallies[hash(name)];

    while (*link && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    if (!*link && make) {
        *link = must_alloc(sizeof(**link) + strlen(name) + 1);
        memcpy((*link)->name, name, strlen(name) + 1);
    }
    return *link;
}

static void count(struct stub_dns *d, const struct stub_question *q)
{
    int i = type_index(q->type);

    find_tally(d, q->name, true)->counts[i]++;
    d->total[i]++;
    pthread_cond_broadcast(&d->changed);
}

static unsigned counted(struct stub_dns *d, const char *name, int type)
{
    const unsigned *counts = d->total;
    char key[STUB_NAME_MAX + 1];

    if (name) {
        struct tally *t;

        lower(key, name, sizeof(key));
        t = find_tally(d, key, false);
        if (!t)
            return 0;
        counts = t->counts;
    }
    return type ? counts[type_index(type)] : counts[0] + counts[1] + counts[2];
}

unsigned stub_dns_count(struct stub_dns *d, const char *name, int type)
{
    unsigned n;

    pthread_mutex_lock(&d->lock);
    n = counted(d, name, type);
    pthread_mutex_unlock(&d->lock);
    return n;
}

void stub_dns_wait(struct stub_dns *d, const char *name, int type, unsigned least)
{
    pthread_mutex_lock(&d->lock);
    while (counted(d, name, type) < least)
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

/* ---- Answering (with the lock) --------------------------------------------------------------- */

static void hold(struct stub_dns *d, const struct stub_question *q, const struct sockaddr_in *from)
{
    struct held *h = must_alloc(sizeof(*h));

    h->from = *from;
    h->question = *q;
    h->next = d->held;
    d->held = h;
}

/* The length of the datagram, or -1 if none is to be sent by the ordinary way. */
static ssize_t answer_datagram(struct stub_dns *d, const unsigned char *buf, size_t len,
                               const struct sockaddr_in *from, unsigned char *reply)
{
    struct stub_question q;
    struct stub_rule *rule;
    enum stub_mode mode;
    size_t size;

    if (!stub_question_read(&q, buf, len))
        return -1;
    count(d, &q);
    rule = match_rule(d, q.name);
    mode = stub_rule_mode(rule, q.type);
    if (mode == STUB_HOLD && !rule->released)
        hold(d, &q, from);
    if (mode == STUB_SILENT || (mode == STUB_HOLD && !rule->released))
        return -1;
    size = stub_reply_write(&q, rule, mode, STUB_UDP_MAX, reply);
    if (mode != STUB_WRONG_SOURCE)
        return (ssize_t)size;
    sendto(d->other_udp, reply, size, 0, (const struct sockaddr *)from, sizeof(*from));
    return -1;
}

static void release_one(struct stub_dns *d, const struct held *h)
{
    unsigned char reply[STUB_UDP_MAX];
    struct stub_rule *rule = match_rule(d, h->question.name);
    size_t size = stub_reply_write(&h->question, rule, STUB_ANSWER, sizeof(reply), reply);

    sendto(d->udp, reply, size, 0, (const struct sockaddr *)&h->from, sizeof(h->from));
}

void stub_dns_release(struct stub_dns *d, const char *name)
{
    char key[STUB_NAME_MAX + 1];
    struct held **link = &d->held, *h;

    lower(key, name, sizeof(key));
    pthread_mutex_lock(&d->lock);
    if (*find_rule(d, key))
        (*find_rule(d, key))->released = true;
    while ((h = *link)) {
        struct stub_rule *rule = match_rule(d, h->question.name);

        if (!rule || !rule->released) {
            link = &h->next;
            continue;
        }
        *link = h->next;
        release_one(d, h);
        free(h);
    }
    pthread_mutex_unlock(&d->lock);
}

struct batch {
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_vectors[BATCH], out_vectors[BATCH];
    struct sockaddr_in from[BATCH];
    unsigned char questions[BATCH][STUB_QUESTION_MAX];
    unsigned char replies[BATCH][STUB_UDP_MAX];
};

static void serve_udp(struct stub_dns *d, struct batch *b)
{
    int n, m = 0;

    for (int i = 0; i < BATCH; i++) {
        b->in_vectors[i] = (struct iovec){b->questions[i], sizeof(b->questions[i])};
        b->in[i].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
                                           .msg_namelen = sizeof(b->from[i]),
                                           .msg_iov = &b->in_vectors[i],
                                           .msg_iovlen = 1};
    }
    n = recvmmsg(d->udp, b->in, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        ssize_t size =
            answer_datagram(d, b->questions[i], b->in[i].msg_len, &b->from[i], b->replies[m]);

        if (size < 0)
            continue;
        b->out_vectors[m] = (struct iovec){b->replies[m], (size_t)size};
        b->out[m].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
                                            .msg_namelen = sizeof(b->from[i]),
                                            .msg_iov = &b->out_vectors[m],
                                            .msg_iovlen = 1};
        m++;
    }
    for (int done = 0; done < m;) {
        n = sendmmsg(d->udp, &b->out[done], (unsigned)(m - done), 0);
        done += n > 0 ? n : 1; /* a client that has gone is no concern of the next one */
    }
}

static void close_connection(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->have = 0;
}

/* Returns false if the connection is to be closed. */
static bool answer_stream(struct stub_dns *d, struct connection *c, size_t len)
{
    static unsigned char reply[2 + STUB_TCP_MAX];
    struct stub_question q;
    enum stub_mode mode;
    struct stub_rule *rule;
    size_t size;

    if (!stub_question_read(&q, c->buf + 2, len))
        return false;
    count(d, &q);
    rule = match_rule(d, q.name);
    mode = stub_rule_mode(rule, q.type);
    if (mode == STUB_TC_HANG || mode == STUB_SILENT)
        return true;
    if (mode == STUB_TC_CLOSE)
        return false;
    size = stub_reply_write(&q, rule, STUB_ANSWER, STUB_TCP_MAX, reply + 2);
    reply[0] = (unsigned char)(size >> 8);
    reply[1] = (unsigned char)size;
    return send(c->fd, reply, size + 2, MSG_NOSIGNAL) == (ssize_t)size + 2;
}

/* Takes the questions that are complete from the front of the buffer. Returns false if the
 * connection is to be closed. */
static bool answer_questions(struct stub_dns *d, struct connection *c)
{
    while (c->have >= 2) {
        size_t len = (size_t)c->buf[0] << 8 | c->buf[1];

        if (len + 2 > sizeof(c->buf))
            return false;
        if (c->have < len + 2)
            return true;
        if (!answer_stream(d, c, len))
            return false;
        c->have -= len + 2;
        memmove(c->buf, c->buf + len + 2, c->have);
    }
    return true;
}

static void serve_connection(struct stub_dns *d, struct connection *c)
{
    ssize_t n = recv(c->fd, c->buf + c->have, sizeof(c->buf) - c->have, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0)
        c->have += (size_t)n;
    if (n <= 0 || !answer_questions(d, c))
        close_connection(c);
}

static void accept_connection(struct stub_dns *d)
{
    int fd = accept4(d->tcp, NULL, NULL, SOCK_CLOEXEC);

    for (int i = 0; i < CONNECTIONS && fd >= 0; i++)
        if (d->connections[i].fd < 0) {
            d->connections[i].fd = fd;
            fd = -1;
        }
    if (fd >= 0)
        close(fd);
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void close_sockets(struct stub_dns *d)
{
    for (int i = 0; i < CONNECTIONS; i++)
        close_connection(&d->connections[i]);
    if (d->udp >= 0)
        close(d->udp);
    if (d->tcp >= 0)
        close(d->tcp);
    d->udp = d->tcp = -1;
}

static void serve(struct stub_dns *d, const struct pollfd *fds, struct batch *b)
{
    if (d->deaf) {
        close_sockets(d);
        pthread_cond_broadcast(&d->changed);
        return;
    }
    if (fds[1].revents)
        serve_udp(d, b);
    for (int i = 0; i < CONNECTIONS; i++)
        if (fds[3 + i].revents)
            serve_connection(d, &d->connections[i]);
    if (fds[2].revents)
        accept_connection(d);
}

static void *stub_main(void *arg)
{
    struct stub_dns *d = arg;
    struct batch *b = must_alloc(sizeof(*b));
    struct pollfd fds[3 + CONNECTIONS];

    pthread_mutex_lock(&d->lock);
    while (!d->ending) {
        uint64_t wakes;

        fds[0] = (struct pollfd){.fd = d->wake, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = d->udp, .events = POLLIN};
        fds[2] = (struct pollfd){.fd = d->tcp, .events = POLLIN};
        for (int i = 0; i < CONNECTIONS; i++)
            fds[3 + i] = (struct pollfd){.fd = d->connections[i].fd, .events = POLLIN};
        pthread_mutex_unlock(&d->lock);
        poll(fds, 3 + CONNECTIONS, -1);
        if (fds[0].revents && read(d->wake, &wakes, sizeof(wakes)) < 0)
            perror("stub_dns");
        pthread_mutex_lock(&d->lock);
        serve(d, fds, b);
    }
    pthread_mutex_unlock(&d->lock);
    free(b);
    return NULL;
}

static void wake(struct stub_dns *d)
{
    const uint64_t one = 1;

    must(write(d->wake, &one, sizeof(one)) == sizeof(one), "stub_dns");
}

void stub_dns_deafen(struct stub_dns *d)
{
    pthread_mutex_lock(&d->lock);
    d->deaf = true;
    wake(d);
    while (d->udp >= 0)
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

/* One port for both: the kernel gives one for UDP, and TCP has to be lucky. */
static bool open_sockets(struct stub_dns *d)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(at);
    const int on = 1, room = 4 << 20;

    d->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    d->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(d->udp >= 0 && d->tcp >= 0, "socket");
    setsockopt(d->udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    setsockopt(d->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    must(bind(d->udp, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
    must(getsockname(d->udp, (struct sockaddr *)&at, &length) == 0, "getsockname");
    d->port = ntohs(at.sin_port);
    if (bind(d->tcp, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(d->tcp, 64) == 0)
        return true;
    close_sockets(d);
    return false;
}

struct stub_dns *stub_dns_open(void)
{
    struct stub_dns *d = must_alloc(sizeof(*d));

    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        d->connections[i].fd = -1;
    while (!open_sockets(d))
        continue;
    d->other_udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(d->other_udp >= 0 && d->wake >= 0, "eventfd");
    snprintf(d->servers, sizeof(d->servers), "127.0.0.1:%u", (unsigned)d->port);
    errno = pthread_create(&d->thread, NULL, stub_main, d);
    must(errno == 0, "pthread_create");
    return d;
}

uint16_t stub_dns_port(const struct stub_dns *d)
{
    return d->port;
}

const char *stub_dns_servers(const struct stub_dns *d)
{
    return d->servers;
}

void stub_dns_close(struct stub_dns *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->ending = true;
    wake(d);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    close_sockets(d);
    close(d->other_udp);
    close(d->wake);
    for (int i = 0; i < BUCKETS; i++) {
        for (struct tally *t = d->tallies[i], *next; t; t = next) {
            next = t->next;
            free(t);
        }
        for (struct stub_rule *r = d->rules[i], *next; r; r = next) {
            next = r->next;
            stub_rule_free(r);
        }
    }
    for (struct held *h = d->held, *next; h; h = next) {
        next = h->next;
        free(h);
    }
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
