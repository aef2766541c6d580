/* weir_from_fd, weir_detach, weir_pair: descriptors from elsewhere, and back. */
#include "support/rig.h"

#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static weir_socket *adopt(struct rig *rig, int fd)
{
    weir_socket *s;
    EXPECT(weir_from_fd(&s, fd), 0);
    EXPECT(weir_get_blocking(s), 1);
    rig_set_mode(rig, s);
    return rig_keep(rig, s);
}

static bool is_nonblocking(int fd)
{
    return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

/* The flag is shared with whoever else has the descriptor. */
SCENARIO_FOR(from_fd_leaves_the_flag_alone, CONNECTION | OWN)
{
    int fds[2];
    char byte;
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    weir_socket *a = adopt(rig, fds[0]), *b = adopt(rig, fds[1]);
    EXPECT(weir_fd(a), fds[0]);
    EXPECT(RIG_BRIEFLY(rig, a, WEIR_READABLE, weir_recv(a, &byte, 1)), WEIR_EDEADLINE);
    EXPECT(weir_set_blocking(a, false), 0);
    EXPECT(weir_recv(a, &byte, 1), -EAGAIN);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(rig_recv(rig, a, &byte, 1), 1);
    CHECK(!is_nonblocking(fds[0]) && !is_nonblocking(fds[1]));
    rig_forget(rig, a);
    EXPECT(weir_detach(a), fds[0]);
    CHECK(!is_nonblocking(fds[0]));
    close(fds[0]);
}

SCENARIO_FOR(from_fd_of_every_state, LISTENER | PLAIN)
{
    weir_address place = rig_place(rig);
    socklen_t length;
    int one = 1;
    int fd = socket(rig->transport->family, rig->transport->type | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (rig->transport->has & INTERNET)
        CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    const struct sockaddr *sa = weir_address_sockaddr(&place, &length);
    CHECK(!bind(fd, sa, length) && !listen(fd, 8));
    weir_socket *listener = adopt(rig, fd), *accepted, *none = NULL;
    weir_address where = rig_where(listener);
    EXPECT(RIG_BRIEFLY(rig, listener, WEIR_READABLE, weir_accept(listener, &none)), WEIR_EDEADLINE);
    fd = socket(rig->transport->family, rig->transport->type | SOCK_CLOEXEC, 0);
    weir_socket *fresh = adopt(rig, fd);
    EXPECT(rig_connect_address(rig, fresh, &where), 0);
    EXPECT(rig_accept(rig, listener, &accepted), 0);
    EXPECT(weir_fd(fresh), fd);
    EXPECT(rig_send(rig, fresh, "x", 1), 1);
    char byte;
    EXPECT(rig_recv(rig, accepted, &byte, 1), 1);
    EXPECT(weir_accept(fresh, &none), -EINVAL);
    EXPECT(weir_connect_address(fresh, &where), -EISCONN);
    /* Where accept and connect had to change the flag, it is put back. */
    rig_forget(rig, fresh);
    EXPECT(weir_detach(fresh), fd);
    CHECK(!is_nonblocking(fd));
    close(fd);
    rig_forget(rig, listener);
    fd = weir_detach(listener);
    CHECK(fd >= 0 && !is_nonblocking(fd));
    close(fd);
}

SCENARIO_FOR(from_fd_of_a_fresh_socket_that_is_refused, LISTENER | PLAIN)
{
    weir_address nobody = rig_nobody(rig);
    int fd = socket(rig->transport->family, rig->transport->type | SOCK_CLOEXEC, 0);
    weir_socket *s = adopt(rig, fd), *listener = rig_listener(rig), *accepted;
    weir_address where = rig_where(listener);
    EXPECT(rig_connect_address(rig, s, &nobody), -ECONNREFUSED);
    EXPECT(rig_connect_address(rig, s, &where), 0);
    EXPECT(rig_accept(rig, listener, &accepted), 0);
}

SCENARIO_FOR(from_fd_of_nothing, OWN)
{
    weir_socket *untouched = (weir_socket *)rig;
    int fd = dup(0);
    close(fd);
    EXPECT(weir_from_fd(&untouched, -1), -EBADF);
    EXPECT(weir_from_fd(&untouched, fd), -EBADF);
    EXPECT(weir_from_fd(&untouched, 1 << 30), -EBADF);
    CHECK(untouched == (weir_socket *)rig);
}

/* ---- pipes ---------------------------------------------------------------------------------- */

static void make_pipe(struct rig *rig, weir_socket **in, weir_socket **out)
{
    int fds[2];
    CHECK(!pipe2(fds, O_CLOEXEC));
    *in = adopt(rig, fds[0]);
    *out = adopt(rig, fds[1]);
}

SCENARIO_FOR(pipe_reads_writes_and_ends, OWN)
{
    weir_socket *in, *out;
    char buf[8];
    size_t done = 0;
    make_pipe(rig, &in, &out);
    EXPECT(RIG_BRIEFLY(rig, in, WEIR_READABLE, weir_recv(in, buf, sizeof buf)), WEIR_EDEADLINE);
    EXPECT(rig_send(rig, out, "some", 4), 4);
    EXPECT(rig_send_all(rig, out, "more", 4, &done), 0);
    done = 0;
    EXPECT(rig_recv_exact(rig, in, buf, 8, &done), 0);
    CHECK(!memcmp(buf, "somemore", 8));
    EXPECT(weir_set_blocking(in, false), 0);
    EXPECT(weir_recv(in, buf, sizeof buf), -EAGAIN);
    CHECK(!is_nonblocking(weir_fd(in)) && !is_nonblocking(weir_fd(out)));
    rig_close(rig, out);
    EXPECT(rig_recv(rig, in, buf, sizeof buf), 0);
    EXPECT(rig_recv(rig, in, buf, sizeof buf), 0);
}

/* SIGPIPE is at its default, which would end the process. */
SCENARIO_FOR(pipe_that_nobody_reads, OWN)
{
    weir_socket *in, *out;
    make_pipe(rig, &in, &out);
    rig_close(rig, in);
    for (int i = 0; i < 3; i++)
        EXPECT(rig_send(rig, out, "x", 1), -EPIPE);
}

static void write_late(struct rig *rig, void *arg)
{
    EXPECT(rig_send(rig, arg, "late", 4), 4);
}

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

SCENARIO_FOR(pipe_wakes_and_aborts, OWN)
{
    weir_socket *in, *out;
    char buf[8];
    make_pipe(rig, &in, &out);
    struct rig_thread *t = rig_when_asleep(rig, write_late, out);
    EXPECT(rig_recv(rig, in, buf, sizeof buf), 4);
    rig_join(t);
    t = rig_when_asleep(rig, abort_it, in);
    EXPECT(rig_recv(rig, in, buf, sizeof buf), WEIR_ECLOSED);
    rig_join(t);
}

#define ROOM ((size_t)4096)

/* A pipe that is not O_NONBLOCK takes a large write only as a whole: the call must not get stuck
 * in it, when there is room for a part. */
SCENARIO_FOR(pipe_full_does_not_trap_the_writer, OWN)
{
    weir_socket *in, *out;
    size_t len = (size_t)1 << 20, done = 0, got = 0;
    unsigned char *data = malloc(len);
    CHECK(data != NULL);
    rig_fill(data, len, 4, 0);
    make_pipe(rig, &in, &out);
    EXPECT(weir_set_blocking(out, false), 0);
    EXPECT(weir_send_all(out, data, len, &done), -EAGAIN);
    CHECK(done > ROOM && done < len);
    EXPECT(weir_send(out, data + done, len - done), -EAGAIN);
    EXPECT(rig_recv_exact(rig, in, data, ROOM, &got), 0);
    EXPECT(weir_set_blocking(out, true), 0);
    EXPECT(RIG_BRIEFLY(rig, out, WEIR_WRITABLE, weir_send_all(out, data, len, &done)),
           WEIR_EDEADLINE);
    EXPECT(rig_recv_exact(rig, in, data, done, &got), 0);
    CHECK(rig_is_filled(data, got, 4, 0));
    free(data);
}

SCENARIO_FOR(pipe_has_no_messages, OWN)
{
    weir_socket *in, *out;
    char first[2], second[4], control[64];
    struct iovec vectors[] = {{NULL, 0}, {first, sizeof first}, {second, sizeof second}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 3};
    make_pipe(rig, &in, &out);
    EXPECT(rig_send(rig, out, "abcdef", 6), 6);
    ssize_t n = rig_recvmsg(rig, in, &message, 0); /* as of a stream: some of it, never none */
    CHECK((n == 2 || n == 6) && !memcmp(first, "ab", 2));
    CHECK(n == 6 ? !memcmp(second, "cdef", 4) : rig_recv(rig, in, second, 4) == 4);
    n = rig_sendmsg(rig, out, &message, 0);
    CHECK(n == 2 || n == 6);
    EXPECT(weir_recvmsg(in, &message, MSG_PEEK), -ENOTSOCK);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int));
    memset(control, 0, sizeof control);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    *rights = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    EXPECT(weir_sendmsg(out, &message, 0), -ENOTSOCK);
    weir_socket *none = NULL;
    EXPECT(weir_accept(in, &none), -EINVAL);
    EXPECT(rig_recv(rig, in, (char[8]){0}, 8), n);
}

