/* The resumable connect: see connect.h. When to try which address is race.c's business, one attempt
 * is attempt.c's; here the two are joined to names, time and the socket. */
#include "connect.h"

#include "attempt.h"
#include "context.h"
#include "race.h"
#include "resolve/resolve.h"
#include "story.h"
#include "sys.h"
#include "target.h"
#include "tls/tls.h"

#include <assert.h>
#include <string.h>

/* So that a long list of addresses that fail at once does not hold up a caller who wants to be back
 * at once; the rest is for the next drive, which is due immediately. */
#define STARTS_PER_DRIVE 16

struct connect {
    enum phase before;      /* the phase to go back to on failure */
    sa_family_t family;     /* the same for the family */
    uint64_t deadline_ns;   /* the time-out of the socket when it began */
    uint64_t wake_at_ns;    /* when the race wants to go on */
    uint64_t shown_wake_ns; /* what waiters were last told to look again at */
    bool notified;          /* an answer may be there that no drive has seen */
    bool changed;           /* the descriptors are others than waiters were last told of */
    bool shaking;           /* connected but for the handshake: only `won` is left */
    struct attempt won;
    short shown_events; /* what waiters were last told that the handshake waits for */
    const void *owner;  /* the call that waits for it and ends it when out of time; NULL: nobody */
    struct race race;
    struct attempt attempts[RACE_LIVE_MAX];
    unsigned attempt_count;
    struct ranked single; /* the only address, if it is not looked up */
    struct resolve_request *lookup;
    bool wants[2], answered[2]; /* IPv6, IPv4 */
    char *story;
    uint16_t port;
    char host[]; /* the name that is looked up */
};

static const struct {
    int family;
    const char *name;
} families[] = {{AF_INET6, "IPv6"}, {AF_INET, "IPv4"}};

/* ---- the story ----------------------------------------------------------------------------- */

static weir_address address_of(const struct connect *c, unsigned index)
{
    weir_address a = *race_address(&c->race, index);

    if (c->lookup)
        (void)weir_address_set_port(&a, c->port);
    return a;
}

static void tell_address(struct connect *c, unsigned index, const char *what)
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    weir_address a = address_of(c, index);

    (void)weir_address_format(&a, text, sizeof text);
    story_append(&c->story, "%s: %s", text, what);
}

/* What became of the look-ups. That a name has no address of one family is no news if it has one
 * of the other. */
