#include "support/elsewhere.h"

static int be_somebody(void *arg)
{
    struct elsewhere *e = arg;
    somebody_is_me(&e->other.self);
    e->other.rc = e->other.fn(e->other.arg);
    somebody_ends(&e->other.self);
    return 0;
}

static void *plain_thread(void *arg)
{
    be_somebody(arg);
    return NULL;
}

/* The group stays until everybody is done with it. */
static int run_main(void *arg)
{
    struct elsewhere *e = arg;
    e->group = group_open();
    EXPECT(weir_go(e->group, be_somebody, e), 0);
    atomic_store(&e->opened, e->group);
    while (atomic_load(&e->opened))
        weir_sleep(1);
    group_end(e->group);
    return 0;
}

static void *loop_thread(void *arg)
{
    int loop = ground->tasks ? ground->loop : WEIR_LOOP_EPOLL;
    EXPECT(weir_run(run_main, arg, WEIR_RUN_OPTIONS(.models = WEIR_TASKS, .loop = loop), NULL), 0);
    return NULL;
}

void elsewhere_go(struct elsewhere *e, enum place place, int (*fn)(void *), void *arg)
{
    *e = (struct elsewhere){.other = {.fn = fn, .arg = arg}, .place = place};
    if (place == BESIDE) {
        e->group = group_open();
        EXPECT(weir_go(e->group, be_somebody, e), 0);
        return;
    }
    void *(*body)(void *) = place == IN_A_THREAD ? plain_thread : loop_thread;
    EXPECT(pthread_create(&e->thread, NULL, body, e), 0);
    while (place == ON_ANOTHER_LOOP && !atomic_load(&e->opened))
        give_way();
}

void elsewhere_cancel(struct elsewhere *e)
{
    EXPECT(weir_group_cancel(e->group), 0);
}

int elsewhere_end(struct elsewhere *e)
{
    other_until_ended(&e->other);
    if (e->place == BESIDE) {
        group_end(e->group);
        return e->other.rc;
    }
    atomic_store(&e->opened, NULL);
    EXPECT(pthread_join(e->thread, NULL), 0);
    return e->other.rc;
}
