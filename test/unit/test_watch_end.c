/* The end of a watcher: it hangs on nobody, whoever else ends or begins one, and if nobody
 * reads. */
#include "support/ground.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

static void unwatch(void)
{
    EXPECT(weir_inspect_watch(NULL), 0);
}

/* ---- several at once ------------------------------------------------------------------------- */

#define ROUNDS 300

static pthread_barrier_t round_begins, round_ends;

static void *ends_each(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&round_begins);
        unwatch();
        pthread_barrier_wait(&round_ends);
    }
    return arg;
}

/* A watcher that was begun after it is not what an end waits for. */
static void ends_wait_for_their_own(void)
{
    const weir_watch_options *options = WEIR_WATCH_OPTIONS(.stall_ms = LONG_MS);
    pthread_t threads[2];
    EXPECT(pthread_barrier_init(&round_begins, NULL, 3), 0);
    EXPECT(pthread_barrier_init(&round_ends, NULL, 3), 0);
    for (size_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, ends_each, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        EXPECT(weir_inspect_watch(options), 0);
        pthread_barrier_wait(&round_begins);
        /* It may come while both wait for the first, or be ended by one of them itself. */
        while (weir_inspect_watch(options) != 0)
            sched_yield();
        pthread_barrier_wait(&round_ends);
        unwatch();
    }
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&round_begins);
    pthread_barrier_destroy(&round_ends);
}

/* ---- nobody reads ---------------------------------------------------------------------------- */

/* So full that no write goes ahead: what is read later is what was in there before. */
static void fill(int fd)
{
    static const char much[65536];
    int flags = fcntl(fd, F_GETFL);
    EXPECT(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fd, much, sizeof much) > 0 || write(fd, much, 1) > 0)
        continue;
    EXPECT(fcntl(fd, F_SETFL, flags), 0);
}

static sigset_t only_usr1(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return set;
}

static void end_without_reader(int flags)
{
    sigset_t pending;
    int fds[2];
    EXPECT(pipe2(fds, flags | O_CLOEXEC), 0);
    fill(fds[1]);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.fd = fds[1], .dump_signal = SIGUSR1)), 0);
    EXPECT(kill(getpid(), SIGUSR1), 0);
    do { /* until it is at it */
        sched_yield();
        EXPECT(sigpending(&pending), 0);
    } while (sigismember(&pending, SIGUSR1));
    unwatch();
    close(fds[0]);
    close(fds[1]);
}

static void ends_do_not_wait_for_readers(void)
{
    sigset_t set = only_usr1(), before;
    EXPECT(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    end_without_reader(0);
    end_without_reader(O_NONBLOCK);
    EXPECT(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static int computes_until_told(void *arg)
{
    int *fds = arg;
    char bytes[65536];
    size_t size = 0;
    ssize_t n;
    ground_hold_up(100);   /* it has been told by then, to no avail */
    while (size < 65536) { /* what was in there, and then the report */
        n = read(fds[0], bytes, sizeof bytes - size);
        size += n > 0 ? (size_t)n : 0;
    }
    for (size = 0; !size || bytes[size - 1] != '\n'; size += n > 0 ? (size_t)n : 0)
        n = read(fds[0], bytes + size, sizeof bytes - 1 - size);
    bytes[size] = '\0';
    CHECK(strstr(bytes, "weir: loop 0") && strstr(bytes, "has kept the thread"));
    return 0;
}

/* A report that finds no room is not lost. */
static void reports_wait_for_room(void)
{
    int fds[2];
    if (!ground->tasks)
        return;
    EXPECT(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    EXPECT(fcntl(fds[1], F_GETPIPE_SZ), 65536);
    fill(fds[1]);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.fd = fds[1], .stall_ms = 20)), 0);
    ground_run(computes_until_told, fds);
    unwatch();
    close(fds[0]);
    close(fds[1]);
}

static const struct ground_test tests[] = {
    GROUND_TEST(ONCE, ends_wait_for_their_own),
    GROUND_TEST(ONCE, ends_do_not_wait_for_readers),
    GROUND_TEST(BEFORE_RUN, reports_wait_for_room),
};

int main(int argc, char **argv)
{
    return ground_main(argc, argv, "watch_end", tests, sizeof tests / sizeof *tests);
}
