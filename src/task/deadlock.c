/* Nothing can ever wake: every thread of the process sleeps, or is weir's own and idle, and every
 * task waits for a mutex, a channel or a group, without a limit.
 *
 * All is asked twice. What has not moved in between was asleep at one moment, all of it: nobody was
 * there to wake anybody. Threads that weir did not start are not asked, so there must be none. */
#include "../clock.h"
#include "../sys.h"
#include "dump.h"
#include "sanitizer.h"
#include "watch.h"

/* ---- has anything moved ---------------------------------------------------------------------- */

/* What all loops have come to; 0 if one does not wait. (runs) */
static uint64_t moves(const struct run *run)
{
    uint64_t sum = 1;

    for (; run; run = run->next)
        for (unsigned i = 0; i < run->loop_count; i++) {
            if (!(loop_counted(&run->loops[i]->turns) & 1))
                return 0;
            sum += loop_counted(&run->loops[i]->switches);
        }
    return sum;
}

/* Of this watcher. */
static struct {
    uint64_t moves, since_ns; /* unchanged since then */
    uint64_t told;            /* of the deadlock that has been reported */
} seen;

void deadlock_begin(void)
{
    seen.moves = seen.told = 0;
}

/* True if nothing has for so long, as far as loops can tell from outside. */
static bool is_still(uint64_t limit_ns)
{
    const struct run *run = runs_lock();
    uint64_t now = run ? moves(run) : 0, now_ns = sys_now();

    runs_unlock();
    if (now == 0 || now != seen.moves) {
        seen.moves = now;
        seen.since_ns = now_ns;
        return false;
    }
    return now_ns - seen.since_ns >= limit_ns;
}

/* ---- can anything move ----------------------------------------------------------------------- */

static bool all_dead(struct inquiry *q)
{
    bool dead = q && q->count > 0;

    for (unsigned i = 0; dead && i < q->count; i++)
        dead = question_state(&q->questions[i]) == ANSWERED && q->questions[i].dead;
    return dead;
}

static bool same(const struct inquiry *a, const struct inquiry *b)
{
    bool same = a->generation == b->generation && a->count == b->count;

    for (unsigned i = 0; same && i < a->count; i++)
        same = a->questions[i].switches == b->questions[i].switches;
    return same;
}

/* Those that weir has started, or that are in weir_run. (One that is both a task and in a run of
 * its own does not wait for others, and so all is not dead.) */
static int known_threads(const struct inquiry *q)
{
    int known = SANITIZER_THREAD;

    for (unsigned i = 0; i < q->count; i++)
        known += q->questions[i].model == WEIR_THREADS ? (int)q->questions[i].live : 1;
    return known;
}

/* True if there was a moment when there were no others. */
static bool are_alone(const struct inquiry *q)
{
    uint64_t before, after;
    int known = known_threads(q) + sys_helpers(&before), threads = sys_threads();

    (void)sys_helpers(&after);
    return threads == known && before == after;
}

static uint64_t moved_at(const struct inquiry *q)
{
    uint64_t sum = q->generation;

    for (unsigned i = 0; i < q->count; i++)
        sum += q->questions[i].switches;
    return sum;
}

/* When it is so, returns something that changes once it has not been so for a while; else 0. */
static uint64_t dead_since(void)
{
    struct inquiry *first = inquiry_make(ASKS_DEAD), *second = NULL;
    uint64_t since = 0;

    if (all_dead(first) && are_alone(first)) {
        second = inquiry_make(ASKS_DEAD);
        if (all_dead(second) && same(first, second) && are_alone(second))
            since = moved_at(second);
    }
    inquiry_close(first);
    inquiry_close(second);
    return since;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(const weir_watch_options *options)
{
    static const char what[] =
        "weir: deadlock: all tasks wait for others, and nobody is left to wake them\n";
    weir_report r = {.kind = WEIR_REPORT_DEADLOCK};
    struct kept kept = {0};

    r.text = what;
    if (out_keep(&kept, what, sizeof what - 1) == 0 &&
        weir_inspect_dump(WEIR_INSPECT_TEXT, out_keep, &kept) == 0)
        r.text = kept.text;
    watch_report(options, &r);
    free(kept.text);
}

void deadlock_look(const weir_watch_options *options)
{
    if (!is_still(clock_ns(options->deadlock_ms)))
        return;
    uint64_t since = dead_since();
    if (!since || since == seen.told)
        return;
    seen.told = since;
    tell(options);
}
