#include "support/connect_fixture.h"

#include "context.h"
#include "socket.h"
#include "support/watch.h"

#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define THINGS_MAX   512
#define NAMES_MAX    16
#define WATCHERS_MAX 4
#define HOSTS_MAX    128

struct name {
    char text[32];
    weir_address hosts[HOSTS_MAX];
    int count;
    int fails[2]; /* IPv6, IPv4 */
    unsigned asked[2];
    bool held;
};

static struct {
    int fds[THINGS_MAX];
    int fd_count;
    weir_socket *sockets[THINGS_MAX];
    int socket_count;
    struct fixture_watcher watchers[WATCHERS_MAX];
    int watcher_count;
    int open_at_start;
} owned;

static struct name names[NAMES_MAX];
static int name_count;
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t names_changed = PTHREAD_COND_INITIALIZER;

static _Atomic uint64_t clock_offset_ns;
static _Atomic int calls[SYS_CALLS];
static _Atomic int fail_rc[SYS_CALLS], fail_skip[SYS_CALLS], fail_times[SYS_CALLS];
static int (*_Atomic instead_of_connect)(void);

/* ---- descriptors --------------------------------------------------------------------------- */

static int own(int fd)
{
    assert_true(fd >= 0);
    assert_true(owned.fd_count < THINGS_MAX);
    return owned.fds[owned.fd_count++] = fd;
}

static weir_address address_for(const char *host, uint16_t port)
{
    weir_address a;
    int rc = strncmp(host, "unix:", 5) == 0 ? weir_address_parse(host, &a)
                                            : weir_address_from_host(host, port, &a);

    assert_int_equal(rc, 0);
    return a;
}

static int bound(const char *host, uint16_t port, weir_address *ret)
{
    weir_address a = address_for(host, port);
    struct sockaddr_storage where;
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&a, &length);
    int fd = own(socket(a.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

    assert_int_equal(bind(fd, sa, length), 0);
    length = sizeof where;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &length), 0);
    assert_int_equal(weir_address_from_sockaddr(ret, (struct sockaddr *)&where, length), 0);
    return fd;
}

int fixture_listen(const char *host, uint16_t port, weir_address *ret)
{
    int fd = bound(host, port, ret);

    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

void fixture_refuse(const char *host, uint16_t port, weir_address *ret)
{
    (void)bound(host, port, ret);
}

/* One connection more for the queue of a listener; false if it gets no answer. */
static bool fill(const weir_address *a)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(a, &length);
    int fd = own(socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    if (connect(fd, sa, length) == 0 || (errno == EINPROGRESS && poll(&p, 1, 30) == 1))
        return true;
    close(fd);
    owned.fd_count--;
    return false;
}

int fixture_full(const char *host, uint16_t port, weir_address *ret)
{
    int fd = bound(host, port, ret);

    assert_int_equal(listen(fd, 0), 0);
    for (int unanswered = 0; unanswered < 2;)
        unanswered = fill(ret) ? 0 : unanswered + 1;
    return fd;
}

int fixture_accept(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 30000), 1);
    return own(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
}

/* Returns when the reset has arrived, which on loopback is before close(2) returns, or nearly. */
void fixture_accept_and_reset(int listener, const char *text)
{
    const struct linger at_once = {.l_onoff = 1};
    int fd = fixture_accept(listener);

    assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
    owned.fd_count--;
}

bool fixture_is_lonely(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};

    return poll(&p, 1, 0) == 0;
}

int fixture_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* ---- sockets ------------------------------------------------------------------------------- */

weir_socket *fixture_socket(int family, int type)
{
    weir_socket *s;

    assert_int_equal(weir_socket_open(&s, family, type, 0), 0);
    assert_true(owned.socket_count < THINGS_MAX);
    return owned.sockets[owned.socket_count++] = s;
}

weir_socket *fixture_nonblocking(int family, int type)
{
    return fixture_socket(family, type | SOCK_NONBLOCK);
}

const char *fixture_peer(weir_socket *s)
{
    static char text[WEIR_ADDRESS_TEXT_MAX];
    weir_address a;

    assert_int_equal(weir_peer_address(s, &a), 0);
    weir_address_format(&a, text, sizeof text);
    *strrchr(text, ':') = '\0';
    return text;
}

void fixture_close(weir_socket *s)
{
    for (int i = 0; i < owned.socket_count; i++)
        if (owned.sockets[i] == s)
            owned.sockets[i] = NULL;
    weir_close(s);
}

bool fixture_story_has(const weir_socket *s, const char *part)
{
    char text[8192];

    assert_true(weir_error_detail(s, text, sizeof text) >= 0);
    if (strstr(text, part))
        return true;
    print_message("the story is \"%s\"\n", text);
    return false;
}

