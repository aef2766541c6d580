#include "support/loop_rig.h"

#include "clock.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <weir/error.h>

#include <cmocka.h>

const int loop_kinds[LOOP_KINDS] = {WEIR_LOOP_POLL, WEIR_LOOP_EPOLL, WEIR_LOOP_IO_URING};

bool loop_rig_open(struct loop_rig *rig, int kind)
{
    const struct loop_ops *ops = loop_find(kind);
    const char *step = "this build does not have it";

    memset(rig, 0, sizeof *rig);
    stack_arena_init(&rig->run.stacks, STACK_DEFAULT, sizeof(struct task));
    rig->run.model = WEIR_TASKS;
    int rc = ops ? loop_open(&rig->loop, ops, &rig->run, &step) : -ENOSYS;
    if (rc < 0) {
        printf("skipped: loop %d: %s: %s\n", kind, step, weir_strerror(rc));
        stack_arena_fini(&rig->run.stacks);
        return false;
    }
    rig->kind = kind;
    rig->trace = open_memstream(&rig->text, &rig->size);
    return true;
}

void loop_rig_close(struct loop_rig *rig)
{
    loop_close(rig->loop);
    stack_arena_fini(&rig->run.stacks);
    fclose(rig->trace);
    free(rig->text);
    free(rig->ended);
}

const char *loop_rig_text(struct loop_rig *rig)
{
    fflush(rig->trace);
    return rig->text;
}

static short holds(int fd, short events)
{
    static const struct timespec at_once = {0};
    struct pollfd look = {.fd = fd, .events = events};

    if (sys_poll(&look, 1, &at_once) <= 0)
        return 0;
    return look.revents & (POLLERR | POLLHUP) ? (short)(look.revents | events) : look.revents;
}

static void ended(struct loop_rig *rig, struct actor *a, short now)
{
    a->waiting = false;
    a->now = now;
    if (rig->count == rig->room) {
        rig->room = rig->room ? 2 * rig->room : 64;
        rig->ended = realloc(rig->ended, rig->room * sizeof(struct actor *));
    }
    rig->ended[rig->count++] = a;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct actor *const *)a)->name, (*(struct actor *const *)b)->name);
}

static void trace(struct loop_rig *rig)
{
    if (rig->count > 0)
        qsort(rig->ended, rig->count, sizeof(struct actor *), by_name);
    for (size_t i = 0; i < rig->count; i++) {
        const struct actor *a = rig->ended[i];
        fprintf(rig->trace, "%s:%s%s%s ", a->name, a->now & POLLIN & a->events ? "in" : "",
                a->now & POLLOUT & a->events ? "out" : "", a->now & POLLNVAL ? "bad" : "");
    }
    rig->count = 0;
}

/* Waits, unless it holds at once. */
static void arm(struct loop_rig *rig, struct actor *a)
{
    short now = 0;

    while (now == 0) {
        rig->loop->running = &a->task;
        int rc = loop_arm(rig->loop, &a->arm, a->fd, a->events, a->home);
        rig->loop->running = NULL;
        if (rc == 0)
            return;
        if (rc < 0 && rc != -EBADF)
            fprintf(rig->trace, "%s:%s ", a->name, weir_strerror(rc));
        now = rc == -EBADF ? POLLNVAL : holds(a->fd, a->events);
    }
    ended(rig, a, now);
}

void actor_waits(struct loop_rig *rig, struct actor *a, const char *name, int fd, short events,
                 struct home *home)
{
    static struct task *nowhere;

    a->task.context.loop = rig->loop;
    a->task.link_of_all = &nowhere;
    a->name = name;
    a->home = home;
    a->fd = fd;
    a->events = events;
    a->waiting = true;
    arm(rig, a);
}

void actor_leaves(struct loop_rig *rig, struct actor *a)
{
    a->waiting = false;
    loop_disarm(rig->loop, &a->arm, a->home);
}

bool actor_could_go_on(const struct actor *a)
{
    return holds(a->fd, a->events) != 0;
}

static void woken(struct loop_rig *rig, struct actor *a)
{
    a->task.state = TASK_PARKED;
    if (!a->waiting)
        return;
    loop_disarm(rig->loop, &a->arm, a->home);
    short now = a->arm.got & POLLNVAL ? POLLNVAL : holds(a->fd, a->events);
    if (now) {
        ended(rig, a, now);
        return;
    }
    rig->in_vain++;
    arm(rig, a);
}

static bool turn(struct loop_rig *rig, uint64_t until_ns)
{
    struct loop *l = rig->loop;
    struct task *next;

    loop_here = l;
    if (l->ops->turn(l, until_ns) < 0)
        fprintf(rig->trace, "failed ");
    loop_here = NULL;
    struct task *t = l->ready;
    bool news = t;
    l->ready = NULL;
    l->ready_end = &l->ready;
    l->ready_count = 0;
    for (; t; t = next) {
        next = t->next_ready;
        woken(rig, (struct actor *)t);
    }
    return news;
}

