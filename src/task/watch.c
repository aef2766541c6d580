/* The watcher: a thread that is there only if the program asks for it, and so also while all loops
 * compute. */
#include "watch.h"

#include "../clock.h"
#include "../context.h"
#include "../story.h"
#include "../sys.h"

#include <limits.h>
#include <string.h>
#include <weir/error.h>

static struct {
    pthread_mutex_t lock; /* for all of it */
    pthread_cond_t ended;
    bool there;
    uint64_t number; /* of the last that was begun */
    weir_watch_options options;
    int end_fd, signal_fd; /* -1: not there */
} watch = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .ended = PTHREAD_COND_INITIALIZER,
    .end_fd = -1,
    .signal_fd = -1,
};

/* ---- forks ----------------------------------------------------------------------------------- */

static void close_all(void)
{
    sys_close(watch.end_fd);
    sys_close(watch.signal_fd);
    watch.end_fd = watch.signal_fd = -1;
}

static void before_fork(void)
{
    pthread_mutex_lock(&watch.lock);
}

static void after_fork_here(void)
{
    pthread_mutex_unlock(&watch.lock);
}

/* The thread stays with the parent. So does one that is being ended, whose handler may still be
 * there. */
static void after_fork_in_child(void)
{
    pthread_mutex_init(&watch.lock, NULL);
    pthread_cond_init(&watch.ended, NULL);
    stall_forget();
    watch.there = false;
    close_all();
}

static void first_use(void)
{
    pthread_atfork(before_fork, after_fork_here, after_fork_in_child);
    sys_thread_prepare();
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int fd_of(const weir_watch_options *o)
{
    return o->fd ? o->fd : STDERR_FILENO;
}

/* Waits for room, but not when the watcher is to end: 0, -ECANCELED, or -errno. */
static int wait_for_room(int fd)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLOUT}, {.fd = watch.end_fd, .events = POLLIN}};
    int rc;

    do
        rc = sys_poll(fds, 2, NULL);
    while (rc == -EINTR);
    if (rc < 0)
        return rc;
    return fds[0].revents ? 0 : -ECANCELED;
}

/* As weir_inspect_dump wants it. Where there is room there is some for PIPE_BUF bytes, and so no
 * wait in the write, should the descriptor block. */