static void tell_lookup(struct connect *c)
{
    int rc[2] = {0, 0};

    for (unsigned i = 0; i < 2; i++)
        if (c->wants[i])
            rc[i] = resolve_answer(c->lookup, families[i].family)->rc;
    if (c->wants[0] != c->wants[1] || rc[0] == rc[1]) {
        int both = c->wants[0] ? rc[0] : rc[1];
        if (both)
            story_append(&c->story, "%s: %s", c->host, weir_strerror(both));
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        if (rc[i] && rc[i] != WEIR_ENONAME)
            story_append(&c->story, "%s (%s): %s", c->host, families[i].name, weir_strerror(rc[i]));
}

/* What was still going on when time was up. */
static void tell_unfinished(struct connect *c)
{
    bool missing[2];

    for (unsigned i = 0; i < c->attempt_count; i++)
        tell_address(c, c->attempts[i].index,
                     c->attempts[i].retry_ns ? "the listener's queue is full" : "no answer yet");
    for (unsigned i = 0; i < 2; i++)
        missing[i] = c->wants[i] && !c->answered[i];
    if (missing[0] && missing[1])
        story_append(&c->story, "%s: the look-up has not ended", c->host);
    else if (missing[0] || missing[1])
        story_append(&c->story, "%s: the look-up for %s has not ended", c->host,
                     families[missing[1]].name);
}

/* What a call without a socket has told of its failure is the socket's story. */
static int tell_of_text(weir_socket *s, int rc)
{
    story_move(s);
    return rc;
}

static int refuse(weir_socket *s, int rc, const char *why)
{
    char *story = NULL;

    story_append(&story, "%s", why);
    story_give(s, story);
    return rc;
}

/* ---- the attempts -------------------------------------------------------------------------- */

static struct attempt *attempt_find(struct connect *c, unsigned index)
{
    for (unsigned i = 0; i < c->attempt_count; i++)
        if (c->attempts[i].index == index)
            return &c->attempts[i];
    return NULL;
}

static struct attempt attempt_remove(struct connect *c, unsigned index)
{
    struct attempt *a = attempt_find(c, index);
    struct attempt removed = *a;

    *a = c->attempts[--c->attempt_count];
    c->changed = true;
    return removed;
}

/* Whoever watches the descriptor lets go of it before it is closed: in an epoll set it would
 * stay on as long as another process has it open too. */
static void attempt_end(weir_socket *s, struct connect *c, unsigned index)
{
    struct attempt removed = attempt_remove(c, index);

    socket_wake(s, WAKE_CHANGED);
    attempt_close(&removed, s);
}

/* Passes the outcome of an attempt that is on the list on to the race. */
static void attempt_report(weir_socket *s, struct connect *c, unsigned index, int rc)
{
    if (rc == -EINPROGRESS)
        return;
    if (rc == 0) {
        race_connected(&c->race, index);
        return;
    }
    tell_address(c, index, weir_strerror(rc));
    attempt_end(s, c, index);
    race_failed(&c->race, index, rc);
}

static void attempt_begin(weir_socket *s, struct connect *c, unsigned index, uint64_t now_ns)
{
    struct attempt *a = &c->attempts[c->attempt_count];
    weir_address to = address_of(c, index);
    int rc = attempt_start(a, s, &to, now_ns);

    if (rc < 0 && rc != -EINPROGRESS) {
        tell_address(c, index, weir_strerror(rc));
        race_failed(&c->race, index, rc);
        return;
    }
    a->index = index;
    c->attempt_count++;
    c->changed = true;
    if (rc == 0)
        race_connected(&c->race, index);
}

/* Looks at each attempt that the kernel is at. Only those: a fresh TCP socket polls as writable. */
static void poll_attempts(weir_socket *s, struct connect *c)
{
    static const struct timespec at_once = {0};
    struct interest in;

    connect_interest(s, &in);
    if (in.count == 0 || sys_poll(in.fds, in.count, &at_once) <= 0)
        return;
    unsigned indexes[RACE_LIVE_MAX];
    for (unsigned i = 0; i < in.count; i++)
        indexes[i] = c->attempts[i].index;
    for (unsigned i = 0; i < in.count; i++) {
        if (!in.fds[i].revents)
            continue;
        weir_address to = address_of(c, indexes[i]);
        struct attempt *a = attempt_find(c, indexes[i]);
        attempt_report(s, c, indexes[i], attempt_outcome(a, &to, in.fds[i].revents));
    }
}

/* One of these is always alone: Unix addresses do not come in lists. */
static void retry_attempts(weir_socket *s, struct connect *c, uint64_t now_ns)
{
    struct attempt *a = c->attempts;

    if (c->attempt_count == 0 || a->retry_ns == 0 || now_ns < a->retry_ns)
        return;
    weir_address to = address_of(c, a->index);
    attempt_report(s, c, a->index, attempt_retry(a, &to, now_ns));
}

/* ---- the end ------------------------------------------------------------------------------- */

static void set_phase(weir_socket *s, enum phase phase)
{
    atomic_store_explicit(&s->phase, (uint8_t)phase, memory_order_release);
}

/* Ends the machine; what it has led to is in the socket already. */
static void finish(weir_socket *s, struct connect *c, int rc)
{
    s->connect = NULL;
    s->connect_error = rc;
    resolve_end(c->lookup);
    free(c->story);
    free(c);
    socket_wake(s, WAKE_CHANGED);
}

static void fail(weir_socket *s, struct connect *c, int rc)
{
    bool kept = atomic_load_explicit(&s->fd, memory_order_relaxed) >= 0;

    assert(c->attempt_count == 0);
    set_phase(s, kept ? c->before : PHASE_NEW);
    story_give(s, c->story);
    c->story = NULL;
    finish(s, c, rc);
}

/* The connection that has no handshake is none. */
static void fail_to_shake(weir_socket *s, struct connect *c, int rc)
{
    socket_leave_home(s);
    atomic_store_explicit(&s->fd, -1, memory_order_relaxed);
    atomic_store_explicit(&s->family, c->family, memory_order_relaxed);
    c->shaking = false;
    socket_wake(s, WAKE_CHANGED);
    tls_reset(s->tls);
    attempt_close(&c->won, s);
    fail(s, c, rc);
}

/* The connection is the socket's own from now on; with TLS nobody else may use it yet. False if `c`
 * is gone. */
static bool succeed(weir_socket *s, struct connect *c, unsigned index)
{
    weir_address to = address_of(c, index);

    c->won = attempt_remove(c, index);
    c->shaking = s->tls != NULL;
    if (c->shaking)
        s->layer = &layer_tls;
    assert(c->attempt_count == 0);
    socket_attach(s, c->won.fd, to.family, c->shaking ? PHASE_CONNECTING : PHASE_CONNECTED);
    if (c->shaking && c->won.broken) {
        tell_address(c, index, weir_strerror(c->won.broken));
        fail_to_shake(s, c, c->won.broken);
        return false;
    }
    if (c->won.broken)
        socket_break(s, c->won.broken);
    if (c->shaking)
        return true;
    finish(s, c, 0);
    return false;
}

/* False if `c` is gone. */
static bool shake(weir_socket *s, struct connect *c)
{
    int rc = tls_handshake(s);

    if (rc == -EAGAIN)
        return true;
    if (rc == 0) {
        socket_attach(s, s->fd, s->family, PHASE_CONNECTED);
        finish(s, c, 0);
        return false;
    }
    char *story = tls_take_story(s->tls);
    tell_address(c, c->won.index, story ? story : weir_strerror(rc));
    free(story);
    fail_to_shake(s, c, rc);
    return false;
}

/* ---- driving ------------------------------------------------------------------------------- */

static void take_answers(struct connect *c, uint64_t now_ns)
{
    bool told = c->answered[0] == c->wants[0] && c->answered[1] == c->wants[1];

    c->notified = false;
    if (told)
        return;
    for (unsigned i = 0; i < 2; i++) {
        const struct answer *answer =
            c->wants[i] && !c->answered[i] ? resolve_answer(c->lookup, families[i].family) : NULL;
        if (!answer)
            continue;
        c->answered[i] = true;
        race_answer(&c->race, families[i].family, answer->rc, answer->list, answer->count, now_ns);
    }
    if (c->answered[0] == c->wants[0] && c->answered[1] == c->wants[1])
        tell_lookup(c);
}

/* Does what the race says, until there is nothing to do right now or it is over. False if `c` is
 * gone. */
static bool race_on(weir_socket *s, struct connect *c, uint64_t now_ns)
{
    for (unsigned starts = 0; starts < STARTS_PER_DRIVE || c->race.won;) {
        struct race_step step = race_next(&c->race, now_ns);
        switch (step.action) {
        case RACE_WAIT:
            c->wake_at_ns = step.at_ns;
            return true;
        case RACE_START:
            attempt_begin(s, c, step.index, now_ns);
            starts++;
            break;
        case RACE_CLOSE:
            attempt_end(s, c, step.index);
            break;
        case RACE_WON:
            return succeed(s, c, step.index);
        case RACE_FAILED:
            fail(s, c, step.rc);
            return false;
        }
    }
    c->wake_at_ns = now_ns;
    return true;
}

/* Looks for a connection. Afterwards there is none yet, or the handshake is next, or it is all over
 * and `c` is gone: false. */
static bool seek(weir_socket *s, struct connect *c, uint64_t now_ns)
{
    take_answers(c, now_ns);
    poll_attempts(s, c);
    retry_attempts(s, c, now_ns);
    return race_on(s, c, now_ns);
}

/* Tells those who wait, if they have to wait for something else now. */
static void show(weir_socket *s, struct connect *c)
{
    struct interest in;

    connect_interest(s, &in);
    short events = c->shaking ? in.fds[0].events : 0;
    if (c->changed || in.wake_at_ns != c->shown_wake_ns || events != c->shown_events)
        socket_wake(s, WAKE_CHANGED);
    c->changed = false;
    c->shown_wake_ns = in.wake_at_ns;
    c->shown_events = events;
}

void connect_drive(weir_socket *s)
{
    struct connect *c = s->connect;

    if (!c)
        return;
    uint64_t now_ns = sys_now();
    bool goes_on = c->shaking || seek(s, c, now_ns);
    if (goes_on && c->shaking)
        goes_on = shake(s, c);
    if (!goes_on)
        return;
    if (now_ns >= c->deadline_ns)
        connect_abandon(s, WEIR_EDEADLINE);
    else
        show(s, c);
}

void connect_interest(weir_socket *s, struct interest *ret)
{
    const struct connect *c = s->connect;

    if (c->shaking) {
        *ret = (struct interest){.wake_at_ns = c->deadline_ns};
        s->layer->interest(s, 0, ret);
        return;
    }
    *ret = (struct interest){.wake_at_ns = earlier(c->wake_at_ns, c->deadline_ns)};
    for (unsigned i = 0; i < c->attempt_count; i++) {
        const struct attempt *a = &c->attempts[i];
        if (a->retry_ns)
            ret->wake_at_ns = earlier(ret->wake_at_ns, a->retry_ns);
        else
            ret->fds[ret->count++] = (struct pollfd){.fd = a->fd, .events = POLLOUT};
    }
    if (c->notified)
        ret->wake_at_ns = 0;
}

void connect_abandon(weir_socket *s, int rc)
{
    struct connect *c = s->connect;

    if (!c)
        return;
    if (c->shaking) {
        tell_address(c, c->won.index, "the handshake has not ended");
        fail_to_shake(s, c, rc);
        return;
    }
    if (rc != WEIR_ECLOSED)
        tell_unfinished(c);
    race_abandon(&c->race, rc);
    (void)race_on(s, c, 0);
}

/* ---- beginning ----------------------------------------------------------------------------- */

static void lookup_notify(void *arg)
{
    weir_socket *s = arg;

    pthread_mutex_lock(&s->lock);
    if (s->connect) {
        s->connect->notified = true;
        s->connect->shown_wake_ns = 0;
    }
    socket_wake(s, WAKE_CHANGED);
    pthread_mutex_unlock(&s->lock);
}

static void lookup_release(void *arg)
{
    socket_unref(arg);
}

/* From a port of its own there can be only one attempt at a time, and a datagram socket has one
 * peer. */
static unsigned max_live(const weir_socket *s)
{
    bool fixed_port = s->local && weir_address_port(s->local) != 0;

    return fixed_port || s->type == SOCK_DGRAM ? 1 : RACE_LIVE_MAX;
}

/* An adopted socket that is bound will be bound to the same place for the attempts after the
 * first. */
static int remember_local(weir_socket *s)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;

    if (socket_phase(s) != PHASE_BOUND || s->local || s->family == AF_UNIX)
        return 0;
    weir_address *local = sys_alloc(sizeof *local);
    if (!local)
        return -ENOMEM;
    int rc = sys_getsockname(s->fd, (struct sockaddr *)&storage, &length);
    if (rc == 0)
        rc = weir_address_from_sockaddr(local, (struct sockaddr *)&storage, length);
    if (rc < 0)
        free(local);
    else
        s->local = local;
    return rc;
}

