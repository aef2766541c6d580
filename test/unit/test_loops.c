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
    put(rig->stage.fds[1]);
    reads(rig, "a");
    loop_rig_await(rig, 1);
}

static void ready_after(struct loop_rig *rig)
{
    reads(rig, "a");
    loop_rig_look(rig);
    comes(rig, 1);
}

/* A look finds what has come, without a wait. */
static void ready_for_a_look(struct loop_rig *rig)
{
    for (int i = 0; i < 2; i++) {
        reads(rig, "a");
        loop_rig_look(rig);
        put(rig->stage.fds[1]);
        loop_rig_look(rig);
        stage_take(rig);
    }
}

static void writable(struct loop_rig *rig)
{
    writes(rig, "a");
    loop_rig_await(rig, 1);
    fill(rig->stage.fds[0]);
    writes(rig, "a");
    loop_rig_look(rig);
    take_all(rig->stage.fds[1]);
    loop_rig_await(rig, 1);
}

static void reader_and_writer(struct loop_rig *rig)
{
    reads(rig, "a");
    loop_rig_look(rig);
    writes(rig, "b");
    loop_rig_await(rig, 1);
    loop_rig_look(rig);
    comes(rig, 1);
}

static void one_for_both(struct loop_rig *rig)
{
    const int *fds = rig->stage.fds;

    fill(fds[0]);
    waits(rig, "a", fds[0], POLLIN | POLLOUT, &rig->stage.home);
    loop_rig_look(rig);
    comes(rig, 1);
    stage_take(rig);
    waits(rig, "a", fds[0], POLLIN | POLLOUT, &rig->stage.home);
    loop_rig_look(rig);
    take_all(fds[1]);
    loop_rig_await(rig, 1);
}

/* What came between the last try and the wait is not lost. */
static void ready_between(struct loop_rig *rig)
{
    for (int i = 0; i < 3; i++) {
        reads(rig, "a");
        loop_rig_look(rig);
        comes(rig, 1);
        stage_take(rig);
        put(rig->stage.fds[1]);
        reads(rig, "a");
        loop_rig_await(rig, 1);
        stage_take(rig);
    }
}

/* Events that nobody waited for and that are over do not end a later wait. */
static void ready_no_more(struct loop_rig *rig)
{
    reads(rig, "a");
    comes(rig, 1);
    put(rig->stage.fds[1]);
    loop_rig_look(rig);
    stage_take(rig);
    reads(rig, "a");
    loop_rig_look(rig);
    comes(rig, 1);
}

/* ---- ends and errors ----------------------------------------------------------------------- */

/* There is nothing to read, and no room to write. */
static void wait_for_each(struct loop_rig *rig, int fd)
{
    fill(fd);
    waits(rig, "a", fd, POLLIN, &rig->stage.home);
    waits(rig, "b", fd, POLLOUT, &rig->stage.home);
}

static void hang_up(struct loop_rig *rig)
{
    wait_for_each(rig, rig->stage.fds[0]);
    loop_rig_look(rig);
    stage_close(rig, 1);
    loop_rig_await(rig, 2);
    /* It stays so, and each new wait ends. */
    waits(rig, "a", rig->stage.fds[0], POLLIN, NULL);
    loop_rig_await(rig, 1);
}

/* Nobody waits for what has hung up: the loop can sleep. */
static void hung_up_alone(struct loop_rig *rig)
{
    struct home other = {0};
    int others[2];

    unix_pair(others);
    reads(rig, "a");
    stage_close(rig, 1);
    loop_rig_await(rig, 1);
    waits(rig, "b", others[0], POLLIN, &other);
    loop_rig_look(rig);
    loop_rig_sleep(rig);
    put(others[1]);
    loop_rig_await(rig, 1);
    close_both(others);
}

/* The peer sends no more, but takes what is sent. */
static void half_closed(struct loop_rig *rig)
{
    wait_for_each(rig, rig->stage.fds[0]);
    loop_rig_look(rig);
    shutdown(rig->stage.fds[1], SHUT_WR);
    loop_rig_await(rig, 1);
    loop_rig_look(rig);
    take_all(rig->stage.fds[1]);
    loop_rig_await(rig, 1);
}

static void reset(struct loop_rig *rig)
{
    static const struct linger at_once = {.l_onoff = 1};
    int fds[2];

    tcp_pair(fds);
    wait_for_each(rig, fds[0]);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fds[1]);
    loop_rig_await(rig, 2);
    close(fds[0]);
}

static void error_of_a_datagram(struct loop_rig *rig)
{
    struct sockaddr_in a;
    int closed = listener(&a), fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    close(closed);
    assert_return_code(connect(fd, (struct sockaddr *)&a, sizeof a), errno);
    waits(rig, "a", fd, POLLIN, &rig->stage.home);
    put(fd);
    loop_rig_await(rig, 1);
    close(fd);
}

static void connects(struct loop_rig *rig)
{
    struct sockaddr_in address;
    struct home *home = &rig->stage.home, client_home = {0};
    int listen_fd = listener(&address);

    waits(rig, "a", listen_fd, POLLIN, home);
    loop_rig_look(rig);
    int fd = connect_to(&address);
    waits(rig, "b", fd, POLLOUT, &client_home);
    loop_rig_await(rig, 2);
    close(fd);
    loop_forget(rig->loop, listen_fd, home);
    close(listen_fd);
    int refused = connect_to(&address);
    waits(rig, "b", refused, POLLOUT, &client_home);
    loop_rig_await(rig, 1);
    close(refused);
}

static void pipes(struct loop_rig *rig)
{
    struct home *home = &rig->stage.home;
    int fds[2];

    assert_return_code(pipe2(fds, O_NONBLOCK | O_CLOEXEC), errno);
    waits(rig, "a", fds[0], POLLIN, home);
    loop_rig_look(rig);
    close(fds[1]);
    loop_rig_await(rig, 1);
    close(fds[0]);
    assert_return_code(pipe2(fds, O_NONBLOCK | O_CLOEXEC), errno);
    while (write(fds[1], "x", 1) > 0)
        continue;
    *home = (struct home){0};
    waits(rig, "a", fds[1], POLLOUT, home);
    loop_rig_look(rig);
    close(fds[0]);
    loop_rig_await(rig, 1);
    close(fds[1]);
}

/* What cannot be waited for is always ready. */
static void files(struct loop_rig *rig)
{
    FILE *file = tmpfile();

    waits(rig, "a", fileno(file), POLLIN, &rig->stage.home);
    loop_rig_await(rig, 1);
    waits(rig, "a", fileno(file), POLLOUT, NULL);
    loop_rig_await(rig, 1);
    fclose(file);
}

static void no_descriptor(struct loop_rig *rig)
{
    int closed = rig->stage.fds[0];

    stage_close(rig, 0);
    stage_close(rig, 1);
    waits(rig, "a", closed, POLLIN, &rig->stage.home);
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
