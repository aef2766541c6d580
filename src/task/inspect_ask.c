/* Questions to loops: from any thread, answered by the loop's own. */
#include "../clock.h"
#include "../sys.h"
#include "../wait.h"
#include "inspect.h"

#include <string.h>
#include <weir/error.h>

/* How long who asks is patient when nothing more is said, and with a loop that only runs other
 * tasks; and how many tasks a loop tells of until it goes on with what it has to do. */
#define PATIENCE_NS      (100 * NS_PER_MS)
#define PATIENCE_MOST_NS (2 * NS_PER_S)
#define SLICE            256
/* So many questions that nobody waits for any more a loop is left with, and asked no more. */
#define ABANDONED_MOST 4

/* ---- what was seen --------------------------------------------------------------------------- */

static struct seen_part *add_part(struct seen_tasks *all)
{
    struct seen_part *p = sys_alloc_unset(sizeof *p);

    if (!p) {
        all->cut = true;
        return NULL;
    }
    p->next = NULL;
    p->count = 0;
    if (all->last)
        all->last->next = p;
    else
        all->first = p;
    return all->last = p;
}

struct seen_task *seen_more(struct seen_tasks *all)
{
    struct seen_part *p = all->last;

    if (!p || p->count == sizeof p->list / sizeof *p->list)
        p = add_part(all);
    if (!p)
        return NULL;
    struct seen_task *seen = &p->list[p->count++];
    *seen = (struct seen_task){.fd = -1, .until_ns = NEVER};
    return seen;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void release(struct inquiry *q)
{
    pthread_mutex_lock(&q->lock);
    bool last = --q->holders == 0;
    pthread_mutex_unlock(&q->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static void forget_seen(struct question *question)
{
    for (struct seen_part *p = question->seen.first, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    question->seen = (struct seen_tasks){.first = NULL};
}

static void settle(struct question *question, int state)
{
    struct inquiry *q = question->inquiry;

    pthread_mutex_lock(&q->lock);
    question->state = state;
    if (q->closed) {
        forget_seen(question);
        atomic_fetch_sub(&question->loop->abandoned, 1);
    }
    q->open--;
    q->progress++;
    if (q->sleeper)
        sleeper_wake(q->sleeper);
    pthread_mutex_unlock(&q->lock);
    release(q);
}

static void tell_progress(struct inquiry *q)
{
    pthread_mutex_lock(&q->lock);
    q->progress++;
    pthread_mutex_unlock(&q->lock);
}

static bool is_closed(struct inquiry *q)
{
    pthread_mutex_lock(&q->lock);
    bool closed = q->closed;
    pthread_mutex_unlock(&q->lock);
    return closed;
}

/* Only others could wake it, and these only if they are awake. */
static bool waits_for_others(const struct task *t)
{
    return t->state == TASK_PARKED && timer_until(&t->timer) == NEVER &&
           awaits_others(atomic_load_explicit(&t->context.stamp, memory_order_relaxed));
}

static void answer_dead(struct loop *l, struct question *question)
{
    question->dead = !l->ready && !l->yielded && !atomic_load(&l->inbox);
    question->switches = l->switches;
    for (const struct task *t = l->all; t && question->dead; t = t->next_of_all)
        question->dead = waits_for_others(t);
}

/* The next ones. True if that was all. */
static bool answer_tasks(struct loop *l, struct question *question)
{
    for (unsigned i = 0; i < SLICE && l->next_told; i++) {
        const struct task *t = l->next_told;
        struct seen_task *seen = seen_more(&question->seen);
        if (!seen)
            return true;
        see_task(l, t, seen);
        l->next_told = t->next_of_all;
    }
    return !l->next_told;
}

static bool take_question(struct loop *l)
{
    struct question *list = l->question;

    if (!list)
        list = l->question = atomic_exchange(&l->asked, NULL);
    l->next_told = list ? l->all : NULL;
    return list;
}

void question_answer(struct loop *l)
{
    bool all = true;

    if (!l->question && !take_question(l))
        return;
    struct question *question = l->question;
    bool closed = is_closed(question->inquiry);
    if (question->asks == ASKS_DEAD)
        answer_dead(l, question);
    else if (!closed)
        all = answer_tasks(l, question);
    if (!all) {
        tell_progress(question->inquiry);
        return;
    }
    l->question = question->next;
    l->next_told = l->question ? l->all : NULL;
    settle(question, closed ? UNANSWERED : ANSWERED);
}

void question_drop_all(struct loop *l)
{
    struct question *lists[] = {l->question, atomic_exchange(&l->asked, NULL)};

    l->question = NULL;
    for (size_t i = 0; i < 2; i++)
        for (struct question *at = lists[i], *next; at; at = next) {
            next = at->next;
            settle(at, UNANSWERED);
        }
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* (runs) */
static void prepare(struct question *question, struct inquiry *q, const struct run *run)
{
    question->inquiry = q;
    question->run = run;
    question->model = run->model;
    memcpy(question->reason, run->reason, sizeof question->reason);
    question->loops = run->loop_count;
    question->live = atomic_load(&run->live) + (run->model == WEIR_THREADS);
    question->loop_name = "";
}

/* Whoever asks is a holder, too. */
static void leave_unasked(struct question *question)
{
    struct inquiry *q = question->inquiry;

    pthread_mutex_lock(&q->lock);
    question->state = BUSY;
    q->open--;
    q->holders--;
    pthread_mutex_unlock(&q->lock);
}

/* (runs) */
static void ask(struct loop *l, struct question *question)
{
    question->loop = l;
    question->number = l->number;
    question->loop_name = l->ops->name;
    question->tid = atomic_load_explicit(&l->tid, memory_order_relaxed);
    question->was_switches = loop_counted(&l->switches);
    if (atomic_load(&l->abandoned) >= ABANDONED_MOST) {
        leave_unasked(question);
        return;
    }
    struct question *head = atomic_load_explicit(&l->asked, memory_order_relaxed);
    do
        question->next = head;
    while (!atomic_compare_exchange_weak(&l->asked, &head, question));
    if (atomic_load(&l->asleep) && atomic_exchange(&l->asleep, false))
        l->ops->wake(l);
}

/* Threads need not be asked. (runs) */
static void ask_all(struct run *run, struct inquiry *q, enum asks asks)
{
    struct question *question = q->questions;

    for (; run; run = run->next) {
        for (unsigned i = 0; i < run->loop_count; i++, question++) {
            prepare(question, q, run);
            question->asks = asks;
            ask(run->loops[i], question);
        }
        if (run->model != WEIR_THREADS)
            continue;
        prepare(question, q, run);
        if (asks == ASKS_TASKS)
            see_threads(run, &question->seen);
        else
            question->dead = see_threads_dead(run, &question->switches);
        question->state = ANSWERED;
        question++;
    }
}

/* The caller's own loop, whose thread is here: at once if that is short, or if the thread is about
 * to be blocked. */
static void answer_here(void)
{
    struct loop *l = loop_here;
    bool parks = context_current()->loop;

    while (l && (l->tasks <= SLICE || !parks) && (l->question || atomic_load(&l->asked)))
        question_answer(l);
}

/* Less than 0 if that is impossible. (lock) */
static int sleep_until(struct inquiry *q, uint64_t until_ns)
{
    struct sleeper z;

    sleeper_init_for(&z, AWAITS_ANSWERS, NULL);
    q->sleeper = &z;
    pthread_mutex_unlock(&q->lock);
    int rc = sleeper_sleep(&z, until_ns);
    pthread_mutex_lock(&q->lock);
    q->sleeper = NULL;
    return rc;
}

/* What has been said, and how many tasks have run where nothing has been said yet. (lock) */
static uint64_t progress(const struct inquiry *q)
{
    uint64_t all = q->progress;

    for (unsigned i = 0; i < q->count; i++)
        if (q->questions[i].state == ASKED)
            all += loop_counted(&q->questions[i].loop->switches);
    return all;
}

/* A sleep may end for no reason: only progress makes patient again. (lock) */
static void be_patient(struct inquiry *q)
{
    uint64_t said = 0, heard, last_ns = 0, now_ns = sys_now();
    int rc = 0;

    do {
        if (!last_ns || q->progress != said)
            last_ns = now_ns + PATIENCE_MOST_NS;
        said = q->progress;
        heard = progress(q);
        uint64_t until_ns = now_ns + PATIENCE_NS;
        while (rc >= 0 && q->open && now_ns < until_ns) {
            rc = sleep_until(q, until_ns);
            now_ns = sys_now();
        }
    } while (rc >= 0 && q->open && now_ns < last_ns && progress(q) != heard);
}

static void wait_for_answers(struct inquiry *q)
{
    answer_here();
    weir_scope shield = weir_shield_start(INT64_MAX);
    pthread_mutex_lock(&q->lock);
    be_patient(q);
    pthread_mutex_unlock(&q->lock);
    weir_scope_end(shield);
}

/* (runs) */
static struct inquiry *inquiry_new(const struct run *run)
{
    unsigned loops = 0, threads = 0;

    for (; run; run = run->next) {
        loops += run->loop_count;
        threads += run->model == WEIR_THREADS;
    }
    struct inquiry *q = sys_alloc(sizeof *q + (loops + threads) * sizeof q->questions[0]);
    if (!q)
        return NULL;
    pthread_mutex_init(&q->lock, NULL);
    q->holders = 1 + loops;
    q->open = loops;
    q->count = loops + threads;
    q->generation = runs_generation();
    return q;
}

struct inquiry *inquiry_make(enum asks asks)
{
    struct run *run = runs_lock();
    struct inquiry *q = inquiry_new(run);

    if (q)
        ask_all(run, q, asks);
    runs_unlock();
    if (q)
        wait_for_answers(q);
    return q;
}

/* What is not answered as yet is the loop's to drop. It is there until it has done so. */
void inquiry_close(struct inquiry *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    for (unsigned i = 0; i < q->count; i++)
        if (q->questions[i].state == ASKED)
            atomic_fetch_add(&q->questions[i].loop->abandoned, 1);
        else
            forget_seen(&q->questions[i]);
    pthread_mutex_unlock(&q->lock);
    release(q);
}

int question_state(const struct question *question)
{
    struct inquiry *q = question->inquiry;

    pthread_mutex_lock(&q->lock);
    int state = (int)question->state;
    pthread_mutex_unlock(&q->lock);
    return state;
}