/* ---- files and terminals -------------------------------------------------------------------- */

SCENARIO_FOR(file_is_always_ready, OWN)
{
    char path[128], buf[16];
    size_t done = 0;
    weir_poller *p;
    weir_event event;
    snprintf(path, sizeof path, "%s/file", rig->dir);
    weir_socket *s = adopt(rig, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT(weir_wait(s, WEIR_READABLE | WEIR_WRITABLE), WEIR_READABLE | WEIR_WRITABLE);
    EXPECT(weir_send_all(s, "0123456789", 10, &done), 0);
    EXPECT(lseek(weir_fd(s), 0, SEEK_SET), 0);
    EXPECT(weir_recv(s, buf, 4), 4);
    done = 0;
    EXPECT(weir_recv_exact(s, buf + 4, 6, &done), 0);
    CHECK(!memcmp(buf, "0123456789", 10));
    EXPECT(weir_recv(s, buf, sizeof buf), 0);
    EXPECT(weir_recv_exact(s, buf, 7, &done), WEIR_EEND);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_READABLE, NULL), 0); /* epoll(7) refuses files */
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.socket == s && event.events == WEIR_READABLE);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_remove(p, s), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO_FOR(terminal_gives_lines, OWN)
{
    int master, slave;
    char buf[32];
    if (openpty(&master, &slave, NULL, NULL, NULL))
        rig_skip("there are no pseudo-terminals here");
    weir_socket *keyboard = adopt(rig, master), *terminal = adopt(rig, slave);
    EXPECT(rig_send(rig, keyboard, "li", 2), 2);
    EXPECT(RIG_BRIEFLY(rig, terminal, WEIR_READABLE, weir_recv(terminal, buf, sizeof buf)),
           WEIR_EDEADLINE);
    EXPECT(rig_send(rig, keyboard, "ne\n", 3), 3);
    EXPECT(rig_recv(rig, terminal, buf, sizeof buf), 5);
    CHECK(!memcmp(buf, "line\n", 5));
    CHECK(!is_nonblocking(slave));
}

