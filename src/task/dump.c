/* The dump: what was seen, as text and as JSON. */
#include "dump.h"

#include "../clock.h"
#include "../sys.h"
#include "../wait.h"
#include "inspect.h"

#include <string.h>
#include <weir/error.h>

static const struct {
    const char *word, *text;
} waits[AWAITS_KINDS] = {
    [AWAITS_NOTHING] = {"other", "waits"},
    [AWAITS_OTHER] = {"other", "waits"},
    [AWAITS_TIME] = {"time", "sleeps"},
    [AWAITS_RECEIVE] = {"receive", "waits to receive"},
    [AWAITS_SEND] = {"send", "waits to send"},
    [AWAITS_EITHER] = {"either", "waits to receive or send"},
    [AWAITS_CONNECT] = {"connect", "connects"},
    [AWAITS_TURN] = {"turn", "waits for its turn to send"},
    [AWAITS_FD] = {"descriptor", "waits for a descriptor"},
    [AWAITS_SIGNAL] = {"signal", "waits for a signal"},
    [AWAITS_MUTEX] = {"mutex", "waits for mutex"},
    [AWAITS_TAKE] = {"item", "waits for an item of channel"},
    [AWAITS_ROOM] = {"room", "waits for room in channel"},
    [AWAITS_GROUP] = {"group", "waits for group"},
    [AWAITS_OFFLOAD] = {"offload", "waits for an offloaded function"},
    [AWAITS_ANSWERS] = {"dump", "waits for a dump"},
};

static const char *wait_word(const struct seen_task *t)
{
    return t->listens && t->awaits == AWAITS_RECEIVE ? "accept" : waits[t->awaits].word;
}

static const char *wait_text(const struct seen_task *t)
{
    return t->listens && t->awaits == AWAITS_RECEIVE ? "waits to accept" : waits[t->awaits].text;
}

/* What it waits for has an address that tells more than a descriptor does. */
static bool names_object(const struct seen_task *t)
{
    return t->object && t->awaits != AWAITS_FD && t->awaits != AWAITS_SIGNAL &&
           t->awaits != AWAITS_OFFLOAD;
}

static const char *state_word(const struct seen_task *t)
{
    switch (t->state) {
    case TASK_PARKED:
        return "parked";
    case TASK_RUNNING:
        return "running";
    default:
        return "ready";
    }
}

static bool known(const weir_address *a)
{
    return weir_address_family(a) != AF_UNSPEC;
}

static const char *address_text(const weir_address *a, char text[WEIR_ADDRESS_TEXT_MAX])
{
    (void)weir_address_format(a, text, WEIR_ADDRESS_TEXT_MAX);
    return text;
}

/* Names and texts of many take their time: other tasks get their turns. */
static void gives_way(void)
{
    if (context_spends(context_current()))
        wait_spent();
}

static uint64_t ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (to_ns - from_ns) / NS_PER_MS : 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void text_socket(struct out *o, const struct seen_task *t)
{
    char text[WEIR_ADDRESS_TEXT_MAX];

    if (t->fd < 0)
        return;
    out_format(o, ", fd %d", t->fd);
    if (known(&t->local))
        out_format(o, ", local %s", address_text(&t->local, text));
    if (known(&t->peer))
        out_format(o, ", peer %s", address_text(&t->peer, text));
}

static void text_wait(struct out *o, const struct seen_task *t, uint64_t now_ns)
{
    out_text(o, wait_text(t), strlen(wait_text(t)));
    if (t->awaits == AWAITS_OFFLOAD) {
        out_text(o, " ", 1);
        out_quoted(o, out_function(o, t->object));
    } else if (names_object(t) && t->fd < 0) {
        out_format(o, " 0x%lx", (unsigned long)t->object);
    }
    text_socket(o, t);
    out_format(o, ", since %llu ms", (unsigned long long)ms_between(t->since_ns, now_ns));
    if (t->until_ns != NEVER)
        out_format(o, ", %llu ms left", (unsigned long long)ms_between(now_ns, t->until_ns));
}

static void text_task(struct out *o, const struct seen_task *t, uint64_t now_ns)
{
    gives_way();
    out_format(o, "    0x%lx ", (unsigned long)(uintptr_t)t->self);
    if (*t->name)
        out_quoted(o, t->name);
    else
        out_quoted(o, out_function(o, t->fn));
    out_format(o, "%s%s: ", t->cancelled ? " (cancelled)" : "", t->shielded ? " (shielded)" : "");
    if (t->state == TASK_PARKED)
        text_wait(o, t, now_ns);
    else
        out_format(o, "%s", state_word(t));
    if (t->stack_size)
        out_format(o, "; stack %zu, at most %zu of %zu", t->stack_now, t->stack_most,
                   t->stack_size);
    out_text(o, "\n", 1);
}

