/* What every backend of loop.h has to do, in the same way: what holds, what comes to hold, and how
 * it ends. */
#include "clock.h"
#include "support/loop_rig.h"
#include "sys.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- descriptors --------------------------------------------------------------------------- */

static int tcp_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int listener(struct sockaddr_in *ret)
{
    socklen_t length = sizeof *ret;
    int fd = tcp_socket();

    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_return_code(bind(fd, (struct sockaddr *)ret, sizeof *ret), errno);
    assert_return_code(listen(fd, 8), errno);
    getsockname(fd, (struct sockaddr *)ret, &length);
    return fd;
}

static int connect_to(const struct sockaddr_in *a)
{
    int fd = tcp_socket();

    if (connect(fd, (const struct sockaddr *)a, sizeof *a) < 0)
        assert_int_equal(errno, EINPROGRESS);
    return fd;
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in a;
    int listen_fd = listener(&a);
    struct pollfd wait = {.fd = listen_fd, .events = POLLIN};

    fds[0] = connect_to(&a);
    poll(&wait, 1, -1);
    fds[1] = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_return_code(fds[1], errno);
    close(listen_fd);
}

/* ---- ready and not ready ------------------------------------------------------------------- */

static void ready_before(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    put(fds[1]);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_await(rig, 1);
    close_both(fds);
}

