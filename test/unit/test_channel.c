/* Channels, between tasks, threads and loops. */
#include "support/chance.h"
#include "support/elsewhere.h"
#include "sys.h"

#include <stdio.h>
#include <stdlib.h>

/* Who sent it, and his how-manieth it is. */
struct item {
    uint32_t sender, number;
};

static weir_channel *channel_open(size_t capacity)
{
    weir_channel *c = NULL;

    EXPECT(weir_channel_open(&c, sizeof(struct item), capacity), 0);
    return c;
}

static void channel_end(weir_channel *c)
{
    EXPECT(weir_channel_close(c), 0);
}

static void expect_item(weir_channel *c, uint32_t number)
{
    struct item got;

    EXPECT(weir_channel_recv(c, &got), 1);
    EXPECT(got.number, number);
}

/* ---- alone ----------------------------------------------------------------------------------- */

static void items_come_out_as_they_went_in(void)
{
    weir_channel *c = channel_open(3);
    struct item got;

    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < 2 + round % 2; i++)
            EXPECT(weir_channel_send(c, &(struct item){0, i}), 0);
        for (uint32_t i = 0; i < 2 + round % 2; i++)
            expect_item(c, i);
    }
    EXPECT(weir_channel_try_recv(c, &got), -EAGAIN);
    channel_end(c);
}

static void trying_does_not_wait(void)
{
    for (size_t capacity = 0; capacity < 3; capacity++) {
        weir_channel *c = channel_open(capacity);
        struct item got = {7, 7};
        EXPECT(weir_channel_try_recv(c, &got), -EAGAIN);
        for (uint32_t i = 0; i < capacity; i++)
            EXPECT(weir_channel_try_send(c, &(struct item){0, i}), 0);
        EXPECT(weir_channel_try_send(c, &got), -EAGAIN);
        for (uint32_t i = 0; i < capacity; i++) {
            EXPECT(weir_channel_try_recv(c, &got), 1);
            EXPECT(got.number, i);
        }
        EXPECT(weir_channel_try_recv(c, &got), -EAGAIN);
        channel_end(c);
    }
}

static void a_limit_ends_either_wait(void)
{
    weir_channel *c = channel_open(1);
    struct item item = {1, 1};
    WEIR_WITHIN_MS(MOMENT_MS);

    EXPECT(weir_channel_recv(c, &item), WEIR_EDEADLINE);
    EXPECT(weir_channel_try_send(c, &item), 0);
    EXPECT(weir_channel_send(c, &item), WEIR_EDEADLINE);
    EXPECT(weir_channel_try_recv(c, &item), 1);
    EXPECT(weir_channel_try_recv(c, &item), -EAGAIN);
    channel_end(c);
}

static void what_is_shut_is_emptied_first(void)
{
    weir_channel *c = channel_open(4);
    struct item item = {0, 0};

    for (item.number = 0; item.number < 3; item.number++)
        EXPECT(weir_channel_send(c, &item), 0);
    EXPECT(weir_channel_shut(c), 0);
    EXPECT(weir_channel_shut(c), 0);
    EXPECT(weir_channel_send(c, &item), WEIR_ECLOSED);
    EXPECT(weir_channel_try_send(c, &item), WEIR_ECLOSED);
    for (uint32_t i = 0; i < 3; i++)
        expect_item(c, i);
    EXPECT(weir_channel_recv(c, &item), 0);
    EXPECT(weir_channel_try_recv(c, &item), 0);
    channel_end(c);
}

static void items_of_any_size_are_whole(void)
{
    static const size_t sizes[] = {1, 3, 24, 4097};
    static char sent[4097], got[4098];

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        weir_channel *c = NULL;
        size_t size = sizes[i];
        EXPECT(weir_channel_open(&c, size, 2), 0);
        for (int round = 0; round < 5; round++) {
            memset(sent, round + 1, size);
            memset(got, 0, sizeof got);
            EXPECT(weir_channel_send(c, sent), 0);
            EXPECT(weir_channel_recv(c, got), 1);
            EXPECT(memcmp(got, sent, size), 0);
            EXPECT(got[size], 0);
        }
        channel_end(c);
    }
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC ? -ENOMEM : 0;
}

