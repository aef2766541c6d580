/* Time in tasks: sleeping, limits and shields of each, and the order in which they end. */
#include "clock.h"
#include "support/ground.h"
#include "sys.h"

#include <stdlib.h>

/* ---- sleep and yield ------------------------------------------------------------------------ */

static void sleep_returns_0(void)
{
    EXPECT(weir_sleep(0), 0);
    EXPECT(weir_sleep(1), 0);
    EXPECT(weir_sleep(MOMENT_MS), 0);
}

static void sleep_ends_at_a_limit(void)
{
    {
        WEIR_WITHIN_MS(MOMENT_MS);
        EXPECT(weir_sleep(LONG_MS), WEIR_EDEADLINE);
        EXPECT(weir_sleep(-1), WEIR_EDEADLINE);
        EXPECT(weir_sleep(0), WEIR_EDEADLINE);
        EXPECT(weir_yield(), WEIR_EDEADLINE);
    }
    EXPECT(weir_sleep(0), 0);
    EXPECT(weir_yield(), 0);
    {
        WEIR_WITHIN_MS(LONG_MS);
        EXPECT(weir_sleep(1), 0);
        EXPECT(weir_yield(), 0);
    }
}

static void sleep_of_every_length(void)
{
    static const int64_t lengths[] = {INT64_MIN, -1, INT32_MAX, INT64_MAX / 1000, INT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        WEIR_WITHIN_MS(1);
        EXPECT(weir_sleep(lengths[i]), WEIR_EDEADLINE);
    }
}

static int is_cancelled_asleep(void *arg)
{
    int64_t ms = *(int64_t *)arg;
    EXPECT(weir_sleep(ms), -ECANCELED);
    EXPECT(weir_sleep(ms), -ECANCELED);
    EXPECT(weir_sleep(0), -ECANCELED);
    EXPECT(weir_yield(), -ECANCELED);
    return 0;
}

static void sleep_ends_when_cancelled(void)
{
    static int64_t lengths[] = {-1, LONG_MS, INT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        weir_group *g = group_open();
        struct other o;
        other_go(&o, g, is_cancelled_asleep, &lengths[i]);
        other_until_asleep(&o);
        EXPECT(weir_group_close(g), 0);
    }
}

struct line {
    char text[64];
    size_t length;
    uint64_t first_ns, last_ns; /* when the writers began to wait */
};

static void line_begin(struct line *line)
{
    line->last_ns = sys_now();
    if (line->first_ns == 0)
        line->first_ns = line->last_ns;
}

/* Those who have not begun together, on a busy machine, end in another order. */
static bool line_was_quick(const struct line *line)
{
    return line->last_ns - line->first_ns < 10 * NS_PER_MS;
}

struct writer {
    struct line *line;
    char letter;
    int64_t after_ms;
};

static int writes_a_letter(void *arg)
{
    const struct writer *w = arg;
    line_begin(w->line);
    EXPECT(weir_sleep(w->after_ms), 0);
    w->line->text[w->line->length++] = w->letter;
    return 0;
}

static void sleepers_write(struct line *line)
{
    struct writer writers[] = {{line, 'c', 45}, {line, 'a', 15}, {line, 'd', 60},
                               {line, 'b', 30}, {line, 'e', 75}, {line, '0', 0}};
    weir_group *g = group_open();
    *line = (struct line){.length = 0};
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        EXPECT(weir_go(g, writes_a_letter, &writers[i]), 0);
    group_end(g);
}

static void sleepers_wake_in_order_of_time(void)
{
    struct line line;
    do
        sleepers_write(&line);
    while (!line_was_quick(&line));
    CHECK(!strcmp(line.text, "0abcde"));
}

static int writes_and_yields(void *arg)
{
    const struct writer *w = arg;
    for (int i = 0; i < 5; i++) {
        w->line->text[w->line->length++] = w->letter;
        EXPECT(weir_yield(), 0);
    }
    return 0;
}

static void yield_lets_the_others_go_first(void)
{
    struct line line = {.length = 0};
    struct writer writers[] = {{&line, 'a', 0}, {&line, 'b', 0}, {&line, 'c', 0}};
    weir_group *g = group_open();
    for (size_t i = 0; i < 3; i++)
        EXPECT(weir_go(g, writes_and_yields, &writers[i]), 0);
    group_end(g);
    CHECK(!strcmp(line.text, "abcabcabcabcabc"));
}

static int notes_that_it_received(void *arg)
{
    weir_socket *const *pair = arg;
    char byte;
    EXPECT(weir_recv(pair[0], &byte, 1), 1);
    return 0;
}

