/* Loops whose task has kept the thread for too long. */
#include "../clock.h"
#include "../sys.h"
#include "dump.h"
#include "watch.h"

#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#if __has_include(<execinfo.h>)
#include <execinfo.h>
#else
#define backtrace(frames, most) 0
#endif

#define FRAMES_MAX 48
/* What a look at the stack takes of the one that the handler is on. */
#define LOOK_BYTES  ((ptrdiff_t)12288)
#define PATIENCE_NS NS_PER_S

/* What the thread is asked, and what its handler answers. */
static struct {
    _Atomic int state;
    int told_fd;
    int signal;
    struct sigaction before;
    uint32_t loop_id;
    uint64_t switches;
    bool same; /* it is still the same task */
    char name[TASK_NAME_SIZE];
    uintptr_t fn, at;
    int count;
    void *frames[FRAMES_MAX];
} place = {.told_fd = -1};

enum { IDLE, WANTED, TAKING, TAKEN };

/* ---- in the thread --------------------------------------------------------------------------- */

static uintptr_t interrupted_at(const void *context)
{
#if defined(__x86_64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

static bool has_room_above(const void *low, size_t size)
{
    const char *here = __builtin_frame_address(0), *from = low;

    return here < from || here >= from + size || here - from > LOOK_BYTES;
}

/* It is a stack for handlers, of the loop's or of the program's, or the task's where there is none:
 * that may be nearly used up. */
static bool has_room(const struct loop *l, const struct task *t, const ucontext_t *context)
{
    const stack_t *handlers = &context->uc_stack;

    if (!(handlers->ss_flags & SS_DISABLE) && !has_room_above(handlers->ss_sp, handlers->ss_size))
        return false;
    return has_room_above(t->stack.low, l->run->stacks.stack_size);
}

int stall_trace(const struct loop *l, const ucontext_t *interrupted, void **frames, int most)
{
    const struct task *t = l->running;

    if (!t || switch_begun(&t->fiber.point, interrupted) || !has_room(l, t, interrupted))
        return 0;
    return backtrace(frames, most);
}

static void take_place(const struct loop *l, const void *context)
{
    const struct task *t = l->running;

    place.same = l->switches == place.switches;
    place.name[0] = '\0';
    place.fn = 0;
    if (t) {
        memcpy(place.name, t->name, sizeof place.name);
        place.fn = t->shown;
    }
    place.at = interrupted_at(context);
    place.count = place.same ? stall_trace(l, context, place.frames, FRAMES_MAX) : 0;
}

/* Once the answer is given the watcher may close the descriptor. */
static void handle(int signal, siginfo_t *info, void *context)
{
    int saved_errno = errno, wanted = WANTED;
    const struct loop *l = loop_here;

    (void)signal;
    (void)info;
    if (l && atomic_load(&place.state) == WANTED && place.loop_id == l->id &&
        atomic_compare_exchange_strong(&place.state, &wanted, TAKING)) {
        take_place(l, context);
        sys_eventfd_raise(place.told_fd);
        atomic_store(&place.state, TAKEN);
    }
    errno = saved_errno;
}

/* ---- the signal ------------------------------------------------------------------------------ */

/* The first look at a stack loads a library, which no handler may. */
int stall_begin(int signal)
{
    struct sigaction action = {
        .sa_sigaction = handle,
        .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK,
    };
    void *frame;

    place.signal = 0;
    if (!signal)
        return 0;
    (void)backtrace(&frame, 1);
    int fd = sys_eventfd();
    if (fd < 0)
        return fd;
    sigemptyset(&action.sa_mask);
    int rc = sys_sigaction(signal, &action, &place.before);
    if (rc < 0) {
        sys_close(fd);
        return rc;
    }
    place.told_fd = fd;
    place.signal = signal;
    atomic_store(&place.state, IDLE);
    return 0;
}

static void release(void)
{
    sys_close(place.told_fd);
    place.told_fd = -1;
    place.signal = 0;
}

/* A signal may still be on its way to a thread: its usual effect could be the end of the process.
 * So where that was, it is ignored from now on. */
static void give_signal_back(void)
{
    if (place.before.sa_handler == SIG_DFL && !(place.before.sa_flags & SA_SIGINFO))
        place.before.sa_handler = SIG_IGN;
    (void)sys_sigaction(place.signal, &place.before, NULL);
}

void stall_end(void)
{
    if (place.signal)
        give_signal_back();
    release();
}

void stall_forget(void)
{
    if (place.signal)
        (void)sys_sigaction(place.signal, &place.before, NULL);
    release();
}

/* ---- looking --------------------------------------------------------------------------------- */

struct stall {
    pid_t tid;
    unsigned number;
    uint64_t for_ns;
    bool asked;
};

/* (runs) */
static void ask_place(struct loop *l, pthread_t thread, struct stall *stall)
{
    if (!place.signal || atomic_load(&place.state) != IDLE)
        return;
    sys_eventfd_drain(place.told_fd);
    place.loop_id = l->id;
    place.switches = l->watched.switches;
    atomic_store(&place.state, WANTED);
    stall->asked = sys_thread_signal(thread, place.signal) == 0;
    if (!stall->asked)
        atomic_store(&place.state, IDLE);
}

/* A long time between two looks counts as two periods: then the whole process may have stood still.
 * (runs) */
static void look_at(struct loop *l, uint64_t now_ns, uint64_t period_ns)
{
    uint64_t turns = loop_counted(&l->turns), switches = loop_counted(&l->switches);

    if (l->watched.looked_ns && turns == l->watched.turns && switches == l->watched.switches) {
        l->watched.for_ns += earlier(now_ns - l->watched.looked_ns, 2 * period_ns);
    } else {
        l->watched.for_ns = 0;
        l->watched.told = false;
    }
    l->watched.looked_ns = now_ns;
    l->watched.turns = turns;
    l->watched.switches = switches;
}

/* True if it has kept to one task for so long, and that is new. (runs) */
static bool is_stalled(struct loop *l, uint64_t limit_ns)
{
    if (l->watched.turns & 1 || !atomic_load_explicit(&l->tid, memory_order_relaxed))
        return false; /* it waits, or has not begun */
    if (l->watched.told || l->watched.for_ns < limit_ns)
        return false;
    return l->watched.told = true;
}

static bool find(const weir_watch_options *o, uint64_t period_ns, struct stall *stall)
{
    uint64_t now_ns = sys_now(), limit_ns = clock_ns(o->stall_ms);
    bool found = false;

    for (struct run *run = runs_lock(); run && !found; run = run->next)
        for (unsigned i = 0; i < run->loop_count && !found; i++) {
            struct loop *l = run->loops[i];
            look_at(l, now_ns, period_ns);
            found = is_stalled(l, limit_ns);
            if (!found)
                continue;
            *stall = (struct stall){.tid = atomic_load(&l->tid), .number = l->number};
            stall->for_ns = l->watched.for_ns;
            ask_place(l, run->loop_threads[i], stall);
        }
    runs_unlock();
    return found;
}

/* True if the thread has answered. */
static bool take_answer(void)
{
    struct pollfd told = {.fd = place.told_fd, .events = POLLIN};
    static const struct timespec moment = {.tv_nsec = NS_PER_MS};
    struct timespec left;
    int wanted = WANTED;

    (void)sys_poll(&told, 1, clock_left(sys_now() + PATIENCE_NS, &left));
    if (atomic_compare_exchange_strong(&place.state, &wanted, IDLE))
        return false;
    while (atomic_load(&place.state) != TAKEN)
        (void)sys_poll(NULL, 0, &moment);
    sys_eventfd_drain(place.told_fd);
    return place.same;
}

/* The frames above where it was interrupted are those of the handler. */
static int first_frame(void)
{
    for (int i = 0; i < place.count; i++)
        if ((uintptr_t)place.frames[i] == place.at)
            return i;
    return 0;
}

/* Return addresses lie behind the calls. */
static void write_trace(struct out *o, int first)
{
    char name[CODE_NAME_SIZE];

    for (int i = first; i < place.count; i++) {
        uintptr_t at = (uintptr_t)place.frames[i];
        name_place(i > first ? at - 1 : at, name);
        out_format(o, "    ");
        out_quoted(o, name);
        out_text(o, "\n", 1);
    }
}

static void write_report(struct out *o, const weir_report *r, int first)
{
    out_format(o, "weir: loop %u, thread %d: ", r->loop, r->thread);
    if (r->task) {
        out_format(o, "task ");
        out_quoted(o, r->task);
    } else {
        out_format(o, "a task");
    }
    out_format(o, " has kept the thread for %llu ms", (unsigned long long)r->for_ms);
    if (r->place) {
        out_format(o, ", at ");
        out_quoted(o, r->place);
    }
    out_text(o, "\n", 1);
    if (r->place)
        write_trace(o, first);
    out_flush(o);
}

/* Texts of a report. */
struct words {
    struct kept kept;
    struct out out;
    char task[CODE_NAME_SIZE], at[CODE_NAME_SIZE];
};

static int take_words(weir_report *r, struct words *w)
{
    int first = first_frame();

    name_place(place.at ? place.at : (uintptr_t)place.frames[0], w->at);
    r->place = w->at;
    r->frames = place.frames + first;
    r->frame_count = (unsigned)(place.count - first);
    if (!place.fn)
        return first;
    if (*place.name)
        (void)snprintf(w->task, sizeof w->task, "%s", place.name);
    else
        name_function(place.fn, w->task);
    r->task = w->task;
    return first;
}

static const char *write_words(weir_report *r, struct words *w, bool answered)
{
    int first = answered ? take_words(r, w) : 0;

    w->out.write = out_keep;
    w->out.arg = &w->kept;
    write_report(&w->out, r, first);
    return w->out.rc < 0 ? NULL : w->kept.text;
}

static void tell(const weir_watch_options *options, const struct stall *stall, bool answered)
{
    static const char what[] =
        "weir: a task has kept the thread of its loop (no memory for more)\n";
    struct words *w = sys_alloc(sizeof *w);
    weir_report r = {
        .kind = WEIR_REPORT_STALL,
        .loop = stall->number,
        .thread = (int)stall->tid,
        .for_ms = stall->for_ns / NS_PER_MS,
    };

    if (w)
        r.text = write_words(&r, w, answered);
    if (!r.text)
        r.text = what;
    watch_report(options, &r);
    if (w)
        free(w->kept.text);
    free(w);
}

void stall_look_anew(void)
{
    for (struct run *run = runs_lock(); run; run = run->next)
        for (unsigned i = 0; i < run->loop_count; i++)
            memset(&run->loops[i]->watched, 0, sizeof run->loops[i]->watched);
    runs_unlock();
}

void stall_look(const weir_watch_options *options, uint64_t period_ns)
{
    struct stall stall;

    while (find(options, period_ns, &stall)) {
        bool answered = stall.asked && take_answer();
        tell(options, &stall, answered);
        if (stall.asked)
            atomic_store(&place.state, IDLE);
    }
}