void loop_rig_await(struct loop_rig *rig, size_t count)
{
    while (rig->count < count)
        turn(rig, NEVER);
    trace(rig);
}

void loop_rig_turn(struct loop_rig *rig)
{
    turn(rig, NEVER);
}

size_t loop_rig_await_quietly(struct loop_rig *rig, size_t count)
{
    while (rig->count < count)
        turn(rig, NEVER);
    count = rig->count;
    rig->count = 0;
    return count;
}

static void until_quiet(struct loop_rig *rig)
{
    for (int quiet = 0; quiet < 3; quiet++)
        if (turn(rig, 0))
            quiet = 0;
}

void loop_rig_settle(struct loop_rig *rig)
{
    until_quiet(rig);
    rig->count = 0;
}

/* A turn may end early, as when the kernel still takes down a ring of before, but not all the
 * time. */
void loop_rig_sleep(struct loop_rig *rig)
{
    uint64_t until_ns = sys_now() + 5 * NS_PER_MS;
    int turns = 0;

    for (; sys_now() < until_ns; turns++)
        turn(rig, until_ns);
    fprintf(rig->trace, "%s ", turns <= 100 ? "slept" : "spun");
}

void loop_rig_look(struct loop_rig *rig)
{
    until_quiet(rig);
    if (rig->count == 0)
        fprintf(rig->trace, "- ");
    trace(rig);
}

/* ---- the stage ----------------------------------------------------------------------------- */

static struct actor *actor_of(struct loop_rig *rig, const char *name)
{
    return &rig->stage.actors[*name - 'a'];
}

void waits(struct loop_rig *rig, const char *name, int fd, short events, struct home *home)
{
    actor_waits(rig, actor_of(rig, name), name, fd, events, home);
}

void reads(struct loop_rig *rig, const char *name)
{
    waits(rig, name, rig->stage.fds[0], POLLIN, &rig->stage.home);
}

void writes(struct loop_rig *rig, const char *name)
{
    waits(rig, name, rig->stage.fds[0], POLLOUT, &rig->stage.home);
}

void leaves(struct loop_rig *rig, const char *name)
{
    actor_leaves(rig, actor_of(rig, name));
}

void comes(struct loop_rig *rig, size_t count)
{
    put(rig->stage.fds[1]);
    loop_rig_await(rig, count);
}

void stage_take(struct loop_rig *rig)
{
    take_all(rig->stage.fds[0]);
}

void stage_close(struct loop_rig *rig, int end)
{
    if (rig->stage.fds[end] >= 0)
        close(rig->stage.fds[end]);
    rig->stage.fds[end] = -1;
}

/* ---- scripts ------------------------------------------------------------------------------- */

struct performance {
    const struct loop_script *script;
    int kind;
    char name[64];
};

static void play(void **state)
{
    const struct performance *p = *state;
    struct loop_rig rig;

    if (!loop_rig_open(&rig, p->kind)) {
        skip();
        return;
    }
    unix_pair(rig.stage.fds);
    alarm(60);
    p->script->play(&rig);
    alarm(0);
    stage_close(&rig, 0);
    stage_close(&rig, 1);
    assert_string_equal(loop_rig_text(&rig), p->script->trace);
    loop_rig_close(&rig);
}

int loop_rig_play(const char *group, const struct loop_script *scripts, size_t count)
{
    static const char *const names[] = {
        [WEIR_LOOP_EPOLL] = "epoll",
        [WEIR_LOOP_IO_URING] = "io_uring",
        [WEIR_LOOP_POLL] = "poll",
    };
    struct performance *all = sys_alloc(count * LOOP_KINDS * sizeof *all);
    struct CMUnitTest *tests = sys_alloc(count * LOOP_KINDS * sizeof *tests);
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < count * LOOP_KINDS; i++) {
        struct performance *p = &all[i];
        p->script = &scripts[i / LOOP_KINDS];
        p->kind = loop_kinds[i % LOOP_KINDS];
        snprintf(p->name, sizeof p->name, "%s: %s", p->script->name, names[p->kind]);
        tests[i] = (struct CMUnitTest){p->name, play, NULL, NULL, p};
    }
    int failed = _cmocka_run_group_tests(group, tests, count * LOOP_KINDS, NULL, NULL);
    free(tests);
    free(all);
    return failed;
}

/* ---- descriptors --------------------------------------------------------------------------- */

void unix_pair(int fds[2])
{
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
                       errno);
}

void put(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

void take_all(int fd)
{
    char buf[4096];

    while (read(fd, buf, sizeof buf) > 0)
        continue;
}

void fill(int fd)
{
    static const char buf[4096];

    while (send(fd, buf, sizeof buf, MSG_NOSIGNAL) > 0)
        continue;
    assert_int_equal(errno, EAGAIN);
}

void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

void replace_pair(int fds[2])
{
    int fresh[2];

    unix_pair(fresh);
    assert_int_equal(dup3(fresh[0], fds[0], O_CLOEXEC), fds[0]);
    close(fresh[0]);
    close(fds[1]);
    fds[1] = fresh[1];
}
