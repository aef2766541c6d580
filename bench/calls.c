/* One call, many times, for strace and callgrind to count: calls WHAT raw|weir COUNT
 *
 *     recv, send   one byte is there, or has room
 *     accept       a client is waiting; and the close of its socket
 *     wait         a receive that has to wait for its byte: a slow echo in another process
 *
 * What one call costs is the difference between 2 × COUNT and COUNT, what weir adds is the
 * difference between weir and raw: everything else is the same in both. */
#include "support/bench.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir.h>

static void pair(int fds[2], weir_socket **ret)
{
    bench_errno("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    bench_check("weir_from_fd", weir_from_fd(ret, fds[0]));
}

static void run_recv(bool raw, long count)
{
    weir_socket *s;
    int fds[2];
    char c = 'x';

    pair(fds, &s);
    for (long i = 0; i < count; i++) {
        bench_errno("send", send(fds[1], &c, 1, 0));
        if (raw)
            bench_errno("recv", recv(fds[0], &c, 1, MSG_DONTWAIT));
        else
            bench_check("weir_recv", weir_recv(s, &c, 1));
    }
    weir_close(s);
}

static void run_send(bool raw, long count)
{
    weir_socket *s;
    int fds[2];
    char c = 'x';

    pair(fds, &s);
    for (long i = 0; i < count; i++) {
        if (raw)
            bench_errno("send", send(fds[0], &c, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
        else
            bench_check("weir_send", weir_send(s, &c, 1));
        bench_errno("recv", recv(fds[1], &c, 1, 0));
    }
    weir_close(s);
}

static void run_accept(bool raw, long count)
{
    weir_socket *listener, *accepted;
    uint16_t port;
    int fd = bench_listen(&port);

    bench_check("weir_from_fd", weir_from_fd(&listener, fd));
    for (long i = 0; i < count; i++) {
        int client = bench_connect(port);
        if (raw) {
            int got =
                (int)bench_errno("accept4", accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
            close(got);
        } else {
            bench_check("weir_accept", weir_accept(listener, &accepted));
            weir_close(accepted);
        }
        close(client);
    }
    weir_close(listener);
}

/* Answers when whoever asked sleeps already. */
static void echo_late(int fd)
{
    char c;

    while (recv(fd, &c, 1, 0) == 1) {
        usleep(2000);
        bench_errno("send", send(fd, &c, 1, MSG_NOSIGNAL));
    }
}

static void run_wait(bool raw, long count)
{
    weir_socket *s;
    int fds[2];
    char c = 'x';

    pair(fds, &s);
    bench_child(echo_late, fds[1]);
    for (long i = 0; i < count; i++) {
        bench_errno("send", send(fds[0], &c, 1, 0));
        if (raw)
            bench_errno("recv", recv(fds[0], &c, 1, 0));
        else
            bench_check("weir_recv", weir_recv(s, &c, 1));
    }
    weir_close(s);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(bool raw, long count);
    } kinds[] = {
        {"recv", run_recv}, {"send", run_send}, {"accept", run_accept}, {"wait", run_wait}};

    for (size_t i = 0; argc == 4 && i < BENCH_LENGTH(kinds); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            bench_pin(0);
            kinds[i].run(strcmp(argv[2], "raw") == 0, bench_number(argv[3], 1));
            return 0;
        }
    }
    fprintf(stderr, "usage: calls recv|send|accept|wait raw|weir COUNT\n");
    return 2;
}
