#include "clock.h"
#include "context.h"
#include "resolve/answer.h"
#include "resolve/settings.h"
#include "story.h"
#include "sys.h"
#include "target.h"
#include "wait.h"

#include <limits.h>
#include <string.h>
#include <weir/error.h>

const char *weir_name_source_text(enum weir_name_source source)
{
    switch (source) {
    case WEIR_FROM_NUMERIC:
        return "numeric";
    case WEIR_FROM_CACHE:
        return "cache";
    case WEIR_FROM_HOSTS:
        return "hosts";
    case WEIR_FROM_DNS:
        return "dns";
    case WEIR_FROM_SYSTEM:
        return "system";
    case WEIR_FROM_PROGRAM:
        return "program";
    }
    return "unknown";
}

/* ---- What comes out of two answers ----------------------------------------------------------- */

/* A question: what is wanted of it, and where it goes. */
struct question {
    const char *host;
    uint16_t port;
    int family;
    weir_address *list;
    size_t max;
    enum weir_name_source *ret_source;
};

static void store(const struct question *q, size_t i, const weir_address *address)
{
    if (i >= q->max)
        return;
    q->list[i] = *address;
    weir_address_set_port(&q->list[i], q->port);
}

/* The addresses of both, the best first. Returns their number. */
static size_t merge(const struct question *q, const struct answer *const answers[2])
{
    size_t at[2] = {0, 0}, count = 0;

    for (;;) {
        const struct ranked *heads[2];

        for (int i = 0; i < 2; i++)
            heads[i] = answers[i] && at[i] < answers[i]->count ? &answers[i]->list[at[i]] : NULL;
        if (!heads[0] && !heads[1])
            return count;
        /* Of equals IPv6 goes first. */
        int best = !heads[0] || (heads[1] && order_compare(heads[1], heads[0]) <= 0);
        store(q, count++, &heads[best]->address);
        at[best]++;
    }
}

/* Why there is none: "no such name" only if nothing else stood in the way. */
static int combined_error(const struct answer *const answers[2])
{
    int rc = WEIR_ENONAME;

    for (int i = 0; i < 2; i++)
        if (answers[i] && answers[i]->rc != WEIR_ENONAME)
            rc = answers[i]->rc;
    return rc;
}

static int fail(const struct question *q, int rc)
{
    struct story_quote quote;

    return story_tell(rc, "%s: %s", story_quote(&quote, q->host, strlen(q->host)),
                      weir_strerror(rc));
}

static int conclude(const struct question *q, const struct answer *const answers[2], bool cached)
{
    size_t count = merge(q, answers);
    enum weir_name_source source;
    int index = !answers[0] || answers[0]->count == 0;

    if (count == 0)
        return fail(q, combined_error(answers));
    source = answers[index]->source;
    if (cached && source != WEIR_FROM_HOSTS)
        source = WEIR_FROM_CACHE;
    if (q->ret_source)
        *q->ret_source = source;
    return count < INT_MAX ? (int)count : INT_MAX;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static int answer_number(const struct question *q, const weir_address *address)
{
    if (q->family != AF_UNSPEC && q->family != address->family)
        return fail(q, WEIR_ENONAME);
    store(q, 0, address);
    if (q->ret_source)
        *q->ret_source = WEIR_FROM_NUMERIC;
    return 1;
}

static void notify(void *arg)
{
    (void)arg;
}

/* All is answered, or ended. */
static void release(void *arg)
{
    wait_flag_raise(arg);
    wait_flag_free(arg);
}

/* Waits for the answers. What one family has when time is up is better than nothing. */
static int wait_for_answers(const struct question *q, struct resolve_request *r,
                            struct wait_flag *flag)
{
    int rc = wait_for_flag(flag, context_current()->deadline_ns);
    const struct answer *const answers[2] = {resolve_answer(r, AF_INET),
                                             resolve_answer(r, AF_INET6)};
    bool some = (answers[0] && answers[0]->count > 0) || (answers[1] && answers[1]->count > 0);

    return rc < 0 && !some ? fail(q, rc) : conclude(q, answers, false);
}

static int ask(const struct question *q)
{
    struct wait_flag *flag = wait_flag_new();
    const struct resolve_client client = {notify, release, flag};
    struct resolve_request *r = NULL;
    int rc;

    if (!flag)
        return -ENOMEM;
    rc = resolve_begin(&r, q->host, q->family, &client);
    if (rc == -EAGAIN) /* no thread */
        rc = fail(q, WEIR_ENAMEAGAIN);
    if (rc == 0 || rc == -EINPROGRESS)
        rc = wait_for_answers(q, r, flag);
    else if (rc == -EAGAIN) /* which says "not yet" */
        rc = story_tell(WEIR_ENAMEAGAIN, "the thread that looks names up could not be started");
    resolve_end(r);
    wait_flag_free(flag);
    return rc;
}

static int resolve(const struct question *q)
{
    struct answer *answers[2];
    weir_address address;
    int rc = target_numeric(q->host, 0, &address);

    if (rc == 0)
        return answer_number(q, &address);
    if (rc != WEIR_ENONAME)
        return target_tell_scope(rc, q->host, strlen(q->host));
    if (resolve_cached(q->host, q->family, answers) < 0)
        return ask(q);
    rc = conclude(q, (const struct answer *const *)answers, true);
    answer_unref(answers[0]);
    answer_unref(answers[1]);
    return rc;
}

int weir_resolve(const char *host, uint16_t port, int family, weir_address *list, size_t max,
                 enum weir_name_source *ret_source)
{
    const struct question q = {host, port, family, list, max, ret_source};

    if (!host || (!list && max > 0))
        return story_tell(-EINVAL, "a host and a list for its addresses are wanted");
    if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6)
        return story_tell(-EINVAL, "%d is no family that names have", family);
    return resolve(&q);
}

/* ---- Settings -------------------------------------------------------------------------------- */

int weir_set_nameservers(const char *servers)
{
    return settings_set_servers(servers);
}

int weir_set_resolver(weir_resolver *resolver, void *arg)
{
    settings_set_program(resolver, arg);
    return 0;
}