static int connect_new(struct connect **ret, weir_socket *s, int family, const char *host,
                       uint16_t port)
{
    size_t length = strnlen(host, HOST_MAX + 1);
    int rc = remember_local(s);
    struct connect *c = rc < 0 ? NULL : sys_alloc(sizeof *c + length + 1);

    if (!c)
        return rc < 0 ? rc : -ENOMEM;
    c->before = socket_phase(s);
    c->family = s->family;
    c->deadline_ns = clock_deadline(atomic_load_explicit(&s->timeout_ms, memory_order_relaxed));
    c->wake_at_ns = NEVER;
    c->port = port;
    memcpy(c->host, host, length);
    race_init(&c->race, family, max_live(s));
    *ret = c;
    return 0;
}

static int look_up(weir_socket *s, struct connect *c, const char *host)
{
    const struct resolve_client client = {lookup_notify, lookup_release, socket_ref(s)};
    int rc = resolve_begin(&c->lookup, host, s->family, &client);

    for (unsigned i = 0; i < 2; i++)
        c->wants[i] = s->family == AF_UNSPEC || s->family == families[i].family;
    if (rc == -EINVAL || rc == -ENAMETOOLONG)
        return tell_of_text(s, rc);
    if (rc == -EAGAIN)
        return refuse(s, WEIR_ENAMEAGAIN, "the thread that looks names up could not be started");
    return rc == -EINPROGRESS ? 0 : rc;
}

