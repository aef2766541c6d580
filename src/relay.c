/* Two streams made one: a task for each direction, receive and send in turn. The caller waits until
 * both have ended, one has failed, or a socket was closed, and then ends them. */
#include "clock.h"
#include "context.h"
#include "relay_splice.h"
#include "socket.h"
#include "sys.h"
#include "tls/tls.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <weir/inspect.h>
#include <weir/limit.h>
#include <weir/relay.h>
#include <weir/task.h>

/* A silent connection costs little, a busy one few calls. */
#define BUFFER_FIRST ((size_t)4 * 1024)
#define BUFFER_MOST  ((size_t)64 * 1024)

/* After so many small reads in a row the buffer is small again. */
#define SMALL_READS 64

/* After so many full buffers in a row the bytes go through a pipe, as long as they come in large
 * pieces: below 64 KiB a piece that does not pay. */
#define FULL_READS   2
#define PIECE_LEAST  ((size_t)32 * 1024)
#define SMALL_PIECES 8

/* What was said before a failure has so long to arrive. */
#define LAST_WORDS_MS 5000

struct relay;

/* One direction. Its task's own, until that has ended. */
struct way {
    struct relay *relay;
    weir_socket *from, *to;
    char *buf;
    size_t size;
    unsigned small_reads, full_reads;
    struct pipe pipe;
    bool no_pipe;     /* it was refused */
    int64_t limit_ms; /* the idle limit that `scope` was begun with */
    weir_scope scope;
    uint64_t moved, lost;
    int from_error, to_error;
    int rc; /* 0 if it has come to its end */
};

struct relay {
    struct way there, back;
    const weir_relay_options *options;
    int64_t idle_ms;           /* of the options; < 0: none */
    _Atomic uint64_t moved_ns; /* when something moved last, in either direction; kept while there
                                  is a limit */
    atomic_int busy;           /* directions that do something else: then it is not idle */
    atomic_int failure;        /* the first */
    pthread_mutex_t lock;
    unsigned running;        /* directions (lock) */
    bool over;               /* none runs, or none has to run any more (lock) */
    struct sleeper *sleeper; /* of the caller; NULL while he does not sleep (lock) */
};

/* ---- the idle limit -------------------------------------------------------------------------- */