static void wrong_use_is_refused(void)
{
    static const struct sys_faults faults = {.error = no_memory};
    weir_channel *c = NULL;
    struct item item = {0, 0};

    EXPECT(weir_channel_open(NULL, 1, 1), -EINVAL);
    EXPECT(weir_channel_open(&c, 0, 1), -EINVAL);
    EXPECT(weir_channel_open(&c, SIZE_MAX / 2, 3), -EINVAL);
    EXPECT(weir_channel_open(&c, 1, SIZE_MAX), -EINVAL);
    sys_faults = &faults;
    EXPECT(weir_channel_open(&c, 1, 1), -ENOMEM);
    sys_faults = NULL;
    CHECK(c == NULL);
    c = channel_open(1);
    EXPECT(weir_channel_send(NULL, &item), -EINVAL);
    EXPECT(weir_channel_send(c, NULL), -EINVAL);
    EXPECT(weir_channel_recv(NULL, &item), -EINVAL);
    EXPECT(weir_channel_recv(c, NULL), -EINVAL);
    EXPECT(weir_channel_try_send(c, NULL), -EINVAL);
    EXPECT(weir_channel_try_recv(NULL, &item), -EINVAL);
    CHECK(weir_channel_ref(NULL) == NULL);
    EXPECT(weir_channel_shut(NULL), 0);
    EXPECT(weir_channel_close(NULL), 0);
    channel_end(c);
}

/* ---- somebody who waits ---------------------------------------------------------------------- */

struct user {
    struct elsewhere elsewhere;
    weir_channel *channel;
    struct item item;
    int64_t limit_ms;
    bool owns; /* and so closes it */
};

static int send_one(void *arg)
{
    struct user *u = arg;
    WEIR_WITHIN_MS(u->limit_ms);

    int rc = weir_channel_send(u->channel, &u->item);
    if (u->owns)
        EXPECT(weir_channel_close(u->channel), 0);
    return rc;
}

static int recv_one(void *arg)
{
    struct user *u = arg;
    WEIR_WITHIN_MS(u->limit_ms);

    int rc = weir_channel_recv(u->channel, &u->item);
    if (u->owns)
        EXPECT(weir_channel_close(u->channel), 0);
    return rc;
}

static void user_waits(struct user *u, enum place place, int (*fn)(void *), weir_channel *c,
                       uint32_t number)
{
    *u = (struct user){.channel = c, .item = {0, number}, .limit_ms = -1};
    elsewhere_go(&u->elsewhere, place, fn, u);
    elsewhere_until_asleep(&u->elsewhere);
}

static void user_ends(struct user *u, int rc)
{
    EXPECT(elsewhere_end(&u->elsewhere), rc);
}

static void without_room_an_item_is_handed_over(void)
{
    for (enum place place = 0; place < PLACES; place++) {
        weir_channel *c = channel_open(0);
        struct user u;
        struct item none;
        user_waits(&u, place, send_one, c, 5);
        CHECK(!atomic_load(&u.elsewhere.other.self.ended));
        expect_item(c, 5);
        user_ends(&u, 0);
        user_waits(&u, place, recv_one, c, 0);
        EXPECT(weir_channel_try_send(c, &(struct item){0, 6}), 0);
        EXPECT(weir_channel_try_send(c, &(struct item){0, 7}), -EAGAIN);
        user_ends(&u, 1);
        EXPECT(u.item.number, 6);
        EXPECT(weir_channel_try_recv(c, &none), -EAGAIN);
        channel_end(c);
    }
}

static void receivers_go_in_order(void)
{
    weir_channel *c = channel_open(2);
    struct user users[2 * PLACES];

    for (unsigned i = 0; i < 2 * PLACES; i++)
        user_waits(&users[i], i % PLACES, recv_one, c, 99);
    for (uint32_t i = 0; i < 2 * PLACES; i++)
        EXPECT(weir_channel_send(c, &(struct item){0, i}), 0);
    for (uint32_t i = 0; i < 2 * PLACES; i++) {
        user_ends(&users[i], 1);
        EXPECT(users[i].item.number, i);
    }
    channel_end(c);
}

/* What waits to be sent comes after what was sent before, and before what is sent later. */
static void senders_go_in_order(void)
{
    for (uint32_t capacity = 0; capacity < 3; capacity++) {
        weir_channel *c = channel_open(capacity);
        struct user users[2 * PLACES];
        for (uint32_t i = 0; i < capacity; i++)
            EXPECT(weir_channel_send(c, &(struct item){0, i}), 0);
        for (unsigned i = 0; i < 2 * PLACES; i++)
            user_waits(&users[i], i % PLACES, send_one, c, capacity + i);
        EXPECT(weir_channel_try_send(c, &(struct item){0, 99}), -EAGAIN);
        for (uint32_t i = 0; i < capacity + 2 * PLACES; i++)
            expect_item(c, i);
        for (unsigned i = 0; i < 2 * PLACES; i++)
            user_ends(&users[i], 0);
        channel_end(c);
    }
}

