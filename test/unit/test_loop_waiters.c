/* What every backend of loop.h has to do, in the same way: several who wait, who leave, numbers
 * that are used again, many at once. */
#include "clock.h"
#include "support/loop_rig.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- several who wait, and who leave ------------------------------------------------------- */

static void several_readers(struct loop_rig *rig)
{
    reads(rig, "b");
    reads(rig, "a");
    reads(rig, "c");
    loop_rig_look(rig);
    comes(rig, 3);
}

static void one_of_them_leaves(struct loop_rig *rig)
{
    fill(rig->stage.fds[0]);
    reads(rig, "a");
    reads(rig, "b");
    writes(rig, "c");
    leaves(rig, "c");
    loop_rig_look(rig);
    leaves(rig, "a");
    comes(rig, 1);
    take_all(rig->stage.fds[1]);
    loop_rig_look(rig);
}

static void read_again(struct loop_rig *rig)
{
    reads(rig, "a");
    loop_rig_await(rig, 1);
    stage_take(rig);
}

static void leaves_before(struct loop_rig *rig)
{
    for (int turned = 0; turned < 2; turned++) {
        reads(rig, "a");
        if (turned)
            loop_rig_look(rig);
        leaves(rig, "a");
        if (turned)
            loop_rig_look(rig);
        put(rig->stage.fds[1]);
        loop_rig_look(rig);
        read_again(rig);
    }
}

static void leaves_after(struct loop_rig *rig)
{
    for (int turned = 0; turned < 2; turned++) {
        reads(rig, "a");
        if (turned)
            loop_rig_look(rig);
        put(rig->stage.fds[1]);
        leaves(rig, "a");
        loop_rig_look(rig);
        read_again(rig);
    }
}

/* A wait, given up and begun again in one breath, is armed once and ends once. */
static void leaves_and_comes_back(struct loop_rig *rig)
{
    for (int i = 0; i < 20; i++) {
        reads(rig, "a");
        if (i % 3 == 0)
            loop_rig_look(rig);
        if (i % 5 == 0)
            put(rig->stage.fds[1]);
        leaves(rig, "a");
        stage_take(rig);
    }
    reads(rig, "a");
    loop_rig_look(rig);
    comes(rig, 1);
}

/* Without a home each wait stands alone, and looks at what holds already. */
static void without_a_home(struct loop_rig *rig)
{
    int fd = rig->stage.fds[0];

    put(rig->stage.fds[1]);
    for (int i = 0; i < 2; i++) {
        waits(rig, "a", fd, POLLIN, NULL);
        loop_rig_await(rig, 1);
    }
    stage_take(rig);
    reads(rig, "b");
    waits(rig, "a", fd, POLLOUT, NULL);
    loop_rig_await(rig, 1);
    waits(rig, "a", fd, POLLIN, NULL);
    leaves(rig, "a");
    loop_rig_look(rig);
    comes(rig, 1);
}

/* A wait without a home takes nothing from those who are there. */
static void beside_a_home(struct loop_rig *rig)
{
    reads(rig, "b");
    loop_rig_look(rig);
    waits(rig, "a", rig->stage.fds[0], POLLOUT, NULL);
    loop_rig_await(rig, 1);
    comes(rig, 1);
}

/* ---- numbers that are used again ----------------------------------------------------------- */

static void used_again(struct loop_rig *rig, bool told)
{
    struct home fresh = {0};
    int *fds = rig->stage.fds;

    reads(rig, "a");
    loop_rig_look(rig);
    put(fds[1]);
    leaves(rig, "a");
    if (told)
        loop_forget(rig->loop, fds[0], &rig->stage.home);
    int copy = dup(fds[0]); /* keeps the old file alive, wherever it is registered */
    int old_peer = dup(fds[1]);
    replace_pair(fds);
    waits(rig, "b", fds[0], POLLIN, &fresh);
    loop_rig_look(rig);
    put(old_peer);
    loop_rig_look(rig);
    comes(rig, 1);
    fprintf(rig->trace, "%u ", rig->in_vain);
    close(copy);
    close(old_peer);
}

static void used_again_and_told(struct loop_rig *rig)
{
    used_again(rig, true);
}

static void used_again_untold(struct loop_rig *rig)
{
    used_again(rig, false);
}

/* What has been given up before a turn was made does not reach the number's next owner. */
static void used_again_at_once(struct loop_rig *rig)
{
    struct home fresh = {0};
    int *fds = rig->stage.fds;

    reads(rig, "a");
    leaves(rig, "a");
    loop_forget(rig->loop, fds[0], &rig->stage.home);
    replace_pair(fds);
    put(fds[1]);
    waits(rig, "b", fds[0], POLLIN, &fresh);
    loop_rig_await(rig, 1);
    stage_take(rig);
    waits(rig, "b", fds[0], POLLIN, &fresh);
    loop_rig_look(rig);
    comes(rig, 1);
}

