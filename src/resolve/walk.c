#include "walk.h"

#include "clock.h"
#include "sys.h"

#include <string.h>
#include <weir/error.h>

/* Answers of files and of nobody in particular: until the file changes, but looked at again when
 * the addresses of this machine may have. */
#define FILES_TTL_NS    (60 * NS_PER_S)
#define NEGATIVE_TTL_NS (TTL_UNSAID_S * NS_PER_S)

static void next_source(struct flight *f);

static struct order_probe probe = {{-1, -1}};

void walk_rest(void)
{
    order_probe_close(&probe);
}

static void finish(struct flight *f, struct answer *a)
{
    if (a->rc == 0) {
        order_rank(&probe, a->list, a->count);
        order_sort(a->list, a->count);
    }
    flight_finish(f, a);
}

static void fail(struct flight *f, int rc, enum weir_name_source source)
{
    uint64_t expires_ns = rc == WEIR_ENONAME ? sys_now() + NEGATIVE_TTL_NS : 0;

    finish(f, answer_failure(rc, source, expires_ns));
}

/* Moves it on, unless nobody waits for it any more. */
static bool proceed(struct flight *f, enum stage stage)
{
    bool start = false, gone;

    pthread_mutex_lock(&resolver.lock);
    gone = flight_drop(f);
    if (!gone) {
        flight_move(f, stage);
        start = stage == STAGE_SYSTEM && system_wake();
    }
    pthread_mutex_unlock(&resolver.lock);
    if (start)
        system_start_thread();
    return !gone;
}

