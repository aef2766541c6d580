/* Ends: of one direction, of both, by close, and what is left to a child after fork(2). */
#include "support/elsewhere.h"
#include "support/pki.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"
#include "task/sanitizer.h"

#include <fcntl.h>
#include <stdlib.h>

static void make_small(weir_socket *s)
{
    static const int small = 4608;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
}

/* A conversation whose handshake is over. */
static weir_socket *shaken(struct puppet **p, const struct puppet_row *row)
{
    weir_socket *s = puppet_meet(p, row);
    puppet_shake_both(*p, s);
    EXPECT(weir_set_timeout(s, LONG_MS), 0);
    return s;
}

static void end(weir_socket *s, struct puppet *p)
{
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

static void puppet_hears(struct puppet *p, uint64_t count, bool closed)
{
    puppet_take(p, ALL);
    puppet_hear(p);
    EXPECT((long long)p->heard, (long long)count);
    EXPECT(p->closed, closed);
    CHECK(!p->differs && !p->failed);
}

static void receives(weir_socket *s, uint64_t at, size_t count)
{
    unsigned char bytes[1000];
    size_t done = 0;
    EXPECT(weir_recv_exact(s, bytes, count, &done), 0);
    for (size_t i = 0; i < count; i++)
        EXPECT(bytes[i], tls_peer_byte(at + i));
}

static void sends(weir_socket *s, uint64_t at, size_t count)
{
    unsigned char bytes[1000];
    size_t done = 0;
    for (size_t i = 0; i < count; i++)
        bytes[i] = tls_peer_byte(at + i);
    EXPECT(weir_send_all(s, bytes, count, &done), 0);
}

/* ---- one direction --------------------------------------------------------------------------- */

static void half_a_close_from_here(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        char byte = 'x';
        sends(s, 0, 10);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        puppet_hears(p, 10, true);
        puppet_take(p, ALL);
        CHECK(p->ended);
        EXPECT(weir_send(s, &byte, 1), -EPIPE);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        for (int i = 0; i < 3; i++) {
            CHECK(puppet_say(p, 100));
            puppet_give(p, ALL);
            receives(s, 100 * (uint64_t)i, 100);
        }
        CHECK(puppet_say_end(p));
        puppet_give(p, ALL);
        EXPECT(weir_recv(s, &byte, 1), 0);
        EXPECT(weir_recv(s, &byte, 1), 0);
        EXPECT(weir_shutdown(s, SHUT_RDWR), 0);
        end(s, p);
    }
}

static void half_a_close_from_there(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        char byte;
        CHECK(puppet_say(p, 10) && puppet_say_end(p));
        puppet_give(p, ALL);
        puppet_cut(p);
        receives(s, 0, 10);
        EXPECT(weir_recv(s, &byte, 1), 0);
        for (int i = 0; i < 3; i++) {
            sends(s, 100 * (uint64_t)i, 100);
            puppet_hears(p, 100 * ((uint64_t)i + 1), false);
            EXPECT(weir_recv(s, &byte, 1), 0);
        }
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        puppet_hears(p, 300, true);
        end(s, p);
    }
}

static void no_more_is_received(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        char byte;
        EXPECT(weir_shutdown(s, SHUT_RD), 0);
        EXPECT(weir_recv(s, &byte, 1), 0);
        sends(s, 0, 10);
        puppet_hears(p, 10, false);
        EXPECT(weir_recv(s, &byte, 1), 0);
        end(s, p);
    }
}

/* Everything that was counted goes before the end, in as many calls as it takes. */
static void the_end_waits_for_its_turn(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        unsigned char *bytes = malloc(200000);
        size_t done = 0;
        for (size_t i = 0; i < 200000; i++)
            bytes[i] = tls_peer_byte(i);
        make_small(s);
        EXPECT(weir_set_blocking(s, false), 0);
        EXPECT(weir_send_all(s, bytes, 200000, &done), -EAGAIN);
        int rc;
        EXPECT(weir_shutdown(s, SHUT_WR), -EAGAIN);
        EXPECT(weir_shutdown(s, SHUT_WR), -EAGAIN);
        CHECK(weir_send(s, bytes, 1) < 0);
        while ((rc = weir_shutdown(s, SHUT_WR)) == -EAGAIN)
            CHECK(puppet_take(p, ALL) > 0);
        EXPECT(rc, 0);
        puppet_hears(p, done, true);
        free(bytes);
        end(s, p);
    }
}

/* ---- weir_finish ----------------------------------------------------------------------------- */

static int finishes(void *s)
{
    return weir_finish(s);
}