static int write_out(void *options, const char *text, size_t size)
{
    int fd = fd_of(options), rc = 0;

    while (size && rc == 0) {
        rc = wait_for_room(fd);
        ssize_t n = rc < 0 ? rc : sys_write(fd, text, size < PIPE_BUF ? size : PIPE_BUF);
        if (n < 0 && n != -EINTR && n != -EAGAIN)
            rc = (int)n;
        text += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return rc;
}

void watch_report(const weir_watch_options *o, const weir_report *report)
{
    if (o->report)
        o->report(report, o->arg);
    else
        (void)write_out((void *)(uintptr_t)o, report->text, strlen(report->text));
}

/* Often enough that what lasts for so long is seen before it has lasted for much longer. */
static uint64_t period_ns(const weir_watch_options *o)
{
    uint64_t stall_ns = o->stall_ms > 0 ? clock_ns(o->stall_ms) / 4 : NEVER;
    uint64_t deadlock_ns = o->deadlock_ms > 0 ? clock_ns(o->deadlock_ms) / 4 : NEVER;
    uint64_t period_ns = earlier(stall_ns, deadlock_ns);

    return period_ns < NS_PER_MS ? NS_PER_MS : period_ns;
}

static void look(weir_watch_options *o, int signal_fd, uint64_t period_ns)
{
    if (signal_fd >= 0 && sys_signalfd_take(signal_fd) > 0)
        (void)weir_inspect_dump(o->dump_form ? o->dump_form : WEIR_INSPECT_TEXT, write_out, o);
    if (o->stall_ms > 0)
        stall_look(o, period_ns);
    if (o->deadlock_ms > 0)
        deadlock_look(o);
}

/* What belongs to the watch stays as it is while the thread is there. If a callback forks and comes
 * back in the child too, there is nobody there to watch. */
static void *watch_main(void *arg)
{
    weir_watch_options *o = &watch.options;
    struct pollfd fds[] = {{.fd = watch.end_fd, .events = POLLIN},
                           {.fd = watch.signal_fd, .events = POLLIN}};
    uint64_t each_ns = period_ns(o);
    unsigned forks = context_fork_count();

    (void)arg;
    stall_look_anew();
    while (!fds[0].revents) {
        struct timespec left;
        uint64_t until_ns = each_ns == NEVER ? NEVER : sys_now() + each_ns;
        if (sys_poll(fds, 2, clock_left(until_ns, &left)) >= 0 && !fds[0].revents)
            look(o, fds[1].revents ? fds[1].fd : -1, each_ns);
        if (context_fork_count() != forks)
            sys_exit_child(0);
    }
    pthread_mutex_lock(&watch.lock);
    watch.there = false;
    pthread_cond_broadcast(&watch.ended);
    pthread_mutex_unlock(&watch.lock);
    return NULL;
}

/* ---- the call -------------------------------------------------------------------------------- */

static int check_signal(const sigset_t *mask, int signal, int blocked)
{
    int is_blocked = signal ? sigismember(mask, signal) : blocked;

    if (is_blocked < 0)
        return story_tell(-EINVAL, "%d is no signal", signal);
    if (is_blocked != blocked)
        return story_tell(-EINVAL, "signal %d is %sblocked in this thread", signal,
                          is_blocked ? "" : "not ");
    return 0;
}

static int check_options(const weir_watch_options *o)
{
    sigset_t mask;

    if (o->size != sizeof *o)
        return story_tell(-EINVAL, "options of %zu bytes are of no known version", o->size);
    if (o->dump_form && o->dump_form != WEIR_INSPECT_TEXT && o->dump_form != WEIR_INSPECT_JSON)
        return story_tell(-EINVAL, "%d is no form of a dump", o->dump_form);
    if (o->dump_signal && o->dump_signal == o->stall_signal)
        return story_tell(-EINVAL, "signal %d cannot be for both", o->dump_signal);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    int rc = check_signal(&mask, o->dump_signal, 1);
    return rc < 0 ? rc : check_signal(&mask, o->stall_signal, 0);
}

static int open_signal(int signal)
{
    sigset_t set;

    if (!signal)
        return 0;
    sigemptyset(&set);
    sigaddset(&set, signal);
    watch.signal_fd = sys_signalfd(&set);
    return watch.signal_fd < 0 ? watch.signal_fd : 0;
}

/* (lock) */
static int begin(const weir_watch_options *o)
{
    int rc = stall_begin(o->stall_signal);

    if (rc < 0)
        return story_tell(rc, "the handler of signal %d: %s", o->stall_signal, weir_strerror(rc));
    deadlock_begin();
    watch.options = *o;
    rc = watch.end_fd = sys_eventfd();
    if (rc >= 0)
        rc = open_signal(o->dump_signal);
    if (rc >= 0)
        rc = sys_thread(watch_main, NULL);
    if (rc < 0) {
        close_all();
        stall_forget();
        return rc;
    }
    watch.there = true;
    watch.number++;
    return 0;
}

/* Others may end it at the same time, and begin another before this one has noticed. (lock) */
static void end(void)
{
    uint64_t number = watch.number;

    if (watch.end_fd < 0)
        return;
    sys_eventfd_raise(watch.end_fd);
    while (watch.there && watch.number == number)
        pthread_cond_wait(&watch.ended, &watch.lock);
    if (watch.number == number && watch.end_fd >= 0) {
        close_all();
        stall_end();
    }
}

int weir_inspect_watch(const weir_watch_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc = options ? check_options(options) : 0;

    if (rc < 0)
        return rc;
    pthread_once(&once, first_use);
    pthread_mutex_lock(&watch.lock);
    if (options)
        rc = watch.end_fd >= 0 ? -EBUSY : begin(options);
    else
        end();
    pthread_mutex_unlock(&watch.lock);
    return rc;
}
