/* The door to the system: no SIGPIPE, threads without signals, faults that tests ask for. */
#include "sys.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

static int broken_pipe(void)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    sys_close(fds[0]);
    return fds[1];
}

static bool sigpipe_is_pending(void)
{
    sigset_t pending;

    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

static bool sigpipe_is_blocked(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, SIGPIPE) == 1;
}

static void block_sigpipe(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(how, &set, NULL);
}

static volatile sig_atomic_t pipes_seen;

static void count_sigpipe(int signal)
{
    (void)signal;
    pipes_seen = pipes_seen + 1;
}

/* Neither raised, nor left behind, nor is the mask changed, whatever the program does with it. */
static void writing_to_a_broken_pipe_raises_nothing(void **state)
{
    void (*const actions[])(int) = {SIG_DFL, SIG_IGN, count_sigpipe};
    int fd = broken_pipe();

    (void)state;
    for (int blocked = 0; blocked < 2; blocked++) {
        for (size_t i = 0; i < 3; i++) {
            signal(SIGPIPE, actions[i]);
            block_sigpipe(blocked ? SIG_BLOCK : SIG_UNBLOCK);
            errno = 0;
            assert_int_equal(sys_write(fd, "x", 1), -EPIPE);
            assert_false(sigpipe_is_pending());
            assert_int_equal(sigpipe_is_blocked(), blocked);
            block_sigpipe(SIG_UNBLOCK);
        }
    }
    assert_int_equal(pipes_seen, 0);
    signal(SIGPIPE, SIG_DFL);
    sys_close(fd);
}

/* A SIGPIPE of the program's own, blocked and pending, is still there afterwards. */
static void a_pending_sigpipe_is_left_alone(void **state)
{
    int fd = broken_pipe();

    (void)state;
    signal(SIGPIPE, count_sigpipe);
    pipes_seen = 0;
    block_sigpipe(SIG_BLOCK);
    pthread_kill(pthread_self(), SIGPIPE);
    assert_int_equal(sys_write(fd, "x", 1), -EPIPE);
    assert_true(sigpipe_is_pending());
    assert_int_equal(pipes_seen, 0);
    block_sigpipe(SIG_UNBLOCK);
    assert_int_equal(pipes_seen, 1);
    signal(SIGPIPE, SIG_DFL);
    sys_close(fd);
}

/* ---- a peer that leaves in the middle -------------------------------------------------------- */

#define MUCH ((size_t)512 * 1024)

struct moving {
    int from, to;
    ssize_t moved;
};

/* What it raises would be the end of the test. */
static void *moves_much(void *arg)
{
    struct moving *m = arg;
    static char bytes[MUCH];

    m->moved = m->from < 0 ? sys_write(m->to, bytes, MUCH) : sys_splice(m->from, m->to, MUCH);
    assert_false(sigpipe_is_pending());
    return NULL;
}

/* Some of it goes, and blocks for lack of room; then `reader` leaves. */
static void leaves_in_the_middle(struct moving *m, int reader)
{
    pthread_t thread;
    int there = 0;

    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(pthread_create(&thread, NULL, moves_much, m), 0);
    while (there == 0)
        assert_int_equal(ioctl(reader, FIONREAD, &there), 0);
    sys_close(reader);
    pthread_join(thread, NULL);
    assert_true(m->moved > 0 && (size_t)m->moved < MUCH);
    sys_close(m->to);
}

static void pipes_that_break_in_the_middle_raise_nothing(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    leaves_in_the_middle(&(struct moving){.from = -1, .to = fds[1]}, fds[0]);
}

static void splices_that_break_in_the_middle_raise_nothing(void **state)
{
    int fds[2], pair[2];
    char *bytes = calloc(1, MUCH);

    (void)state;
    assert_int_equal(sys_pipe(fds), 0);
    assert_true(sys_pipe_size(fds[1], MUCH) >= 0);
    assert_int_equal(sys_write(fds[1], bytes, MUCH), MUCH);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    leaves_in_the_middle(&(struct moving){.from = fds[0], .to = pair[0]}, pair[1]);
    sys_close(fds[0]);
    sys_close(fds[1]);
    free(bytes);
}

static void pipes_carry_bytes(void **state)
{
    int fds[2];
    char buf[8];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(sys_write(fds[1], "abc", 3), 3);
    assert_int_equal(sys_read(fds[0], buf, sizeof(buf)), 3);
    sys_close(fds[1]);
    assert_int_equal(sys_read(fds[0], buf, sizeof(buf)), 0);
    sys_close(fds[0]);
    assert_int_equal(sys_read(fds[0], buf, sizeof(buf)), -EBADF);
    assert_int_equal(sys_write(fds[0], buf, 1), -EBADF);
}

static sem_t seen;
static sigset_t mask_seen;

static void *see_mask(void *arg)
{
    pthread_sigmask(SIG_BLOCK, NULL, &mask_seen);
    sem_post(arg);
    return NULL;
}