/* What the host is: 0 and its address, or 1 for a name. */
static int aim(weir_socket *s, const char *host, uint16_t port, weir_address *ret)
{
    int rc;

    if (strncmp(host, "unix:", 5) == 0) {
        rc = weir_address_parse(host, ret);
        if (rc < 0)
            return tell_of_text(s, rc);
        return port ? refuse(s, -EINVAL, "a Unix address has no port") : 0;
    }
    rc = target_numeric(host, port, ret);
    if (rc != WEIR_ENONAME)
        return rc;
    if (s->family == AF_UNIX)
        return refuse(s, -EAFNOSUPPORT, "a Unix socket connects to unix:/path or unix:@name");
    return s->family == AF_UNSPEC || s->family == AF_INET || s->family == AF_INET6
               ? 1
               : refuse(s, -EAFNOSUPPORT, "a socket of this family does not connect to names");
}

/* Sets the machine going, for the first time. */
static int go(weir_socket *s, struct connect *c)
{
    s->connect = c;
    set_phase(s, PHASE_CONNECTING);
    connect_drive(s);
    return s->connect ? -EINPROGRESS : s->connect_error;
}

static int begin_by_name(weir_socket *s, const char *host, uint16_t port)
{
    struct connect *c;
    int rc = connect_new(&c, s, s->family, host, port);

    if (rc < 0)
        return rc;
    rc = look_up(s, c, host);
    if (rc < 0) {
        free(c);
        return rc;
    }
    return go(s, c);
}

