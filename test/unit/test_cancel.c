/* Ending what waits for a socket: every operation, by everything that can end it, at every
 * moment. */
#include "support/cell.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define BLOCK 65536

static void expect_nothing_left(weir_socket *s)
{
    char byte;
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
    EXPECT(weir_set_blocking(s, true), 0);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void make_tcp_pair(struct cell *c)
{
    weir_socket *listener;
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(listener, &c->where), 0);
    EXPECT(weir_socket_open(&c->s, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(c->s, &c->where), 0);
    EXPECT(weir_accept(listener, &c->peer), 0);
    EXPECT(weir_close(listener), 0);
}

static void make_pair(struct cell *c)
{
    weir_socket *pair[2];
    stream_pair(pair);
    c->s = pair[0];
    c->peer = pair[1];
}

static ssize_t call_recv(struct cell *c)
{
    return weir_recv(c->s, c->buf, 4);
}

static void complete_recv(struct cell *c)
{
    ssize_t n = weir_send(c->peer, "data", 4);
    CHECK(n == 4 || (c->ended && (n == -EPIPE || n == -ECONNRESET || n == -ECONNREFUSED)));
}

static void check_recv(struct cell *c)
{
    if (c->rc >= 0)
        CHECK(c->rc == 4 && !memcmp(c->buf, "data", 4));
    if (c->ended)
        return;
    if (c->rc < 0)
        cell_expect_good(c, 4);
    CHECK(!memcmp(c->buf, "data", 4));
    expect_nothing_left(c->s);
}

static const struct op op_recv = {"recv",    true,          false,     make_tcp_pair,
                                  call_recv, complete_recv, check_recv};
static const struct op op_recv_unix = {"recv_unix", true,          false,     make_pair,
                                       call_recv,   complete_recv, check_recv};

static void prepare_recv_exact(struct cell *c)
{
    make_tcp_pair(c);
    EXPECT(weir_send(c->peer, "some", 4), 4);
}

static ssize_t call_recv_exact(struct cell *c)
{
    return weir_recv_exact(c->s, c->buf, 8, &c->done);
}

static void check_recv_exact(struct cell *c)
{
    CHECK(c->rc == 0
              ? c->done == 8
              : c->done == 4 || (c->completed && c->done == 8) || (c->ended && c->done == 0));
    if (c->ended)
        return;
    if (c->rc < 0)
        cell_expect_good(c, 0);
    CHECK(c->done == 8 && !memcmp(c->buf, "somedata", 8));
    expect_nothing_left(c->s);
}

static const struct op op_recv_exact = {
    "recv_exact",    true,          false,           prepare_recv_exact,
    call_recv_exact, complete_recv, check_recv_exact};

static ssize_t call_recvmsg(struct cell *c)
{
    struct iovec vectors[] = {{c->buf, 2}, {c->buf + 2, 2}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2};
    return weir_recvmsg(c->s, &message, 0);
}

static const struct op op_recvmsg = {"recvmsg",    true,          false,     make_pair,
                                     call_recvmsg, complete_recv, check_recv};

static void make_datagram_pair(struct cell *c)
{
    weir_socket *pair[2];
    EXPECT(weir_pair(pair, SOCK_DGRAM), 0);
    c->s = pair[0];
    c->peer = pair[1];
}

static ssize_t call_recv_from(struct cell *c)
{
    weir_datagram_info info;
    return weir_recv_from(c->s, c->buf, sizeof c->buf, &info);
}

static const struct op op_recv_from = {"recv_from",    true,          false,     make_datagram_pair,
                                       call_recv_from, complete_recv, check_recv};

/* ---- sending -------------------------------------------------------------------------------- */

static void fill(struct cell *c)
{
    static const char block[BLOCK];
    static const int size = BLOCK;
    ssize_t n;
    make_pair(c);
    EXPECT(weir_set_option(c->s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    EXPECT(weir_set_blocking(c->s, false), 0);
    while ((n = weir_send(c->s, block, sizeof block)) > 0)
        c->filled += (size_t)n;
    EXPECT(n, -EAGAIN);
    EXPECT(weir_set_blocking(c->s, true), 0);
}

static ssize_t call_send(struct cell *c)
{
    static const char bytes[1000];
    return weir_send(c->s, bytes, sizeof bytes);
}

static void complete_send(struct cell *c)
{
    static char block[BLOCK];
    ssize_t n;
    EXPECT(weir_set_blocking(c->peer, false), 0);
    while ((n = weir_recv(c->peer, block, sizeof block)) > 0)
        c->filled -= (size_t)n;
    CHECK(n == -EAGAIN || (n == 0 && c->ended) || n == -ECONNRESET);
    EXPECT(weir_set_blocking(c->peer, true), 0);
}

/* What was sent, and not a byte more, comes out at the other end. */
static void expect_sent(struct cell *c, size_t sent)
{
    static char block[BLOCK];
    c->filled += sent;
    WEIR_SHIELDED_MS(LONG_MS);
    while (c->filled) {
        ssize_t n = weir_recv(c->peer, block, sizeof block);
        CHECK(n > 0 && (size_t)n <= c->filled);
        c->filled -= (size_t)n;
    }
    if (!c->ended)
        expect_nothing_left(c->peer);
    else
        EXPECT(weir_recv(c->peer, block, sizeof block), 0);
}

static void check_send(struct cell *c)
{
    expect_sent(c, c->rc < 0 ? 0 : (size_t)c->rc);
    c->completed = true;
    if (!c->ended) {
        EXPECT(weir_send(c->s, "x", 1), 1);
        expect_sent(c, 1);
    }
}

static const struct op op_send = {"send", true, false, fill, call_send, complete_send, check_send};

static ssize_t call_sendmsg(struct cell *c)
{
    static char bytes[1000];
    struct iovec vectors[] = {{bytes, 400}, {bytes + 400, 600}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2};
    return weir_sendmsg(c->s, &message, 0);
}

static const struct op op_sendmsg = {"sendmsg",    true,          false,     fill,
                                     call_sendmsg, complete_send, check_send};

static ssize_t call_send_all(struct cell *c)
{
    static const char bytes[1000];
    return weir_send_all(c->s, bytes, sizeof bytes, &c->done);
}

static void check_send_all(struct cell *c)
{
    CHECK(c->rc < 0 || c->done == 1000);
    c->rc = (ssize_t)c->done;
    check_send(c);
}

static const struct op op_send_all = {"send_all",    true,          false,         fill,
                                      call_send_all, complete_send, check_send_all};

/* A datagram socket whose peer's queue is full: poll(2) does not know. */
static void fill_datagrams(struct cell *c)
{
    make_datagram_pair(c);
    EXPECT(weir_set_blocking(c->s, false), 0);
    while (weir_send_to(c->s, "fill", 4, NULL) == 4)
        c->filled++;
    EXPECT(weir_set_blocking(c->s, true), 0);
}

static ssize_t call_send_to(struct cell *c)
{
    return weir_send_to(c->s, "data", 4, NULL);
}

static void complete_send_to(struct cell *c)
{
    EXPECT(weir_recv(c->peer, c->buf, 8), 4);
    c->filled--;
}

static void check_send_to(struct cell *c)
{
    for (size_t i = 0; i < c->filled; i++)
        CHECK(weir_recv(c->peer, c->buf, 8) == 4 && !memcmp(c->buf, "fill", 4));
    if (c->rc >= 0)
        CHECK(weir_recv(c->peer, c->buf, 8) == 4 && !memcmp(c->buf, "data", 4));
    if (!c->ended) {
        expect_nothing_left(c->peer);
        EXPECT(call_send_to(c), 4);
        EXPECT(weir_recv(c->peer, c->buf, 8), 4);
    }
}

static const struct op op_send_to = {
    "send_to", true, false, fill_datagrams, call_send_to, complete_send_to, check_send_to};

/* ---- connections ---------------------------------------------------------------------------- */

static int keep_fd(struct cell *c, int fd)
{
    CHECK(fd >= 0 && c->fd_count < 8);
    c->fds[c->fd_count++] = fd;
    return fd;
}

static void prepare_accept(struct cell *c)
{
    EXPECT(weir_listen_on(&c->s, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(c->s, &c->where), 0);
}

static ssize_t call_accept(struct cell *c)
{
    return weir_accept(c->s, &c->accepted);
}

static void complete_accept(struct cell *c)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&c->where, &length);
    int fd = keep_fd(c, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd, sa, length))
        CHECK(c->ended && (errno == ECONNREFUSED || errno == ECONNRESET));
}

static void check_accept(struct cell *c)
{
    char byte;
    CHECK((c->rc == 0) == (c->accepted != NULL));
    if (c->rc < 0 && c->ended) {
        /* Whoever came is turned away. The kernel may say so only when something is sent to a
         * listener that ended during the handshake. */
        for (int i = 0; i < c->fd_count; i++) {
            (void)!send(c->fds[i], "x", 1, MSG_NOSIGNAL);
            CHECK(recv(c->fds[i], &byte, 1, 0) <= 0);
        }
        return;
    }
    if (c->rc < 0)
        cell_expect_good(c, 0);
    CHECK(send(c->fds[0], "x", 1, 0) == 1);
    EXPECT(weir_recv(c->accepted, &byte, 1), 1);
    EXPECT(weir_close(c->accepted), 0);
    CHECK(recv(c->fds[0], &byte, 1, 0) == 0);
    if (c->ended)
        return;
    EXPECT(weir_set_blocking(c->s, false), 0);
    EXPECT(weir_accept(c->s, &c->accepted), -EAGAIN);
}

static const struct op op_accept = {
    "accept", true, false, prepare_accept, call_accept, complete_accept, check_accept};

static void address_of(int fd, weir_address *ret)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    CHECK(!getsockname(fd, (struct sockaddr *)&name, &length));
    EXPECT(weir_address_from_sockaddr(ret, (struct sockaddr *)&name, length), 0);
}

