/* A poller in a foreign event loop: libuv polls its descriptor and nothing else. */
#include <stdio.h>

#ifdef HAVE_LIBUV

#include "support/poller_fixture.h"
#include "support/stub_dns.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#define ROUNDS 3

struct guest {
    struct poller_fixture *f;
    uv_loop_t loop;
    uv_poll_t handle;
    weir_socket *s;
    int wakes, rounds, rc;
};

static void *echo(void *arg)
{
    weir_socket *listener = arg, *s;
    char buf[16];
    ssize_t n;

    weir_set_blocking(listener, true);
    if (weir_accept(listener, &s) < 0)
        return NULL;
    while ((n = weir_recv(s, buf, sizeof buf)) > 0)
        (void)weir_send(s, buf, (size_t)n);
    weir_close(s);
    return NULL;
}

static void leave(struct guest *g, int rc)
{
    g->rc = rc;
    weir_close(g->s);
    uv_close((uv_handle_t *)&g->handle, NULL);
}

/* Says hello, waits for the echo, and again. */
static void go_on(struct guest *g, unsigned events)
{
    char buf[16];
    ssize_t n = 0;

    if (events & WEIR_WRITABLE) {
        n = weir_connect_status(g->s);
        if (n == 0)
            n = weir_send(g->s, "hello", 5);
        if (n > 0)
            n = weir_poller_modify(g->f->p, g->s, WEIR_READABLE, NULL);
    } else if (events & WEIR_READABLE) {
        n = weir_recv(g->s, buf, sizeof buf);
        g->rounds += n == 5 && memcmp(buf, "hello", 5) == 0;
        n = n == 5 ? weir_poller_modify(g->f->p, g->s, WEIR_WRITABLE, NULL) : -EPROTO;
    }
    if (n < 0 || g->rounds == ROUNDS)
        leave(g, (int)n);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct guest *g = handle->data;

    (void)events;
    g->wakes++;
    int n = weir_poller_wait(g->f->p, g->f->events, EVENTS, 0);
    if (status < 0 || n < 0)
        leave(g, status < 0 ? status : n);
    else if (n > 0)
        go_on(g, g->f->events[0].events);
}

static void guest_start(struct guest *g)
{
    assert_int_equal(uv_loop_init(&g->loop), 0);
    assert_int_equal(uv_poll_init(&g->loop, &g->handle, weir_poller_fd(g->f->p)), 0);
    g->handle.data = g;
    assert_int_equal(uv_poll_start(&g->handle, UV_READABLE, on_readable), 0);
    assert_int_equal(weir_socket_open(&g->s, AF_UNSPEC, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    assert_int_equal(weir_poller_add(g->f->p, g->s, WEIR_WRITABLE, NULL), 0);
}

/* A connect by name whose answer is late, an echo and the end, with nothing but one descriptor in
 * libuv's hands. */
static void libuv_drives_a_connect_by_name_and_an_echo(void **state)
{
    struct guest g = {.f = *state};
    struct stub_dns *dns = stub_dns_open();
    weir_address where;
    weir_socket *listener = listener_open(&where);
    pthread_t server;

    g.f->resolver = true;
    stub_dns_add(dns, "echo.test", "A:127.0.0.1,hold");
    assert_int_equal(weir_set_nameservers(stub_dns_servers(dns)), 0);
    assert_int_equal(pthread_create(&server, NULL, echo, listener), 0);
    guest_start(&g);
    assert_int_equal(weir_connect(g.s, "echo.test", weir_address_port(&where)), -EINPROGRESS);
    stub_dns_wait(dns, "echo.test", STUB_DNS_A, 1);
    for (int i = 0; i < 10; i++)
        uv_run(&g.loop, UV_RUN_NOWAIT);
    assert_int_equal(weir_connect_status(g.s), -EINPROGRESS);
    stub_dns_release(dns, "echo.test");
    uv_run(&g.loop, UV_RUN_DEFAULT);
    assert_int_equal(g.rc, 0);
    assert_int_equal(g.rounds, ROUNDS);
    assert_int_equal(uv_loop_close(&g.loop), 0);
    assert_int_equal(pthread_join(server, NULL), 0);
    assert_false(poller_fd_ready(g.f->p));
    weir_close(listener);
    assert_int_equal(weir_set_nameservers(NULL), 0);
    stub_dns_close(dns);
}

/* The loop sleeps when nothing is to be done: the descriptor does not stay readable. */
static void libuv_is_not_kept_busy(void **state)
{
    struct guest g = {.f = *state};

    guest_start(&g);
    assert_int_equal(weir_poller_wake(g.f->p), 0);
    for (int i = 0; i < 10; i++)
        uv_run(&g.loop, UV_RUN_NOWAIT);
    assert_int_equal(g.wakes, 1);
    leave(&g, 0);
    uv_run(&g.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&g.loop), 0);
}

/* libuv keeps descriptors of its own from its first loop on. */
static int first_loop(void **state)
{
    uv_loop_t loop;

    (void)state;
    return uv_loop_init(&loop) || uv_loop_close(&loop) ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(libuv_drives_a_connect_by_name_and_an_echo),
        POLLER_TEST(libuv_is_not_kept_busy),
    };

    return cmocka_run_group_tests(tests, first_loop, NULL);
}

#else

int main(void)
{
    puts("skipped: libuv was not found when this was built");
    return 77;
}

#endif