static void ready_after(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

/* A look finds what has come, without a wait. */
static void ready_for_a_look(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    for (int i = 0; i < 2; i++) {
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        loop_rig_look(rig);
        put(fds[1]);
        loop_rig_look(rig);
        take_all(fds[0]);
    }
    close_both(fds);
}

static void writable(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLOUT, &home);
    loop_rig_await(rig, 1);
    fill(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLOUT, &home);
    loop_rig_look(rig);
    take_all(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

static void reader_and_writer(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    actor_waits(rig, &b, "b", fds[0], POLLOUT, &home);
    loop_rig_await(rig, 1);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

static void one_for_both(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    fill(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLIN | POLLOUT, &home);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    take_all(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLIN | POLLOUT, &home);
    loop_rig_look(rig);
    take_all(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

/* What came between the last try and the wait is not lost. */
static void ready_between(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    for (int i = 0; i < 3; i++) {
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        loop_rig_look(rig);
        put(fds[1]);
        loop_rig_await(rig, 1);
        take_all(fds[0]);
        put(fds[1]);
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        loop_rig_await(rig, 1);
        take_all(fds[0]);
    }
    close_both(fds);
}

/* Events that nobody waited for and that are over do not end a later wait. */
static void ready_no_more(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    put(fds[1]);
    loop_rig_await(rig, 1);
    put(fds[1]);
    loop_rig_look(rig);
    take_all(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

/* ---- ends and errors ----------------------------------------------------------------------- */

static void hang_up(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    fill(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    actor_waits(rig, &b, "b", fds[0], POLLOUT, &home);
    loop_rig_look(rig);
    close(fds[1]);
    loop_rig_await(rig, 2);
    /* It stays so, and each new wait ends. */
    actor_waits(rig, &a, "a", fds[0], POLLIN, NULL);
    loop_rig_await(rig, 1);
    close(fds[0]);
}

/* Nobody waits for what has hung up: the loop can sleep. */
static void hung_up_alone(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0}, other = {0};
    int fds[2], others[2];

    unix_pair(fds);
    unix_pair(others);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    close(fds[1]);
    loop_rig_await(rig, 1);
    actor_waits(rig, &b, "b", others[0], POLLIN, &other);
    loop_rig_look(rig);
    loop_rig_sleep(rig);
    put(others[1]);
    loop_rig_await(rig, 1);
    close(fds[0]);
    close_both(others);
}

/* The peer sends no more, but takes what is sent. */
static void half_closed(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    fill(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    actor_waits(rig, &b, "b", fds[0], POLLOUT, &home);
    loop_rig_look(rig);
    shutdown(fds[1], SHUT_WR);
    loop_rig_await(rig, 1);
    loop_rig_look(rig);
    take_all(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

static void reset(struct loop_rig *rig)
{
    static const struct linger at_once = {.l_onoff = 1};
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2];

    tcp_pair(fds);
    fill(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    actor_waits(rig, &b, "b", fds[0], POLLOUT, &home);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fds[1]);
    loop_rig_await(rig, 2);
    close(fds[0]);
}

static void error_of_a_datagram(struct loop_rig *rig)
{
    struct sockaddr_in a;
    struct actor reader = {.fd = -1};
    struct home home = {0};
    int closed = listener(&a), fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    close(closed);
    assert_return_code(connect(fd, (struct sockaddr *)&a, sizeof a), errno);
    actor_waits(rig, &reader, "a", fd, POLLIN, &home);
    put(fd);
    loop_rig_await(rig, 1);
    close(fd);
}

static void connects(struct loop_rig *rig)
{
    struct sockaddr_in address;
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0}, client_home = {0};
    int listen_fd = listener(&address);

    actor_waits(rig, &a, "a", listen_fd, POLLIN, &home);
    loop_rig_look(rig);
    int fd = connect_to(&address);
    actor_waits(rig, &b, "b", fd, POLLOUT, &client_home);
    loop_rig_await(rig, 2);
    close(fd);
    loop_forget(rig->loop, listen_fd, &home);
    close(listen_fd);
    int refused = connect_to(&address);
    actor_waits(rig, &b, "b", refused, POLLOUT, &client_home);
    loop_rig_await(rig, 1);
    close(refused);
}

static void pipes(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    assert_return_code(pipe2(fds, O_NONBLOCK | O_CLOEXEC), errno);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    close(fds[1]);
    loop_rig_await(rig, 1);
    close(fds[0]);
    assert_return_code(pipe2(fds, O_NONBLOCK | O_CLOEXEC), errno);
    while (write(fds[1], "x", 1) > 0)
        continue;
    home = (struct home){0};
    actor_waits(rig, &a, "a", fds[1], POLLOUT, &home);
    loop_rig_look(rig);
    close(fds[0]);
    loop_rig_await(rig, 1);
    close(fds[1]);
}

/* What cannot be waited for is always ready. */
static void files(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    FILE *file = tmpfile();

    actor_waits(rig, &a, "a", fileno(file), POLLIN, &home);
    loop_rig_await(rig, 1);
    actor_waits(rig, &a, "a", fileno(file), POLLOUT, NULL);
    loop_rig_await(rig, 1);
    fclose(file);
}

static void no_descriptor(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    close_both(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_await(rig, 1);
}

/* ---- scripts ------------------------------------------------------------------------------- */

static const struct loop_script scripts[] = {
    LOOP_SCRIPT(ready_before, "a:in "),
    LOOP_SCRIPT(ready_after, "- a:in "),
    LOOP_SCRIPT(ready_for_a_look, "- a:in - a:in "),
    LOOP_SCRIPT(writable, "a:out - a:out "),
    LOOP_SCRIPT(reader_and_writer, "- b:out - a:in "),
    LOOP_SCRIPT(one_for_both, "- a:in - a:out "),
    LOOP_SCRIPT(ready_between, "- a:in a:in - a:in a:in - a:in a:in "),
    LOOP_SCRIPT(ready_no_more, "a:in - - a:in "),
    LOOP_SCRIPT(hang_up, "- a:in b:out a:in "),
    LOOP_SCRIPT(hung_up_alone, "a:in - slept b:in "),
    LOOP_SCRIPT(half_closed, "- a:in - b:out "),
    LOOP_SCRIPT(reset, "a:in b:out "),
    LOOP_SCRIPT(error_of_a_datagram, "a:in "),
    LOOP_SCRIPT(connects, "- a:in b:out b:out "),
    LOOP_SCRIPT(pipes, "- a:in - a:out "),
    LOOP_SCRIPT(files, "a:in a:out "),
    LOOP_SCRIPT(no_descriptor, "a:bad "),
};

int main(void)
{
    return loop_rig_play("loops", scripts, sizeof scripts / sizeof *scripts);
}
