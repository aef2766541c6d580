/* Happy Eyeballs on a clock of plain numbers: what starts, is closed and wins, and when. */
#include "race.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <weir/error.h>

#define ADDRESSES 1000
#define SILENT    (-1)

/* The answer for one family: `count` addresses 1, 2, 3 … or `rc`, after `at_ms`; SILENT never
 * comes. */
struct lookup {
    int at_ms, rc, count;
    bool unreachable;
    bool doubled; /* each address comes twice */
};

/* What becomes of the attempt on address `number` of a family. Whatever is not listed never
 * ends. */
struct outcome {
    int family, number, after_ms, rc;
};

struct play {
    struct lookup v6, v4;
    struct outcome outcomes[16];
    int all_rc; /* every attempt fails with this at once */
    unsigned max_live;
    int abandon_ms; /* 0: not */
    bool only_v4;
};

struct live {
    unsigned index;
    uint64_t end_ns;
    int rc;
};

struct stage {
    const struct play *play;
    struct race race;
    struct ranked *lists[2];
    size_t counts[2];
    bool answered[2];
    struct live live[RACE_LIVE_MAX];
    unsigned live_count, most_live, starts;
    uint64_t now_ns;
    char log[2048];
};

static uint64_t ms(int value)
{
    return value == SILENT ? NEVER : (uint64_t)value * NS_PER_MS;
}

static struct ranked *make_list(const struct lookup *l, int family, size_t *ret_count)
{
    size_t copies = l->doubled ? 2 : 1, count = (size_t)l->count * copies;
    struct ranked *list = calloc(count + 1, sizeof *list);

    assert_non_null(list);
    for (size_t i = 0; i < count; i++) {
        char text[64];
        snprintf(text, sizeof text, family == AF_INET ? "192.0.%zu.%zu" : "2001:db8::%zx:%zx",
                 (i / copies + 1) / 256, (i / copies + 1) % 256);
        assert_int_equal(weir_address_from_host(text, 0, &list[i].address), 0);
        list[i].reachable = !l->unreachable;
    }
    *ret_count = count;
    return list;
}

static int number_of(const weir_address *a)
{
    socklen_t length;
    const unsigned char *bytes = (const unsigned char *)weir_address_sockaddr(a, &length);
    const unsigned char *end = bytes + (a->family == AF_INET ? 8 : 24);

    return a->family == AF_INET ? end[-2] * 256 + end[-1] : end[-3] * 256 + end[-1];
}

static void note(struct stage *t, const char *what, unsigned index)
{
    const weir_address *a = race_address(&t->race, index);
    size_t used = strlen(t->log);

    if (used + 40 < sizeof t->log)
        snprintf(t->log + used, sizeof t->log - used, "%s%d %s%d.%d", used ? ", " : "",
                 (int)(t->now_ns / NS_PER_MS), what, a->family == AF_INET ? 4 : 6, number_of(a));
}

static void start(struct stage *t, unsigned index)
{
    const weir_address *a = race_address(&t->race, index);

    note(t, "+", index);
    t->starts++;
    if (t->play->all_rc) {
        race_failed(&t->race, index, t->play->all_rc);
        return;
    }
    struct live *live = &t->live[t->live_count++];
    *live = (struct live){.index = index, .end_ns = NEVER};
    if (t->live_count > t->most_live)
        t->most_live = t->live_count;
    for (const struct outcome *o = t->play->outcomes; o->family; o++)
        if (o->family == a->family && o->number == number_of(a)) {
            live->end_ns = t->now_ns + ms(o->after_ms);
            live->rc = o->rc;
        }
}

static void leave(struct stage *t, unsigned i)
{
    t->live[i] = t->live[--t->live_count];
}

static void deliver_answers(struct stage *t)
{
    const struct lookup *lookups[] = {&t->play->v6, &t->play->v4};
    const int families[] = {AF_INET6, AF_INET};

    for (int i = t->play->only_v4; i < 2; i++) {
        if (t->answered[i] || ms(lookups[i]->at_ms) > t->now_ns)
            continue;
        t->answered[i] = true;
        race_answer(&t->race, families[i], lookups[i]->rc, t->lists[i], t->counts[i], t->now_ns);
    }
}

