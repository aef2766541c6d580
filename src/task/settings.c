/* What the program is written for, and what the environment chooses among that. */
#include "../story.h"
#include "../sys.h"
#include "task.h"

#include <string.h>

struct word {
    const char *text;
    int value;
};

static const struct word models[] = {{"tasks", WEIR_TASKS}, {"threads", WEIR_THREADS}, {0}};
static const struct word loops[] = {
    {"auto", WEIR_LOOP_AUTO},
    {"epoll", WEIR_LOOP_EPOLL},
    {"io_uring", WEIR_LOOP_IO_URING},
    {"poll", WEIR_LOOP_POLL},
    {0},
};

static int refuse(const char *name, const char *value, const char *wanted)
{
    struct story_quote quote;

    return story_tell(-EINVAL, "%s is \"%s\": %s", name, story_quote(&quote, value, strlen(value)),
                      wanted);
}

/* 0: the variable is not set. 1: `*ret` is its value. */
static int read_word(const char *name, const struct word *words, const char *wanted, int *ret)
{
    const char *value = sys_env(name);

    if (!value || !*value)
        return 0;
    for (; words->text; words++) {
        if (strcmp(words->text, value) == 0) {
            *ret = words->value;
            return 1;
        }
    }
    return refuse(name, value, wanted);
}

static int read_model(const weir_run_options *o, struct settings *ret)
{
    unsigned allowed = o && o->models ? o->models : WEIR_TASKS;

    if (allowed & ~(unsigned)(WEIR_TASKS | WEIR_THREADS))
        return story_tell(-EINVAL, "an unknown model is asked for");
    ret->model = allowed & WEIR_TASKS ? WEIR_TASKS : WEIR_THREADS;
    int rc = read_word("WEIR_MODEL", models, "tasks and threads are known", &ret->model);
    if (rc > 0 && !(allowed & (unsigned)ret->model))
        return refuse("WEIR_MODEL", sys_env("WEIR_MODEL"), "this program is not written for it");
    return rc < 0 ? rc : 0;
}

static int read_loop(const weir_run_options *o, struct settings *ret)
{
    ret->loop = o ? o->loop : WEIR_LOOP_AUTO;
    if (ret->loop < WEIR_LOOP_AUTO || ret->loop > WEIR_LOOP_POLL)
        return story_tell(-EINVAL, "an unknown loop is asked for");
    int rc = read_word("WEIR_LOOP", loops, "auto, epoll, io_uring and poll are known", &ret->loop);
    return rc < 0 ? rc : 0;
}

static int read_loops(const weir_run_options *o, struct settings *ret)
{
    const char *value = sys_env("WEIR_LOOPS");
    unsigned most = o && o->max_loops ? o->max_loops : 1;
    unsigned processors = (unsigned)sys_processors();
    char *end;

    if (most > LOOPS_MAX)
        most = LOOPS_MAX;
    ret->loops = most < processors ? most : processors;
    if (!value || !*value)
        return 0;
    long asked = strtol(value, &end, 10);
    if (*end || asked < 1)
        return refuse("WEIR_LOOPS", value, "a number from 1 is wanted");
    if ((unsigned long)asked > most)
        return refuse("WEIR_LOOPS", value, "this program is not written for so many");
    ret->loops = (unsigned)asked;
    return 0;
}

int settings_read(const weir_run_options *o, struct settings *ret)
{
    if (o && o->size != sizeof *o)
        return story_tell(-EINVAL, "the options of weir_run have an unknown size");
    ret->stack_size = o && o->stack_size ? o->stack_size : STACK_DEFAULT;
    if (ret->stack_size < STACK_MIN)
        return story_tell(-EINVAL, "a stack of %zu bytes is too small: %d at least",
                          ret->stack_size, STACK_MIN);
    int rc = read_model(o, ret);
    if (rc == 0)
        rc = read_loop(o, ret);
    if (rc == 0)
        rc = read_loops(o, ret);
    return rc;
}
