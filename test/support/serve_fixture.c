#include "support/serve_fixture.h"

#include <netinet/in.h>

/* ---- the server ----------------------------------------------------------------------------- */

static void raise_to(atomic_int *most, int n)
{
    int old = atomic_load(most);
    while (old < n && !atomic_compare_exchange_weak(most, &old, n)) {
    }
}

static int handle(weir_socket *s, void *arg)
{
    struct serving *sv = arg;
    raise_to(&sv->most, atomic_fetch_add(&sv->inside, 1) + 1);
    atomic_fetch_add(&sv->begun, 1);
    int rc = sv->handler(s, sv);
    atomic_fetch_sub(&sv->inside, 1);
    atomic_fetch_add(&sv->ended, 1);
    return rc;
}

static void hears(void *arg, weir_socket *s, int rc)
{
    struct serving *sv = arg;
    CHECK(rc < 0);
    CHECK(!s || weir_fd(s) >= 0);
    atomic_store(s ? &sv->told_rc : &sv->full_rc, rc);
    atomic_fetch_add(s ? &sv->told : &sv->full, 1);
}

int serving_run(struct serving *sv)
{
    WEIR_WITHIN_MS(sv->within_ms ? sv->within_ms : -1);
    sv->options.size = sizeof sv->options;
    sv->options.failed = hears;
    return weir_serve(sv->listener, handle, sv, &sv->options);
}

static int serving_main(void *arg)
{
    return serving_run(arg);
}

void serving_listen_on(struct serving *sv, weir_socket *listener)
{
    sv->listener = listener;
    EXPECT(weir_local_address(listener, &sv->where), 0);
}

void serving_listen(struct serving *sv, const char *target)
{
    weir_socket *listener;
    EXPECT(weir_listen_on(&listener, target, NULL), 0);
    serving_listen_on(sv, listener);
}

void serving_start(struct serving *sv)
{
    sv->group = sv->group ? sv->group : group_open();
    other_go(&sv->other, sv->group, serving_main, sv);
}

void serving_begin(struct serving *sv)
{
    serving_listen(sv, "tcp://127.0.0.1:0");
    serving_start(sv);
}

void serving_cancel(struct serving *sv)
{
    EXPECT(weir_group_cancel(sv->group), 0);
}

int serving_result(struct serving *sv)
{
    group_end(sv->group);
    EXPECT(weir_close(sv->listener), 0);
    EXPECT(atomic_load(&sv->inside), 0);
    EXPECT(atomic_load(&sv->begun), atomic_load(&sv->ended));
    return sv->other.rc;
}

void serving_end(struct serving *sv)
{
    serving_cancel(sv);
    EXPECT(serving_result(sv), 0);
}

/* ---- clients -------------------------------------------------------------------------------- */

weir_socket *visitor(const struct serving *sv)
{
    weir_socket *c;
    EXPECT(weir_socket_open(&c, AF_UNSPEC, SOCK_STREAM, 0), 0);
    EXPECT(weir_set_timeout(c, LONG_MS), 0);
    EXPECT(weir_connect_address(c, &sv->where), 0);
    return c;
}

int visitor_fd(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    return fd;
}

bool visitor_fd_connect(const struct serving *sv, int fd)
{
    struct sockaddr_in where = {
        .sin_family = AF_INET,
        .sin_port = htons(weir_address_port(&sv->where)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    return !connect(fd, (struct sockaddr *)&where, sizeof where) || errno == EINPROGRESS;
}

void visitor_asks(weir_socket *c)
{
    char byte = 0;
    EXPECT(weir_send(c, "x", 1), 1);
    EXPECT(weir_recv(c, &byte, 1), 1);
    EXPECT(byte, 'x');
}

void visitor_sees_the_end(weir_socket *c)
{
    char byte;
    ssize_t n = weir_recv(c, &byte, 1);
    CHECK(n == 0 || n == -ECONNRESET); /* reset if there were bytes that nobody received */
    EXPECT(weir_close(c), 0);
}

void visitor_is_refused(const struct serving *sv)
{
    weir_socket *c;
    EXPECT(weir_socket_open(&c, AF_UNSPEC, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(c, &sv->where), -ECONNREFUSED);
    EXPECT(weir_close(c), 0);
}

void until_refused(const struct serving *sv)
{
    weir_socket *c;
    int rc;
    do {
        WEIR_SHIELDED_MS(LONG_MS);
        EXPECT(weir_socket_open(&c, AF_UNSPEC, SOCK_STREAM, 0), 0);
        rc = weir_connect_address(c, &sv->where);
        EXPECT(weir_close(c), 0);
        CHECK(rc == 0 || rc == -ECONNREFUSED || rc == -ECONNRESET);
        EXPECT(weir_sleep(1), 0); /* or there is no end to the queue */
    } while (rc != -ECONNREFUSED);
}

void until(const atomic_int *count, int least)
{
    while (atomic_load(count) < least)
        give_way();
}

/* ---- handlers ------------------------------------------------------------------------------- */

int echoes(weir_socket *s, struct serving *sv)
{
    char buf[64];
    ssize_t n;
    (void)sv;
    while ((n = weir_recv(s, buf, sizeof buf)) > 0) {
        size_t done = 0;
        int rc = weir_send_all(s, buf, (size_t)n, &done);
        if (rc < 0)
            return rc;
    }
    return (int)n;
}

int waits_for_ever(weir_socket *s, struct serving *sv)
{
    (void)s;
    (void)sv;
    return weir_sleep(-1);
}

int says_hello(weir_socket *s, struct serving *sv)
{
    size_t done = 0;
    (void)sv;
    return weir_send_all(s, "hello", 5, &done);
}