static void yield_looks_at_what_has_become_ready(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    struct other o;
    stream_pair(pair);
    other_go(&o, g, notes_that_it_received, pair);
    other_until_asleep(&o);
    EXPECT(weir_send(pair[1], "x", 1), 1);
    /* Not necessarily in the next turn: looking costs a system call. */
    for (int i = 0; i < 1000 && !atomic_load(&o.self.ended); i++)
        EXPECT(weir_yield(), 0);
    CHECK(atomic_load(&o.self.ended));
    EXPECT(weir_group_close(g), 0);
    pair_close(pair);
}

static void nobody_to_yield_to(void)
{
    for (int i = 0; i < 1000; i++)
        EXPECT(weir_yield(), 0);
}

/* ---- limits of each ------------------------------------------------------------------------- */

static int sees_its_own_limits(void *arg)
{
    int64_t seconds = (int64_t)(intptr_t)arg, left;
    EXPECT(weir_time_left(), -1);
    weir_scope scope = weir_deadline_start(seconds * 1000);
    for (int i = 0; i < 10; i++) {
        EXPECT(weir_yield(), 0);
        left = weir_time_left();
        CHECK(left > (seconds - 60) * 1000 && left <= seconds * 1000);
        WEIR_WITHIN_MS((seconds - 100) * 1000);
        EXPECT(weir_sleep(0), 0);
        left = weir_time_left();
        CHECK(left > (seconds - 160) * 1000 && left <= (seconds - 100) * 1000);
    }
    weir_scope_end(scope);
    EXPECT(weir_yield(), 0);
    EXPECT(weir_time_left(), -1);
    return 0;
}

static void limits_stay_with_their_tasks(void)
{
    weir_group *g = group_open();
    for (int i = 1; i <= 5; i++)
        EXPECT(weir_go(g, sees_its_own_limits, (void *)(intptr_t)(1000 * i)), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_time_left(), -1);
    EXPECT(weir_group_close(g), 0);
}

static int forgets_a_limit(void *arg)
{
    (void)arg;
    weir_deadline_start(0);
    weir_shield_start(LONG_MS);
    weir_deadline_start(0);
    EXPECT(weir_yield(), WEIR_EDEADLINE);
    return 0;
}

static void forgotten_limits_end_with_the_task(void)
{
    weir_group *g = group_open();
    for (int i = 0; i < 10; i++) {
        EXPECT(weir_go(g, forgets_a_limit, NULL), 0);
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(weir_yield(), 0);
        EXPECT(weir_time_left(), -1);
    }
    EXPECT(weir_group_close(g), 0);
}

struct timed {
    weir_socket *s;
    struct line *line;
    int64_t after_ms;
    char letter;
};

static int waits_in_time(void *arg)
{
    const struct timed *t = arg;
    line_begin(t->line);
    WEIR_WITHIN_MS(t->after_ms);
    EXPECT(weir_wait(t->s, WEIR_READABLE), WEIR_EDEADLINE);
    t->line->text[t->line->length++] = t->letter;
    return 0;
}

static void limits_pass(struct line *line)
{
    struct timed timed[] = {
        {NULL, line, 45, 'c'}, {NULL, line, 15, 'a'}, {NULL, line, 60, 'd'}, {NULL, line, 30, 'b'}};
    weir_socket *pairs[4][2];
    weir_group *g = group_open();
    *line = (struct line){.length = 0};
    for (int i = 0; i < 4; i++) {
        stream_pair(pairs[i]);
        timed[i].s = pairs[i][0];
        EXPECT(weir_go(g, waits_in_time, &timed[i]), 0);
    }
    group_end(g);
    for (int i = 0; i < 4; i++)
        pair_close(pairs[i]);
}

static void limits_pass_in_order(void)
{
    struct line line;
    do
        limits_pass(&line);
    while (!line_was_quick(&line));
    CHECK(!strcmp(line.text, "abcd"));
}

/* A limit and a byte come in the same turn of the loop: neither is lost. */
static int receives_or_is_late(void *arg)
{
    weir_socket *const *pair = arg;
    char byte;
    ssize_t n;
    {
        WEIR_WITHIN_MS(1);
        n = weir_recv(pair[0], &byte, 1);
    }
    CHECK(n == 1 || n == WEIR_EDEADLINE);
    if (n < 0)
        EXPECT(weir_recv(pair[0], &byte, 1), 1);
    CHECK(byte == 'x');
    EXPECT(weir_set_blocking(pair[0], false), 0);
    EXPECT(weir_recv(pair[0], &byte, 1), -EAGAIN);
    return 0;
}

static void limit_and_byte_in_the_same_turn(void)
{
    for (int i = 0; i < 20; i++) {
        weir_group *g = group_open();
        weir_socket *pair[2];
        struct other o;
        stream_pair(pair);
        other_go(&o, g, receives_or_is_late, pair);
        other_until_asleep(&o);
        ground_hold_up(i % 2 ? 2 : 0);
        EXPECT(weir_send(pair[1], "x", 1), 1);
        group_end(g);
        pair_close(pair);
    }
}