/* A Unix listener whose queue is full: nobody but a retry learns that there is room again. */
static void prepare_connect(struct cell *c)
{
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    int listener = keep_fd(c, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(!bind(listener, (struct sockaddr *)&any, sizeof any.sun_family)); /* a free name */
    CHECK(!listen(listener, 0));
    address_of(listener, &c->where);
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&c->where, &length);
    int fd = keep_fd(c, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    CHECK(!connect(fd, sa, length));
    EXPECT(weir_socket_open(&c->s, AF_UNIX, SOCK_STREAM, 0), 0);
}

static ssize_t call_connect(struct cell *c)
{
    return weir_connect_address(c->s, &c->where);
}

static void complete_connect(struct cell *c)
{
    keep_fd(c, accept4(c->fds[0], NULL, NULL, SOCK_CLOEXEC));
}

static void check_connect(struct cell *c)
{
    char byte;
    if (c->ended)
        return;
    if (c->rc < 0)
        cell_expect_good(c, 0); /* it can connect again */
    int fd = keep_fd(c, accept4(c->fds[0], NULL, NULL, SOCK_CLOEXEC));
    EXPECT(weir_send(c->s, "x", 1), 1);
    /* An attempt that was given up may have come first; then it has been closed. */
    while (recv(fd, &byte, 1, 0) == 0)
        fd = keep_fd(c, accept4(c->fds[0], NULL, NULL, SOCK_CLOEXEC));
    CHECK(byte == 'x');
}

static const struct op op_connect = {
    "connect", true, false, prepare_connect, call_connect, complete_connect, check_connect};

static ssize_t call_wait(struct cell *c)
{
    return weir_wait(c->s, WEIR_READABLE);
}

static void check_wait(struct cell *c)
{
    if (c->ended)
        return;
    if (c->rc < 0)
        cell_expect_good(c, WEIR_READABLE);
    EXPECT(weir_recv(c->s, c->buf, 8), 4);
    expect_nothing_left(c->s);
}

static const struct op op_wait = {"wait",    true,          false,     make_tcp_pair,
                                  call_wait, complete_recv, check_wait};

static void prepare_poller(struct cell *c)
{
    make_tcp_pair(c);
    EXPECT(weir_poller_open(&c->poller), 0);
    EXPECT(weir_poller_add(c->poller, c->s, WEIR_READABLE, c), 0);
}

static ssize_t call_poller_wait(struct cell *c)
{
    weir_event event;
    int n = weir_poller_wait(c->poller, &event, 1, -1);
    CHECK(n < 1 || (event.socket == c->s && event.data == c));
    return n;
}

static void check_poller_wait(struct cell *c)
{
    if (c->rc < 0)
        cell_expect_good(c, 1);
    EXPECT(weir_recv(c->s, c->buf, 8), 4);
    expect_nothing_left(c->s);
    EXPECT(weir_poller_close(c->poller), 0);
}

static const struct op op_poller_wait = {
    "poller_wait",    false, false, prepare_poller, call_poller_wait, complete_recv,
    check_poller_wait};

static ssize_t call_finish(struct cell *c)
{
    return weir_finish(c->s);
}

static void complete_finish(struct cell *c)
{
    EXPECT(weir_shutdown(c->peer, SHUT_WR), 0);
}

static void check_finish(struct cell *c)
{
    EXPECT(weir_recv(c->peer, c->buf, 1), 0); /* the peer has been told */
    if (!c->ended && c->rc < 0)
        cell_expect_good(c, 0);
}

static const struct op op_finish = {"finish",        true,        false, make_tcp_pair, call_finish,
                                    complete_finish, check_finish};

/* clang-format off */
#define FOR_EACH_OP(X) \
    X(recv) X(recv_unix) X(recv_exact) X(recvmsg) X(recv_from) \
    X(send) X(sendmsg) X(send_all) X(send_to) \
    X(accept) X(connect) X(wait) X(poller_wait) X(finish)
/* clang-format on */

FOR_EACH_OP(CELL_TESTS)

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {FOR_EACH_OP(CELL_ENTRIES)};
    return ground_main(argc, argv, "cancel", tests, sizeof tests / sizeof *tests);
}