static void finish_waits_for_the_other_side(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        struct other finisher;
        weir_group *g = group_open();
        sends(s, 0, 10);
        other_go(&finisher, g, finishes, s);
        other_until_asleep(&finisher);
        puppet_hears(p, 10, true);
        CHECK(puppet_say(p, 20000));
        puppet_give(p, ALL);
        other_until_asleep(&finisher);
        CHECK(!atomic_load(&finisher.self.ended));
        CHECK(puppet_say_end(p));
        puppet_give(p, ALL);
        puppet_cut(p);
        group_end(g);
        EXPECT(finisher.rc, 0);
        end(s, p);
    }
}

static void finish_is_bounded(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        EXPECT(weir_set_timeout(s, MOMENT_MS), 0);
        EXPECT(weir_finish(s), WEIR_EDEADLINE);
        puppet_hears(p, 0, true);
        EXPECT(weir_set_blocking(s, false), 0);
        EXPECT(weir_finish(s), -EAGAIN);
        CHECK(puppet_say_end(p));
        puppet_give(p, ALL);
        puppet_cut(p);
        EXPECT(weir_finish(s), 0);
        end(s, p);
    }
}

static void finish_of_a_truncated_stream(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        CHECK(puppet_say(p, 100));
        puppet_give(p, ALL);
        puppet_cut(p);
        EXPECT(weir_finish(s), WEIR_ETRUNCATED);
        EXPECT(weir_finish(s), WEIR_ETRUNCATED);
        end(s, p);
    }
}

/* ---- weir_close ------------------------------------------------------------------------------ */

static void a_close_says_goodbye(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        sends(s, 0, 10);
        weir_ref(s);
        EXPECT(weir_close(s), 0);
        EXPECT(weir_close(s), 0);
        puppet_hears(p, 10, true);
        puppet_close(p);
    }
}

static void close_does_not_wait(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        static unsigned char bytes[100000];
        make_small(s);
        EXPECT(weir_set_blocking(s, false), 0);
        while (weir_send(s, bytes, sizeof bytes) > 0)
            ;
        EXPECT(weir_close(s), 0);
        puppet_take(p, ALL);
        puppet_hear(p);
        CHECK(p->ended && !p->closed);
        puppet_close(p);
    }
}

static int receives_until_closed(void *s)
{
    char byte;
    return (int)weir_recv(s, &byte, 1);
}

static int sends_until_closed(void *s)
{
    static const unsigned char bytes[100000];
    ssize_t n;
    do
        n = weir_send(s, bytes, sizeof bytes);
    while (n > 0);
    return (int)n;
}

static void close_wakes_those_who_wait(void)
{
    EACH_ROW(row)
    for (enum place place = 0; place < PLACES; place++) {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        struct elsewhere reader, writer;
        make_small(s);
        EXPECT(weir_set_timeout(s, -1), 0);
        elsewhere_go(&reader, place, receives_until_closed, s);
        elsewhere_go(&writer, BESIDE, sends_until_closed, s);
        elsewhere_until_asleep(&reader);
        elsewhere_until_asleep(&writer);
        weir_ref(s);
        EXPECT(weir_close(s), 0);
        EXPECT(elsewhere_end(&reader), WEIR_ECLOSED);
        int rc = elsewhere_end(&writer);
        CHECK(rc == WEIR_ECLOSED);
        end(s, p);
    }
}

/* ---- fork
 * ---------------------------------------------------------------------------------------- */

#define MAY_NOT(call)                                                                              \
    if ((call) != -EPERM)                                                                          \
    return __LINE__ % 250 + 1

/* 0, or the line of what was allowed. */
static int try_everything(weir_socket *s)
{
    char byte = 'x', text[64];
    size_t done = 0;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    weir_tls_state state;
    MAY_NOT(weir_send(s, &byte, 1));
    MAY_NOT(weir_recv(s, &byte, 1));
    MAY_NOT(weir_sendmsg(s, &message, 0));
    MAY_NOT(weir_recvmsg(s, &message, MSG_PEEK));
    MAY_NOT(weir_send_all(s, &byte, 1, &done));
    MAY_NOT(weir_recv_exact(s, &byte, 1, &done));
    MAY_NOT(weir_handshake(s));
    MAY_NOT(weir_shutdown(s, SHUT_WR));
    MAY_NOT(weir_shutdown(s, SHUT_RD));
    MAY_NOT(weir_finish(s));
    MAY_NOT(weir_tls_info(s, &state));
    MAY_NOT(weir_tls_peer_chain(s, text, sizeof text));
    return 0;
}

static void child_drops(weir_socket *s, bool tries)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(20);
        int status = tries ? try_everything(s) : 0;
        weir_drop(s);
        _exit(status);
    }
    child_ends(child, 0);
}

/* The peer hears nothing of it, and the parent goes on. */
static void a_child_may_only_drop(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        sends(s, 0, 10);
        child_drops(s, true);
        child_drops(s, false);
        puppet_hears(p, 10, false);
        sends(s, 10, 10);
        puppet_hears(p, 20, false);
        CHECK(puppet_say(p, 10));
        puppet_give(p, ALL);
        receives(s, 0, 10);
        child_drops(s, true);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        puppet_hears(p, 20, true);
        end(s, p);
    }
}

