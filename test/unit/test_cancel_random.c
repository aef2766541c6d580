/* A million cancels at random moments: what was received, sent, accepted and handed over, joined
 * with what is still under way, is everything, once, and in order.
 *
 * WEIR_SEED chooses the moments; it is printed. */
#include "support/ground.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define PIECE_MAX 600
#define VICTIMS   3

/* What moves bytes, one way; both ends are ours. */
struct stream {
    weir_socket *from, *to;
    uint64_t sent, received; /* also by those who were cancelled */
    bool tcp;
};

struct world {
    uint64_t random;
    struct stream in, out,
        messages; /* `in`: receives are cancelled; `out`: sends; messages: both */
    weir_socket *listener;
    weir_address where;
    _Atomic uint64_t connected, accepted;
    weir_channel *channel;
    uint64_t put, taken;
    weir_mutex mutex;
    uint64_t locked, counted;
    uint64_t cancels;
    _Atomic uint64_t hits; /* of them, that ended a wait */
};

struct victim {
    struct world *w;
    int (*fn)(struct victim *v);
    uint64_t random;
    atomic_bool ended;
};

/* Whoever cancels from another thread. */
struct canceller {
    pthread_t thread;
    sem_t asked;
    _Atomic(weir_group *) target; /* NULL once it is done; asked for nothing, it ends */
};

static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static unsigned char byte_at(uint64_t position)
{
    return (unsigned char)(position ^ (position >> 8) * 31 ^ (position >> 16) * 7);
}

static void fill(unsigned char *buf, size_t len, uint64_t position)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = byte_at(position + i);
}

static void verify(const unsigned char *buf, size_t len, uint64_t position)
{
    for (size_t i = 0; i < len; i++)
        CHECK(buf[i] == byte_at(position + i));
}

/* ---- feeding and draining, which never wait ------------------------------------------------- */

static void feed(struct stream *s, size_t len)
{
    unsigned char buf[PIECE_MAX];
    struct iovec vector = {buf, len};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    fill(buf, len, s->sent);
    ssize_t n = weir_sendmsg(s->from, &message, MSG_DONTWAIT);
    CHECK(n > 0 || n == -EAGAIN);
    if (n > 0)
        s->sent += (uint64_t)n;
}

static bool drain(struct stream *s)
{
    unsigned char buf[8 * PIECE_MAX];
    struct iovec vector = {buf, sizeof buf};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t n = weir_recvmsg(s->to, &message, MSG_DONTWAIT);
    CHECK(n > 0 || n == -EAGAIN);
    if (n <= 0)
        return false;
    verify(buf, (size_t)n, s->received);
    s->received += (uint64_t)n;
    return true;
}

/* ---- the victims, one of a kind at a time --------------------------------------------------- */

static int told(struct victim *v, ssize_t n)
{
    CHECK(n >= 0 || n == -ECANCELED);
    v->w->hits += n == -ECANCELED;
    return 0;
}

/* A call that moves all of `len`, or says how much it has moved. */
static ssize_t moved(struct victim *v, int rc, const size_t *done, size_t len)
{
    CHECK(rc < 0 || *done == len);
    told(v, rc);
    return (ssize_t)*done;
}

static ssize_t receive_somehow(struct victim *v, weir_socket *from, void *buf, size_t len)
{
    struct msghdr message = {.msg_iov = &(struct iovec){buf, len}, .msg_iovlen = 1};
    uint64_t way = draw(&v->random) % 3;
    size_t done = 0;
    if (way == 0)
        return weir_recv(from, buf, len);
    if (way == 1)
        return weir_recvmsg(from, &message, 0);
    return moved(v, weir_recv_exact(from, buf, len, &done), &done, len);
}