/* Somebody still waits who knows nothing of the exchange. */
static void used_again_meanwhile(struct loop_rig *rig)
{
    struct home fresh = {0};
    int *fds = rig->stage.fds;

    reads(rig, "a");
    loop_rig_look(rig);
    int old_peer = dup(fds[1]);
    replace_pair(fds);
    loop_rig_look(rig);
    waits(rig, "b", fds[0], POLLIN, &fresh);
    loop_rig_look(rig);
    comes(rig, 2);
    close(old_peer);
}

static void peer_sees(struct loop_rig *rig)
{
    char byte;
    ssize_t n = recv(rig->stage.fds[1], &byte, 1, MSG_DONTWAIT);

    fprintf(rig->trace, "%s ", n == 0 ? "closed" : "open");
}

static void both_leave(struct loop_rig *rig)
{
    leaves(rig, "a");
    leaves(rig, "b");
}

/* Nothing that the loop asked for keeps the file open. */
static void closes_at_once(struct loop_rig *rig)
{
    int *fds = rig->stage.fds;

    for (int way = 0; way < 4; way++) {
        bool turned = way / 2, left = way % 2;
        stage_close(rig, 0);
        stage_close(rig, 1);
        rig->stage.home = (struct home){0};
        unix_pair(fds);
        fill(fds[0]);
        reads(rig, "a");
        writes(rig, "b");
        if (turned)
            loop_rig_look(rig);
        if (left)
            both_leave(rig);
        take_all(fds[1]);
        loop_forget(rig->loop, fds[0], &rig->stage.home);
        stage_close(rig, 0);
        take_all(fds[1]);
        peer_sees(rig);
        if (!left)
            both_leave(rig);
    }
}

static void closes_after_writing(struct loop_rig *rig)
{
    fill(rig->stage.fds[0]);
    writes(rig, "a");
    loop_rig_look(rig);
    take_all(rig->stage.fds[1]);
    loop_rig_await(rig, 1);
    loop_forget(rig->loop, rig->stage.fds[0], &rig->stage.home);
    stage_close(rig, 0);
    peer_sees(rig);
}

static void closes_untold(struct loop_rig *rig)
{
    reads(rig, "a");
    loop_rig_look(rig);
    leaves(rig, "a");
    stage_close(rig, 0);
    loop_rig_look(rig);
    peer_sees(rig);
}

/* ---- many, and several loops --------------------------------------------------------------- */

#define MANY  2000
#define CROWD 6000

static void many(struct loop_rig *rig)
{
    struct actor *actors = sys_alloc(MANY * sizeof *actors);
    struct home *homes = sys_alloc(MANY * sizeof *homes);
    int *fds = sys_alloc(MANY * sizeof *fds);

    for (int i = 0; i < MANY; i++)
        fds[i] = sys_eventfd();
    for (int round = 0; round < 3; round++) {
        size_t ready = 0;
        for (int i = 0; i < MANY; i++)
            actor_waits(rig, &actors[i], "", fds[i], POLLIN, &homes[i]);
        for (int i = round; i < MANY; i += round + 1, ready++)
            sys_eventfd_raise(fds[i]);
        fprintf(rig->trace, "%zu ", loop_rig_await_quietly(rig, ready));
        for (int i = 0; i < MANY; i++)
            if (actors[i].waiting)
                actor_leaves(rig, &actors[i]);
        for (int i = 0; i < MANY; i++)
            sys_eventfd_drain(fds[i]);
    }
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    free(fds);
    free(homes);
    free(actors);
}

/* More events at once than there is room for on the way to the loop. */
static void a_crowd(struct loop_rig *rig)
{
    struct actor *actors = sys_alloc(CROWD * sizeof *actors);
    int *fds = sys_alloc(CROWD * sizeof *fds);
    int fd = sys_eventfd();

    sys_eventfd_raise(fd);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = dup(fd);
        assert_return_code(fds[i], errno);
        actor_waits(rig, &actors[i], "", fds[i], POLLIN, NULL);
    }
    rig->loop->ops->wake(rig->loop);
    fprintf(rig->trace, "%zu ", loop_rig_await_quietly(rig, CROWD));
    loop_rig_settle(rig);
    rig->loop->ops->wake(rig->loop);
    assert_int_equal(rig->loop->ops->turn(rig->loop, NEVER), 0);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    close(fd);
    free(fds);
    free(actors);
}

