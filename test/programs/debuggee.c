/* What test/system/gdb.sh looks at: tasks that wait in every way there is. In `all_wait` they do.
 *
 *     debuggee             lets them go and ends
 *     debuggee abort       aborts then
 *     debuggee crowd N     N tasks that sleep, on all loops
 *     debuggee overflow    a task recurses until its stack is used up
 *     debuggee backtrace   backtrace(3) in a task
 *     debuggee walk        the frame pointers of a task */
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

#define HOUR_MS (60 * 60 * 1000)

struct things {
    weir_socket *pair[2];
    weir_mutex mutex;
    weir_channel *channel;
    weir_group *group, *cancelled;
    atomic_int waiting;
};

/* A breakpoint is set here. */
__attribute__((noinline)) static void all_wait(struct things *things)
{
    __asm__ volatile("" : : "r"(things) : "memory");
}

__attribute__((noinline)) static int die(struct things *things)
{
    abort();
    return things->waiting;
}

static int receiver(void *arg)
{
    struct things *things = arg;
    char own_buffer[16] = "untouched";

    things->waiting++;
    return weir_recv(things->pair[0], own_buffer, sizeof own_buffer) < 0 ? -1 : 0;
}

static int limited_receiver(void *arg)
{
    struct things *things = arg;
    weir_scope scope = weir_deadline_start(HOUR_MS);
    char byte;

    things->waiting++;
    ssize_t n = weir_recv(things->pair[1], &byte, 1);
    weir_scope_end(scope);
    return n < 0 ? -1 : 0;
}

static int sleeper(void *arg)
{
    struct things *things = arg;
    int own_number = 4711;

    things->waiting++;
    return weir_sleep(HOUR_MS) < 0 ? -own_number : own_number;
}

static int locker(void *arg)
{
    struct things *things = arg;

    things->waiting++;
    return weir_mutex_lock(&things->mutex);
}

static int channel_reader(void *arg)
{
    struct things *things = arg;
    int item;

    things->waiting++;
    return weir_channel_recv(things->channel, &item);
}

static int joining(void *arg)
{
    struct things *things = arg;
    weir_group *inner;

    if (weir_group_open(&inner, NULL) < 0)
        return -1;
    int rc = weir_go(inner, sleeper, arg);
    things->waiting++;
    if (rc == 0)
        rc = weir_group_wait(inner, NULL);
    weir_group_close(inner);
    return rc;
}

static int shielded(void *arg)
{
    struct things *things = arg;
    weir_scope scope = weir_shield_start(HOUR_MS);
    int item;

    things->waiting++;
    int rc = weir_channel_recv(things->channel, &item);
    weir_scope_end(scope);
    return rc;
}

static int fresh(void *arg)
{
    (void)arg;
    return 0;
}

static int go_all(struct things *things)
{
    static int (*const fns[])(void *) = {receiver, limited_receiver, sleeper,
                                         locker,   channel_reader,   joining};
    int rc = 0;

    for (size_t i = 0; i < sizeof fns / sizeof *fns && rc == 0; i++)
        rc = weir_go(things->group, fns[i], things);
    if (rc == 0)
        rc = weir_go(things->cancelled, shielded, things);
    return rc;
}

static int everything(void *arg)
{
    struct things things = {.mutex = WEIR_MUTEX_INIT};

    if (weir_pair(things.pair, SOCK_STREAM) < 0 ||
        weir_channel_open(&things.channel, sizeof(int), 0) < 0 ||
        weir_group_open(&things.group, NULL) < 0 || weir_group_open(&things.cancelled, NULL) < 0)
        return -1;
    weir_mutex_lock(&things.mutex);
    int rc = go_all(&things);
    while (rc == 0 && things.waiting < 8)
        rc = weir_yield();
    weir_group_cancel(things.cancelled);
    (void)weir_yield();
    if (rc == 0)
        rc = weir_go(things.group, fresh, &things);
    all_wait(&things);
    if (arg)
        die(&things);
    weir_channel_shut(things.channel);
    weir_group_close(things.cancelled);
    weir_group_close(things.group);
    weir_mutex_unlock(&things.mutex);
    weir_channel_close(things.channel);
    weir_close(things.pair[0]);
    weir_close(things.pair[1]);
    return rc;
}

__attribute__((noinline)) static int recurse(int depth, volatile char *above)
{
    volatile char frame[512];

    frame[0] = above ? above[0] : 0;
    return depth < 0 ? 0 : recurse(depth + 1, frame) + frame[0];
}

static int overflowing(void *arg)
{
    (void)arg;
    return recurse(0, NULL);
}

static int overflow(void *arg)
{
    weir_group *g;

    if (weir_group_open(&g, NULL) < 0 || weir_go(g, overflowing, arg) < 0)
        return -1;
    return weir_group_close(g);
}

struct crowd {
    int size;
    atomic_int waiting;
};

static int sleeps(void *arg)
{
    struct crowd *crowd = arg;

    crowd->waiting++;
    int rc = weir_sleep(HOUR_MS);
    return rc < 0 && rc != -ECANCELED ? rc : 0;
}

static int crowd(void *arg)
{
    struct crowd crowd = {.size = *(int *)arg};
    weir_group *g;

    if (weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)) < 0)
        return -1;
    for (int i = 0; i < crowd.size; i++)
        if (weir_go(g, sleeps, &crowd) < 0)
            return -1;
    while (crowd.waiting < crowd.size)
        (void)weir_yield();
    all_wait(NULL);
    return weir_group_close(g);
}

/* The C library's own unwinder comes to an end too. */
static int unwinds(void *arg)
{
    void *frames[64];
    int count = backtrace(frames, 64);
    char **names = backtrace_symbols(frames, count);

    (void)arg;
    for (int i = 0; names && i < count; i++)
        puts(names[i]);
    free(names);
    return count > 2 && count < 32 ? 0 : -1;
}

/* So does one that follows frame pointers, as profilers do: never outside the stack, and to its
 * end. Only where everything was built with them. */
static int walks(void *arg)
{
    void *const *frame = __builtin_frame_address(0);
    int count = 0;

    for (; frame && count < 64; count++) {
        void *const *above = *frame;
        if (above && (above <= frame || above - frame > 1024))
            return -1;
        frame = above;
    }
    (void)arg;
    return count > 2 && count < 64 ? 0 : -1;
}

static int (*way(const char *name))(void *)
{
    static const struct {
        const char *name;
        int (*fn)(void *);
    } ways[] = {{"overflow", overflow}, {"crowd", crowd}, {"backtrace", unwinds}, {"walk", walks}};

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(name, ways[i].name) == 0)
            return ways[i].fn;
    return everything;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    int count = argc > 2 ? atoi(argv[2]) : 0, result = -1;
    void *arg = strcmp(name, "abort") == 0 || strcmp(name, "crowd") == 0 ? &count : NULL;
    int rc =
        weir_run(way(name), arg,
                 WEIR_RUN_OPTIONS(.models = WEIR_TASKS | WEIR_THREADS, .max_loops = 2), &result);

    return rc < 0 || result < 0;
}