static int64_t shorter(int64_t a_ms, int64_t b_ms)
{
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static int64_t timeout_ms(const weir_socket *s)
{
    return atomic_load_explicit(&s->timeout_ms, memory_order_relaxed);
}

/* A socket's own time-out, if there is one, ends no wait while the other direction moves. It may
 * change at any time. < 0: no limit. */
static int64_t idle_limit_ms(const struct relay *r)
{
    return shorter(r->idle_ms, shorter(timeout_ms(r->there.from), timeout_ms(r->there.to)));
}

/* How long nothing more may move until it ends: 0 if that time is up, < 0 without a limit. The
 * stamp is read before the clock: the other direction may set it in between. */
static int64_t idle_left_ms(const struct relay *r, int64_t limit_ms)
{
    if (limit_ms < 0 || atomic_load(&r->busy) > 0)
        return limit_ms;
    uint64_t moved_ns = atomic_load_explicit(&r->moved_ns, memory_order_acquire),
             now_ns = sys_now(),
             rested_ms = now_ns > moved_ns ? (now_ns - moved_ns) / NS_PER_MS : 0;
    return rested_ms < (uint64_t)limit_ms ? limit_ms - (int64_t)rested_ms : 0;
}

static void stamp(struct relay *r, uint64_t now_ns)
{
    atomic_store_explicit(&r->moved_ns, now_ns, memory_order_release);
}

/* Returns what is left. While there was no limit there were no stamps. */
static int64_t idle_begin(struct way *w)
{
    int64_t limit_ms = idle_limit_ms(w->relay);

    if (limit_ms >= 0 && w->limit_ms < 0)
        stamp(w->relay, sys_now());
    int64_t left_ms = idle_left_ms(w->relay, limit_ms);
    w->limit_ms = limit_ms;
    w->scope = weir_deadline_start(left_ms);
    return left_ms;
}

/* Time is up for this call. Unless it is the caller's, or nothing has moved elsewhere, there is
 * more. */
static bool goes_on(struct way *w)
{
    weir_scope_end(w->scope);
    bool callers = weir_time_left() == 0;

    return idle_begin(w) != 0 && !callers;
}

/* In between the direction is under no limit but the caller's. */
static void busy_begin(struct way *w)
{
    atomic_fetch_add(&w->relay->busy, 1);
    weir_scope_end(w->scope);
}

static void busy_end(struct way *w)
{
    atomic_fetch_sub(&w->relay->busy, 1);
    (void)idle_begin(w);
}

/* Whoever is told may take his time. */
static void tell_moved(struct way *w, size_t n)
{
    const weir_relay_options *o = w->relay->options;

    busy_begin(w);
    o->moved(o->arg, w == &w->relay->there, n);
    stamp(w->relay, sys_now());
    busy_end(w);
}

/* With TLS, a send counts what is still to go when its limit passes: that did not move just now. */
static void note_moved(struct way *w, size_t n)
{
    const weir_relay_options *o = w->relay->options;
    int64_t limit_ms = idle_limit_ms(w->relay);
    uint64_t now_ns = limit_ms < 0 ? NEVER : sys_now();
    bool just_now = limit_ms >= 0 && (!w->to->tls || now_ns < context_current()->deadline_ns);

    w->moved += n;
    w->lost -= n;
    if (just_now)
        stamp(w->relay, now_ns);
    if (o && o->moved) {
        tell_moved(w, n);
    } else if (limit_ms != w->limit_ms) {
        weir_scope_end(w->scope);
        (void)idle_begin(w);
    }
}

/* ---- buffers --------------------------------------------------------------------------------- */

/* Without memory it goes on with what it has. */
static int resize(struct way *w, size_t size)
{
    char *buf = sys_alloc_unset(size);

    if (!buf)
        return -ENOMEM;
    free(w->buf);
    w->buf = buf;
    w->size = size;
    w->small_reads = 0;
    return 0;
}

static void adapt(struct way *w, size_t n)
{
    w->small_reads = n <= BUFFER_FIRST ? w->small_reads + 1 : 0;
    if (n == w->size && w->size < BUFFER_MOST)
        (void)resize(w, 4 * w->size);
    else if (w->small_reads >= SMALL_READS && w->size > BUFFER_FIRST)
        (void)resize(w, BUFFER_FIRST);
    w->full_reads = n == BUFFER_MOST ? w->full_reads + 1 : 0;
    if (w->full_reads < FULL_READS || w->no_pipe)
        return;
    w->full_reads = 0;
    w->no_pipe = !splice_fits(w->from, w->to) || pipe_open(&w->pipe) < 0;
}

/* ---- a direction ----------------------------------------------------------------------------- */

static bool is_limit(int rc)
{
    return rc == WEIR_EDEADLINE || rc == -ECANCELED;
}

/* Limits and cancels are nobody's errors. */
static int failed(struct way *w, int *error, int rc)
{
    int none = 0;

    if (!is_limit(rc))
        *error = rc;
    if (rc != -ECANCELED)
        atomic_compare_exchange_strong(&w->relay->failure, &none, rc);
    return rc;
}

static ssize_t receive(struct way *w)
{
    ssize_t n;

    do
        n = weir_recv(w->from, w->buf, w->size);
    while (n == WEIR_EDEADLINE && goes_on(w));
    return n < 0 ? failed(w, &w->from_error, (int)n) : n;
}

static int deliver(struct way *w, const char *bytes, size_t len)
{
    w->lost += len;
    while (len > 0) {
        ssize_t n = weir_send(w->to, bytes, len);
        if (n == WEIR_EDEADLINE && goes_on(w))
            continue;
        if (n < 0)
            return failed(w, &w->to_error, (int)n);
        note_moved(w, (size_t)n);
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int pass_end(struct way *w)
{
    int rc;

    do
        rc = weir_shutdown(w->to, SHUT_WR);
    while (rc == WEIR_EDEADLINE && goes_on(w));
    return rc < 0 && rc != -ENOTSOCK ? failed(w, &w->to_error, rc) : 0;
}

/* Each returns 1 when it has moved a piece, 0 at the end, or an error. */
static int copy_piece(struct way *w)
{
    ssize_t n = receive(w);

    if (n <= 0)
        return (int)n;
    int rc = deliver(w, w->buf, (size_t)n);
    if (rc < 0)
        return rc;
    adapt(w, (size_t)n);
    return 1;
}

static void drop_pipe(struct way *w)
{
    pipe_close(&w->pipe);
    w->no_pipe = true;
}

/* What is in the pipe and cannot be spliced from there. */
static int deliver_copied(struct way *w, size_t len)
{
    int rc = 0;

    while (rc == 0 && len > 0) {
        ssize_t n = pipe_read(&w->pipe, w->buf, w->size);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return failed(w, &w->to_error, n < 0 ? (int)n : -EIO);
        w->lost -= (size_t)n; /* to be counted once */
        len -= (size_t)n;
        rc = deliver(w, w->buf, (size_t)n);
    }
    drop_pipe(w);
    return rc < 0 ? rc : 1;
}

static int deliver_spliced(struct way *w, size_t len)
{
    while (len > 0) {
        ssize_t n = splice_out(w->to, &w->pipe, len);
        if (n == WEIR_EDEADLINE && goes_on(w))
            continue;
        if (n < 0 && is_limit((int)n))
            return failed(w, &w->to_error, (int)n);
        if (n <= 0)
            return deliver_copied(w, len);
        note_moved(w, (size_t)n);
        len -= (size_t)n;
    }
    return 1;
}

/* Whatever splicing says, the next copy tells what is really the matter. */
static int splice_piece(struct way *w)
{
    ssize_t n;

    do
        n = splice_in(w->from, &w->pipe);
    while (n == WEIR_EDEADLINE && goes_on(w));
    if (n < 0 && is_limit((int)n))
        return failed(w, &w->from_error, (int)n);
    if (n < 0)
        drop_pipe(w);
    if (n <= 0)
        return n < 0;
    w->lost += (size_t)n;
    int rc = deliver_spliced(w, (size_t)n);
    w->small_reads = (size_t)n < PIECE_LEAST ? w->small_reads + 1 : 0;
    if (rc > 0 && w->small_reads == SMALL_PIECES)
        pipe_close(&w->pipe);
    return rc;
}

static int carry_bytes(struct way *w)
{
    int rc;

    do
        rc = w->pipe.size ? splice_piece(w) : copy_piece(w);
    while (rc > 0);
    return rc < 0 ? rc : pass_end(w);
}

/* The writing end of a pipe has nothing to say, and poll(2) does not tell that it never will. */
static bool is_mute(const weir_socket *s)
{
    return s->layer != &layer_plain && weir_fd(s) >= 0 &&
           (sys_get_flags(weir_fd(s)) & O_ACCMODE) == O_WRONLY;
}

/* Takes no more, but what it has said before is there to be read, and after that the end, or the
 * same error: the other direction comes to its end by itself. */
static bool takes_no_more(const weir_socket *s, int error)
{
    return error == -EPIPE || (error && error == atomic_load(&s->error));
}

/* ---- an end that is none --------------------------------------------------------------------- */

/* Also if that cannot be known. */
static bool all_arrived(const weir_socket *s)
{
    struct tcp_info info;
    socklen_t length = sizeof info;
    int rc = sys_getsockopt(atomic_load_explicit(&s->fd, memory_order_relaxed), IPPROTO_TCP,
                            TCP_INFO, &info, &length);

    return rc < 0 || (info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0);
}

/* What did not come to its end on one side must not look whole to the other, when that socket is
 * closed. A reset would throw away what is still on its way there: it may arrive first. */
static void break_off(weir_socket *s)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (s->tls) {
        tls_silence(s->tls);
        return;
    }
    WEIR_WITHIN_MS(LAST_WORDS_MS);
    for (int64_t delay_ms = 1; !all_arrived(s) && weir_sleep(delay_ms) == 0;)
        delay_ms = delay_ms < LAST_WORDS_MS / 100 ? 2 * delay_ms : delay_ms;
    (void)sys_setsockopt(atomic_load_explicit(&s->fd, memory_order_relaxed), SOL_SOCKET, SO_LINGER,
                         &reset, sizeof reset);
}

static int carry_all(struct way *w)
{
    if (is_mute(w->from))
        return 0;
    w->limit_ms = -1;
    (void)idle_begin(w);
    int rc = resize(w, BUFFER_FIRST);
    rc = rc < 0 ? failed(w, &(int){0}, rc) : carry_bytes(w);
    if (w->from_error && w->from_error != WEIR_ECLOSED) {
        busy_begin(w);
        break_off(w->to);
        busy_end(w);
    }
    free(w->buf);
    pipe_close(&w->pipe);
    weir_scope_end(w->scope);
    return rc;
}

static int carry(void *arg)
{
    struct way *w = arg;
    struct relay *r = w->relay;

    (void)weir_task_name("weir_relay");
    w->rc = carry_all(w);
    pthread_mutex_lock(&r->lock);
    if (--r->running == 0 || (w->rc < 0 && !takes_no_more(w->to, w->to_error)))
        r->over = true;
    if (r->over && r->sleeper)
        sleeper_wake(r->sleeper);
    pthread_mutex_unlock(&r->lock);
    return w->rc;
}

/* ---- the relay ------------------------------------------------------------------------------- */

static int check(const weir_socket *a, const weir_socket *b, const weir_relay_options *options)
{
    if (!a || !b || a == b || (options && options->size != sizeof *options))
        return -EINVAL;
    if (!socket_is_stream(a) || !socket_is_stream(b))
        return -EOPNOTSUPP;
    return weir_get_blocking(a) && weir_get_blocking(b) ? 0 : -EINVAL;
}

/* A socket that is closed here ends the relay, whichever direction is left. */
struct watch {
    struct waiter waiter; /* first: it is what a socket knows */
    struct sleeper *sleeper;
};

static void told(struct waiter *waiter, enum wake_reason why)
{
    if (why != WAKE_CHANGED)
        sleeper_wake(((struct watch *)waiter)->sleeper);
}

static void watch_start(struct watch *w, weir_socket *s, struct sleeper *z)
{
    *w = (struct watch){.waiter.wake = told, .sleeper = z};
    pthread_mutex_lock(&s->lock);
    waiter_link(s, &w->waiter);
    pthread_mutex_unlock(&s->lock);
}

static void watch_stop(struct watch *w, weir_socket *s)
{
    pthread_mutex_lock(&s->lock);
    waiter_unlink(&w->waiter);
    pthread_mutex_unlock(&s->lock);
}

static bool some_closed(const struct relay *r)
{
    return socket_closed(r->there.from) || socket_closed(r->there.to);
}

static bool set_sleeper(struct relay *r, struct sleeper *z)
{
    pthread_mutex_lock(&r->lock);
    r->sleeper = z;
    bool over = r->over;
    pthread_mutex_unlock(&r->lock);
    return over;
}

/* 0 when it is over, or why not to wait for that. */
static int wait_until_over(struct relay *r, uint64_t deadline_ns)
{
    struct watch a, b;
    struct sleeper z;
    int rc = 1;

    while (rc > 0) {
        sleeper_init(&z);
        watch_start(&a, r->there.from, &z);
        watch_start(&b, r->there.to, &z);
        if (!set_sleeper(r, &z) && !some_closed(r))
            rc = sleeper_sleep(&z, deadline_ns);
        if (rc == 0)
            rc = WEIR_EDEADLINE;
        if (set_sleeper(r, NULL) || some_closed(r))
            rc = 0;
        watch_stop(&b, r->there.to);
        watch_stop(&a, r->there.from);
    }
    return rc;
}

/* The direction that would have found out may have ended before. */
static void note_closed(struct way *w, const struct way *other)
{
    if (socket_closed(w->from) && !w->from_error && !other->to_error)
        (void)failed(w, &w->from_error, WEIR_ECLOSED);
}

/* `rc` is why it was not waited for the end. */
static int outcome(struct relay *r, int rc)
{
    if (r->there.rc == 0 && r->back.rc == 0)
        return 0;
    note_closed(&r->there, &r->back);
    note_closed(&r->back, &r->there);
    if (atomic_load(&r->failure))
        return atomic_load(&r->failure);
    return rc < 0 ? rc : -ECANCELED;
}

static int run(struct relay *r)
{
    weir_group *g = NULL;
    uint64_t deadline_ns = NEVER;
    int rc = wait_begin(&deadline_ns);

    if (rc == 0)
        rc = weir_group_open(&g, NULL);
    if (rc < 0)
        return rc;
    rc = weir_go(g, carry, &r->there);
    if (rc == 0)
        rc = weir_go(g, carry, &r->back);
    if (rc == 0)
        rc = wait_until_over(r, deadline_ns);
    weir_group_close(g);
    return outcome(r, rc);
}

static int first_error(int reading, int writing)
{
    return reading ? reading : writing;
}

static void tell(const struct relay *r, weir_relay_result *ret)
{
    if (ret)
        *ret = (weir_relay_result){
            .a_to_b = r->there.moved,
            .b_to_a = r->back.moved,
            .a_lost = r->there.lost,
            .b_lost = r->back.lost,
            .a_error = first_error(r->there.from_error, r->back.to_error),
            .b_error = first_error(r->back.from_error, r->there.to_error),
        };
}

/* They stay while they are relayed, whoever closes them. */
static int enter(struct relay *r)
{
    r->there.from_error = socket_enter(r->there.from, 0);
    if (r->there.from_error)
        return r->there.from_error;
    r->back.from_error = socket_enter(r->back.from, 0);
    if (r->back.from_error)
        socket_leave(r->there.from, 0);
    return r->back.from_error;
}

int weir_relay(weir_socket *a, weir_socket *b, const weir_relay_options *options,
               weir_relay_result *ret)
{
    struct relay r = {
        .there = {.relay = &r, .from = a, .to = b, .pipe = PIPE_NONE, .rc = -ECANCELED},
        .back = {.relay = &r, .from = b, .to = a, .pipe = PIPE_NONE, .rc = -ECANCELED},
        .options = options,
        .idle_ms = options && options->idle_ms > 0 ? options->idle_ms : -1,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .running = 2,
    };
    int rc = check(a, b, options);

    if (rc == 0)
        rc = enter(&r);
    if (rc == 0) {
        rc = run(&r);
        pthread_mutex_destroy(&r.lock);
        socket_leave(a, 0);
        socket_leave(b, 0);
    }
    tell(&r, ret);
    return rc;
}