/* No handler of the program runs in a thread that it did not start. */
static void threads_take_no_signals(void **state)
{
    (void)state;
    sem_init(&seen, 0, 0);
    assert_int_equal(sys_thread(see_mask, &seen), 0);
    while (sem_wait(&seen) < 0)
        continue;
    for (int signal = 1; signal < 32; signal++)
        if (signal != SIGKILL && signal != SIGSTOP)
            assert_int_equal(sigismember(&mask_seen, signal), 1);
    assert_false(sigpipe_is_blocked());
}

static void what_is_opened_is_close_on_exec(void **state)
{
    int pair[2], opened[6];

    (void)state;
    assert_int_equal(sys_socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    opened[0] = sys_socket(AF_UNIX, SOCK_STREAM, 0);
    opened[1] = sys_eventfd();
    opened[2] = sys_timerfd();
    opened[3] = sys_epoll_create();
    opened[4] = sys_open("/dev/null", O_RDONLY);
    opened[5] = sys_dup_over(pair[0], pair[1]);
    assert_int_equal(opened[5], pair[1]);
    sys_close(pair[0]);
    for (size_t i = 0; i < 6; i++) {
        assert_true(fcntl(opened[i], F_GETFD) & FD_CLOEXEC);
        sys_close(opened[i]);
    }
    errno = EXDEV;
    sys_close(opened[0]);
    sys_close(-1);
    assert_int_equal(errno, EXDEV);
}

static void timers_fire_at_once_for_the_past_and_never_when_disarmed(void **state)
{
    static const struct timespec at_once = {0};
    struct pollfd p = {.fd = sys_timerfd(), .events = POLLIN};

    (void)state;
    assert_int_equal(sys_timerfd_set(p.fd, 0), 0);
    assert_int_equal(sys_poll(&p, 1, NULL), 1);
    assert_int_equal(sys_timerfd_set(p.fd, UINT64_MAX), 0);
    assert_int_equal(sys_poll(&p, 1, &at_once), 0);
    assert_int_equal(sys_timerfd_set(p.fd, UINT64_MAX - 1), 0);
    assert_int_equal(sys_poll(&p, 1, &at_once), 0);
    sys_close(p.fd);
}

/* That there is no descriptor to ask with is not that there is no interface. */
static void interfaces(void **state)
{
    struct rlimit before, none;

    (void)state;
    assert_int_equal(sys_interface("no such"), -ENODEV);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(sys_interface("lo"), -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static enum sys_call failing;

static int fail_one(enum sys_call call)
{
    return call == failing ? -ENOSYS : 0;
}

static size_t one_byte(enum sys_call call, size_t len)
{
    (void)call;
    return len > 1 ? 1 : len;
}

static uint64_t noon(void)
{
    return 12;
}

static void *no_thread(void *arg)
{
    fail_msg("%s", "a thread was started");
    return arg;
}

static void faults_are_injected(void **state)
{
    static const struct sys_faults faults = {.error = fail_one, .amount = one_byte, .now = noon};
    int fds[2];
    char buf[4];
    void *memory;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    sys_faults = &faults;
    failing = SYS_ALLOC;
    memory = sys_alloc(1);
    assert_null(memory);
    free(memory);
    failing = SYS_SOCKET;
    assert_int_equal(sys_socket(AF_UNIX, SOCK_STREAM, 0), -ENOSYS);
    assert_int_equal(sys_interface("lo"), -ENOSYS);
    failing = SYS_THREAD;
    assert_int_equal(sys_thread(no_thread, NULL), -ENOSYS);
    failing = SYS_SEND;
    assert_int_equal(sys_write(fds[1], "abc", 3), -ENOSYS);
    failing = SYS_CALLS;
    assert_int_equal(sys_write(fds[1], "abc", 3), 1);
    assert_int_equal(sys_write(fds[1], "bc", 2), 1);
    assert_int_equal(sys_read(fds[0], buf, sizeof(buf)), 1);
    assert_int_equal(sys_now(), 12);
    sys_faults = NULL;
    assert_int_not_equal(sys_now(), 12);
    assert_int_equal(sys_read(fds[0], buf, sizeof(buf)), 1);
    sys_close(fds[0]);
    sys_close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writing_to_a_broken_pipe_raises_nothing),
        cmocka_unit_test(a_pending_sigpipe_is_left_alone),
        cmocka_unit_test(pipes_that_break_in_the_middle_raise_nothing),
        cmocka_unit_test(splices_that_break_in_the_middle_raise_nothing),
        cmocka_unit_test(pipes_carry_bytes),
        cmocka_unit_test(threads_take_no_signals),
        cmocka_unit_test(what_is_opened_is_close_on_exec),
        cmocka_unit_test(timers_fire_at_once_for_the_past_and_never_when_disarmed),
        cmocka_unit_test(interfaces),
        cmocka_unit_test(faults_are_injected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
