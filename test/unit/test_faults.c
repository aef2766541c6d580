/* When a resource runs out in the middle: the error comes out, nothing is left behind. */
#include "sys.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <weir.h>

#include <cmocka.h>

/* Fails the call number `fail_at` of those that can fail, counted from 1, with `fail_with`. */
static atomic_int calls, fail_at, fail_with;

static int fail_one(enum sys_call call)
{
    if (call == SYS_POLL)
        return 0;
    return atomic_fetch_add(&calls, 1) + 1 == fail_at ? -fail_with : 0;
}

static const struct sys_faults one_fault = {.error = fail_one};

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Runs `story` with its first call failing, its second, …, until it runs through. Each failure must
 * come out as what the call said, or as -ENOMEM, and leave no descriptor; the leak checkers see to
 * memory. */
static void fail_each_call(int (*story)(void), int with)
{
    int before = open_descriptors(), rc;

    assert_int_equal(story(), 0);
    fail_with = with;
    for (fail_at = 1;; fail_at++) {
        calls = 0;
        sys_faults = &one_fault;
        rc = story();
        sys_faults = NULL;
        assert_int_equal(open_descriptors(), before);
        if (calls < fail_at)
            break;
        assert_true(rc == -with || rc == -ENOMEM || rc == 0);
    }
    assert_int_equal(rc, 0);
    assert_true(fail_at > 1);
}

static int make_a_pair(void)
{
    weir_socket *pair[2];
    int rc = weir_pair(pair, SOCK_STREAM);

    for (int i = 0; rc == 0 && i < 2; i++)
        weir_close(pair[i]);
    return rc;
}