static void a_child_in_the_middle_of_a_handshake(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = puppet_meet(&p, row);
        EXPECT(weir_set_blocking(s, false), 0);
        child_drops(s, true);
        EXPECT(weir_handshake(s), -EAGAIN);
        puppet_turn(p);
        child_drops(s, true);
        puppet_shake_both(p, s);
        sends(s, 0, 10);
        puppet_hears(p, 10, false);
        end(s, p);
    }
}

/* The peer takes nothing, and then its stream is cut off: the error is for who receives, and what
 * is in the outbox waits for the peer no longer than the caller does. */
static void an_end_with_a_full_outbox(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = shaken(&p, row);
        unsigned char *bytes = calloc(1, 200000);
        size_t done = 0;
        weir_poller *poller;
        weir_event event;
        CHECK(bytes != NULL);
        make_small(s);
        EXPECT(weir_set_timeout(s, MOMENT_MS), 0);
        EXPECT(weir_send_all(s, bytes, 200000, &done), WEIR_EDEADLINE);
        puppet_cut(p);
        EXPECT(weir_recv(s, bytes, 1), WEIR_ETRUNCATED);
        EXPECT(weir_shutdown(s, SHUT_WR), WEIR_EDEADLINE);
        CHECK(weir_finish(s) < 0);
        EXPECT(weir_send(s, bytes, 1), WEIR_ETRUNCATED);
        EXPECT(weir_poller_open(&poller), 0);
        EXPECT(weir_poller_add(poller, s, WEIR_WRITABLE, NULL), 0);
        EXPECT(weir_poller_wait(poller, &event, 1, MOMENT_MS), 0);
        EXPECT(weir_poller_close(poller), 0);
        free(bytes);
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

static atomic_bool enough;

static int chatters(void *s)
{
    for (uint64_t at = 0; !atomic_load(&enough); at += 10) {
        sends(s, at, 10);
        receives(s, at, 10);
    }
    return 0;
}

/* Whoever is in the middle of a call in another thread at that moment. Valgrind takes what OpenSSL
 * keeps for that thread, which is not there in the child, for lost. */
static void children_of_busy_parents(void)
{
    struct tls_peer_result r;
    struct elsewhere chatterer;
    weir_socket *pair[2];
    if (RUNNING_ON_VALGRIND)
        return;
    stream_pair(pair);
    EXPECT(weir_set_tls(pair[0], puppet_config(false), "server.test"), 0);
    int fd = weir_detach(pair[1]);
    EXPECT(fcntl(fd, F_SETFL, 0), 0);
    const struct pki_standard *pki = pki_standard();
    struct tls_peer *peer = TLS_PEER(fd, .chain = pki->server_pem, .key = pki->server_key_pem,
                                     .script = {STEP(PEER_ECHO), STEP(PEER_END)});
    EXPECT(weir_handshake(pair[0]), 0);
    atomic_store(&enough, false);
    elsewhere_go(&chatterer, IN_A_THREAD, chatters, pair[0]);
    for (int i = 0; i < (ground_is_slow() ? 10 : 100); i++)
        child_drops(pair[0], i & 1);
    atomic_store(&enough, true);
    EXPECT(elsewhere_end(&chatterer), 0);
    EXPECT(weir_shutdown(pair[0], SHUT_WR), 0);
    EXPECT(weir_close(pair[0]), 0);
    tls_peer_join(peer, &r);
    CHECK(r.end == PEER_CLOSED && !r.differs);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, half_a_close_from_here),
        GROUND_TEST(EVERYWHERE, half_a_close_from_there),
        GROUND_TEST(EVERYWHERE, an_end_with_a_full_outbox),
        GROUND_TEST(EVERYWHERE, no_more_is_received),
        GROUND_TEST(ONCE, the_end_waits_for_its_turn),
        GROUND_TEST(EVERYWHERE, finish_waits_for_the_other_side),
        GROUND_TEST(EVERYWHERE, finish_is_bounded),
        GROUND_TEST(EVERYWHERE, finish_of_a_truncated_stream),
        GROUND_TEST(EVERYWHERE, a_close_says_goodbye),
        GROUND_TEST(ONCE, close_does_not_wait),
        GROUND_TEST(EVERYWHERE, close_wakes_those_who_wait),
        GROUND_TEST(EVERYWHERE, a_child_may_only_drop),
        GROUND_TEST(EVERYWHERE, a_child_in_the_middle_of_a_handshake),
        GROUND_TEST(ONCE, children_of_busy_parents),
    };
    int failed = ground_main(argc, argv, "tls_endings", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
