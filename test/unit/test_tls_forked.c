/* What is left to a child after fork(2): the connection is the parent's, whatever its threads were
 * doing at that moment. */
#include "socket.h"
#include "support/elsewhere.h"
#include "support/pki.h"
#include "support/tls_peer.h"
#include "support/tls_talk.h"
#include "sys.h"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>

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
    MAY_NOT(weir_connect(s, "127.0.0.1", 1));
    MAY_NOT(weir_connect_status(s));
    if (weir_wait(s, WEIR_READABLE) != WEIR_READABLE || weir_error_detail(s, text, sizeof text) < 0)
        return 255;
    return 0;
}

/* The child's own descriptor is gone then, so that the peer hears of the end when it comes. */
static void child_drops(weir_socket *s, bool tries)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(20);
        int fd = atomic_load(&s->fd), status = tries ? try_everything(s) : 0;
        struct stat st;
        weir_drop(s);
        if (status == 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
            status = 254;
        /* What OpenSSL keeps for the parent's threads is lost in the child, and no leak: nothing is
         * to look at it at the end. */
        if (status == 0)
            execlp("true", "true", (char *)NULL);
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
        weir_socket *s = talk_begin(&p, row);
        talk_send(s, 0, 10);
        child_drops(s, true);
        child_drops(s, false);
        talk_is_heard(p, 10, false);
        talk_send(s, 10, 10);
        talk_is_heard(p, 20, false);
        CHECK(puppet_say(p, 10));
        puppet_give(p, ALL);
        talk_receive(s, 0, 10);
        child_drops(s, true);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        talk_is_heard(p, 20, true);
        talk_end(s, p);
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
        talk_send(s, 0, 10);
        talk_is_heard(p, 10, false);
        talk_end(s, p);
    }
}

/* ---- what somebody else holds ---------------------------------------------------------------- */

/* The next that receives from a descriptor stays there, with every lock that it has. */
static struct {
    atomic_bool armed;
    sem_t there, go_on;
} stop;

static void await(sem_t *what)
{
    while (sem_wait(what) < 0)
        EXPECT(-errno, -EINTR);
}

static int stays(enum sys_call call)
{
    if (call == SYS_RECV && atomic_exchange(&stop.armed, false)) {
        EXPECT(sem_post(&stop.there), 0);
        await(&stop.go_on);
    }
    return 0;
}

static const struct sys_faults stopping = {.error = stays};

/* Starts `fn(s)` in a thread, and returns when it stays. */
static void start_and_stop(struct elsewhere *e, int (*fn)(void *), weir_socket *s)
{
    EXPECT(sem_init(&stop.there, 0, 0), 0);
    EXPECT(sem_init(&stop.go_on, 0, 0), 0);
    atomic_store(&stop.armed, true);
    sys_faults = &stopping;
    elsewhere_go(e, IN_A_THREAD, fn, s);
    await(&stop.there);
}

/* It goes on to its end, the puppet with it. */
static void go_on(struct elsewhere *e, struct puppet *p)
{
    EXPECT(sem_post(&stop.go_on), 0);
    while (!atomic_load(&e->other.self.ended)) {
        puppet_turn(p);
        give_way();
    }
    EXPECT(elsewhere_end(e), 0);
    sys_faults = NULL;
}

static int shakes(void *s)
{
    return weir_handshake(s);
}

static void children_in_the_middle_of_a_step(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        struct elsewhere shaker;
        weir_socket *s = puppet_meet(&p, row);
        EXPECT(weir_set_timeout(s, LONG_MS), 0);
        start_and_stop(&shaker, shakes, s);
        child_drops(s, true);
        child_drops(s, false);
        go_on(&shaker, p);
        talk_send(s, 0, 10);
        talk_is_heard(p, 10, false);
        talk_end(s, p);
    }
}

static weir_address place;

static int connects(void *s)
{
    return weir_connect_address(s, &place);
}

static void children_in_the_middle_of_a_connect(void)
{
    weir_socket *listener, *s, *line;
    struct elsewhere connecter;
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(listener, &place), 0);
    EXPECT(weir_socket_open(&s, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_set_timeout(s, LONG_MS), 0);
    EXPECT(weir_set_tls(s, puppet_config(false), "server.test"), 0);
    start_and_stop(&connecter, connects, s);
    child_drops(s, true);
    child_drops(s, false);
    EXPECT(weir_accept(listener, &line), 0);
    struct puppet *p = puppet_open(line, false, 0);
    go_on(&connecter, p);
    talk_send(s, 0, 10);
    puppet_turn(p);
    EXPECT((long long)p->heard, 10);
    talk_end(s, p);
    EXPECT(weir_close(listener), 0);
}

static atomic_bool enough;

static int chatters(void *s)
{
    for (uint64_t at = 0; !atomic_load(&enough); at += 10) {
        talk_send(s, at, 10);
        talk_receive(s, at, 10);
    }
    return 0;
}

/* Whoever is in the middle of a call in another thread at that moment. */
static void children_of_busy_parents(void)
{
    struct tls_peer_result r;
    struct elsewhere chatterer;
    weir_socket *pair[2];
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
        GROUND_TEST(EVERYWHERE, a_child_may_only_drop),
        GROUND_TEST(EVERYWHERE, a_child_in_the_middle_of_a_handshake),
        GROUND_TEST(ONCE, children_in_the_middle_of_a_step),
        GROUND_TEST(ONCE, children_in_the_middle_of_a_connect),
        GROUND_TEST(ONCE, children_of_busy_parents),
    };
    int failed = ground_main(argc, argv, "tls_forked", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
