/* Happy Eyeballs: see race.h. */
#include "race.h"

#include <assert.h>
#include <errno.h>
#include <weir/error.h>

enum { LIST_IPV6, LIST_IPV4, LISTS };

static unsigned list_of(int family)
{
    return family == AF_INET ? LIST_IPV4 : LIST_IPV6;
}

/* An address is named by its list and its place there. */
static unsigned index_of(unsigned list, size_t place)
{
    return (unsigned)place * LISTS + list;
}

const weir_address *race_address(const struct race *r, unsigned index)
{
    return &r->lists[index % LISTS].list[index / LISTS].address;
}

void race_init(struct race *r, int family, unsigned max_live)
{
    assert(max_live >= 1 && max_live <= RACE_LIVE_MAX);
    *r = (struct race){.max_live = max_live};
    for (unsigned i = 0; i < LISTS; i++)
        r->lists[i].pending = family == AF_UNSPEC || i == list_of(family);
}

/* How much a failure says about what is wrong. That a family is not routed from here says little
 * about the host, that a name has no address of one family still less. */
static int weight(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case WEIR_ENONAME:
        return 1;
    case -ENETUNREACH:
    case -EHOSTUNREACH:
    case -ENETDOWN:
    case -EADDRNOTAVAIL:
    case -EAFNOSUPPORT:
        return 2;
    case WEIR_ENAMESERVER:
        return 3;
    case WEIR_ENAMEAGAIN:
        return 4;
    default:
        return 5;
    }
}

static void note_failure(struct race *r, int rc)
{
    if (weight(rc) >= weight(r->rc))
        r->rc = rc;
}

/* Moves on to the next address that was not tried before. Looking back only now, not when the
 * list arrives, spreads the cost of long lists over the attempts. */
static void skip_repeats(struct race_list *l)
{
    for (; l->next < l->count; l->next++) {
        size_t earlier = 0;
        while (!weir_address_equal(&l->list[earlier].address, &l->list[l->next].address))
            earlier++;
        if (earlier == l->next)
            return;
    }
}

void race_answer(struct race *r, int family, int rc, const struct ranked *list, size_t count,
                 uint64_t now_ns)
{
    struct race_list *l = &r->lists[list_of(family)];
    assert(l->pending);
    l->pending = false;
    if (rc || !count) {
        note_failure(r, rc ? rc : WEIR_ENONAME);
        return;
    }
    l->list = list;
    l->count = count;
    if (!r->started && r->lists[LIST_IPV6].pending)
        r->start_ns = now_ns + RACE_RESOLUTION_DELAY_NS;
}

/* Takes an attempt off the list of those that go on; false if it is not there. */
static bool forget(struct race *r, unsigned index)
{
    for (unsigned i = 0; i < r->live_count; i++) {
        if (r->live[i] == index) {
            r->live[i] = r->live[--r->live_count];
            return true;
        }
    }
    return false;
}

void race_connected(struct race *r, unsigned index)
{
    if (r->won || !forget(r, index))
        return;
    r->won = true;
    r->winner = index;
}

void race_failed(struct race *r, unsigned index, int rc)
{
    if (!forget(r, index))
        return;
    note_failure(r, rc);
    r->start_ns = 0;
}

void race_abandon(struct race *r, int rc)
{
    if (!r->won)
        r->abandoned = rc;
}

/* The list that the next attempt is taken from, or LISTS if there is none left. */
static unsigned next_list(const struct race *r)
{
    const struct race_list *a = &r->lists[LIST_IPV6], *b = &r->lists[LIST_IPV4];
    if (a->next == a->count)
        return b->next == b->count ? LISTS : LIST_IPV4;
    if (b->next == b->count)
        return LIST_IPV6;
    const struct ranked *best_a = &a->list[a->next], *best_b = &b->list[b->next];
    if (best_a->reachable != best_b->reachable)
        return best_a->reachable ? LIST_IPV6 : LIST_IPV4;
    if (!r->started)
        return order_compare(best_a, best_b) <= 0 ? LIST_IPV6 : LIST_IPV4;
    return r->last == LIST_IPV6 ? LIST_IPV4 : LIST_IPV6;
}

static struct race_step start(struct race *r, unsigned list, uint64_t now_ns)
{
    struct race_list *l = &r->lists[list];
    unsigned index = index_of(list, l->next++);
    skip_repeats(l);
    r->live[r->live_count++] = index;
    r->last = list;
    r->started = true;
    r->start_ns = now_ns + RACE_ATTEMPT_DELAY_NS;
    return (struct race_step){.action = RACE_START, .index = index};
}

static struct race_step end(struct race *r)
{
    if (r->live_count)
        return (struct race_step){.action = RACE_CLOSE, .index = r->live[--r->live_count]};
    if (r->abandoned)
        return (struct race_step){.action = RACE_FAILED, .rc = r->abandoned};
    return (struct race_step){.action = RACE_WON, .index = r->winner};
}

struct race_step race_next(struct race *r, uint64_t now_ns)
{
    if (r->won || r->abandoned)
        return end(r);

    unsigned list = next_list(r);
    bool pending = r->lists[LIST_IPV6].pending || r->lists[LIST_IPV4].pending;
    if (list == LISTS && !pending && !r->live_count)
        return (struct race_step){.action = RACE_FAILED, .rc = r->rc};
    if (list == LISTS || r->live_count == r->max_live)
        return (struct race_step){.action = RACE_WAIT, .at_ns = NEVER};

    bool hold = r->started || r->lists[LIST_IPV6].pending;
    if (hold && now_ns < r->start_ns)
        return (struct race_step){.action = RACE_WAIT, .at_ns = r->start_ns};
    return start(r, list, now_ns);
}