static void deliver_outcomes(struct stage *t)
{
    for (unsigned i = 0; i < t->live_count;) {
        struct live live = t->live[i];
        if (live.end_ns > t->now_ns) {
            i++;
        } else if (live.rc) {
            note(t, "-", live.index);
            leave(t, i);
            race_failed(&t->race, live.index, live.rc);
        } else {
            t->live[i++].end_ns = NEVER; /* it stays, connected, until it is closed or has won */
            race_connected(&t->race, live.index);
        }
    }
}

static uint64_t next_event(const struct stage *t, uint64_t at_ns)
{
    const struct lookup *lookups[] = {&t->play->v6, &t->play->v4};

    for (int i = t->play->only_v4; i < 2; i++)
        if (!t->answered[i])
            at_ns = earlier(at_ns, ms(lookups[i]->at_ms));
    for (unsigned i = 0; i < t->live_count; i++)
        at_ns = earlier(at_ns, t->live[i].end_ns);
    if (t->play->abandon_ms && t->now_ns < ms(t->play->abandon_ms))
        at_ns = earlier(at_ns, ms(t->play->abandon_ms));
    return at_ns;
}

static void close_live(struct stage *t, unsigned index)
{
    for (unsigned i = 0; i < t->live_count; i++)
        if (t->live[i].index == index) {
            note(t, "x", index);
            leave(t, i);
            return;
        }
    fail_msg("an attempt is closed that is not there");
}

/* Plays until the race is over: 0 or its error; 1 if nothing would ever happen any more. */
static int run(struct stage *t)
{
    for (;;) {
        struct race_step step = race_next(&t->race, t->now_ns);
        switch (step.action) {
        case RACE_START:
            start(t, step.index);
            break;
        case RACE_CLOSE:
            close_live(t, step.index);
            break;
        case RACE_WON:
            note(t, "=", step.index);
            assert_int_equal(t->live_count, 1);
            return 0;
        case RACE_FAILED:
            assert_int_equal(t->live_count, 0);
            return step.rc;
        case RACE_WAIT:
            assert_true(step.at_ns > t->now_ns);
            t->now_ns = next_event(t, step.at_ns);
            if (t->now_ns == NEVER)
                return 1;
            deliver_answers(t);
            deliver_outcomes(t);
            if (t->play->abandon_ms && t->now_ns == ms(t->play->abandon_ms))
                race_abandon(&t->race, WEIR_ECLOSED);
        }
    }
}

static int play_on(struct stage *t, const struct play *play)
{
    *t = (struct stage){.play = play};
    race_init(&t->race, play->only_v4 ? AF_INET : AF_UNSPEC,
              play->max_live ? play->max_live : RACE_LIVE_MAX);
    t->lists[0] = make_list(&play->v6, AF_INET6, &t->counts[0]);
    t->lists[1] = make_list(&play->v4, AF_INET, &t->counts[1]);
    deliver_answers(t);
    int rc = run(t);
    free(t->lists[0]);
    free(t->lists[1]);
    return rc;
}

static void expect(const struct play *play, int rc, const char *log)
{
    struct stage stage;

    assert_int_equal(play_on(&stage, play), rc);
    assert_string_equal(stage.log, log);
}

#define EXPECT(rc, log, ...) expect(&(const struct play){__VA_ARGS__}, rc, log)

/* ---- order and pace ------------------------------------------------------------------------ */

static void families_alternate_at_250_ms(void **state)
{
    (void)state;
    EXPECT(0,
           "0 +6.1, 250 +4.1, 500 +6.2, 750 +4.2, 1000 +4.3, 1100 x4.2, 1100 x6.2, 1100 x4.1, "
           "1100 x6.1, 1100 =4.3",
           .v6 = {.count = 2}, .v4 = {.count = 3}, .outcomes = {{AF_INET, 3, 100, 0}});
}

static void a_failure_starts_the_next_at_once(void **state)
{
    (void)state;
    EXPECT(0, "0 +6.1, 20 -6.1, 20 +4.1, 270 +6.2, 280 -4.1, 280 +4.2, 300 x6.2, 300 =4.2",
           .v6 = {.count = 2}, .v4 = {.count = 2},
           .outcomes = {{AF_INET6, 1, 20, -ECONNREFUSED},
                        {AF_INET, 1, 260, -ECONNREFUSED},
                        {AF_INET, 2, 20, 0}});
}

static void the_first_that_connects_wins_and_the_rest_is_closed(void **state)
{
    (void)state;
    EXPECT(0, "0 +6.1, 250 +4.1, 300 x4.1, 300 =6.1", .v6 = {.count = 1}, .v4 = {.count = 1},
           .outcomes = {{AF_INET6, 1, 300, 0}});
}