static void text_run(struct out *o, const struct question *part)
{
    if (part->model == WEIR_THREADS)
        out_format(o, "  threads, %zu tasks\n", part->live);
    else
        out_format(o, "  tasks, %s (%s), %u loop%s, %zu tasks\n", part->loop_name, part->reason,
                   part->loops, part->loops == 1 ? "" : "s", part->live);
}

static const char *part_text(int state)
{
    switch (state) {
    case ANSWERED:
        return "";
    case UNANSWERED:
        return ": has ended meanwhile";
    default:
        return ": busy, no answer";
    }
}

static void text_part(struct out *o, const struct question *part, int state, uint64_t now_ns)
{
    if (part->number == 0)
        text_run(o, part);
    if (part->model == WEIR_TASKS)
        out_format(o, "   loop %u, thread %d, %llu switches%s\n", part->number, (int)part->tid,
                   (unsigned long long)part->was_switches, part_text(state));
    if (state != ANSWERED)
        return;
    for (const struct seen_part *p = part->seen.first; p; p = p->next)
        for (size_t i = 0; i < p->count; i++)
            text_task(o, &p->list[i], now_ns);
    if (part->seen.cut)
        out_format(o, "    (no memory for more)\n");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_address(struct out *o, const char *key, const weir_address *a)
{
    char text[WEIR_ADDRESS_TEXT_MAX];

    if (known(a))
        json_string(o, key, address_text(a, text));
}

static void json_wait(struct out *o, const struct seen_task *t, uint64_t now_ns)
{
    json_string(o, "waits_for", wait_word(t));
    if (names_object(t))
        json_pointer(o, "object", t->object);
    if (t->awaits == AWAITS_OFFLOAD)
        json_string(o, "offloaded", out_function(o, t->object));
    if (t->fd >= 0)
        json_number(o, "fd", (uint64_t)t->fd);
    json_address(o, "local", &t->local);
    json_address(o, "peer", &t->peer);
    json_number(o, "since_ms", ms_between(t->since_ns, now_ns));
    if (t->until_ns != NEVER)
        json_number(o, "left_ms", ms_between(now_ns, t->until_ns));
}

static void json_task(struct out *o, const struct seen_task *t, uint64_t now_ns)
{
    gives_way();
    json_open(o, NULL, '{');
    json_pointer(o, "task", (uintptr_t)t->self);
    json_string(o, "name", t->name);
    json_string(o, "function", out_function(o, t->fn));
    json_string(o, "state", state_word(t));
    if (t->state == TASK_PARKED)
        json_wait(o, t, now_ns);
    json_bool(o, "cancelled", t->cancelled);
    if (!t->threaded)
        json_bool(o, "shielded", t->shielded);
    if (t->group)
        json_pointer(o, "group", (uintptr_t)t->group);
    if (t->stack_size) {
        json_number(o, "stack", t->stack_now);
        json_number(o, "stack_most", t->stack_most);
        json_number(o, "stack_size", t->stack_size);
    }
    json_close(o, '}');
}

static void json_tasks(struct out *o, const struct question *part, int state, uint64_t now_ns)
{
    json_open(o, "tasks", '[');
    for (const struct seen_part *p = state == ANSWERED ? part->seen.first : NULL; p; p = p->next)
        for (size_t i = 0; i < p->count; i++)
            json_task(o, &p->list[i], now_ns);
    json_close(o, ']');
}

static void json_run(struct out *o, const struct question *part)
{
    if (!o->first) {
        json_close(o, ']');
        json_close(o, '}');
    }
    json_open(o, NULL, '{');
    json_string(o, "model", part->model == WEIR_THREADS ? "threads" : "tasks");
    json_string(o, "loop", part->loop_name);
    json_string(o, "reason", part->reason);
    json_number(o, "live", part->live);
    json_open(o, "loops", '[');
}

static const char *part_word(int state)
{
    switch (state) {
    case ANSWERED:
        return "answered";
    case UNANSWERED:
        return "ended";
    default:
        return "busy";
    }
}

/* The tasks of the threads model are in the list of loops as if they shared one. */
static void json_part(struct out *o, const struct question *part, int state, uint64_t now_ns)
{
    if (part->number == 0)
        json_run(o, part);
    json_open(o, NULL, '{');
    json_number(o, "number", part->number);
    if (part->model == WEIR_TASKS) {
        json_number(o, "thread", (uint64_t)part->tid);
        json_number(o, "switches", part->was_switches);
    }
    json_string(o, "state", part_word(state));
    if (state == ANSWERED && part->seen.cut)
        json_bool(o, "cut", true);
    json_tasks(o, part, state, now_ns);
    json_close(o, '}');
}

static void json_counters(struct out *o, const weir_counters *c)
{
    json_open(o, "counters", '{');
    json_number(o, "tasks_started", c->tasks_started);
    json_number(o, "tasks_most", c->tasks_most);
    json_number(o, "switches", c->switches);
    json_number(o, "turns", c->turns);
    json_number(o, "wakes", c->wakes);
    json_number(o, "runs", c->runs);
    json_number(o, "loops", c->loops);
    json_number(o, "tasks", c->tasks);
    json_number(o, "stacks", c->stacks);
    json_number(o, "stack_most", c->stack_most);
    json_number(o, "accepted", c->accepted);
    json_number(o, "serving", c->serving);
    json_number(o, "serve_failed", c->serve_failed);
    json_number(o, "accept_rests", c->accept_rests);
    json_close(o, '}');
}

/* ---- the calls ------------------------------------------------------------------------------- */

static void json_all(struct out *o, struct inquiry *q, const weir_counters *c, uint64_t now_ns)
{
    o->first = true;
    json_open(o, NULL, '{');
    json_counters(o, c);
    json_open(o, "runs", '[');
    for (unsigned i = 0; i < q->count; i++)
        json_part(o, &q->questions[i], question_state(&q->questions[i]), now_ns);
    if (q->count) {
        json_close(o, ']');
        json_close(o, '}');
    }
    json_close(o, ']');
    json_close(o, '}');
    out_text(o, "\n", 1);
}

static void text_all(struct out *o, struct inquiry *q, const weir_counters *c, uint64_t now_ns)
{
    out_format(o,
               "weir: %llu tasks, %llu started, at most %llu; %llu switches, %llu turns, %llu "
               "wakes; %llu stacks, at most %llu bytes used\n",
               (unsigned long long)c->tasks, (unsigned long long)c->tasks_started,
               (unsigned long long)c->tasks_most, (unsigned long long)c->switches,
               (unsigned long long)c->turns, (unsigned long long)c->wakes,
               (unsigned long long)c->stacks, (unsigned long long)c->stack_most);
    if (c->accepted)
        out_format(o, "  servers: %llu accepted, %llu now, %llu failed, %llu rests\n",
                   (unsigned long long)c->accepted, (unsigned long long)c->serving,
                   (unsigned long long)c->serve_failed, (unsigned long long)c->accept_rests);
    for (unsigned i = 0; i < q->count; i++)
        text_part(o, &q->questions[i], question_state(&q->questions[i]), now_ns);
}

int weir_inspect_dump(int form, int (*write)(void *arg, const char *part, size_t size), void *arg)
{
    weir_counters counters;

    if (!write || (form != WEIR_INSPECT_TEXT && form != WEIR_INSPECT_JSON))
        return -EINVAL;
    struct out *o = sys_alloc_unset(sizeof *o);
    struct inquiry *q = o ? inquiry_make(ASKS_TASKS) : NULL;
    int rc = -ENOMEM;
    if (q) {
        o->write = write;
        o->arg = arg;
        o->rc = 0;
        o->length = 0;
        o->named = 0;
        (void)weir_inspect_counters(&counters, sizeof counters);
        (form == WEIR_INSPECT_JSON ? json_all : text_all)(o, q, &counters, sys_now());
        out_flush(o);
        rc = o->rc < 0 ? o->rc : 0;
    }
    inquiry_close(q);
    free(o);
    return rc;
}

static int write_to_fd(void *arg, const char *part, size_t size)
{
    int fd = *(const int *)arg, rc = 0;

    while (size && rc >= 0) {
        ssize_t n = sys_write(fd, part, size);
        if (n == -EAGAIN)
            rc = wait_for_fd(fd, POLLOUT, context_current()->deadline_ns);
        else if (n < 0 && n != -EINTR)
            rc = (int)n;
        if (n > 0) {
            part += n;
            size -= (size_t)n;
        }
    }
    return rc;
}

int weir_inspect_dump_fd(int form, int fd)
{
    return weir_inspect_dump(form, write_to_fd, &fd);
}
