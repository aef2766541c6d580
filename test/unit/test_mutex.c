/* Mutexes, between tasks, threads and loops. */
#include "support/chance.h"
#include "support/elsewhere.h"

#include <stdio.h>
#include <stdlib.h>

/* Two of the others in each place. */
#define CROWD (2 * PLACES)

static void crowd_go(struct elsewhere *crowd, int (*fn)(void *), void *arg)
{
    for (unsigned i = 0; i < CROWD; i++)
        elsewhere_go(&crowd[i], i % PLACES, fn, arg);
}

static void crowd_end(struct elsewhere *crowd, int rc)
{
    for (unsigned i = 0; i < CROWD; i++)
        EXPECT(elsewhere_end(&crowd[i]), rc);
}

/* ---- alone ----------------------------------------------------------------------------------- */

static void what_is_free_is_locked_and_what_is_locked_is_not(void)
{
    weir_mutex m = {0};

    EXPECT(weir_mutex_unlock(&m), -EPERM);
    EXPECT(weir_mutex_lock(&m), 0);
    EXPECT(weir_mutex_try_lock(&m), -EAGAIN);
    EXPECT(weir_mutex_unlock(&m), 0);
    EXPECT(weir_mutex_try_lock(&m), 0);
    EXPECT(weir_mutex_unlock(&m), 0);
    EXPECT(weir_mutex_unlock(&m), -EPERM);
}

static void there_has_to_be_a_mutex(void)
{
    EXPECT(weir_mutex_lock(NULL), -EINVAL);
    EXPECT(weir_mutex_try_lock(NULL), -EINVAL);
    EXPECT(weir_mutex_unlock(NULL), -EINVAL);
}

/* A limit is about waiting. */
static void a_limit_that_has_passed_does_not_keep_from_what_is_free(void)
{
    weir_mutex m = WEIR_MUTEX_INIT;
    WEIR_WITHIN_MS(0);

    EXPECT(weir_mutex_lock(&m), 0);
    EXPECT(weir_mutex_lock(&m), WEIR_EDEADLINE);
    EXPECT(weir_mutex_unlock(&m), 0);
    EXPECT(weir_mutex_lock(&m), 0);
    EXPECT(weir_mutex_unlock(&m), 0);
}

static int lock_when_cancelled(void *arg)
{
    weir_mutex m = WEIR_MUTEX_INIT;

    EXPECT(weir_group_cancel(*(weir_group **)arg), 0);
    EXPECT(weir_mutex_lock(&m), 0);
    EXPECT(weir_mutex_lock(&m), -ECANCELED);
    EXPECT(weir_mutex_unlock(&m), 0);
    EXPECT(weir_mutex_unlock(&m), -EPERM);
    return 0;
}

static void a_cancel_does_not_keep_from_what_is_free(void)
{
    weir_group *g = group_open();

    EXPECT(weir_go(g, lock_when_cancelled, &g), 0);
    group_end(g);
}

/* ---- exclusion ------------------------------------------------------------------------------- */

struct shared {
    weir_mutex mutex;
    unsigned long count, rounds; /* by the holder alone */
    atomic_uint number;
};

/* A holder waits, yields, or neither, and nobody else comes in. */
static int count_up(void *arg)
{
    struct shared *s = arg;
    struct chance chance = chance_of(atomic_fetch_add(&s->number, 1));

    for (unsigned long i = 0; i < s->rounds; i++) {
        EXPECT(weir_mutex_lock(&s->mutex), 0);
        unsigned long before = s->count;
        switch (chance_below(&chance, 16)) {
        case 0:
            EXPECT(weir_sleep(0), 0);
            break;
        case 1:
            EXPECT(weir_yield(), 0);
            break;
        }
        s->count = before + 1;
        EXPECT(weir_mutex_unlock(&s->mutex), 0);
    }
    return 0;
}

static void one_holds_it_at_a_time(void)
{
    struct shared s = {.rounds = ground_is_slow() ? 200 : 2000};
    struct elsewhere crowd[CROWD];

    crowd_go(crowd, count_up, &s);
    crowd_end(crowd, 0);
    EXPECT(s.count, CROWD * s.rounds);
    EXPECT(weir_mutex_unlock(&s.mutex), -EPERM);
}

/* ---- the queue ------------------------------------------------------------------------------- */

struct turns {
    weir_mutex mutex;
    unsigned taken; /* by the holder alone */
};

struct queuer {
    struct elsewhere elsewhere;
    struct turns *turns;
    unsigned got; /* its turn, from 1 */
    int64_t limit_ms;
};

