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
    struct actor a = {.fd = -1}, b = {.fd = -1}, c = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &home);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    actor_waits(rig, &c, "c", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 3);
    close_both(fds);
}

static void one_of_them_leaves(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1}, c = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    fill(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &home);
    actor_waits(rig, &c, "c", fds[0], POLLOUT, &home);
    actor_leaves(rig, &c);
    loop_rig_look(rig);
    actor_leaves(rig, &a);
    put(fds[1]);
    loop_rig_await(rig, 1);
    take_all(fds[1]);
    loop_rig_look(rig);
    close_both(fds);
}

static void leaves_before(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    for (int turned = 0; turned < 2; turned++) {
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        if (turned)
            loop_rig_look(rig);
        actor_leaves(rig, &a);
        if (turned)
            loop_rig_look(rig);
        put(fds[1]);
        loop_rig_look(rig);
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        loop_rig_await(rig, 1);
        take_all(fds[0]);
    }
    close_both(fds);
}

static void leaves_after(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    for (int turned = 0; turned < 2; turned++) {
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        if (turned)
            loop_rig_look(rig);
        put(fds[1]);
        actor_leaves(rig, &a);
        loop_rig_look(rig);
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        loop_rig_await(rig, 1);
        take_all(fds[0]);
    }
    close_both(fds);
}

/* A wait, given up and begun again in one breath, is armed once and ends once. */
static void leaves_and_comes_back(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    for (int i = 0; i < 20; i++) {
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        if (i % 3 == 0)
            loop_rig_look(rig);
        if (i % 5 == 0)
            put(fds[1]);
        actor_leaves(rig, &a);
        take_all(fds[0]);
    }
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

/* Without a home each wait stands alone, and looks at what holds already. */
static void without_a_home(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    put(fds[1]);
    for (int i = 0; i < 2; i++) {
        actor_waits(rig, &a, "a", fds[0], POLLIN, NULL);
        loop_rig_await(rig, 1);
    }
    take_all(fds[0]);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &home);
    actor_waits(rig, &a, "a", fds[0], POLLOUT, NULL);
    loop_rig_await(rig, 1);
    actor_waits(rig, &a, "a", fds[0], POLLIN, NULL);
    actor_leaves(rig, &a);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

/* A wait without a home takes nothing from those who are there. */
static void beside_a_home(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    actor_waits(rig, &a, "a", fds[0], POLLOUT, NULL);
    loop_rig_await(rig, 1);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

/* ---- numbers that are used again ----------------------------------------------------------- */

static void used_again(struct loop_rig *rig, bool told)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0}, fresh = {0};
    int fds[2], copy;

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    put(fds[1]);
    actor_leaves(rig, &a);
    if (told)
        loop_forget(rig->loop, fds[0], &home);
    copy = dup(fds[0]); /* keeps the old file alive, wherever it is registered */
    int old_peer = dup(fds[1]);
    replace_pair(fds);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &fresh);
    loop_rig_look(rig);
    put(old_peer);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    fprintf(rig->trace, "%u ", rig->in_vain);
    close(copy);
    close(old_peer);
    close_both(fds);
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
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0}, fresh = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    actor_leaves(rig, &a);
    loop_forget(rig->loop, fds[0], &home);
    replace_pair(fds);
    put(fds[1]);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &fresh);
    loop_rig_await(rig, 1);
    take_all(fds[0]);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &fresh);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
}

/* Somebody still waits who knows nothing of the exchange. */
static void used_again_meanwhile(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0}, fresh = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    int old_peer = dup(fds[1]);
    replace_pair(fds);
    loop_rig_look(rig);
    actor_waits(rig, &b, "b", fds[0], POLLIN, &fresh);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 2);
    close(old_peer);
    close_both(fds);
}

static void peer_sees(struct loop_rig *rig, int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

    fprintf(rig->trace, "%s ", n == 0 ? "closed" : "open");
}

/* Nothing that the loop asked for keeps the file open. */
static void closes_at_once(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2];

    for (int turned = 0; turned < 2; turned++)
        for (int left = 0; left < 2; left++) {
            home = (struct home){0};
            unix_pair(fds);
            fill(fds[0]);
            actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
            actor_waits(rig, &b, "b", fds[0], POLLOUT, &home);
            if (turned)
                loop_rig_look(rig);
            if (left) {
                actor_leaves(rig, &a);
                actor_leaves(rig, &b);
            }
            take_all(fds[1]);
            loop_forget(rig->loop, fds[0], &home);
            close(fds[0]);
            take_all(fds[1]);
            peer_sees(rig, fds[1]);
            if (!left) {
                actor_leaves(rig, &a);
                actor_leaves(rig, &b);
            }
            close(fds[1]);
        }
}

static void closes_after_writing(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    fill(fds[0]);
    actor_waits(rig, &a, "a", fds[0], POLLOUT, &home);
    loop_rig_look(rig);
    take_all(fds[1]);
    loop_rig_await(rig, 1);
    loop_forget(rig->loop, fds[0], &home);
    close(fds[0]);
    peer_sees(rig, fds[1]);
    close(fds[1]);
}

static void closes_untold(struct loop_rig *rig)
{
    struct actor a = {.fd = -1};
    struct home home = {0};
    int fds[2];

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    actor_leaves(rig, &a);
    close(fds[0]);
    loop_rig_look(rig);
    peer_sees(rig, fds[1]);
    close(fds[1]);
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
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0}, second_home = {0};
    int fds[2];

    assert_true(loop_rig_open(&second, rig->kind));
    unix_pair(fds);
    for (int i = 0; i < 2; i++) {
        actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
        actor_waits(&second, &b, "b", fds[0], POLLIN, &second_home);
        loop_rig_look(&second);
        loop_rig_look(rig);
        put(fds[1]);
        loop_rig_await(&second, 1);
        loop_rig_await(rig, 1);
        take_all(fds[0]);
    }
    fprintf(rig->trace, "| %s", loop_rig_text(&second));
    loop_rig_close(&second);
    close_both(fds);
}

/* A child closes what it has inherited, and has a loop of its own. */
static void fork_between(struct loop_rig *rig)
{
    struct actor a = {.fd = -1}, b = {.fd = -1};
    struct home home = {0};
    int fds[2], status;

    unix_pair(fds);
    actor_waits(rig, &a, "a", fds[0], POLLIN, &home);
    loop_rig_look(rig);
    pid_t child = fork();
    if (child == 0) {
        struct loop_rig own;
        struct home own_home = {0};
        if (!loop_rig_open(&own, rig->kind))
            _exit(1);
        actor_waits(&own, &b, "b", fds[0], POLLIN, &own_home);
        loop_rig_look(&own);
        put(fds[1]);
        loop_rig_await(&own, 1);
        take_all(fds[0]);
        bool good = !strcmp(loop_rig_text(&own), "- b:in ");
        loop_forget(own.loop, fds[0], &own_home);
        loop_rig_close(&own);
        close_both(fds);
        _exit(good ? 0 : 2);
    }
    waitpid(child, &status, 0);
    fprintf(rig->trace, "%d ", status);
    loop_rig_look(rig);
    put(fds[1]);
    loop_rig_await(rig, 1);
    close_both(fds);
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