/* One descriptor, waited for in two loops: each has its own view of it. */
static void two_loops(struct loop_rig *rig)
{
    struct loop_rig second;

    assert_true(loop_rig_open(&second, rig->kind));
    for (int i = 0; i < 2; i++) {
        reads(rig, "a");
        waits(&second, "b", rig->stage.fds[0], POLLIN, &second.stage.home);
        loop_rig_look(&second);
        loop_rig_look(rig);
        put(rig->stage.fds[1]);
        loop_rig_await(&second, 1);
        loop_rig_await(rig, 1);
        stage_take(rig);
    }
    fprintf(rig->trace, "| %s", loop_rig_text(&second));
    loop_rig_close(&second);
}

static _Noreturn void play_in_child(const struct loop_rig *rig)
{
    const int *fds = rig->stage.fds;
    struct loop_rig own;

    if (!loop_rig_open(&own, rig->kind))
        _exit(1);
    waits(&own, "b", fds[0], POLLIN, &own.stage.home);
    loop_rig_look(&own);
    put(fds[1]);
    loop_rig_await(&own, 1);
    take_all(fds[0]);
    bool good = !strcmp(loop_rig_text(&own), "- b:in ");
    loop_forget(own.loop, fds[0], &own.stage.home);
    loop_rig_close(&own);
    close_both(fds);
    _exit(good ? 0 : 2);
}

/* A child closes what it has inherited, and has a loop of its own. */
static void fork_between(struct loop_rig *rig)
{
    int status;

    reads(rig, "a");
    loop_rig_look(rig);
    pid_t child = fork();
    if (child == 0)
        play_in_child(rig);
    waitpid(child, &status, 0);
    fprintf(rig->trace, "%d ", status);
    loop_rig_look(rig);
    comes(rig, 1);
}

/* ---- time ---------------------------------------------------------------------------------- */

/* A turn ends when it is time, and not long before. */
static void timers_in_order(struct loop_rig *rig)
{
    static const struct {
        const char *name;
        uint64_t after_ns;
    } times[] = {{"c", 3 * NS_PER_MS}, {"a", NS_PER_MS / 2}, {"d", 3 * NS_PER_MS + 1}, {"b", 1}};
    struct actor actors[4] = {{.fd = -1}};
    struct loop *l = rig->loop;
    uint64_t now_ns = sys_now();
    int turns = 0;

    assert_int_equal(heap_reserve(&l->timers, 4), 0);
    loop_here = l;
    for (int i = 0; i < 4; i++) {
        actors[i].name = times[i].name;
        actors[i].task.context.loop = l;
        heap_set(&l->timers, &actors[i].task.timer, now_ns + times[i].after_ns);
    }
    while (heap_first(&l->timers)) {
        turns++;
        assert_int_equal(l->ops->turn(l, heap_first(&l->timers)->at_ns), 0);
        task_run_timers(l);
        for (struct task *t = l->ready; t; t = t->next_ready)
            fprintf(rig->trace, "%s ", ((struct actor *)t)->name);
        l->ready = NULL;
        l->ready_end = &l->ready;
        l->ready_count = 0;
    }
    loop_here = NULL;
    fprintf(rig->trace, "%s ", turns <= 100 ? "slept" : "spun");
}

/* ---- scripts ------------------------------------------------------------------------------- */

static const struct loop_script scripts[] = {
    LOOP_SCRIPT(several_readers, "- a:in b:in c:in "),
    LOOP_SCRIPT(one_of_them_leaves, "- b:in - "),
    LOOP_SCRIPT(leaves_before, "- a:in - - - a:in "),
    LOOP_SCRIPT(leaves_after, "- a:in - - a:in "),
    LOOP_SCRIPT(leaves_and_comes_back, "- - - - - - - - a:in "),
    LOOP_SCRIPT(without_a_home, "a:in a:in a:out - b:in "),
    LOOP_SCRIPT(beside_a_home, "- a:out b:in "),
    LOOP_SCRIPT(used_again_and_told, "- - - b:in 0 "),
    LOOP_SCRIPT(used_again_untold, "- - - b:in 0 "),
    LOOP_SCRIPT(used_again_at_once, "b:in - b:in "),
    LOOP_SCRIPT(closes_at_once, "closed closed - closed - closed "),
    LOOP_SCRIPT(used_again_meanwhile, "- - - a:in b:in "),
    LOOP_SCRIPT(closes_after_writing, "- a:out closed "),
    LOOP_SCRIPT(closes_untold, "- - closed "),
    LOOP_SCRIPT(many, "2000 1000 666 "),
    LOOP_SCRIPT(a_crowd, "6000 "),
    LOOP_SCRIPT(two_loops, "- a:in - a:in | - b:in - b:in "),
    LOOP_SCRIPT(fork_between, "- 0 - a:in "),
    LOOP_SCRIPT(timers_in_order, "b a c d slept "),
};

int main(void)
{
    return loop_rig_play("loop_waiters", scripts, sizeof scripts / sizeof *scripts);
}