/* ---- detach --------------------------------------------------------------------------------- */

SCENARIO_FOR(detach_of_what_others_use, PLAIN)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    weir_ref(a);
    EXPECT(weir_detach(a), -EBUSY);
    EXPECT(rig_send(rig, a, "x", 1), 1); /* still good */
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
    rig_forget(rig, a);
    EXPECT(weir_close(a), 0);
    EXPECT(weir_close(a), 0);
}

SCENARIO_FOR(detach_leaves_the_conversation_open, PLAIN)
{
    weir_socket *a, *b, *again;
    char byte;
    rig_pair(rig, &a, &b);
    int fd = weir_fd(a);
    rig_forget(rig, a);
    EXPECT(weir_detach(a), fd);
    again = adopt(rig, fd);
    EXPECT(rig_send(rig, again, "x", 1), 1);
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
    EXPECT(rig_send(rig, b, "y", 1), 1);
    EXPECT(rig_recv(rig, again, &byte, 1), 1);
}

SCENARIO_FOR(detach_of_what_has_none, PLAIN)
{
    weir_socket *s = rig_open(rig);
    EXPECT(weir_detach(s), -ENOTCONN);
    weir_address place = rig_place(rig);
    EXPECT(weir_bind_address(s, &place), 0);
    rig_forget(rig, s);
    int fd = weir_detach(s);
    CHECK(fd >= 0);
    close(fd);
}

static void try_to_detach(struct rig *rig, void *arg)
{
    weir_socket *const *ends = arg;
    EXPECT(weir_detach(ends[0]), -EBUSY);
    EXPECT(rig_send(rig, ends[1], "x", 1), 1);
}

SCENARIO_FOR(detach_while_another_thread_receives, WAITS | PLAIN)
{
    weir_socket *ends[2];
    char byte;
    rig_pair(rig, &ends[0], &ends[1]);
    struct rig_thread *t = rig_when_asleep(rig, try_to_detach, ends);
    EXPECT(rig_recv(rig, ends[0], &byte, 1), 1);
    rig_join(t);
}

SCENARIO_FOR(detach_leaves_pollers, PLAIN)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    rig_forget(rig, a);
    int fd = weir_detach(a);
    CHECK(rig_keep_fd(rig, fd) >= 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_poller_wait(p, &event, 1, RIG_MOMENT_MS), 0);
    EXPECT(weir_poller_close(p), 0);
}

/* ---- pairs ---------------------------------------------------------------------------------- */

SCENARIO_FOR(pair_of_each_type, OWN)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    char buf[8];
    for (int i = 0; i < 3; i++) {
        weir_socket *pair[2];
        EXPECT(weir_pair(pair, types[i] | SOCK_NONBLOCK), 0);
        EXPECT(weir_get_blocking(pair[0]), 0);
        EXPECT(weir_get_blocking(pair[1]), 0);
        EXPECT(weir_recv(pair[0], buf, sizeof buf), -EAGAIN);
        EXPECT(weir_send(pair[1], "abc", 3), 3);
        EXPECT(weir_recv(pair[0], buf, 2), 2);
        EXPECT(weir_recv(pair[0], buf, 2), types[i] == SOCK_STREAM ? 1 : -EAGAIN);
        EXPECT(weir_close(pair[0]), 0);
        EXPECT(weir_send(pair[1], "x", 1), types[i] == SOCK_DGRAM ? -ECONNREFUSED : -EPIPE);
        EXPECT(weir_close(pair[1]), 0);
    }
}

SCENARIO_FOR(pair_of_no_type, OWN)
{
    weir_socket *mark = (weir_socket *)rig, *pair[2] = {mark, mark};
    CHECK(weir_pair(pair, 77) < 0);
    CHECK(weir_pair(pair, SOCK_RAW | 0x10) < 0);
    CHECK(weir_pair(NULL, SOCK_STREAM) < 0);
    CHECK(pair[0] == mark && pair[1] == mark);
}