static int receives(struct victim *v)
{
    struct stream *s = &v->w->in;
    unsigned char buf[PIECE_MAX];
    size_t len = 1 + draw(&v->random) % PIECE_MAX;
    ssize_t n = receive_somehow(v, s->to, buf, len);
    if (n <= 0)
        return told(v, n);
    verify(buf, (size_t)n, s->received);
    s->received += (uint64_t)n;
    return 0;
}

static ssize_t send_somehow(struct victim *v, weir_socket *to, void *buf, size_t len)
{
    const struct msghdr message = {.msg_iov = &(struct iovec){buf, len}, .msg_iovlen = 1};
    uint64_t way = draw(&v->random) % 3;
    size_t done = 0;
    if (way == 0)
        return weir_send(to, buf, len);
    if (way == 1)
        return weir_sendmsg(to, &message, 0);
    return moved(v, weir_send_all(to, buf, len, &done), &done, len);
}

static int sends(struct victim *v)
{
    struct stream *s = &v->w->out;
    static _Thread_local unsigned char buf[64 * PIECE_MAX];
    size_t len = 1 + draw(&v->random) % sizeof buf;
    fill(buf, len, s->sent);
    ssize_t n = send_somehow(v, s->from, buf, len);
    if (n <= 0)
        return told(v, n);
    s->sent += (uint64_t)n;
    return 0;
}

static int receives_a_message(struct victim *v)
{
    struct stream *s = &v->w->messages;
    uint64_t number = 0;
    weir_datagram_info info;
    ssize_t n = weir_recv_from(s->to, &number, sizeof number, &info);
    if (n < 0)
        return told(v, n);
    CHECK(n == sizeof number && !info.truncated);
    EXPECT((long long)number, (long long)s->received);
    s->received++;
    return 0;
}

static int accepts(struct victim *v)
{
    weir_socket *s = NULL;
    int rc = weir_accept(v->w->listener, &s);
    CHECK((rc == 0) == (s != NULL));
    v->w->accepted += rc == 0;
    weir_close(s);
    return told(v, rc);
}

static int connects(struct victim *v)
{
    weir_socket *s;
    EXPECT(weir_socket_open(&s, AF_UNIX, SOCK_STREAM, 0), 0);
    int rc = weir_connect_address(s, &v->w->where);
    v->w->connected += rc == 0;
    EXPECT(weir_close(s), 0);
    return told(v, rc);
}

static int puts_item(struct victim *v)
{
    int rc = weir_channel_send(v->w->channel, &v->w->put);
    v->w->put += rc == 0;
    return told(v, rc);
}

static int takes_item(struct victim *v)
{
    uint64_t item = 0;
    int rc = weir_channel_recv(v->w->channel, &item);
    if (rc < 0)
        return told(v, rc);
    EXPECT(rc, 1);
    EXPECT((long long)item, (long long)v->w->taken);
    v->w->taken++;
    return 0;
}

/* Several at a time: the count is right only if one at a time holds it. */
static int locks(struct victim *v)
{
    struct world *w = v->w;
    int rc = weir_mutex_lock(&w->mutex);
    if (rc < 0)
        return told(v, rc);
    uint64_t before = w->counted;
    if (draw(&v->random) % 2)
        weir_yield();
    w->counted = before + 1;
    w->locked++;
    EXPECT(weir_mutex_unlock(&w->mutex), 0);
    return 0;
}

static int sleeps(struct victim *v)
{
    return told(v, weir_sleep((int64_t)(draw(&v->random) % 3)));
}

/* ---- somebody who helps, or not, before and after ------------------------------------------- */

static void connect_and_go(struct world *w)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&w->where, &length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0);
    if (!connect(fd, sa, length))
        w->connected++;
    else
        CHECK(errno == EAGAIN);
    close(fd);
}