/* As soon as there is one, and nobody comes in between. */
static void room_goes_to_who_waits_longest(void)
{
    for (enum place place = 0; place < PLACES; place++) {
        weir_channel *c = channel_open(2);
        struct user u;
        EXPECT(weir_channel_send(c, &(struct item){0, 0}), 0);
        EXPECT(weir_channel_send(c, &(struct item){0, 1}), 0);
        user_waits(&u, place, send_one, c, 2);
        expect_item(c, 0);
        EXPECT(weir_channel_try_send(c, &(struct item){0, 3}), -EAGAIN);
        user_ends(&u, 0);
        expect_item(c, 1);
        expect_item(c, 2);
        channel_end(c);
    }
}

static void shutting_ends_all_waits(void)
{
    for (enum place place = 0; place < PLACES; place++) {
        weir_channel *c = channel_open(0);
        struct user users[2];
        struct item none;
        for (unsigned i = 0; i < 2; i++)
            user_waits(&users[i], place, send_one, c, 1);
        EXPECT(weir_channel_shut(c), 0);
        for (unsigned i = 0; i < 2; i++)
            user_ends(&users[i], WEIR_ECLOSED);
        EXPECT(weir_channel_recv(c, &none), 0);
        channel_end(c);
        c = channel_open(1);
        for (unsigned i = 0; i < 2; i++)
            user_waits(&users[i], place, recv_one, c, 1);
        EXPECT(weir_channel_shut(c), 0);
        for (unsigned i = 0; i < 2; i++)
            user_ends(&users[i], 0);
        channel_end(c);
    }
}

/* At the front, in the middle and at the end; the item of a sender that was cancelled stays his. */
static void who_is_cancelled_leaves_no_trace(void)
{
    for (unsigned leaver = 0; leaver < 3; leaver++) {
        weir_channel *c = channel_open(0);
        struct user users[3];
        struct item none;
        for (unsigned i = 0; i < 3; i++)
            user_waits(&users[i], i == 1 ? ON_ANOTHER_LOOP : BESIDE, send_one, c, i);
        elsewhere_cancel(&users[leaver].elsewhere);
        user_ends(&users[leaver], -ECANCELED);
        for (unsigned i = 0; i < 3; i++) {
            if (i != leaver) {
                expect_item(c, i);
                user_ends(&users[i], 0);
            }
        }
        EXPECT(weir_channel_try_recv(c, &none), -EAGAIN);
        for (unsigned i = 0; i < 3; i++)
            user_waits(&users[i], i == 1 ? ON_ANOTHER_LOOP : BESIDE, recv_one, c, 99);
        elsewhere_cancel(&users[leaver].elsewhere);
        user_ends(&users[leaver], -ECANCELED);
        for (unsigned i = 0; i < 3; i++) {
            if (i != leaver) {
                EXPECT(weir_channel_send(c, &(struct item){0, i}), 0);
                user_ends(&users[i], 1);
                EXPECT(users[i].item.number, i);
            }
        }
        channel_end(c);
    }
}

/* Handed over and cancelled in the same instant: a success that has happened is told. */
static void what_was_handed_over_counts_also_if_cancelled(void)
{
    weir_channel *c = channel_open(0);
    struct user u;

    user_waits(&u, BESIDE, recv_one, c, 0);
    EXPECT(weir_channel_try_send(c, &(struct item){0, 3}), 0);
    elsewhere_cancel(&u.elsewhere); /* it has not run since */
    user_ends(&u, 1);
    EXPECT(u.item.number, 3);
    user_waits(&u, BESIDE, send_one, c, 4);
    expect_item(c, 4);
    elsewhere_cancel(&u.elsewhere);
    user_ends(&u, 0);
    channel_end(c);
}

/* The last to close it may be one who was just woken in it. */
static void it_lives_as_long_as_somebody_owns_it(void)
{
    for (enum place place = 0; place < PLACES; place++) {
        weir_channel *c = channel_open(1);
        struct user u = {.channel = weir_channel_ref(c), .limit_ms = -1, .owns = true};
        CHECK(u.channel == c);
        elsewhere_go(&u.elsewhere, place, recv_one, &u);
        elsewhere_until_asleep(&u.elsewhere);
        EXPECT(weir_channel_close(c), 0);
        user_ends(&u, 0);
    }
}