/* ---- shields -------------------------------------------------------------------------------- */

static int is_shielded_for_a_while(void *arg)
{
    EXPECT(weir_sleep(-1), -ECANCELED);
    {
        WEIR_SHIELDED_MS(LONG_MS);
        EXPECT(weir_sleep(0), 0);
        EXPECT(weir_yield(), 0);
    }
    {
        WEIR_SHIELDED_MS(MOMENT_MS);
        EXPECT(weir_sleep(-1), WEIR_EDEADLINE); /* its bound */
        CHECK(weir_time_left() == 0);
    }
    EXPECT(weir_sleep(0), -ECANCELED);
    {
        WEIR_SHIELDED_MS(LONG_MS);
        {
            WEIR_WITHIN_MS(0); /* started inside: it holds */
            EXPECT(weir_sleep(0), WEIR_EDEADLINE);
        }
        EXPECT(weir_sleep(1), 0);
        {
            WEIR_SHIELDED_MS(LONG_MS);
            EXPECT(weir_sleep(0), 0);
        }
        EXPECT(weir_sleep(0), 0);
    }
    EXPECT(weir_sleep(0), -ECANCELED);
    *(bool *)arg = true;
    return 0;
}

static void shield_holds_off_a_cancel_for_its_time(void)
{
    weir_group *g = group_open();
    struct other o;
    bool done = false;
    other_go(&o, g, is_shielded_for_a_while, &done);
    other_until_asleep(&o);
    EXPECT(weir_group_close(g), 0);
    CHECK(done);
}

static int waits_shielded(void *arg)
{
    weir_socket *s = arg;
    char byte;
    {
        WEIR_SHIELDED_MS(LONG_MS);
        EXPECT(weir_recv(s, &byte, 1), 1);
    }
    EXPECT(weir_recv(s, &byte, 1), -ECANCELED); /* what was held off comes now */
    return 0;
}

static void cancel_during_a_shield_comes_after_it(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    struct other o;
    stream_pair(pair);
    other_go(&o, g, waits_shielded, pair[0]);
    other_until_asleep(&o);
    EXPECT(weir_group_cancel(g), 0);
    other_until_asleep(&o);
    EXPECT(weir_send(pair[1], "x", 1), 1);
    EXPECT(weir_group_close(g), 0);
    pair_close(pair);
}

/* ---- many ----------------------------------------------------------------------------------- */

static int sleeps_as_told(void *arg)
{
    EXPECT(weir_sleep((intptr_t)arg), 0);
    return 0;
}

static void many_timers(void)
{
    int many = !ground->tasks || ground_is_slow() ? 100 : 20000;
    weir_group *g = group_open();
    for (int i = 0; i < many; i++)
        EXPECT(weir_go(g, sleeps_as_told, (void *)(intptr_t)(i * 7 % 50)), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
}

static int sleeps_in_vain(void *arg)
{
    (void)arg;
    EXPECT(weir_sleep(LONG_MS + rand() % 1000), -ECANCELED);
    return 0;
}

static void many_timers_cancelled(void)
{
    int many = !ground->tasks || ground_is_slow() ? 100 : 20000;
    weir_group *g = group_open();
    for (int i = 0; i < many; i++)
        EXPECT(weir_go(g, sleeps_in_vain, NULL), 0);
    EXPECT(weir_sleep(1), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_sleep(1), 0);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, sleep_returns_0),
        GROUND_TEST(EVERYWHERE, sleep_ends_at_a_limit),
        GROUND_TEST(EVERYWHERE, sleep_of_every_length),
        GROUND_TEST(EVERYWHERE, sleep_ends_when_cancelled),
        GROUND_TEST(IN_TASKS, sleepers_wake_in_order_of_time),
        GROUND_TEST(IN_TASKS, yield_lets_the_others_go_first),
        GROUND_TEST(IN_TASKS, yield_looks_at_what_has_become_ready),
        GROUND_TEST(EVERYWHERE, nobody_to_yield_to),
        GROUND_TEST(EVERYWHERE, limits_stay_with_their_tasks),
        GROUND_TEST(EVERYWHERE, forgotten_limits_end_with_the_task),
        GROUND_TEST(IN_TASKS, limits_pass_in_order),
        GROUND_TEST(EVERYWHERE, limit_and_byte_in_the_same_turn),
        GROUND_TEST(EVERYWHERE, shield_holds_off_a_cancel_for_its_time),
        GROUND_TEST(EVERYWHERE, cancel_during_a_shield_comes_after_it),
        GROUND_TEST(EVERYWHERE, many_timers),
        GROUND_TEST(EVERYWHERE, many_timers_cancelled),
    };
    return ground_main(argc, argv, "task_limits", tests, sizeof tests / sizeof *tests);
}
