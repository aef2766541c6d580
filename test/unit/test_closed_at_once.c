/* What is closed is closed for the kernel and the peer at once, whoever has waited for it before,
 * whatever has ended the wait, and whichever way it is closed. */
#include "support/ground.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

/* A hang would show too, but not where. */
#define PATIENCE_MS 5000

struct thing {
    weir_socket *s;
    int peer; /* a plain descriptor; -1: there is none */
    weir_address where;
};

/* ---- kinds of sockets ----------------------------------------------------------------------- */

static int plain_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    return fd;
}

static int plain_connect(int fd, const weir_address *to)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(to, &length);
    return connect(fd, sa, length) < 0 ? -errno : 0;
}

static void open_listener(struct thing *t)
{
    EXPECT(weir_listen_on(&t->s, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(t->s, &t->where), 0);
    t->peer = -1;
}

static void open_connection(struct thing *t)
{
    struct thing listener;
    open_listener(&listener);
    t->peer = plain_socket(AF_INET);
    EXPECT(plain_connect(t->peer, &listener.where), 0);
    EXPECT(weir_accept(listener.s, &t->s), 0);
    weir_close(listener.s);
}

static void open_local(struct thing *t, int type)
{
    weir_socket *pair[2];
    EXPECT(weir_pair(pair, type), 0);
    t->s = pair[0];
    t->peer = weir_detach(pair[1]);
    CHECK(t->peer >= 0);
}

static void open_stream(struct thing *t)
{
    open_local(t, SOCK_STREAM);
}

static void open_datagrams(struct thing *t)
{
    open_local(t, SOCK_DGRAM);
}

/* There is no room left to send. */
static void open_full(struct thing *t)
{
    static const char block[4096];
    open_stream(t);
    while (send(weir_fd(t->s), block, sizeof block, MSG_DONTWAIT) > 0)
        ;
}

/* What somebody waits in. */
static int accept_one(weir_socket *s)
{
    weir_socket *accepted;
    return weir_accept(s, &accepted);
}

static int receive(weir_socket *s)
{
    char bytes[8];
    return (int)weir_recv(s, bytes, sizeof bytes);
}

static int send_more(weir_socket *s)
{
    return (int)weir_send(s, "x", 1);
}

static int wait_to_read(weir_socket *s)
{
    return weir_wait(s, WEIR_READABLE);
}

static int wait_for_both(weir_socket *s)
{
    return weir_wait(s, WEIR_READABLE | WEIR_WRITABLE);
}

/* How it is seen that it is closed. */
static void nobody_listens(struct thing *t)
{
    int fd = plain_socket(AF_INET);
    EXPECT(plain_connect(fd, &t->where), -ECONNREFUSED);
    close(fd);
}

static void peer_hears_the_end(struct thing *t)
{
    char bytes[4096];
    struct pollfd end = {.fd = t->peer, .events = POLLIN};
    ssize_t n;
    while ((n = recv(t->peer, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        ;
    if (n < 0) { /* not within the system call */
        EXPECT(poll(&end, 1, PATIENCE_MS), 1);
        n = recv(t->peer, bytes, sizeof bytes, MSG_DONTWAIT);
    }
    EXPECT(n, 0);
}

static void peer_cannot_send(struct thing *t)
{
    EXPECT(send(t->peer, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
    CHECK(errno == ECONNREFUSED);
}

static const struct kind {
    void (*open)(struct thing *t);
    int (*wait)(weir_socket *s);
    void (*check)(struct thing *t);
} kinds[] = {
    {open_listener, accept_one, nobody_listens},
    {open_listener, wait_to_read, nobody_listens},
    {open_connection, receive, peer_hears_the_end},
    {open_connection, wait_to_read, peer_hears_the_end},
    {open_stream, receive, peer_hears_the_end},
    {open_full, send_more, peer_hears_the_end},
    {open_full, wait_for_both, peer_hears_the_end},
    {open_datagrams, receive, peer_cannot_send},
};

static const struct kind *kind;

/* ---- what ends the wait --------------------------------------------------------------------- */

static void by_a_limit(weir_socket *s)
{
    WEIR_WITHIN_MS(1);
    EXPECT(kind->wait(s), WEIR_EDEADLINE);
}

static void by_its_time_out(weir_socket *s)
{
    EXPECT(weir_set_timeout(s, 1), 0);
    EXPECT(kind->wait(s), WEIR_EDEADLINE);
    EXPECT(weir_set_timeout(s, -1), 0);
}

static int is_cancelled(void *s)
{
    EXPECT(kind->wait(s), -ECANCELED);
    return 0;
}

static void by_a_cancel(weir_socket *s)
{
    struct other other;
    weir_group *g = group_open();
    other_go(&other, g, is_cancelled, s);
    other_until_asleep(&other);
    EXPECT(weir_group_cancel(g), 0);
    group_end(g);
}

/* Asked for and given up twice. */
static void by_both(weir_socket *s)
{
    by_a_cancel(s);
    by_a_limit(s);
}

static void (*const ends[])(weir_socket *s) = {by_a_limit, by_its_time_out, by_a_cancel, by_both};

/* ---- ways to close -------------------------------------------------------------------------- */

static weir_socket *kept; /* the object, by somebody else */

static void close_it(weir_socket *s)
{
    weir_close(s);
}

static void close_what_is_shared(weir_socket *s)
{
    kept = weir_ref(s);
    weir_close(s);
}

static void abort_it(weir_socket *s)
{
    weir_abort(s);
    kept = s;
}

static void detach_it(weir_socket *s)
{
    int fd = weir_detach(s);
    CHECK(fd >= 0);
    close(fd);
}

static int closes(void *s)
{
    weir_close(s);
    return 0;
}

static void close_in_another_task(weir_socket *s)
{
    weir_group *g = group_open();
    EXPECT(weir_go(g, closes, s), 0);
    group_end(g);
}

static void *closes_there(void *s)
{
    weir_close(s);
    return NULL;
}

/* Nobody tells the loop, which learns of it when it looks. */
static void close_in_another_thread(weir_socket *s)
{
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, closes_there, s));
    CHECK(!pthread_join(thread, NULL));
    EXPECT(weir_yield(), 0);
}

static void (*const ways[])(weir_socket *s) = {
    close_it,  close_what_is_shared,  abort_it,
    detach_it, close_in_another_task, close_in_another_thread,
};

/* ---- together ------------------------------------------------------------------------------- */

static void close_after_a_wait(void (*end)(weir_socket *), void (*way)(weir_socket *))
{
    struct thing t;
    kept = NULL;
    kind->open(&t);
    end(t.s);
    way(t.s);
    kind->check(&t);
    weir_close(kept);
    if (t.peer >= 0)
        close(t.peer);
}

static void closed_after_a_wait(void)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t j = 0; j < sizeof ends / sizeof *ends; j++)
            for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
                kind = &kinds[i];
                close_after_a_wait(ends[j], ways[k]);
            }
}

static int is_closed(void *s)
{
    EXPECT(kind->wait(s), WEIR_ECLOSED);
    return 0;
}

static void closed_in_the_middle_of_a_wait(void)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct thing t;
        struct other other;
        weir_group *g = group_open();
        kind = &kinds[i];
        kind->open(&t);
        other_go(&other, g, is_closed, t.s);
        other_until_asleep(&other);
        weir_close(t.s);
        if (!ground->tasks) /* a thread that sleeps in poll(2) has the file until it wakes */
            other_until_ended(&other);
        kind->check(&t);
        group_end(g);
        if (t.peer >= 0)
            close(t.peer);
    }
}

/* An address is free as soon as its listener is closed. */
static void address_is_free_at_once(void)
{
    struct thing t;
    char text[64];
    weir_socket *again;
    kind = &kinds[0];
    open_listener(&t);
    by_a_limit(t.s);
    weir_close(t.s);
    CHECK(weir_address_format(&t.where, text, sizeof text) > 0);
    EXPECT(weir_listen_on(&again, text, NULL), 0);
    weir_close(again);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, closed_after_a_wait),
        GROUND_TEST(EVERYWHERE, closed_in_the_middle_of_a_wait),
        GROUND_TEST(EVERYWHERE, address_is_free_at_once),
    };
    return ground_main(argc, argv, "closed_at_once", tests, sizeof tests / sizeof *tests);
}