static int begin_at(weir_socket *s, const weir_address *to)
{
    struct connect *c;

    if (s->family != AF_UNSPEC && s->family != to->family)
        return refuse(s, -EAFNOSUPPORT, "the address is of another family than the socket");
    int rc = connect_new(&c, s, to->family, "", 0);
    if (rc < 0)
        return rc;
    c->single = (struct ranked){.address = *to, .reachable = true};
    race_answer(&c->race, to->family, 0, &c->single, 1, 0);
    return go(s, c);
}

int connect_begin(weir_socket *s, const char *host, uint16_t port, const weir_address *to)
{
    weir_address numeric;

    int rc = host ? aim(s, host, port, &numeric) : 0;
    bool named = rc > 0;

    if (host)
        to = &numeric;
    if (rc >= 0 && s->tls && (rc = tls_aim(s, named ? host : NULL, to)) < 0)
        (void)tell_of_text(s, rc);
    if (rc < 0)
        return rc;
    return named ? begin_by_name(s, host, port) : begin_at(s, to);
}

void connect_set_option(weir_socket *s, const struct setting *o)
{
    struct connect *c = s->connect;

    for (unsigned i = 0; i < c->attempt_count; i++)
        if (setting_applies(o, race_address(&c->race, c->attempts[i].index)->family))
            (void)sys_setsockopt(c->attempts[i].fd, o->level, o->name, o->value, o->length);
}

void connect_own(weir_socket *s, const void *call)
{
    s->connect->owner = call;
}

bool connect_may_end(const weir_socket *s, const void *call)
{
    return !s->connect->owner || s->connect->owner == call;
}

int connect_outcome(weir_socket *s)
{
    enum phase phase = socket_phase(s);

    s->connect_untold = false;
    if (s->connect_error)
        return s->connect_error;
    return phase == PHASE_CONNECTED ? 0 : -ENOTCONN;
}