static int set_up_a_listener(void)
{
    static const int on = 1;
    weir_socket *s;
    weir_address a;
    int rc = weir_socket_open(&s, AF_INET, SOCK_STREAM, 0);

    if (rc < 0)
        return rc;
    rc = weir_set_option(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (rc == 0)
        rc = weir_bind(s, "127.0.0.1", 0);
    if (rc == 0)
        rc = weir_listen(s, 0);
    if (rc == 0)
        rc = weir_local_address(s, &a);
    weir_close(s);
    return rc;
}

static int adopt_and_detach(void)
{
    weir_socket *s;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = weir_from_fd(&s, fd);

    if (rc == 0) {
        rc = weir_bind(s, "127.0.0.1", 0);
        if (rc == 0)
            rc = weir_listen(s, 1);
        if (rc < 0)
            weir_close(s);
        else
            fd = weir_detach(s);
    }
    if (rc == 0)
        assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    if (fcntl(fd, F_GETFD) >= 0)
        close(fd);
    return rc;
}

static int pass_a_descriptor(void)
{
    weir_socket *pair[2];
    char byte = 'x';
    int fd = 0, got = -1;
    size_t count = 0;
    int rc = weir_pair(pair, SOCK_STREAM);

    if (rc < 0)
        return rc;
    ssize_t n = weir_send_fds(pair[0], &byte, 1, &fd, 1);
    if (n == 1)
        n = weir_recv_fds(pair[1], &byte, 1, &got, 1, &count, NULL);
    if (count == 1)
        close(got);
    weir_close(pair[0]);
    weir_close(pair[1]);
    return n == 1 ? 0 : (int)n;
}

static int send_datagrams(void)
{
    weir_socket *to, *from;
    weir_datagram_info info;
    weir_address a;
    char byte = 'x';
    int rc = weir_socket_open(&to, AF_INET, SOCK_DGRAM, 0);

    if (rc < 0)
        return rc;
    rc = weir_bind(to, "127.0.0.1", 0);
    if (rc == 0)
        rc = weir_local_address(to, &a);
    if (rc == 0)
        rc = weir_socket_open(&from, AF_UNSPEC, SOCK_DGRAM, 0);
    if (rc == 0) {
        ssize_t n = weir_send_to(from, &byte, 1, &a);
        weir_set_timeout(to, 1000);
        rc = (int)(n == 1 ? weir_recv_from(to, &byte, 1, &info) : n);
        rc = rc == 1 ? 0 : rc;
        weir_close(from);
    }
    weir_close(to);
    return rc;
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    fail_each_call(make_a_pair, EMFILE);
    fail_each_call(make_a_pair, ENOMEM);
    fail_each_call(set_up_a_listener, ENOBUFS);
    fail_each_call(adopt_and_detach, ENOMEM);
    fail_each_call(pass_a_descriptor, ENOMEM);
    fail_each_call(send_datagrams, ENOBUFS);
}

/* ---- a thread that has no descriptor to be woken by ----------------------------------------- */

static int no_descriptors(enum sys_call call)
{
    return call == SYS_EVENTFD || call == SYS_EPOLL_CREATE ? -EMFILE : 0;
}

static const struct sys_faults out_of_descriptors = {.error = no_descriptors};

static void *receive(void *socket)
{
    char byte;
    intptr_t n = weir_recv(socket, &byte, 1);

    weir_close(socket);
    return (void *)n;
}

/* It waits all the same, gets what comes, and notices an abort. */
static void waits_without_a_wake_descriptor(void **state)
{
    weir_socket *pair[2];
    pthread_t thread;
    void *n;

    (void)state;
    sys_faults = &out_of_descriptors;
    for (int aborted = 0; aborted < 2; aborted++) {
        assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
        pthread_create(&thread, NULL, receive, weir_ref(pair[0]));
        if (aborted)
            weir_abort(pair[0]);
        else
            assert_int_equal(weir_send(pair[1], "x", 1), 1);
        pthread_join(thread, &n);
        assert_int_equal((intptr_t)n, aborted ? WEIR_ECLOSED : 1);
        weir_close(pair[0]);
        weir_close(pair[1]);
    }
    sys_faults = NULL;
}

/* ---- partial moves, interruptions ----------------------------------------------------------- */

static atomic_int tick;

static int interrupt_every_other(enum sys_call call)
{
    if (call != SYS_RECV && call != SYS_SEND && call != SYS_POLL)
        return 0;
    return atomic_fetch_add(&tick, 1) % 2 ? -EINTR : 0;
}

static size_t a_little(enum sys_call call, size_t len)
{
    (void)call;
    return len > 3 ? 3 : len;
}

static const struct sys_faults bits_and_pieces = {
    .error = interrupt_every_other,
    .amount = a_little,
};

static void *echo(void *socket)
{
    char buf[4096];
    size_t done = 0;
    int rc = weir_recv_exact(socket, buf, sizeof buf, &done);

    done = 0;
    if (rc == 0)
        rc = weir_send_all(socket, buf, sizeof buf, &done);
    return (void *)(intptr_t)rc;
}

/* Every other call is interrupted, none moves more than three bytes: all arrive, in order. */
static void bytes_arrive_in_bits_and_pieces(void **state)
{
    unsigned char out[4096], in[sizeof out];
    weir_socket *pair[2];
    pthread_t thread;
    size_t sent = 0, received = 0;
    void *rc;

    (void)state;
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (unsigned char)(i * 7);
    assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
    sys_faults = &bits_and_pieces;
    pthread_create(&thread, NULL, echo, pair[1]);
    assert_int_equal(weir_send_all(pair[0], out, sizeof out, &sent), 0);
    assert_int_equal(weir_recv_exact(pair[0], in, sizeof in, &received), 0);
    pthread_join(thread, &rc);
    sys_faults = NULL;
    assert_int_equal((intptr_t)rc, 0);
    assert_memory_equal(in, out, sizeof out);
    weir_close(pair[0]);
    weir_close(pair[1]);
}

/* ---- the kernel's passing moods while accepting --------------------------------------------- */

static const int moods[] = {ECONNABORTED, EPROTO,      ENETDOWN,  ENOPROTOOPT, EHOSTDOWN, ENONET,
                            EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EPERM,       EINTR};
static atomic_uint mood;

static int moody_accept(enum sys_call call)
{
    unsigned i = call == SYS_ACCEPT ? atomic_fetch_add(&mood, 1) : UINT_MAX;
    return i < sizeof moods / sizeof *moods ? -moods[i] : 0;
}

static const struct sys_faults moody = {.error = moody_accept};

static weir_socket *listener(weir_address *ret)
{
    weir_socket *s;

    assert_int_equal(weir_listen_on(&s, "tcp://127.0.0.1:0", NULL), 0);
    assert_int_equal(weir_local_address(s, ret), 0);
    return s;
}

/* Errors of a connection that is gone do not reach the caller, who gets the next one. */
static void accept_skips_passing_errors(void **state)
{
    weir_socket *l, *client, *accepted;
    weir_address a;

    (void)state;
    l = listener(&a);
    assert_int_equal(weir_socket_open(&client, AF_INET, SOCK_STREAM, 0), 0);
    assert_int_equal(weir_connect_address(client, &a), 0);
    sys_faults = &moody;
    assert_int_equal(weir_accept(l, &accepted), 0);
    sys_faults = NULL;
    assert_int_equal(mood, sizeof moods / sizeof *moods + 1);
    weir_close(accepted);
    weir_close(client);
    weir_close(l);
}

static atomic_int accepts, exhausted_for;

static int exhausted_accept(enum sys_call call)
{
    if (call != SYS_ACCEPT)
        return 0;
    return atomic_fetch_add(&accepts, 1) < exhausted_for ? -EMFILE : 0;
}

static const struct sys_faults exhausted = {.error = exhausted_accept};

/* Out of descriptors: a blocking accept waits until there are some, and does not spin meanwhile. */
static void accept_outlasts_exhaustion(void **state)
{
    weir_socket *l, *client, *accepted;
    weir_address a;

    (void)state;
    l = listener(&a);
    assert_int_equal(weir_socket_open(&client, AF_INET, SOCK_STREAM, 0), 0);
    assert_int_equal(weir_connect_address(client, &a), 0);
    accepts = 0;
    exhausted_for = 3;
    sys_faults = &exhausted;
    assert_int_equal(weir_accept(l, &accepted), 0);
    assert_int_equal(accepts, 4);
    weir_close(accepted);
    accepts = 0;
    exhausted_for = INT_MAX;
    weir_set_timeout(l, 120);
    assert_int_equal(weir_accept(l, &accepted), WEIR_EDEADLINE);
    assert_in_range(accepts, 1, 4);
    weir_set_blocking(l, false);
    assert_int_equal(weir_accept(l, &accepted), -EMFILE);
    sys_faults = NULL;
    weir_close(client);
    weir_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(waits_without_a_wake_descriptor),
        cmocka_unit_test(bytes_arrive_in_bits_and_pieces),
        cmocka_unit_test(accept_skips_passing_errors),
        cmocka_unit_test(accept_outlasts_exhaustion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