static void of_two_that_connect_at_once_one_is_closed(void **state)
{
    (void)state;
    EXPECT(0, "0 +6.1, 250 +4.1, 300 x4.1, 300 =6.1", .v6 = {.count = 1}, .v4 = {.count = 1},
           .outcomes = {{AF_INET6, 1, 300, 0}, {AF_INET, 1, 50, 0}});
}

static void at_most_six_are_live(void **state)
{
    (void)state;
    EXPECT(1, "0 +6.1, 250 +4.1, 500 +6.2, 750 +4.2, 1000 +6.3, 1250 +4.3", .v6 = {.count = 9},
           .v4 = {.count = 9});
}

static void a_seventh_starts_when_one_of_six_fails(void **state)
{
    (void)state;
    EXPECT(0,
           "0 +4.1, 250 +4.2, 500 +4.3, 750 +4.4, 1000 +4.5, 1250 +4.6, 9000 -4.1, 9000 +4.7, "
           "9001 x4.5, 9001 x4.4, 9001 x4.3, 9001 x4.2, 9001 x4.6, 9001 =4.7",
           .v6 = {.rc = WEIR_ENONAME}, .v4 = {.count = 9},
           .outcomes = {{AF_INET, 1, 9000, -ETIMEDOUT}, {AF_INET, 7, 1, 0}});
}

static void one_live_at_a_time_goes_one_after_the_other(void **state)
{
    (void)state;
    EXPECT(0, "0 +6.1, 5000 -6.1, 5000 +4.1, 5300 =4.1", .max_live = 1, .v6 = {.count = 2},
           .v4 = {.count = 2}, .outcomes = {{AF_INET6, 1, 5000, -ETIMEDOUT}, {AF_INET, 1, 300, 0}});
}

static void a_family_without_a_route_goes_last(void **state)
{
    (void)state;
    EXPECT(0, "0 +4.1, 250 +4.2, 500 +6.1, 600 x4.2, 600 x4.1, 600 =6.1",
           .v6 = {.count = 1, .unreachable = true}, .v4 = {.count = 2},
           .outcomes = {{AF_INET6, 1, 100, 0}});
}

/* RFC 6724 has the say in which family is first when both are known. */
static void the_better_first_address_decides_the_family(void **state)
{
    (void)state;
    const struct play play = {.v6 = {.count = 1}, .v4 = {.count = 1}};
    struct race r;
    size_t count;
    struct ranked *v6 = make_list(&play.v6, AF_INET6, &count);
    struct ranked *v4 = make_list(&play.v4, AF_INET, &count);

    v6[0].same_label = false;
    v4[0].same_label = true;
    v6[0].same_scope = v4[0].same_scope = true;
    race_init(&r, AF_UNSPEC, RACE_LIVE_MAX);
    race_answer(&r, AF_INET6, 0, v6, 1, 0);
    race_answer(&r, AF_INET, 0, v4, 1, 0);
    struct race_step step = race_next(&r, 0);
    assert_int_equal(step.action, RACE_START);
    assert_int_equal(race_address(&r, step.index)->family, AF_INET);
    free(v6);
    free(v4);
}

static void repeated_addresses_are_tried_once(void **state)
{
    (void)state;
    EXPECT(-ECONNREFUSED, "0 +6.1, 0 +4.1, 0 +6.2, 0 +4.2", .all_rc = -ECONNREFUSED,
           .v6 = {.count = 2, .doubled = true}, .v4 = {.count = 2, .doubled = true});
}

