/* Where the kernel takes no requests for a while: nothing that somebody waits for gets lost. */
#include "support/loop_rig.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* More than there is room for in a ring. */
#define CROWD 300

static struct actor crowd[CROWD];
static struct home homes[CROWD];
static int pairs[CROWD][2];

static void open_crowd(int count)
{
    memset(crowd, 0, sizeof crowd);
    memset(homes, 0, sizeof homes);
    for (int i = 0; i < count; i++)
        unix_pair(pairs[i]);
}

static void close_crowd(int count)
{
    for (int i = 0; i < count; i++)
        close_both(pairs[i]);
}

static void crowd_waits(struct loop_rig *rig, int first, int end)
{
    for (int i = first; i < end; i++)
        actor_waits(rig, &crowd[i], "a", pairs[i][0], POLLIN, &homes[i]);
}

static int refuse_to_enter(enum sys_call call)
{
    return call == SYS_RING_ENTER ? -EBUSY : 0;
}

static int entered;

static int refuse_to_enter_once(enum sys_call call)
{
    return call == SYS_RING_ENTER && entered++ == 0 ? -EBUSY : 0;
}

static int refuse_all(enum sys_call call)
{
    return call == SYS_ALLOC || call == SYS_EPOLL_CTL || call == SYS_RING_ENTER ? -ENOMEM : 0;
}

static const struct sys_faults no_entry = {.error = refuse_to_enter};
static const struct sys_faults no_entry_once = {.error = refuse_to_enter_once};
static const struct sys_faults nothing_goes = {.error = refuse_all};

/* ---- scripts ------------------------------------------------------------------------------- */

static void waits_meanwhile(struct loop_rig *rig)
{
    open_crowd(CROWD);
    for (int again = 0; again < 2; again++) {
        sys_faults = &no_entry;
        crowd_waits(rig, 0, CROWD);
        sys_faults = NULL;
        for (int i = 0; i < CROWD; i++)
            put(pairs[i][1]);
        fprintf(rig->trace, "%zu ", loop_rig_await_quietly(rig, CROWD));
        for (int i = 0; i < CROWD; i++)
            take_all(pairs[i][0]);
    }
    close_crowd(CROWD);
}

/* Who leaves before the kernel knows of him is not told, not even if he comes back. */
static void leaves_meanwhile(struct loop_rig *rig)
{
    open_crowd(CROWD);
    sys_faults = &no_entry;
    crowd_waits(rig, 0, CROWD);
    for (int i = CROWD / 2; i < CROWD; i++)
        actor_leaves(rig, &crowd[i]);
    crowd_waits(rig, CROWD - 10, CROWD);
    sys_faults = NULL;
    for (int i = 0; i < CROWD; i++)
        put(pairs[i][1]);
    fprintf(rig->trace, "%zu ", loop_rig_await_quietly(rig, CROWD / 2 + 10));
    loop_rig_look(rig);
    close_crowd(CROWD);
}

/* The number stands for something else before the kernel has heard of it. */
static void used_again_meanwhile(struct loop_rig *rig)
{
    struct home home = {0};
    struct actor *last = &crowd[CROWD - 1];

    open_crowd(CROWD);
    sys_faults = &no_entry;
    crowd_waits(rig, 0, CROWD);
    actor_leaves(rig, last);
    replace_pair(pairs[CROWD - 1]);
    actor_waits(rig, last, "b", pairs[CROWD - 1][0], POLLIN, &home);
    sys_faults = NULL;
    loop_rig_look(rig);
    put(pairs[CROWD - 1][1]);
    loop_rig_await(rig, 1);
    close_crowd(CROWD);
}

/* There is no room even for what lets others wake the loop: it is woken, if a little late. */
static void is_woken_meanwhile(struct loop_rig *rig)
{
    open_crowd(CROWD);
    sys_faults = &no_entry;
    crowd_waits(rig, 0, CROWD);
    entered = 0;
    sys_faults = &no_entry_once;
    rig->loop->ops->wake(rig->loop);
    loop_rig_turn(rig);
    sys_faults = NULL;
    loop_rig_look(rig);
    rig->loop->ops->wake(rig->loop);
    loop_rig_turn(rig);
    close_crowd(CROWD);
}

/* Somebody else cannot wait for the same descriptor: who does already is told all the same. */
static void another_fails(struct loop_rig *rig)
{
    struct actor another = {.task.context.loop = rig->loop};
    enum { OTHERS = 62 }; /* so that one more takes memory */

    open_crowd(OTHERS + 1);
    crowd_waits(rig, 0, OTHERS + 1);
    loop_rig_look(rig);
    loop_here = rig->loop;
    rig->loop->running = &another.task;
    sys_faults = &nothing_goes;
    (void)loop_arm(rig->loop, &another.arm, pairs[0][0], POLLIN, NULL);
    sys_faults = NULL;
    rig->loop->running = NULL;
    loop_here = NULL;
    loop_rig_look(rig);
    put(pairs[0][1]);
    loop_rig_await(rig, 1);
    loop_disarm(rig->loop, &another.arm, NULL);
    close_crowd(OTHERS + 1);
}

static const struct loop_script scripts[] = {
    LOOP_SCRIPT(waits_meanwhile, "300 300 "),     LOOP_SCRIPT(leaves_meanwhile, "160 - "),
    LOOP_SCRIPT(used_again_meanwhile, "- b:in "), LOOP_SCRIPT(is_woken_meanwhile, "- "),
    LOOP_SCRIPT(another_fails, "- - a:in "),
};

int main(void)
{
    return loop_rig_play("loop_shortage", scripts, sizeof scripts / sizeof *scripts);
}