/* ---- crowds ---------------------------------------------------------------------------------- */

#define SENDERS   4
#define RECEIVERS 4

struct traffic {
    weir_channel *channel;
    uint32_t items; /* of each sender */
    atomic_uint senders, receivers;
    _Atomic uint8_t seen[SENDERS][20000]; /* how often each item was received */
    _Atomic uint8_t sent[SENDERS][20000]; /* how often its sender was told that it was */
};

static int send_many(void *arg)
{
    struct traffic *t = arg;
    struct item item = {.sender = atomic_fetch_add(&t->senders, 1)};
    struct chance chance = chance_of(item.sender + 100);

    for (; item.number < t->items; item.number++) {
        bool tries = chance_below(&chance, 4) == 0;
        int rc =
            tries ? weir_channel_try_send(t->channel, &item) : weir_channel_send(t->channel, &item);
        if (rc == -EAGAIN)
            rc = weir_channel_send(t->channel, &item);
        if (rc < 0)
            return rc;
        atomic_fetch_add(&t->sent[item.sender][item.number], 1);
        if (chance_below(&chance, 64) == 0 && weir_yield() < 0)
            return -ECANCELED;
    }
    return 0;
}

/* Each receiver sees the items of a sender in their order. */
static int recv_many(void *arg)
{
    struct traffic *t = arg;
    struct chance chance = chance_of(atomic_fetch_add(&t->receivers, 1) + 200);
    int64_t last[SENDERS] = {-1, -1, -1, -1};
    struct item item;
    int rc;

    while ((rc = weir_channel_recv(t->channel, &item)) == 1) {
        CHECK(item.sender < SENDERS && item.number < t->items);
        CHECK(item.number > last[item.sender]);
        last[item.sender] = item.number;
        atomic_fetch_add(&t->seen[item.sender][item.number], 1);
        if (chance_below(&chance, 64) == 0 && weir_yield() < 0)
            return -ECANCELED;
    }
    return rc;
}

static struct traffic *new_traffic(size_t capacity, uint32_t items)
{
    struct traffic *t = calloc(1, sizeof *t);

    t->channel = channel_open(capacity);
    t->items = items;
    return t;
}

/* How many were received; each once at most, and just those of which the sender was told so. */
static unsigned count_items(const struct traffic *t)
{
    unsigned count = 0;

    for (unsigned sender = 0; sender < SENDERS; sender++)
        for (uint32_t i = 0; i < t->items; i++) {
            unsigned seen = atomic_load(&t->seen[sender][i]);
            CHECK(seen <= 1 && seen == atomic_load(&t->sent[sender][i]));
            count += seen;
        }
    return count;
}

static void each_item_arrives_once_and_in_order(void)
{
    static const size_t capacities[] = {0, 1, 16};

    for (unsigned i = 0; i < 3; i++) {
        struct traffic *t = new_traffic(capacities[i], ground_is_slow() ? 200 : 2000);
        struct elsewhere senders[SENDERS], receivers[RECEIVERS];
        for (unsigned j = 0; j < SENDERS; j++)
            elsewhere_go(&senders[j], j % PLACES, send_many, t);
        for (unsigned j = 0; j < RECEIVERS; j++)
            elsewhere_go(&receivers[j], (j + 1) % PLACES, recv_many, t);
        for (unsigned j = 0; j < SENDERS; j++)
            EXPECT(elsewhere_end(&senders[j]), 0);
        EXPECT(weir_channel_shut(t->channel), 0);
        for (unsigned j = 0; j < RECEIVERS; j++)
            EXPECT(elsewhere_end(&receivers[j]), 0);
        EXPECT(count_items(t), SENDERS * t->items);
        channel_end(t->channel);
        free(t);
    }
}

static void drain(struct traffic *t)
{
    struct item item;

    while (weir_channel_try_recv(t->channel, &item) == 1)
        atomic_fetch_add(&t->seen[item.sender][item.number], 1);
}