static bool accept_one(struct world *w)
{
    int fd = accept4(weir_fd(w->listener), NULL, NULL, SOCK_CLOEXEC); /* it is O_NONBLOCK */
    w->accepted += fd >= 0;
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void help_messages(struct world *w)
{
    struct iovec vector = {&w->messages.sent, sizeof w->messages.sent};
    const struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (weir_sendmsg(w->messages.from, &message, MSG_DONTWAIT) > 0)
        w->messages.sent++;
}

static void help_receive(struct world *w)
{
    feed(&w->in, 1 + draw(&w->random) % PIECE_MAX);
}

static void help_send(struct world *w)
{
    while (drain(&w->out) && draw(&w->random) % 8)
        ;
}

static void help_accept(struct world *w)
{
    if (w->connected - w->accepted < 16)
        connect_and_go(w);
}

static void help_connect(struct world *w)
{
    accept_one(w);
}

static void help_take(struct world *w)
{
    w->put += weir_channel_try_send(w->channel, &w->put) == 0;
}

static void help_put(struct world *w)
{
    uint64_t item = 0;
    if (weir_channel_try_recv(w->channel, &item) == 1)
        EXPECT((long long)item, (long long)w->taken++);
}

static void help_nobody(struct world *w)
{
    (void)w;
}

static const struct {
    int (*fn)(struct victim *v);
    void (*help)(struct world *w);
    unsigned count; /* at a time */
} kinds[] = {
    {receives, help_receive, 1},
    {sends, help_send, 1},
    {receives_a_message, help_messages, 1},
    {accepts, help_accept, 1},
    {connects, help_connect, 1},
    {takes_item, help_take, 1},
    {puts_item, help_put, 1},
    {locks, help_nobody, VICTIMS},
    {sleeps, help_nobody, 1},
};
#define KINDS (sizeof kinds / sizeof *kinds)

/* ---- one cancel ----------------------------------------------------------------------------- */

static int is_cancelled(void *arg)
{
    struct victim *v = arg;
    v->fn(v);
    atomic_store(&v->ended, true);
    return 0;
}

static void *cancels_what_it_is_given(void *arg)
{
    struct canceller *c = arg;
    for (;;) {
        while (sem_wait(&c->asked))
            ;
        weir_group *g = atomic_load(&c->target);
        if (!g)
            return NULL;
        EXPECT(weir_group_cancel(g), 0);
        atomic_store(&c->target, NULL);
    }
}

static void ask(struct canceller *c, weir_group *g)
{
    atomic_store(&c->target, g);
    CHECK(!sem_post(&c->asked));
}

static void pause_a_little(uint64_t *random)
{
    for (uint64_t i = draw(random) % 3; i; i--)
        give_way();
}

static void cancel_one(struct world *w, struct canceller *c)
{
    size_t kind = draw(&w->random) % KINDS;
    struct victim victims[VICTIMS];
    weir_group *g = group_open();
    bool by_thread = draw(&w->random) % 64 == 0;
    unsigned moment = (unsigned)(draw(&w->random) % 5); /* when there is help */
    if (moment == 0)
        kinds[kind].help(w);
    for (unsigned i = 0; i < kinds[kind].count; i++) {
        victims[i] = (struct victim){.w = w, .fn = kinds[kind].fn, .random = draw(&w->random)};
        EXPECT(weir_go(g, is_cancelled, &victims[i]), 0);
    }
    if (moment == 1)
        kinds[kind].help(w);
    pause_a_little(&w->random);
    if (by_thread)
        ask(c, g);
    if (moment == 2)
        kinds[kind].help(w);
    if (by_thread)
        while (atomic_load(&c->target))
            give_way();
    else
        EXPECT(weir_group_cancel(g), 0);
    if (moment == 3)
        kinds[kind].help(w);
    EXPECT(weir_group_close(g), 0);
    w->cancels++;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void open_streams(struct world *w)
{
    static const int size = 16384;
    weir_socket *listener, *pair[2];
    weir_address where;
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    EXPECT(weir_socket_open(&w->in.from, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(w->in.from, &where), 0);
    EXPECT(weir_accept(listener, &w->in.to), 0);
    EXPECT(weir_close(listener), 0);
    stream_pair(pair);
    w->out.from = pair[0];
    w->out.to = pair[1];
    EXPECT(weir_set_option(w->out.from, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    EXPECT(weir_pair(pair, SOCK_DGRAM), 0);
    w->messages.from = pair[0];
    w->messages.to = pair[1];
}

static void open_world(struct world *w)
{
    char text[64];
    open_streams(w);
    snprintf(text, sizeof text, "unix:@weir-random-%d", getpid());
    EXPECT(weir_address_parse(text, &w->where), 0);
    EXPECT(weir_socket_open(&w->listener, AF_UNIX, SOCK_STREAM, 0), 0);
    EXPECT(weir_bind_address(w->listener, &w->where), 0);
    EXPECT(weir_listen(w->listener, 4), 0);
    EXPECT(weir_channel_open(&w->channel, sizeof(uint64_t), 3), 0);
}

/* What is still under way comes out now; then the books must balance. */
static void settle(struct world *w)
{
    unsigned char buf[PIECE_MAX];
    while (w->in.received < w->in.sent) {
        ssize_t n = weir_recv(w->in.to, buf, sizeof buf);
        CHECK(n > 0);
        verify(buf, (size_t)n, w->in.received);
        w->in.received += (uint64_t)n;
    }
    while (drain(&w->out))
        ;
    EXPECT((long long)w->out.received, (long long)w->out.sent);
    CHECK(!drain(&w->in));
    struct victim reader = {.w = w};
    while (w->messages.received < w->messages.sent)
        receives_a_message(&reader);
    while (accept_one(w))
        ;
    EXPECT((long long)w->accepted, (long long)w->connected);
    while (w->taken < w->put)
        help_put(w);
    EXPECT(weir_channel_try_recv(w->channel, buf), -EAGAIN);
    EXPECT(weir_mutex_unlock(&w->mutex), -EPERM);
    EXPECT((long long)w->counted, (long long)w->locked);
}

static void close_world(struct world *w)
{
    weir_socket *sockets[] = {w->in.from,       w->in.to,       w->out.from, w->out.to,
                              w->messages.from, w->messages.to, w->listener};
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
        EXPECT(weir_close(sockets[i]), 0);
    EXPECT(weir_channel_close(w->channel), 0);
}

static unsigned long seed;

static void cancels_at_random(void)
{
    uint64_t count = ground->tasks ? 330000 : 5000;
    struct world w = {.random = seed};
    struct canceller c = {.target = NULL};
    if (ground_is_slow())
        count /= 50;
    open_world(&w);
    CHECK(!sem_init(&c.asked, 0, 0));
    CHECK(!pthread_create(&c.thread, NULL, cancels_what_it_is_given, &c));
    while (w.cancels < count)
        cancel_one(&w, &c);
    ask(&c, NULL);
    CHECK(!pthread_join(c.thread, NULL));
    sem_destroy(&c.asked);
    settle(&w);
    printf("%s: %llu cancels, %llu waits ended, %llu + %llu bytes, %llu messages, %llu accepted, "
           "%llu items\n",
           ground->name, (unsigned long long)w.cancels, (unsigned long long)w.hits,
           (unsigned long long)w.in.sent, (unsigned long long)w.out.sent,
           (unsigned long long)w.messages.sent, (unsigned long long)w.accepted,
           (unsigned long long)w.taken);
    CHECK(w.hits > count / 50 && w.in.sent && w.out.sent && w.accepted && w.taken);
    close_world(&w);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {GROUND_TEST(EVERYWHERE, cancels_at_random)};
    const char *wish = getenv("WEIR_SEED");
    seed =
        wish ? strtoul(wish, NULL, 0) : (unsigned long)time(NULL) ^ (unsigned long)getpid() << 32;
    printf("WEIR_SEED=%lu\n", seed);
    fflush(stdout);
    return ground_main(argc, argv, "cancel_random", tests, sizeof tests / sizeof *tests);
}
