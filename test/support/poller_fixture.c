#include "support/poller_fixture.h"

#include "context.h"
#include "sys.h"

#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct {
    atomic_int calls[SYS_CALLS];
    enum sys_call error_call;
    int error_rc;
    atomic_int error_count;
} faults;

static int fault(enum sys_call call)
{
    atomic_fetch_add(&faults.calls[call], 1);
    if (call != faults.error_call || atomic_load(&faults.error_count) <= 0)
        return 0;
    return atomic_fetch_sub(&faults.error_count, 1) > 0 ? faults.error_rc : 0;
}

void faults_start(int error_call, int error_rc, int error_count)
{
    static const struct sys_faults counting = {.error = fault};

    sys_faults = NULL;
    for (int i = 0; i < SYS_CALLS; i++)
        atomic_store(&faults.calls[i], 0);
    faults.error_call = (enum sys_call)error_call;
    faults.error_rc = error_rc;
    atomic_store(&faults.error_count, error_count);
    sys_faults = &counting;
}

int faults_calls(int call)
{
    return atomic_load(&faults.calls[call]);
}

int poller_fixture_open(void **state)
{
    /* The thread keeps this one once it has waited. */
    if (context_wake_fd(context_current()) < 0)
        return -1;
    struct poller_fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    watch_fds(&f->before);
    *state = f;
    return weir_poller_open(&f->p);
}

/* The resolver's thread closes its sockets in its own time, and one that goes while it is looked at
 * may be taken for something else. */
#define LOOKS 1000

int poller_fixture_close(void **state)
{
    struct poller_fixture *f = *state;
    char what[128];
    int fd = -1;

    sys_faults = NULL;
    weir_poller_close(f->p);
    for (int looks = f->resolver ? LOOKS : 1; looks > 0; looks--) {
        fd = watch_new_fd(&f->before, f->resolver, what, sizeof what);
        if (fd < 0)
            break;
        sched_yield();
    }
    if (fd >= 0)
        printf("# descriptor %d was left open: %s\n", fd, what);
    free(f);
    return fd >= 0 ? -1 : 0;
}

int wait_once(struct poller_fixture *f)
{
    return weir_poller_wait(f->p, f->events, EVENTS, -1);
}

void expect_one(struct poller_fixture *f, weir_socket *s, unsigned events, const void *data)
{
    assert_int_equal(wait_once(f), 1);
    assert_ptr_equal(f->events[0].socket, s);
    assert_ptr_equal(f->events[0].data, data);
    assert_int_equal(f->events[0].events, events);
}

void expect_nothing(struct poller_fixture *f)
{
    assert_int_equal(weir_poller_wait(f->p, f->events, EVENTS, 0), 0);
}

bool poller_fd_ready(const weir_poller *p)
{
    struct pollfd fd = {.fd = weir_poller_fd(p), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

void pair_open(weir_socket *pair[2])
{
    assert_int_equal(weir_pair(pair, SOCK_STREAM | SOCK_NONBLOCK), 0);
}

void conversation_close(weir_socket *pair[2])
{
    weir_close(pair[0]);
    weir_close(pair[1]);
}

void send_byte(weir_socket *s)
{
    assert_int_equal(weir_send(s, "x", 1), 1);
}

void recv_byte(weir_socket *s)
{
    char byte;
    assert_int_equal(weir_recv(s, &byte, 1), 1);
}

weir_socket *listener_open(weir_address *ret_where)
{
    weir_socket *listener;

    assert_int_equal(
        weir_listen_on(&listener, "tcp://127.0.0.1:0", WEIR_LISTEN_OPTIONS(.nonblocking = true)),
        0);
    assert_int_equal(weir_local_address(listener, ret_where), 0);
    return listener;
}

weir_socket *tcp_open(void)
{
    weir_socket *s;

    assert_int_equal(weir_socket_open(&s, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    return s;
}

static weir_socket *unix_open(void)
{
    weir_socket *s;

    assert_int_equal(weir_socket_open(&s, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    return s;
}

void full_listener_open(struct full_listener *l)
{
    char name[64];
    static int counter;

    snprintf(name, sizeof name, "unix:@weir-poller-test-%d-%d", (int)getpid(), counter++);
    assert_int_equal(weir_address_parse(name, &l->where), 0);
    l->listener = unix_open();
    assert_int_equal(weir_bind_address(l->listener, &l->where), 0);
    assert_int_equal(weir_listen(l->listener, 1), 0);
    /* A backlog of one has room for two. */
    l->client = unix_open();
    assert_int_equal(weir_connect_address(l->client, &l->where), 0);
    weir_close(l->client);
    l->client = unix_open();
    assert_int_equal(weir_connect_address(l->client, &l->where), 0);
}

void full_listener_drain(struct full_listener *l)
{
    weir_socket *accepted;

    while (weir_accept(l->listener, &accepted) == 0)
        weir_close(accepted);
}

void full_listener_close(struct full_listener *l)
{
    weir_close(l->client);
    weir_close(l->listener);
}