void walk_begin(struct flight *f, struct plan *p)
{
    if (!p) {
        fail(f, -ENOMEM, WEIR_FROM_DNS);
        return;
    }
    f->plan = p;
    atomic_fetch_add_explicit(&p->flights, 1, memory_order_relaxed);
    f->program = p->program;
    f->program_arg = p->program_arg;
    if (p->program)
        proceed(f, STAGE_SYSTEM);
    else
        next_source(f);
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* The answer, or NULL if the file does not know the name. A name that it knows in the other family
 * only has none of this one: asking elsewhere would mix two answers. */
static struct answer *ask_files(const struct flight *f)
{
    const uint64_t expires_ns = sys_now() + FILES_TTL_NS;
    struct answer *a = NULL;
    bool known;
    int rc = hosts_find(f->plan->hosts, f->name.text, f->family, &a, &known);

    if (rc == WEIR_ENONAME && !known)
        return NULL;
    if (rc < 0)
        return answer_failure(rc, WEIR_FROM_HOSTS, rc == WEIR_ENONAME ? expires_ns : 0);
    a->expires_ns = expires_ns;
    return a;
}

static void answer_localhost(struct flight *f)
{
    struct answer *a = hosts_localhost(f->family);

    if (!a) {
        fail(f, -ENOMEM, WEIR_FROM_HOSTS);
        return;
    }
    a->expires_ns = sys_now() + FILES_TTL_NS;
    finish(f, a);
}

/* ---- Sources --------------------------------------------------------------------------------- */

/* No source knows the name. What stood in the way of one of them is told rather than that. */
static void give_up(struct flight *f)
{
    struct answer *negative = f->negative;

    if (f->failure != WEIR_ENONAME) {
        fail(f, f->failure, WEIR_FROM_DNS);
    } else if (negative) {
        f->negative = NULL;
        finish(f, negative);
    } else {
        fail(f, WEIR_ENONAME, WEIR_FROM_HOSTS);
    }
}

/* Asks the source that f->source says, and those behind it as long as they know nothing. */
static void next_source(struct flight *f)
{
    const struct conf *c = &f->plan->conf;

    if (hosts_is_localhost(f->name.text)) {
        answer_localhost(f);
        return;
    }
    for (; f->source < c->source_count; f->source++) {
        const struct source *source = &c->sources[f->source];
        struct answer *a;

        if (!conf_applies(c, source, f->name.text) || (source->kind == SOURCE_DNS && f->asked))
            continue;
        if (source->kind == SOURCE_FILES) {
            a = ask_files(f);
            if (a) {
                finish(f, a);
                return;
            }
            f->failure = f->failure ? f->failure : WEIR_ENONAME;
        } else {
            proceed(f, source->kind == SOURCE_DNS ? STAGE_READY : STAGE_SYSTEM);
            return;
        }
        if (source->last)
            break;
    }
    f->failure = f->failure ? f->failure : WEIR_ENONAME;
    give_up(f);
}

/* ---- Name servers ---------------------------------------------------------------------------- */

/* This source has said what it has to say. */
static void end_source(struct flight *f, int failure)
{
    const struct source *source = &f->plan->conf.sources[f->source];

    f->failure = failure;
    if (source->last && failure == WEIR_ENONAME) {
        give_up(f);
        return;
    }
    f->source++;
    next_source(f);
}

/* The next name of the search list. Returns false if there is none. */
static bool next_candidate(struct flight *f, char ret[CONF_NAME_MAX + 1])
{
    const struct conf *c = &f->plan->conf;

    for (; f->candidate < conf_candidates(c, f->name.text); f->candidate++)
        if (conf_candidate(c, f->name.text, f->candidate, ret))
            return true;
    return false;
}

/* The next try is with which server? Each is asked as often as resolv.conf says, one after the
 * other, but none that has said that it cannot tell. Returns false if all have been. */
static bool next_server(struct flight *f)
{
    const struct conf *c = &f->plan->conf;

    for (; f->tries < c->server_count * c->attempts; f->tries++) {
        f->server = (f->first_server + f->tries) % c->server_count;
        if (!(f->failed_servers & 1u << f->server))
            return true;
    }
    return false;
}

static void ask(struct flight *f)
{
    struct dns *d;

    if (!next_candidate(f, f->question.name)) {
        end_source(f, WEIR_ENONAME);
        return;
    }
    if (!next_server(f)) {
        end_source(f, f->failed_servers ? WEIR_ENAMEAGAIN : WEIR_ENAMESERVER);
        return;
    }
    f->question.family = f->family;
    d = plan_dns(f->plan);
    if (d)
        dns_ask(d, f->server, &f->question);
    else
        fail(f, -ENOMEM, WEIR_FROM_DNS);
}

static void begin_candidate(struct flight *f)
{
    struct plan *p = f->plan;

    f->tries = 0;
    f->failed_servers = 0;
    f->first_server = p->first_server;
    if (p->conf.rotate)
        p->first_server = (p->first_server + 1) % p->conf.server_count;
}

void walk_ask(struct flight *f)
{
    f->asked = true;
    begin_candidate(f);
    ask(f);
}

/* A server that is silent is not asked first again, so that not each look-up waits for it. */
static void distrust(struct plan *p, size_t server)
{
    if (p->first_server == server && !p->conf.rotate)
        p->first_server = (server + 1) % p->conf.server_count;
}

static bool drop_unwanted(struct flight *f)
{
    bool gone;

    pthread_mutex_lock(&resolver.lock);
    gone = flight_drop(f);
    pthread_mutex_unlock(&resolver.lock);
    return gone;
}

static void keep_negative(struct flight *f, struct answer *a)
{
    answer_unref(f->negative);
    f->negative = a;
}

void walk_answered(struct dns_question *q)
{
    struct flight *f = (struct flight *)(void *)((char *)q - offsetof(struct flight, question));

    switch (q->reply) {
    case REPLY_ADDRESSES:
        if (q->answer)
            finish(f, q->answer);
        else
            fail(f, -ENOMEM, WEIR_FROM_DNS);
        return;
    case REPLY_NODATA:
        /* The name exists: the search ends here for both families, or they could find two hosts. */
        keep_negative(f, q->answer);
        end_source(f, WEIR_ENONAME);
        return;
    case REPLY_NXDOMAIN:
        keep_negative(f, q->answer);
        f->candidate++;
        begin_candidate(f);
        break;
    case REPLY_FAILED:
        f->failed_servers |= 1u << f->server;
        f->tries++;
        break;
    case REPLY_NONE:
        distrust(f->plan, f->server);
        f->tries++;
        if (drop_unwanted(f))
            return;
        break;
    case REPLY_DROPPED:
        if (drop_unwanted(f))
            return;
        break;
    }
    ask(f);
}
