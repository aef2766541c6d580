#include "resolve.h"

#include "flight.h"
#include "sys.h"
#include "target.h"

#include <assert.h>
#include <string.h>
#include <weir/error.h>

static const int families[2] = {AF_INET, AF_INET6};

/* ---- Without asking -------------------------------------------------------------------------- */

/* Names that cannot be numbers are most names, and this is cheap: a number ends with a digit or
 * has a colon. */
static bool may_be_numeric(const char *host)
{
    size_t len = strlen(host);

    return len > 0 && ((host[len - 1] >= '0' && host[len - 1] <= '9') || strchr(host, ':'));
}

/* One answer with the address, one without any. */
static int answer_numeric(const weir_address *address, struct answer *ret[2])
{
    int index = family_index(address->family);
    struct answer *a = answer_new(WEIR_FROM_NUMERIC, 1);

    if (!a)
        return -ENOMEM;
    a->list[0].address = *address;
    a->list[0].reachable = true; /* there is nothing to compare it with */
    ret[index] = a;
    ret[!index] = answer_failure(WEIR_ENONAME, WEIR_FROM_NUMERIC, 0);
    return 0;
}

/* 0 with answers, WEIR_ENONAME if the host is a name, or another failure with the story told. */
static int find_numeric(const char *host, struct answer *ret[2])
{
    weir_address address;
    int rc = may_be_numeric(host) ? target_numeric(host, 0, &address) : WEIR_ENONAME;

    if (rc == 0)
        return answer_numeric(&address, ret);
    return rc;
}

static void keep_wanted(struct answer *answers[2], int family)
{
    for (int i = 0; i < 2; i++)
        if (!family_wanted(family, i)) {
            answer_unref(answers[i]);
            answers[i] = NULL;
        }
}

/* 0 if nothing that `family` wants is missing. */
static int find_cached(const struct name *name, int family, struct answer *ret[2])
{
    const uint64_t now_ns = sys_now();

    settings_check(now_ns);
    pthread_mutex_lock(&resolver.lock);
    if (resolver.cache)
        cache_get(resolver.cache, name, now_ns, ret);
    pthread_mutex_unlock(&resolver.lock);
    keep_wanted(ret, family);
    for (int i = 0; i < 2; i++)
        if (family_wanted(family, i) && !ret[i])
            return -EAGAIN;
    return 0;
}