void fixture_interest(weir_socket *s, struct interest *ret)
{
    pthread_mutex_lock(&s->lock);
    socket_interest(s, WEIR_WRITABLE, ret);
    pthread_mutex_unlock(&s->lock);
}

int fixture_drive(weir_socket *s, unsigned attempts)
{
    for (;;) {
        struct interest in = {.count = 0};
        int rc = weir_connect_status(s);
        if (rc == -EINPROGRESS)
            fixture_interest(s, &in);
        if (rc != -EINPROGRESS || in.count >= attempts)
            return rc;
        sched_yield();
    }
}

/* ---- watching ------------------------------------------------------------------------------ */

static bool watches(const struct interest *in, int fd)
{
    for (unsigned i = 0; i < in->count; i++)
        if (in->fds[i].fd == fd)
            return true;
    return false;
}

static void watcher_told(struct waiter *waiter, enum wake_reason why)
{
    struct fixture_watcher *w = (struct fixture_watcher *)waiter;
    struct interest in;

    (void)why;
    socket_interest(w->s, WEIR_WRITABLE, &in);
    for (unsigned i = 0; i < w->in.count; i++)
        if (!watches(&in, w->in.fds[i].fd) && fcntl(w->in.fds[i].fd, F_GETFD) < 0)
            w->cheated = true;
    w->in = in;
}

struct fixture_watcher *fixture_watch(weir_socket *s)
{
    struct fixture_watcher *w = &owned.watchers[owned.watcher_count++];

    assert_true(owned.watcher_count <= WATCHERS_MAX);
    *w = (struct fixture_watcher){.waiter.wake = watcher_told, .s = s};
    pthread_mutex_lock(&s->lock);
    waiter_link(s, &w->waiter);
    watcher_told(&w->waiter, WAKE_CHANGED);
    pthread_mutex_unlock(&s->lock);
    return w;
}

struct interest fixture_watched(struct fixture_watcher *w)
{
    pthread_mutex_lock(&w->s->lock);
    struct interest in = w->in;
    pthread_mutex_unlock(&w->s->lock);
    return in;
}

bool fixture_watcher_is_right(struct fixture_watcher *w)
{
    struct interest in;

    pthread_mutex_lock(&w->s->lock);
    socket_interest(w->s, WEIR_WRITABLE, &in);
    bool right = !w->cheated && in.count == w->in.count && in.wake_at_ns == w->in.wake_at_ns &&
                 in.ready == w->in.ready;
    for (unsigned i = 0; i < in.count; i++)
        right = right && watches(&w->in, in.fds[i].fd);
    pthread_mutex_unlock(&w->s->lock);
    return right;
}

static void unwatch(struct fixture_watcher *w)
{
    pthread_mutex_lock(&w->s->lock);
    waiter_unlink(&w->waiter);
    pthread_mutex_unlock(&w->s->lock);
}

/* ---- threads ------------------------------------------------------------------------------- */

static void *call(void *arg)
{
    struct fixture_caller *c = arg;
    weir_scope scope = weir_deadline_start(c->limit_ms ? c->limit_ms : -1);

    c->tid = gettid();
    c->rc =
        c->host ? weir_connect(c->s, c->host, c->port) : weir_connect_address(c->s, &c->address);
    weir_scope_end(scope);
    return NULL;
}