static int queue_up(void *arg)
{
    struct queuer *q = arg;
    WEIR_WITHIN_MS(q->limit_ms);

    int rc = weir_mutex_lock(&q->turns->mutex);
    if (rc < 0)
        return rc;
    q->got = ++q->turns->taken;
    return weir_mutex_unlock(&q->turns->mutex);
}

static void queuer_go(struct queuer *q, struct turns *turns, enum place place, int64_t limit_ms)
{
    *q = (struct queuer){.turns = turns, .limit_ms = limit_ms};
    elsewhere_go(&q->elsewhere, place, queue_up, q);
    elsewhere_until_asleep(&q->elsewhere);
}

static void who_waits_longest_is_next(void)
{
    struct turns turns = {.taken = 0};
    struct queuer queuers[CROWD];

    EXPECT(weir_mutex_lock(&turns.mutex), 0);
    for (unsigned i = 0; i < CROWD; i++)
        queuer_go(&queuers[i], &turns, i % PLACES, -1);
    EXPECT(weir_mutex_unlock(&turns.mutex), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        EXPECT(elsewhere_end(&queuers[i].elsewhere), 0);
        EXPECT(queuers[i].got, i + 1);
    }
}

/* It is handed over: whoever unlocks and locks again has to wait. */
static void the_one_who_unlocks_is_behind_those_who_wait(void)
{
    for (enum place place = 0; place < PLACES; place++) {
        struct turns turns = {.taken = 0};
        struct queuer queuer;
        EXPECT(weir_mutex_lock(&turns.mutex), 0);
        queuer_go(&queuer, &turns, place, -1);
        EXPECT(weir_mutex_unlock(&turns.mutex), 0);
        EXPECT(weir_mutex_lock(&turns.mutex), 0);
        EXPECT(turns.taken, 1);
        EXPECT(weir_mutex_unlock(&turns.mutex), 0);
        EXPECT(elsewhere_end(&queuer.elsewhere), 0);
    }
}

/* Whether at the front, in the middle or at the end, the others stay in their order. */
static void who_is_cancelled_leaves_the_queue(void)
{
    for (unsigned leaver = 0; leaver < 3; leaver++) {
        struct turns turns = {.taken = 0};
        struct queuer queuers[3];
        EXPECT(weir_mutex_lock(&turns.mutex), 0);
        for (unsigned i = 0; i < 3; i++)
            queuer_go(&queuers[i], &turns, i == 1 ? ON_ANOTHER_LOOP : BESIDE, -1);
        elsewhere_cancel(&queuers[leaver].elsewhere);
        EXPECT(elsewhere_end(&queuers[leaver].elsewhere), -ECANCELED);
        EXPECT(weir_mutex_try_lock(&turns.mutex), -EAGAIN);
        EXPECT(weir_mutex_unlock(&turns.mutex), 0);
        for (unsigned i = 0, turn = 1; i < 3; i++) {
            if (i == leaver)
                continue;
            EXPECT(elsewhere_end(&queuers[i].elsewhere), 0);
            EXPECT(queuers[i].got, turn++);
        }
        EXPECT(weir_mutex_unlock(&turns.mutex), -EPERM);
    }
}

static void whose_time_is_up_leaves_the_queue(void)
{
    for (enum place place = 0; place < PLACES; place++) {
        struct turns turns = {.taken = 0};
        struct queuer late, patient;
        EXPECT(weir_mutex_lock(&turns.mutex), 0);
        queuer_go(&late, &turns, place, MOMENT_MS);
        queuer_go(&patient, &turns, place, -1);
        EXPECT(elsewhere_end(&late.elsewhere), WEIR_EDEADLINE);
        EXPECT(weir_mutex_unlock(&turns.mutex), 0);
        EXPECT(elsewhere_end(&patient.elsewhere), 0);
        EXPECT(turns.taken, 1);
        EXPECT(weir_mutex_unlock(&turns.mutex), -EPERM);
    }
}

/* Handed over and cancelled in the same instant: it is locked, and says so. */
static int lock_and_tell(void *arg)
{
    struct turns *turns = arg;

    EXPECT(weir_mutex_lock(&turns->mutex), 0);
    turns->taken++;
    EXPECT(weir_yield(), -ECANCELED);
    return weir_mutex_unlock(&turns->mutex);
}

static void what_was_handed_over_is_locked_also_if_cancelled(void)
{
    struct turns turns = {.taken = 0};
    struct elsewhere e;

    EXPECT(weir_mutex_lock(&turns.mutex), 0);
    elsewhere_go(&e, BESIDE, lock_and_tell, &turns);
    elsewhere_until_asleep(&e);
    EXPECT(weir_mutex_unlock(&turns.mutex), 0);
    elsewhere_cancel(&e); /* it has not run since */
    EXPECT(elsewhere_end(&e), 0);
    EXPECT(turns.taken, 1);
}