/* Senders and receivers are cancelled at any moment. */
static void cancels_lose_nothing(void)
{
    unsigned rounds = ground_is_slow() ? 10 : 60;
    struct chance chance = chance_of(0);

    for (unsigned i = 0; i < rounds; i++) {
        struct traffic *t = new_traffic(chance_below(&chance, 3), 20000);
        struct elsewhere users[SENDERS + RECEIVERS];
        for (unsigned j = 0; j < SENDERS + RECEIVERS; j++)
            elsewhere_go(&users[j], j % 4 == 3 ? ON_ANOTHER_LOOP : BESIDE,
                         j < SENDERS ? send_many : recv_many, t);
        for (unsigned j = 0; j < SENDERS + RECEIVERS; j++) {
            for (uint32_t moments = chance_below(&chance, 20); moments > 0; moments--)
                give_way();
            elsewhere_cancel(&users[(j * 3 + i) % (SENDERS + RECEIVERS)]);
        }
        for (unsigned j = 0; j < SENDERS + RECEIVERS; j++) {
            int rc = elsewhere_end(&users[j]);
            CHECK(rc == -ECANCELED || (rc == 0 && j < SENDERS));
        }
        drain(t);
        (void)count_items(t);
        channel_end(t->channel);
        free(t);
    }
}

/* ---- fairness -------------------------------------------------------------------------------- */

static int raise_flag(void *arg)
{
    atomic_bool *flag = arg;

    EXPECT(weir_sleep(1), 0);
    atomic_store(flag, true);
    return 0;
}

/* Not even one who never has to wait keeps the others, and the timers, from running. */
static void a_busy_channel_leaves_room_for_others(void)
{
    weir_channel *c = channel_open(1);
    weir_group *g = group_open();
    struct item item = {0, 0};
    atomic_bool flag = false;

    EXPECT(weir_go(g, raise_flag, &flag), 0);
    while (!atomic_load(&flag)) {
        EXPECT(weir_channel_send(c, &item), 0);
        EXPECT(weir_channel_recv(c, &item), 1);
    }
    group_end(g);
    channel_end(c);
}

static int answer(void *arg)
{
    weir_channel **ways = arg;
    struct item item;

    while (weir_channel_recv(ways[0], &item) == 1)
        EXPECT(weir_channel_send(ways[1], &item), 0);
    return 0;
}

static void neither_do_two_that_only_talk_to_each_other(void)
{
    weir_channel *ways[2] = {channel_open(0), channel_open(0)};
    weir_group *g = group_open();
    struct item item = {0, 0};
    atomic_bool flag = false;

    EXPECT(weir_go(g, raise_flag, &flag), 0);
    EXPECT(weir_go(g, answer, ways), 0);
    while (!atomic_load(&flag)) {
        EXPECT(weir_channel_send(ways[0], &item), 0);
        EXPECT(weir_channel_recv(ways[1], &item), 1);
    }
    EXPECT(weir_channel_shut(ways[0]), 0);
    group_end(g);
    channel_end(ways[0]);
    channel_end(ways[1]);
}

int main(int argc, char **argv)
{
    const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, items_come_out_as_they_went_in),
        GROUND_TEST(EVERYWHERE, trying_does_not_wait),
        GROUND_TEST(EVERYWHERE, a_limit_ends_either_wait),
        GROUND_TEST(EVERYWHERE, what_is_shut_is_emptied_first),
        GROUND_TEST(ONCE, items_of_any_size_are_whole),
        GROUND_TEST(ONCE, wrong_use_is_refused),
        GROUND_TEST(EVERYWHERE, without_room_an_item_is_handed_over),
        GROUND_TEST(EVERYWHERE, receivers_go_in_order),
        GROUND_TEST(EVERYWHERE, senders_go_in_order),
        GROUND_TEST(EVERYWHERE, room_goes_to_who_waits_longest),
        GROUND_TEST(EVERYWHERE, shutting_ends_all_waits),
        GROUND_TEST(EVERYWHERE, who_is_cancelled_leaves_no_trace),
        GROUND_TEST(IN_TASKS, what_was_handed_over_counts_also_if_cancelled),
        GROUND_TEST(EVERYWHERE, it_lives_as_long_as_somebody_owns_it),
        GROUND_TEST(EVERYWHERE, each_item_arrives_once_and_in_order),
        GROUND_TEST(EVERYWHERE, cancels_lose_nothing),
        GROUND_TEST(EVERYWHERE, a_busy_channel_leaves_room_for_others),
        GROUND_TEST(IN_TASKS, neither_do_two_that_only_talk_to_each_other),
    };

    return ground_main(argc, argv, "channel", tests, sizeof tests / sizeof *tests);
}
