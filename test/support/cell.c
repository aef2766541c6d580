#include "support/cell.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const moments[] = {"waiting", "completing", "completed", "reported", "late"};
static const char *const enders[] = {"limit",
                                     "cancel",
                                     "abort",
                                     "close",
                                     "cancel by a thread",
                                     "abort by a thread",
                                     "close by a thread",
                                     "shutdown"};

static bool aborts(enum ender e)
{
    return e == BY_ABORT || e == BY_CLOSE || e == BY_ABORT_OF_THREAD || e == BY_CLOSE_OF_THREAD;
}

static int code_of(enum ender e)
{
    return e == BY_LIMIT ? WEIR_EDEADLINE : aborts(e) ? WEIR_ECLOSED : -ECANCELED;
}

void cell_expect_good(struct cell *c, ssize_t want)
{
    if (!c->completed)
        c->op->complete(c);
    c->completed = true;
    EXPECT(c->op->call(c), want);
}

/* ---- the cells ------------------------------------------------------------------------------ */

static int is_ended(void *arg)
{
    struct cell *c = arg;
    WEIR_WITHIN_MS(c->ender == BY_LIMIT ? 2 : -1);
    c->rc = c->op->call(c);
    return 0;
}

static void *end(void *arg)
{
    struct cell *c = arg;
    bool aborted = aborts(c->ender);
    atomic_store(&c->ended, aborted);
    if (c->ender == BY_ABORT || c->ender == BY_ABORT_OF_THREAD)
        EXPECT(weir_abort(c->s), 0);
    else if (aborted)
        EXPECT(weir_close(weir_ref(c->s)), 0);
    else if (c->ender == BY_LIMIT)
        ground_hold_up(3);
    else
        EXPECT(weir_group_cancel(c->group), 0);
    return NULL;
}

static void complete(struct cell *c)
{
    c->completed = true;
    c->op->complete(c);
}

static void end_by_thread(struct cell *c)
{
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, end, c));
    if (c->moment == COMPLETED)
        give_way();
    if (c->moment != LATE)
        EXPECT(weir_group_wait(c->group, NULL), 0);
    CHECK(!pthread_join(thread, NULL));
    if (c->moment == LATE)
        complete(c);
}

static int ends_when_told(void *arg)
{
    struct cell *c = ((void **)arg)[0];
    char byte;
    EXPECT(weir_recv(((void **)arg)[1], &byte, 1), 1);
    end(c);
    return 0;
}

/* Somebody else's descriptor becomes ready first, and in the same turn. */
static void complete_and_let_another_end(struct cell *c)
{
    weir_socket *bell[2];
    weir_group *g = group_open();
    stream_pair(bell);
    void *told[] = {c, bell[0]};
    other_go(&c->helper, g, ends_when_told, told);
    other_until_asleep(&c->helper);
    EXPECT(weir_send(bell[1], "!", 1), 1);
    complete(c);
    group_end(g);
    pair_close(bell);
}

static void bring_to_an_end(struct cell *c)
{
    bool by_thread = c->ender >= BY_CANCEL_OF_THREAD;
    if (c->moment == REPORTED && !by_thread) {
        complete_and_let_another_end(c);
        return;
    }
    if (c->moment == COMPLETING || c->moment == COMPLETED || c->moment == REPORTED)
        complete(c);
    if (c->moment == COMPLETED && !by_thread)
        give_way();
    if (by_thread)
        end_by_thread(c);
    else
        end(c);
    if (c->moment == LATE && !by_thread)
        complete(c);
}

static void check_result(const struct cell *c)
{
    int code = code_of(c->ender);
    /* When the run ends, what is waited for ends too. */
    bool either = c->moment != WAITING || (c->ender == BY_SHUTDOWN && c->inner);
    bool good = c->rc == code || (either && c->rc >= 0);
    if (!good)
        printf("%s, %s, by %s gave %zd\n", c->op->name, moments[c->moment], enders[c->ender],
               c->rc);
    CHECK(good);
}

static void close_fds(struct cell *c)
{
    while (c->fd_count)
        close(c->fds[--c->fd_count]);
}

static void clean(struct cell *c)
{
    EXPECT(weir_close(c->s), 0);
    EXPECT(weir_close(c->peer), 0);
    close_fds(c);
    free(c);
}

static struct cell *new_cell(const struct op *op, enum moment moment, enum ender ender)
{
    struct cell *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->op = op;
    c->moment = moment;
    c->ender = ender;
    if (getenv("WEIR_TRACE"))
        fprintf(stderr, "%s, %s, by %s\n", op->name, moments[moment], enders[ender]);
    return c;
}

static void run_cell(const struct op *op, enum moment moment, enum ender ender)
{
    struct cell *c = new_cell(op, moment, ender);
    op->prepare(c);
    c->group = group_open();
    other_go(&c->victim, c->group, is_ended, c);
    other_until_asleep(&c->victim);
    bring_to_an_end(c);
    EXPECT(weir_group_wait(c->group, NULL), 0);
    EXPECT(weir_group_close(c->group), 0);
    check_result(c);
    op->check(c);
    clean(c);
}

static bool can_be(const struct op *op, enum moment moment, enum ender ender)
{
    return (op->complete || moment == WAITING) && (op->has_socket || !aborts(ender));
}

void cell_end_by_everything(const struct op *op)
{
    if (op->tasks_only && !ground->tasks)
        return;
    for (enum moment m = 0; m < MOMENTS; m++)
        for (enum ender e = 0; e < ENDERS; e++)
            if (can_be(op, m, e))
                run_cell(op, m, e);
}

/* ---- the end of the run --------------------------------------------------------------------- */

static int main_that_leaves(void *arg)
{
    struct cell *c = arg;
    c->op->prepare(c);
    c->group = group_open();
    other_go(&c->victim, c->group, is_ended, c);
    other_until_asleep(&c->victim);
    if (c->moment != WAITING)
        complete(c);
    if (c->moment == COMPLETED)
        give_way();
    /* Or weir_run would wait for them: what is offloaded cannot be cancelled. */
    atomic_store(&c->released, true);
    return 0;
}

void cell_end_by_shutdown(const struct op *op)
{
    if (op->tasks_only && !ground->tasks)
        return;
    for (enum moment m = WAITING; m <= COMPLETED; m++) {
        if (!can_be(op, m, BY_SHUTDOWN) || (op->tasks_only && m == WAITING))
            continue;
        struct cell *c = new_cell(op, m, BY_SHUTDOWN);
        ground_run(main_that_leaves, c);
        CHECK(atomic_load(&c->victim.self.ended));
        check_result(c);
        EXPECT(weir_group_close(c->group), 0);
        op->check(c);
        clean(c);
    }
}