static void a_thousand_addresses_are_all_tried_once(void **state)
{
    (void)state;
    const struct play play = {
        .v6 = {.count = ADDRESSES}, .v4 = {.count = ADDRESSES}, .all_rc = -ECONNREFUSED};
    struct stage stage;

    assert_int_equal(play_on(&stage, &play), -ECONNREFUSED);
    assert_int_equal(stage.starts, 2 * ADDRESSES);
    assert_int_equal(stage.now_ns, 0);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void ipv4_waits_50_ms_for_ipv6(void **state)
{
    (void)state;
    EXPECT(0, "60 +4.1, 70 =4.1", .v6 = {.at_ms = SILENT}, .v4 = {.at_ms = 10, .count = 1},
           .outcomes = {{AF_INET, 1, 10, 0}});
}

static void ipv6_does_not_wait_for_ipv4(void **state)
{
    (void)state;
    EXPECT(0, "10 +6.1, 20 =6.1", .v6 = {.at_ms = 10, .count = 1}, .v4 = {.at_ms = SILENT},
           .outcomes = {{AF_INET6, 1, 10, 0}});
}

static void ipv6_within_the_50_ms_goes_first(void **state)
{
    (void)state;
    EXPECT(0, "40 +6.1, 290 +4.1, 300 x6.1, 300 =4.1", .v6 = {.at_ms = 40, .count = 1},
           .v4 = {.at_ms = 10, .count = 1}, .outcomes = {{AF_INET, 1, 10, 0}});
}

/* Empty, missing, refused, lost in a loop of aliases: to the race all of these are an error. */
static void no_ipv6_at_all_ends_the_wait_for_it(void **state)
{
    (void)state;
    const int reasons[] = {0, WEIR_ENONAME, WEIR_ENAMEAGAIN, WEIR_ENAMESERVER};

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        EXPECT(0, "30 +4.1, 40 =4.1", .v6 = {.at_ms = 30, .rc = reasons[i]},
               .v4 = {.at_ms = 10, .count = 1}, .outcomes = {{AF_INET, 1, 10, 0}});
}

static void late_ipv6_joins_in_its_turn(void **state)
{
    (void)state;
    EXPECT(0, "50 +4.1, 300 +6.1, 550 +4.2, 560 x6.1, 560 x4.1, 560 =4.2",
           .v6 = {.at_ms = 100, .count = 1}, .v4 = {.count = 3}, .outcomes = {{AF_INET, 2, 10, 0}});
}

static void late_ipv6_starts_at_once_when_all_else_has_failed(void **state)
{
    (void)state;
    EXPECT(0, "50 +4.1, 60 -4.1, 4000 +6.1, 4010 =6.1", .v6 = {.at_ms = 4000, .count = 1},
           .v4 = {.count = 1}, .outcomes = {{AF_INET, 1, 10, -ECONNREFUSED}, {AF_INET6, 1, 10, 0}});
}

static void late_ipv4_starts_at_once_when_all_else_has_failed(void **state)
{
    (void)state;
    EXPECT(0, "0 +6.1, 10 -6.1, 20 +4.1, 30 =4.1", .v6 = {.count = 1},
           .v4 = {.at_ms = 20, .count = 1},
           .outcomes = {{AF_INET6, 1, 10, -ECONNREFUSED}, {AF_INET, 1, 10, 0}});
}

static void a_single_family_waits_for_nobody(void **state)
{
    (void)state;
    EXPECT(0, "10 +4.1, 20 =4.1", .only_v4 = true, .v4 = {.at_ms = 10, .count = 1},
           .outcomes = {{AF_INET, 1, 10, 0}});
}

/* ---- the end ------------------------------------------------------------------------------- */

static void abandoned_after_5_ms_closes_what_is_live(void **state)
{
    (void)state;
    EXPECT(WEIR_ECLOSED, "0 +6.1, 5 x6.1", .abandon_ms = 5, .v6 = {.count = 3}, .v4 = {.count = 3});
}

static void abandoned_while_names_are_looked_up_is_over(void **state)
{
    (void)state;
    EXPECT(WEIR_ECLOSED, "", .abandon_ms = 5, .v6 = {.at_ms = SILENT}, .v4 = {.at_ms = SILENT});
}

/* What has connected is not lost to a limit that passes in the same instant. */
static void a_winner_is_not_abandoned(void **state)
{
    (void)state;
    EXPECT(0, "0 +6.1, 5 =6.1", .abandon_ms = 5, .v6 = {.count = 1}, .v4 = {.count = 1},
           .outcomes = {{AF_INET6, 1, 5, 0}});
}

static void both_families_dead_gives_the_error_that_tells_most(void **state)
{
    (void)state;
    static const struct {
        int v6, v4, rc;
    } cases[] = {
        {-ENETUNREACH, -ECONNREFUSED, -ECONNREFUSED}, {-ECONNREFUSED, -ENETUNREACH, -ECONNREFUSED},
        {-ETIMEDOUT, -EHOSTUNREACH, -ETIMEDOUT},      {-ENETUNREACH, -EHOSTUNREACH, -EHOSTUNREACH},
        {-ECONNREFUSED, -ETIMEDOUT, -ETIMEDOUT},      {-EADDRNOTAVAIL, -EACCES, -EACCES},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EXPECT(cases[i].rc, "0 +6.1, 1 -6.1, 1 +4.1, 2 -4.1", .v6 = {.count = 1},
               .v4 = {.count = 1},
               .outcomes = {{AF_INET6, 1, 1, cases[i].v6}, {AF_INET, 1, 1, cases[i].v4}});
}

static void failed_lookups_give_the_error_that_tells_most(void **state)
{
    (void)state;
    static const struct {
        int v6, v4, rc;
    } cases[] = {
        {WEIR_ENONAME, WEIR_ENONAME, WEIR_ENONAME},
        {WEIR_ENAMEAGAIN, WEIR_ENONAME, WEIR_ENAMEAGAIN},
        {WEIR_ENONAME, WEIR_ENAMESERVER, WEIR_ENAMESERVER},
        {WEIR_ENAMESERVER, WEIR_ENAMEAGAIN, WEIR_ENAMEAGAIN},
        {WEIR_ENAMEAGAIN, WEIR_ENAMESERVER, WEIR_ENAMEAGAIN},
        {-ENOMEM, WEIR_ENONAME, -ENOMEM},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EXPECT(cases[i].rc, "", .v6 = {.rc = cases[i].v6}, .v4 = {.at_ms = 5, .rc = cases[i].v4});
}

static void an_attempt_tells_more_than_a_failed_lookup(void **state)
{
    (void)state;
    EXPECT(-ECONNREFUSED, "50 +4.1, 51 -4.1", .v6 = {.at_ms = 900, .rc = WEIR_ENAMESERVER},
           .v4 = {.count = 1}, .outcomes = {{AF_INET, 1, 1, -ECONNREFUSED}});
    EXPECT(WEIR_ENAMEAGAIN, "50 +4.1, 51 -4.1", .v6 = {.at_ms = 900, .rc = WEIR_ENAMEAGAIN},
           .v4 = {.count = 1}, .outcomes = {{AF_INET, 1, 1, -ENETUNREACH}});
}

/* An answer must not be taken for the end while the other one is still to come. */
static void one_failed_lookup_waits_for_the_other(void **state)
{
    (void)state;
    EXPECT(0, "700 +4.1, 710 =4.1", .v6 = {.rc = WEIR_ENONAME}, .v4 = {.at_ms = 700, .count = 1},
           .outcomes = {{AF_INET, 1, 10, 0}});
    EXPECT(1, "", .v6 = {.rc = WEIR_ENONAME}, .v4 = {.at_ms = SILENT});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_alternate_at_250_ms),
        cmocka_unit_test(a_failure_starts_the_next_at_once),
        cmocka_unit_test(the_first_that_connects_wins_and_the_rest_is_closed),
        cmocka_unit_test(of_two_that_connect_at_once_one_is_closed),
        cmocka_unit_test(at_most_six_are_live),
        cmocka_unit_test(a_seventh_starts_when_one_of_six_fails),
        cmocka_unit_test(one_live_at_a_time_goes_one_after_the_other),
        cmocka_unit_test(a_family_without_a_route_goes_last),
        cmocka_unit_test(the_better_first_address_decides_the_family),
        cmocka_unit_test(repeated_addresses_are_tried_once),
        cmocka_unit_test(a_thousand_addresses_are_all_tried_once),
        cmocka_unit_test(ipv4_waits_50_ms_for_ipv6),
        cmocka_unit_test(ipv6_does_not_wait_for_ipv4),
        cmocka_unit_test(ipv6_within_the_50_ms_goes_first),
        cmocka_unit_test(no_ipv6_at_all_ends_the_wait_for_it),
        cmocka_unit_test(late_ipv6_joins_in_its_turn),
        cmocka_unit_test(late_ipv6_starts_at_once_when_all_else_has_failed),
        cmocka_unit_test(late_ipv4_starts_at_once_when_all_else_has_failed),
        cmocka_unit_test(a_single_family_waits_for_nobody),
        cmocka_unit_test(abandoned_after_5_ms_closes_what_is_live),
        cmocka_unit_test(abandoned_while_names_are_looked_up_is_over),
        cmocka_unit_test(a_winner_is_not_abandoned),
        cmocka_unit_test(both_families_dead_gives_the_error_that_tells_most),
        cmocka_unit_test(failed_lookups_give_the_error_that_tells_most),
        cmocka_unit_test(an_attempt_tells_more_than_a_failed_lookup),
        cmocka_unit_test(one_failed_lookup_waits_for_the_other),
    };

    return cmocka_run_group_tests_name("race", tests, NULL, NULL);
}
