/* The rig: all that a scenario sees of the row it runs in.
 *
 * A row is a model (what runs at the same time: threads, or tasks of some kind), a mode (how calls
 * wait) and a transport (what carries the bytes), perhaps under a storm of signals. A scenario asks
 * the rig for sockets and lets it do each operation "to its end"; what that takes in this row is
 * the rig's business. Each scenario runs in a process of its own, which must end with the
 * descriptors and threads that it began with. */
#ifndef RIG_H
#define RIG_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <weir.h>

/* What a scenario needs of its row; a row that lacks one of them leaves the scenario out. */
enum need {
    STREAM = 1 << 0,     /* bytes without boundaries */
    MESSAGES = 1 << 1,   /* boundaries are kept */
    CONNECTION = 1 << 2, /* a conversation with an end */
    DATAGRAMS = 1 << 3,  /* messages without a conversation */
    LISTENER = 1 << 4,   /* connections are made by connect and accept */
    INTERNET = 1 << 5,
    TCP = 1 << 6,
    LOCAL = 1 << 7,  /* Unix sockets */
    RAW = 1 << 8,    /* the other end may be a plain descriptor */
    OWN = 1 << 9,    /* brings its own sockets, so that a single transport is enough */
    WAITS = 1 << 10, /* calls wait, one way or another */
    NAMES = 1 << 11, /* may start the resolver, which keeps its thread and descriptors */
    TASKS = 1 << 12, /* what runs at the same time are tasks: they inherit, and can be cancelled */
    PLAIN = 1 << 13, /* what is sent is what the kernel carries: a connect needs nobody at the other
                        end, the descriptor is all there is, flags mean something */
    HANDSHAKE = 1 << 14, /* TLS, and so not PLAIN */
};

struct rig;

struct scenario {
    const char *name, *file;
    int line;
    unsigned needs;
    void (*run)(struct rig *rig);
    struct scenario *next;
};

void rig_register(struct scenario *scenario);

