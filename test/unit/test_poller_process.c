/* The poller and its process: no descriptors left, children that share the epoll set. */
#include "support/poller_fixture.h"

#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- no descriptors -------------------------------------------------------------------------- */

/* The listener stays readable while accept fails. It is left alone for a while, and then heals. */
static void a_listener_without_descriptors_does_not_spin_and_heals(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *accepted, *listener = listener_open(&where), *client = tcp_open();

    assert_int_equal(weir_poller_add(f->p, listener, WEIR_READABLE, listener), 0);
    (void)weir_connect_address(client, &where);
    expect_one(f, listener, WEIR_READABLE, listener);
    faults_start(SYS_ACCEPT, -EMFILE, 1);
    assert_int_equal(weir_accept(listener, &accepted), -EMFILE);
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 5), 0);
    assert_int_equal(faults_calls(SYS_EPOLL_WAIT), 1);
    expect_one(f, listener, WEIR_READABLE, listener);
    assert_int_equal(weir_accept(listener, &accepted), 0);
    expect_nothing(f);
    assert_false(poller_fd_ready(f->p));
    weir_close(accepted);
    weir_close(client);
    weir_close(listener);
}

/* ---- children -------------------------------------------------------------------------------- */

/* A child that does what `fn` says while the parent goes on. */
struct child {
    pid_t pid;
    int ready, go; /* ends of pipes in the parent: read, write */
};

static int hear(int fd)
{
    char byte;
    return read(fd, &byte, 1) == 1;
}

static void say(int fd)
{
    if (write(fd, "x", 1) != 1)
        _exit(99);
}

/* In the child assertions would return into the test runner: `fn` returns 0 or the line that
 * failed, modulo what an exit status can hold. */
static void child_start(struct child *c, int (*fn)(void *arg), void *arg)
{
    int ready[2], go[2];

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        close(ready[0]);
        close(go[1]);
        int rc = fn(arg);
        say(ready[1]);
        if (rc == 0)
            (void)hear(go[0]);
        _exit(rc & 127);
    }
    close(ready[1]);
    close(go[0]);
    c->ready = ready[0];
    c->go = go[1];
    assert_true(hear(c->ready));
}

static void child_end(struct child *c)
{
    int status;

    close(c->go);
    close(c->ready);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

struct inherited {
    struct poller_fixture *f;
    weir_socket *pair[2], *other[2];
};

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ & 127 ? __LINE__ & 127 : 1;                                            \
    } while (0)

/* Everything that a child could get into its head to do. */
static int meddle(void *arg)
{
    struct inherited *in = arg;
    weir_poller *p = in->f->p;

    REQUIRE(weir_poller_wait(p, in->f->events, EVENTS, 0) == -EINVAL);
    REQUIRE(weir_poller_add(p, in->other[0], WEIR_READABLE, NULL) == -EINVAL);
    REQUIRE(weir_poller_modify(p, in->pair[0], 0, NULL) == -EINVAL);
    REQUIRE(weir_poller_remove(p, in->pair[0]) == -EINVAL);
    REQUIRE(weir_poller_wake(p) == -EINVAL);
    weir_abort(in->pair[0]);
    weir_close(in->pair[0]);
    weir_drop(in->pair[1]);
    REQUIRE(weir_poller_close(p) == 0);
    weir_close(in->other[0]);
    weir_close(in->other[1]);
    REQUIRE(weir_poller_open(&p) == 0);
    REQUIRE(weir_poller_wake(p) == 0);
    REQUIRE(weir_poller_wait(p, in->f->events, EVENTS, -1) == 0);
    REQUIRE(weir_poller_close(p) == 0);
    return 0;
}

static void a_child_cannot_disturb_its_parent(void **state)
{
    struct poller_fixture *f = *state;
    struct inherited in = {.f = f};
    struct child child;

    pair_open(in.pair);
    pair_open(in.other);
    assert_int_equal(weir_poller_add(f->p, in.pair[0], WEIR_READABLE, f), 0);
    assert_int_equal(weir_poller_add(f->p, in.other[1], WEIR_READABLE, f), 0);
    child_start(&child, meddle, &in);
    expect_nothing(f);
    send_byte(in.pair[1]);
    expect_one(f, in.pair[0], WEIR_READABLE, f);
    child_end(&child);
    expect_one(f, in.pair[0], WEIR_READABLE, f);
    conversation_close(in.pair);
    conversation_close(in.other);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* close(2) does not take a descriptor out of an epoll set while another process has the file open:
 * it has to be taken out by hand, or its events come for ever. */
static void a_socket_that_a_child_still_has_open_is_gone_when_it_is_closed(void **state)
{
    struct poller_fixture *f = *state;
    weir_socket *pair[2];
    struct child child;

    pair_open(pair);
    assert_int_equal(weir_poller_add(f->p, pair[0], WEIR_READABLE, NULL), 0);
    child_start(&child, do_nothing, NULL);
    send_byte(pair[1]);
    expect_one(f, pair[0], WEIR_READABLE, NULL);
    weir_close(pair[0]);
    assert_false(poller_fd_ready(f->p));
    expect_nothing(f);
    child_end(&child);
    weir_close(pair[1]);
}

/* The same for what a connect closes by itself. */
static void an_attempt_that_a_child_still_has_open_is_gone_when_it_fails(void **state)
{
    struct poller_fixture *f = *state;
    weir_address where;
    weir_socket *s = tcp_open();
    struct child child;

    weir_close(listener_open(&where));
    assert_int_equal(weir_connect_address(s, &where), -EINPROGRESS);
    assert_int_equal(weir_poller_add(f->p, s, WEIR_WRITABLE, NULL), 0);
    child_start(&child, do_nothing, NULL);
    expect_one(f, s, WEIR_WRITABLE, NULL);
    assert_int_equal(weir_poller_modify(f->p, s, 0, NULL), 0);
    expect_nothing(f);
    assert_false(poller_fd_ready(f->p));
    child_end(&child);
    weir_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(a_listener_without_descriptors_does_not_spin_and_heals),
        POLLER_TEST(a_child_cannot_disturb_its_parent),
        POLLER_TEST(a_socket_that_a_child_still_has_open_is_gone_when_it_is_closed),
        POLLER_TEST(an_attempt_that_a_child_still_has_open_is_gone_when_it_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