void fixture_call(struct fixture_caller *c)
{
    c->tid = 0;
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

void fixture_until_asleep(struct fixture_caller *c)
{
    while (!c->tid)
        sched_yield();
    watch_until_asleep(c->tid);
}

int fixture_join(struct fixture_caller *c)
{
    pthread_join(c->thread, NULL);
    return c->rc;
}

/* ---- names --------------------------------------------------------------------------------- */

/* (lock) */
static struct name *name_find(const char *text)
{
    for (int i = 0; i < name_count; i++)
        if (strcmp(names[i].text, text) == 0)
            return &names[i];
    return NULL;
}

/* (lock) */
static struct name *name_get(const char *text)
{
    struct name *n = name_find(text);

    if (!n) {
        n = &names[name_count++];
        *n = (struct name){.held = false};
        snprintf(n->text, sizeof n->text, "%s", text);
    }
    return n;
}

static int resolver(void *arg, const char *text, int family, weir_address *list, int max)
{
    int count = 0, i = family == AF_INET;

    (void)arg;
    pthread_mutex_lock(&names_lock);
    struct name *n = name_find(text);
    if (!n) {
        pthread_mutex_unlock(&names_lock);
        return WEIR_ENONAME;
    }
    n->asked[i]++;
    while (n->held)
        pthread_cond_wait(&names_changed, &names_lock);
    for (int k = 0; k < n->count; k++)
        if (n->hosts[k].family == family && count < max)
            list[count++] = n->hosts[k];
    int rc = n->fails[i] ? n->fails[i] : count;
    pthread_mutex_unlock(&names_lock);
    return rc;
}

void fixture_name(const char *name, const char *host)
{
    pthread_mutex_lock(&names_lock);
    struct name *n = name_get(name);
    n->hosts[n->count++] = address_for(host, 0);
    pthread_mutex_unlock(&names_lock);
}

void fixture_name_fails(const char *name, int family, int rc)
{
    pthread_mutex_lock(&names_lock);
    name_get(name)->fails[family == AF_INET] = rc;
    pthread_mutex_unlock(&names_lock);
}

static void set_held(const char *name, bool held)
{
    pthread_mutex_lock(&names_lock);
    name_get(name)->held = held;
    pthread_cond_broadcast(&names_changed);
    pthread_mutex_unlock(&names_lock);
}

void fixture_name_hold(const char *name)
{
    set_held(name, true);
}

void fixture_name_let_go(const char *name)
{
    set_held(name, false);
}

unsigned fixture_asked(const char *name, int family)
{
    pthread_mutex_lock(&names_lock);
    unsigned asked = name_get(name)->asked[family == AF_INET];
    pthread_mutex_unlock(&names_lock);
    return asked;
}

/* ---- places -------------------------------------------------------------------------------- */

const char *const fixture_places[8] = {"127.61.0.1", "127.61.0.2", "127.61.0.3", "127.61.0.4",
                                       "127.61.0.5", "127.61.0.6", "127.61.0.7", "127.61.0.8"};

void fixture_place(char *text, size_t size, const char *what)
{
    snprintf(text, size, "unix:@weir-connect-%s-%d", what, (int)getpid());
}

uint16_t fixture_full_then_good(const char *name, int count, int *ret_listener)
{
    weir_address a;
    uint16_t port = 0;

    for (int i = 0; i < count; i++) {
        fixture_full(fixture_places[i], port, &a);
        port = weir_address_port(&a);
        fixture_name(name, fixture_places[i]);
    }
    *ret_listener = fixture_listen(fixture_places[count], port, &a);
    fixture_name(name, fixture_places[count]);
    return port;
}

/* ---- time and faults ----------------------------------------------------------------------- */

static uint64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec + clock_offset_ns;
}

static int error(enum sys_call call)
{
    int (*fn)(void) = call == SYS_CONNECT ? instead_of_connect : NULL;

    calls[call]++;
    if (fn) {
        atomic_store(&instead_of_connect, (int (*)(void))NULL);
        return fn();
    }
    if (fail_times[call] == 0)
        return 0;
    if (fail_skip[call] > 0) {
        fail_skip[call]--;
        return 0;
    }
    fail_times[call]--;
    return fail_rc[call];
}

void fixture_later(int64_t ms)
{
    clock_offset_ns += (uint64_t)ms * NS_PER_MS;
}

int fixture_calls(enum sys_call call)
{
    return calls[call];
}

void fixture_fail(enum sys_call call, int rc, int skip, int times)
{
    fail_rc[call] = rc;
    fail_skip[call] = skip;
    fail_times[call] = times;
}

void fixture_instead_of_connect(int (*fn)(void))
{
    instead_of_connect = fn;
}

/* ---- each test ----------------------------------------------------------------------------- */

/* The last reference to a socket may be that of an answer which is just being delivered, so that
 * another thread closes it, soon. */
static void expect_open_fds(int count)
{
    uint64_t patience_ns = now() + 10 * NS_PER_S;

    while (fixture_open_fds() != count && now() < patience_ns)
        sched_yield();
    assert_int_equal(fixture_open_fds(), count);
}

int fixture_setup(void **state)
{
    static const struct sys_faults faults = {.error = error, .now = now};

    (void)state;
    memset(&owned, 0, sizeof owned);
    name_count = 0;
    clock_offset_ns = 0;
    sys_faults = &faults;
    for (int i = 0; i < SYS_CALLS; i++) {
        fixture_fail((enum sys_call)i, 0, 0, 0);
        calls[i] = 0;
    }
    weir_set_resolver(resolver, NULL);
    /* What a first wait and a first look-up leave open for good. */
    (void)context_wake_fd(context_current());
    (void)weir_resolve("nobody.test", 0, AF_UNSPEC, NULL, 0, NULL);
    owned.open_at_start = fixture_open_fds();
    return 0;
}

int fixture_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < name_count; i++)
        fixture_name_let_go(names[i].text);
    for (int i = 0; i < owned.watcher_count; i++)
        unwatch(&owned.watchers[i]);
    for (int i = 0; i < owned.socket_count; i++)
        weir_close(owned.sockets[i]);
    for (int i = 0; i < owned.fd_count; i++)
        close(owned.fds[i]);
    sys_faults = NULL;
    expect_open_fds(owned.open_at_start);
    return 0;
}