#define SCENARIO_FOR(name, what)                                                                   \
    static void name(struct rig *rig);                                                             \
    __attribute__((constructor)) static void register_##name(void)                                 \
    {                                                                                              \
        static struct scenario scenario = {#name, __FILE__, __LINE__, (what), name, NULL};         \
        rig_register(&scenario);                                                                   \
    }                                                                                              \
    static void name(__attribute__((unused)) struct rig *rig)
#define SCENARIO(name) SCENARIO_FOR(name, 0)

enum mode_kind { MODE_BLOCKING, MODE_TIMEOUT, MODE_DEADLINE, MODE_NONBLOCKING };

struct mode {
    const char *name;
    enum mode_kind kind;
};

struct model {
    const char *name;
    int models; /* as weir_run takes them; 0: outside of it, threads of our own */
    int loop;
};

struct transport {
    const char *name;
    int family, type;
    unsigned has;
    bool abstract;
    const char *scheme; /* of targets, in front of an address */
    int end_of_abort;   /* what a receiver gets whose peer has gone without a word */
    int tls_version;    /* the one that is spoken; 0 without TLS */
};

extern const struct model rig_models[]; /* ended by a NULL name */
extern const struct mode rig_modes[];   /* the same */
extern const struct transport rig_transports[];

struct rig {
    const struct scenario *scenario;
    const struct model *model;
    const struct mode *mode;
    const struct transport *transport;
    bool inside; /* weir_run */
    bool eintr;
    unsigned long seed;
    _Atomic uint64_t drawn;
    atomic_uint names;
    char dir[64];
    weir_tls_config *tls;  /* for either end; NULL without TLS */
    const char *tls_name;  /* of the server; the same */
    struct estate *estate; /* what is closed at the end */
};

/* ---- what must hold ------------------------------------------------------------------------- */

/* Print what was got and what was expected, and end the scenario, whichever thread finds it. */
#define EXPECT(call, want) rig_expect(__FILE__, __LINE__, #call, (call), (want))
#define CHECK(condition)   rig_check(__FILE__, __LINE__, #condition, (condition))
/* The story of the last failure of `s` (or of the thread, NULL) names `part`. */
#define EXPECT_STORY(s, part) rig_expect_story(__FILE__, __LINE__, (s), (part))

void rig_expect(const char *file, int line, const char *what, long long got, long long want);
void rig_check(const char *file, int line, const char *what, bool holds);
void rig_expect_story(const char *file, int line, const weir_socket *s, const char *part);

/* Ends the scenario as skipped. */
_Noreturn void rig_skip(const char *reason);

/* ---- operations to their end ---------------------------------------------------------------- */

struct attempt {
    struct rig *rig;
    weir_socket *s;
    unsigned events;
    bool brief;
    weir_scope scope;
};

struct attempt rig_begin(struct rig *rig, weir_socket *s, unsigned events, bool brief);
bool rig_again(struct attempt *a, ssize_t *rc);

#define RIG_ATTEMPT(rig, s, events, brief, call)                                                   \
    __extension__({                                                                                \
        struct attempt attempt_ = rig_begin((rig), (s), (events), (brief));                        \
        ssize_t rc_;                                                                               \
        do                                                                                         \
            rc_ = (call);                                                                          \
        while (rig_again(&attempt_, &rc_));                                                        \
        rc_;                                                                                       \
    })

/* The result of `call`, which waits for `events` on `s` in the way of the row. */
#define RIG_DONE(rig, s, events, call) RIG_ATTEMPT(rig, s, events, false, call)
/* The same under a limit of a moment: WEIR_EDEADLINE in every row if it has to wait longer. */
#define RIG_BRIEFLY(rig, s, events, call) RIG_ATTEMPT(rig, s, events, true, call)

/* How long a moment is. */
#define RIG_MOMENT_MS 20

/* Longer than a call that does not wait takes, on the busiest machine and under Valgrind. */
#define RIG_WHILE_MS 1000
/* Longer than anything takes that goes well. */
#define RIG_LONG_MS 30000

static inline ssize_t rig_send(struct rig *rig, weir_socket *s, const void *buf, size_t len)
{
    return RIG_DONE(rig, s, WEIR_WRITABLE, weir_send(s, buf, len));
}

static inline ssize_t rig_recv(struct rig *rig, weir_socket *s, void *buf, size_t len)
{
    return RIG_DONE(rig, s, WEIR_READABLE, weir_recv(s, buf, len));
}

/* All of it to the kernel, too: with TLS it is nobody's business in non-blocking mode that the last
 * part goes out, unless somebody waits or calls again. */
int rig_send_all(struct rig *rig, weir_socket *s, const void *buf, size_t len, size_t *done);

static inline int rig_recv_exact(struct rig *rig, weir_socket *s, void *buf, size_t len,
                                 size_t *done)
{
    return (int)RIG_DONE(rig, s, WEIR_READABLE, weir_recv_exact(s, buf, len, done));
}

static inline ssize_t rig_sendmsg(struct rig *rig, weir_socket *s, const struct msghdr *m,
                                  int flags)
{
    return RIG_DONE(rig, s, WEIR_WRITABLE, weir_sendmsg(s, m, flags));
}

static inline ssize_t rig_recvmsg(struct rig *rig, weir_socket *s, struct msghdr *m, int flags)
{
    return RIG_DONE(rig, s, WEIR_READABLE, weir_recvmsg(s, m, flags));
}

static inline int rig_finish(struct rig *rig, weir_socket *s)
{
    return (int)RIG_DONE(rig, s, WEIR_READABLE, weir_finish(s));
}

int rig_connect(struct rig *rig, weir_socket *s, const char *host, uint16_t port);
int rig_connect_address(struct rig *rig, weir_socket *s, const weir_address *a);
/* The same under a limit of a moment. */
int rig_connect_briefly(struct rig *rig, weir_socket *s, const weir_address *a);
/* Also puts the new socket into the mode of the row, and closes it at the end. */
int rig_accept(struct rig *rig, weir_socket *listener, weir_socket **ret);
/* Half-close: of what is still to go, the kernel may have to take some first. */
int rig_shutdown(struct rig *rig, weir_socket *s);

/* Waits for `events` by whatever means the seed picks. */
int rig_wait(struct rig *rig, weir_socket *s, unsigned events);

/* ---- sockets, all closed at the end --------------------------------------------------------- */

/* Puts a socket into the mode of the row. */
void rig_set_mode(struct rig *rig, weir_socket *s);
/* Closes a socket at the end of the scenario, unless rig_close or rig_forget comes first. */
weir_socket *rig_keep(struct rig *rig, weir_socket *s);
void rig_forget(struct rig *rig, weir_socket *s);
void rig_close(struct rig *rig, weir_socket *s);

/* A fresh socket of the transport, unbound, in the mode of the row. */
weir_socket *rig_open(struct rig *rig);
/* The same, of another family. */
weir_socket *rig_open_family(struct rig *rig, int family);
/* The same without TLS, and a listener of that kind: for peers that do it in their own way. */
weir_socket *rig_open_bare(struct rig *rig);
weir_socket *rig_bare_listener(struct rig *rig);
/* A place to bind to: loopback and port 0, or a name of its own. */
weir_address rig_place(struct rig *rig);
/* A bound socket; a listener with the system's backlog; where it is. */
weir_socket *rig_bound(struct rig *rig);
weir_socket *rig_listener(struct rig *rig);
weir_address rig_where(weir_socket *s);
/* Two ends of a conversation; which of them connected is up to the seed. */
void rig_pair(struct rig *rig, weir_socket **a, weir_socket **b);
/* Ends a conversation from the end of `b` with a reset; `b` is gone. */
void rig_reset(struct rig *rig, weir_socket *a, weir_socket *b);

/* ---- meeting: with a handshake neither end gets through alone ------------------------------- */

/* Connects and accepts, both to their ends; nothing is left to be read. */
void rig_meet(struct rig *rig, weir_socket *s, const weir_address *where, weir_socket *listener,
              weir_socket **ret);
void rig_meet_by_name(struct rig *rig, weir_socket *s, const char *host, weir_socket *listener,
                      weir_socket **ret);
/* The one half, for a thread, or a process, of its own. */
void rig_arrive(struct rig *rig, weir_socket *s, const weir_address *where);
void rig_arrive_by_name(struct rig *rig, weir_socket *s, const char *host, uint16_t port);
/* What is left of it when the connect has ended; may be given to rig_go. */
void rig_take_greeting(struct rig *rig, void *s);
/* The other half. */
void rig_admit(struct rig *rig, weir_socket *listener, weir_socket **ret);
/* What is left of it when weir_accept has been called. */
void rig_welcome(struct rig *rig, weir_socket *accepted);
/* rig_admit, to be given to rig_go. */
void rig_admit_one(struct rig *rig, void *listener);
/* Arrives as far as that goes without the other half: `s` is in the listener's queue. To be joined
 * when it has been admitted. NULL if nothing is left to do. */
struct rig_thread *rig_visit(struct rig *rig, weir_socket *s, const weir_address *where);

/* ---- plain descriptors, closed at the end as well ------------------------------------------- */

int rig_keep_fd(struct rig *rig, int fd);
void rig_close_fd(struct rig *rig, int fd);
/* A conversation with a plain, blocking descriptor at the other end. */
void rig_raw_pair(struct rig *rig, weir_socket **s, int *fd);
/* A plain listener, and where it is. */
int rig_raw_listener(struct rig *rig, int backlog, weir_address *where);
/* An address where nobody listens. */
weir_address rig_nobody(struct rig *rig);
/* A plain listener whose queue is full: a connect to it gets no answer until something is
 * accepted. With a handshake, by the seed, also one whose queue has room, where nobody shakes
 * hands. */
int rig_full_listener(struct rig *rig, weir_address *where);
/* Ends the conversation of a rig_raw_pair from the raw end with a reset; the descriptor is gone. */
void rig_raw_reset(struct rig *rig, weir_socket *s, int fd);

/* ---- at the same time ----------------------------------------------------------------------- */

/* A thread, or a task. */
struct rig_thread;
typedef void rig_function(struct rig *rig, void *arg);

struct rig_thread *rig_go(struct rig *rig, rig_function *fn, void *arg);
/* Calls `fn` as soon as the calling thread sleeps, in whatever call comes next. */
struct rig_thread *rig_when_asleep(struct rig *rig, rig_function *fn, void *arg);
/* NULL is fine. */
void rig_join(struct rig_thread *t);
/* Sees to it that everything goes out that was sent on `s`, until there is room for more: nobody
 * else may be there to do it, in non-blocking mode or after a limit. To be joined. */
struct rig_thread *rig_push(struct rig *rig, weir_socket *s);
/* Returns when the thread sleeps, or has ended. */
void rig_until_asleep(struct rig_thread *t);
/* Returns when the one that started the caller sleeps. */
void rig_until_starter_sleeps(struct rig *rig);
/* Lets the others go first. */
void rig_give_way(void);
/* Cancels it. For scenarios that need TASKS. */
void rig_cancel(struct rig_thread *t);

/* Runs `fn` in a child process, which has its own copy of everything; checks that it succeeds. */
pid_t rig_fork(struct rig *rig, rig_function *fn, void *arg);
void rig_wait_child(pid_t pid);

/* ---- odds and ends -------------------------------------------------------------------------- */

uint64_t rig_random(struct rig *rig);
/* Fills with a pattern that tells `key` and the offset; true if it is that. */
void rig_fill(void *buf, size_t len, unsigned key, size_t offset);
bool rig_is_filled(const void *buf, size_t len, unsigned key, size_t offset);
/* Takes every descriptor there is but `spare`, gives them back. */
void rig_exhaust_fds(struct rig *rig, int spare);
void rig_restore_fds(struct rig *rig);
int rig_count_fds(void);

/* ---- for the program alone ------------------------------------------------------------------ */

const struct scenario *rig_scenarios(void);
/* Before the first scenario, and after the last: what all of them have in common. 0, or why the
 * transport does not work here. */
int rig_prepare(const struct transport *transport);
void rig_unprepare(void);
/* 0, or why the model does not work here. */
int rig_try_model(const struct model *model);
void rig_run(struct rig *rig);

#endif