/* ---- races ----------------------------------------------------------------------------------- */

/* Locks until it is cancelled. A cancel, a limit and the hand-over meet in every order. */
static int lock_until_cancelled(void *arg)
{
    struct shared *s = arg;
    struct chance chance = chance_of(atomic_fetch_add(&s->number, 1));

    for (;;) {
        weir_scope limit = weir_deadline_start((int64_t)chance_below(&chance, 4) - 2);
        int rc = weir_mutex_lock(&s->mutex);
        weir_scope_end(limit);
        if (rc == -ECANCELED)
            return rc;
        if (rc == WEIR_EDEADLINE)
            continue;
        EXPECT(rc, 0);
        unsigned long before = s->count;
        uint32_t choice = chance_below(&chance, 16);
        bool ends = (choice == 0 ? weir_sleep(1) : choice < 4 ? weir_yield() : 0) < 0;
        s->count = before + 1;
        EXPECT(weir_mutex_unlock(&s->mutex), 0);
        if (ends)
            return -ECANCELED;
    }
}

static void cancels_and_hand_overs_meet(void)
{
    unsigned rounds = ground_is_slow() ? 20 : 100;
    struct chance chance = chance_of(0);

    for (unsigned i = 0; i < rounds; i++) {
        struct shared s = {.number = 1 + i * 16};
        struct elsewhere crowd[4];
        for (unsigned j = 0; j < 4; j++)
            elsewhere_go(&crowd[j], j == 3 ? ON_ANOTHER_LOOP : BESIDE, lock_until_cancelled, &s);
        for (unsigned j = 0; j < 4; j++) {
            for (uint32_t moments = chance_below(&chance, 50); moments > 0; moments--)
                give_way();
            elsewhere_cancel(&crowd[j]);
        }
        for (unsigned j = 0; j < 4; j++)
            EXPECT(elsewhere_end(&crowd[j]), -ECANCELED);
        EXPECT(weir_mutex_try_lock(&s.mutex), 0);
        EXPECT(weir_mutex_unlock(&s.mutex), 0);
        EXPECT(s.mutex.weir_first == NULL && s.mutex.weir_last == NULL, true);
    }
}

/* Whoever has locked it last may free it, though the one before him is still on his way out of the
 * call that handed it over. */
struct short_lived {
    weir_mutex mutex;
    unsigned users;
};

struct pass {
    struct short_lived *_Atomic things[2000];
    unsigned count;
};

static int use_all(void *arg)
{
    struct pass *p = arg;

    for (unsigned i = 0; i < p->count; i++) {
        struct short_lived *s = atomic_load(&p->things[i]);
        EXPECT(weir_mutex_lock(&s->mutex), 0);
        bool last = --s->users == 0;
        EXPECT(weir_mutex_unlock(&s->mutex), 0);
        if (last)
            free(s);
    }
    return 0;
}

static void the_last_holder_may_free_it(void)
{
    static struct pass p;
    struct elsewhere crowd[CROWD];

    p.count = ground_is_slow() ? 200 : 2000;
    for (unsigned i = 0; i < p.count; i++) {
        struct short_lived *s = calloc(1, sizeof *s);
        s->users = CROWD;
        atomic_store(&p.things[i], s);
    }
    crowd_go(crowd, use_all, &p);
    crowd_end(crowd, 0);
}

int main(int argc, char **argv)
{
    const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, what_is_free_is_locked_and_what_is_locked_is_not),
        GROUND_TEST(ONCE, there_has_to_be_a_mutex),
        GROUND_TEST(EVERYWHERE, a_limit_that_has_passed_does_not_keep_from_what_is_free),
        GROUND_TEST(EVERYWHERE, a_cancel_does_not_keep_from_what_is_free),
        GROUND_TEST(EVERYWHERE, one_holds_it_at_a_time),
        GROUND_TEST(EVERYWHERE, who_waits_longest_is_next),
        GROUND_TEST(EVERYWHERE, the_one_who_unlocks_is_behind_those_who_wait),
        GROUND_TEST(EVERYWHERE, who_is_cancelled_leaves_the_queue),
        GROUND_TEST(EVERYWHERE, whose_time_is_up_leaves_the_queue),
        GROUND_TEST(IN_TASKS, what_was_handed_over_is_locked_also_if_cancelled),
        GROUND_TEST(EVERYWHERE, cancels_and_hand_overs_meet),
        GROUND_TEST(EVERYWHERE, the_last_holder_may_free_it),
    };

    return ground_main(argc, argv, "mutex", tests, sizeof tests / sizeof *tests);
}