int resolve_cached(const char *host, int family, struct answer *ret[2])
{
    struct name name;
    int rc;

    ret[0] = ret[1] = NULL;
    if (!name_fold(&name, host))
        return -EAGAIN;
    rc = find_cached(&name, family, ret);
    if (rc < 0) {
        answer_unref(ret[0]);
        answer_unref(ret[1]);
        ret[0] = ret[1] = NULL;
    }
    return rc;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static struct resolve_request *request_new(const struct resolve_client *client,
                                           struct answer *answers[2])
{
    struct resolve_request *r = sys_alloc(sizeof(*r));

    if (!r)
        return NULL;
    r->client = *client;
    r->forks = atomic_load_explicit(&resolver.forks, memory_order_relaxed);
    for (int i = 0; i < 2; i++) {
        r->slots[i].request = r;
        atomic_init(&r->slots[i].answer, answers[i]);
        answers[i] = NULL;
    }
    return r;
}

void request_free(struct resolve_request *r)
{
    for (int i = 0; i < 2; i++)
        answer_unref(atomic_load_explicit(&r->slots[i].answer, memory_order_relaxed));
    free(r);
}

/* Looks again, now under the lock that the answer would come under, and joins a flight for what is
 * missing. */
static int join(struct resolve_request *r, const struct name *name, struct flight *spares[2])
{
    struct answer *cached[2] = {NULL, NULL};
    const uint64_t now_ns = sys_now();
    bool wake, missing;
    int rc = 0;

    pthread_mutex_lock(&resolver.lock);
    if (resolver.cache)
        cache_get(resolver.cache, name, now_ns, cached);
    for (int i = 0; i < 2 && rc == 0; i++) {
        struct slot *slot = &r->slots[i];

        if (!spares[i])
            continue;
        if (cached[i]) {
            atomic_store_explicit(&slot->answer, cached[i], memory_order_relaxed);
            cached[i] = NULL;
            continue;
        }
        rc = flight_join(slot, &spares[i]);
        r->missing += rc == 0;
    }
    missing = r->missing > 0;
    assert(rc == 0 || !missing); /* where there is a flight to join there is a thread */
    r->released = !missing;
    wake = flight_must_wake();
    pthread_mutex_unlock(&resolver.lock);
    flight_wake(wake);
    answer_unref(cached[0]);
    answer_unref(cached[1]);
    return rc < 0 ? rc : missing ? -EINPROGRESS : 0;
}

/* The request may be answered, and its client told, before this returns. */
static int begin_flights(struct resolve_request *r, const struct name *name, int family)
{
    struct flight *spares[2] = {NULL, NULL};
    int rc = 0;

    for (int i = 0; i < 2; i++) {
        if (!family_wanted(family, i) || r->slots[i].answer)
            continue;
        spares[i] = flight_new(name, families[i]);
        if (!spares[i])
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = join(r, name, spares);
    flight_free(spares[0]);
    flight_free(spares[1]);
    return rc;
}

/* 0 if all is known, -EAGAIN if something has to be asked for, or why the host is none, with the
 * story told. */
static int look(const char *host, int family, struct name *name, struct answer *ret[2])
{
    int rc = find_numeric(host, ret);

    if (rc == 0)
        keep_wanted(ret, family);
    if (rc != WEIR_ENONAME)
        return rc == 0 ? 0 : target_tell_scope(rc, host, strlen(host));
    if (name_fold(name, host) && find_cached(name, family, ret) == 0)
        return 0;
    rc = target_check_name(host);
    return rc < 0 ? rc : -EAGAIN;
}

int resolve_begin(struct resolve_request **ret, const char *host, int family,
                  const struct resolve_client *client)
{
    struct answer *answers[2] = {NULL, NULL};
    struct resolve_request *r;
    struct name name;
    int rc = look(host, family, &name, answers);

    r = rc == 0 || rc == -EAGAIN ? request_new(client, answers) : NULL;
    if (!r && (rc == 0 || rc == -EAGAIN))
        rc = -ENOMEM;
    if (rc == 0)
        r->released = true;
    if (rc == -EAGAIN)
        rc = begin_flights(r, &name, family);
    if (rc == 0 || rc == -EINPROGRESS) {
        *ret = r;
    } else {
        answer_unref(answers[0]);
        answer_unref(answers[1]);
        if (r)
            request_free(r);
    }
    if (rc != -EINPROGRESS)
        client->release(client->arg);
    return rc;
}

/* A family that was in flight in the parent process is begun anew, or fails for good. Returns what
 * is left of its flight, to be freed. (lock) */
static struct flight *join_anew(struct slot *slot, struct flight **spare)
{
    struct flight *lost = flight_leave(slot);
    int rc = *spare ? flight_join(slot, spare) : -ENOMEM;

    if (rc < 0) {
        atomic_store_explicit(&slot->answer, answer_failure(WEIR_ENAMEAGAIN, WEIR_FROM_DNS, 0),
                              memory_order_relaxed);
        slot->request->missing--;
    }
    return lost;
}

static void begin_anew(struct resolve_request *r)
{
    struct flight *spares[2] = {NULL, NULL}, *lost[2] = {NULL, NULL};
    bool wake, release;

    for (int i = 0; i < 2; i++)
        if (r->slots[i].flight)
            spares[i] = flight_new(&r->slots[i].flight->name, families[i]);
    pthread_mutex_lock(&resolver.lock);
    r->forks = atomic_load_explicit(&resolver.forks, memory_order_relaxed);
    for (int i = 0; i < 2; i++)
        if (r->slots[i].flight)
            lost[i] = join_anew(&r->slots[i], &spares[i]);
    release = r->missing == 0 && !r->released;
    r->released |= release;
    wake = flight_must_wake();
    pthread_mutex_unlock(&resolver.lock);
    flight_wake(wake);
    for (int i = 0; i < 2; i++) {
        flight_free(spares[i]);
        flight_free(lost[i]);
    }
    if (release)
        r->client.release(r->client.arg);
}

const struct answer *resolve_answer(struct resolve_request *r, int family)
{
    struct answer *_Atomic *answer = &r->slots[family_index(family)].answer;
    const struct answer *a = atomic_load_explicit(answer, memory_order_acquire);

    if (a || r->forks == atomic_load_explicit(&resolver.forks, memory_order_relaxed))
        return a;
    begin_anew(r);
    return atomic_load_explicit(answer, memory_order_acquire);
}

void resolve_end(struct resolve_request *r)
{
    struct flight *left[2] = {NULL, NULL};
    struct resolve_client client;
    bool release, told, wake;

    if (!r)
        return;
    client = r->client;
    pthread_mutex_lock(&resolver.lock);
    for (int i = 0; i < 2; i++)
        if (r->slots[i].flight)
            left[i] = flight_leave(&r->slots[i]);
    told = r->told;
    r->ended = true;
    release = !told && !r->released;
    wake = flight_must_wake();
    pthread_mutex_unlock(&resolver.lock);
    flight_wake(wake);
    flight_free(left[0]);
    flight_free(left[1]);
    if (told)
        return; /* whoever tells it does the rest */
    request_free(r);
    if (release)
        client.release(client.arg);
}
