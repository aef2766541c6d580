/* Channels. The lock is never held while anybody waits; an item goes straight into the buffer of a
 * receiver that waits, or out of that of a sender, so whoever was woken has nothing left to do, and
 * one who is cancelled or late at that moment has his item all the same.
 *
 * While receivers wait there is no item, while senders wait there is no room; never do both. */
#include "../clock.h"
#include "../sys.h"
#include "../wait.h"

#include <pthread.h>
#include <string.h>
#include <weir/error.h>
#include <weir/task.h>

/* A call that waits, on its caller's stack. */
struct party {
    struct sleeper sleeper;
    struct party *next, *previous; /* `next` ends in NULL */
    void *item;                    /* a sender's is only read */
    bool served;
    bool queued;
};

struct queue {
    struct party *first, *last;
};

struct weir_channel {
    pthread_mutex_t lock; /* for everything below that changes */
    size_t owners;
    size_t item_size, capacity;
    size_t head, count; /* of the items in `ring` */
    struct queue senders, receivers;
    bool shut;
    _Alignas(max_align_t) char ring[];
};

/* ---- those who wait -------------------------------------------------------------------------- */

static void enqueue(struct queue *q, struct party *p)
{
    p->queued = true;
    p->next = NULL;
    p->previous = q->last;
    if (q->last)
        q->last->next = p;
    else
        q->first = p;
    q->last = p;
}

static void dequeue(struct queue *q, struct party *p)
{
    p->queued = false;
    if (p->next)
        p->next->previous = p->previous;
    else
        q->last = p->previous;
    if (p->previous)
        p->previous->next = p->next;
    else
        q->first = p->next;
}

/* Lets the one who waits longest go, or returns NULL. He is there until the lock is given up. */
static struct party *release_first(struct queue *q, bool served)
{
    struct party *p = q->first;

    if (p) {
        dequeue(q, p);
        p->served = served;
        sleeper_wake(&p->sleeper);
    }
    return p;
}

/* Waits until somebody takes `p` out of the queue. The channel is locked on entry and on return. */
static int wait_in(weir_channel *c, struct queue *q, struct party *p, uint64_t deadline_ns)
{
    int rc = 1;

    enqueue(q, p);
    while (rc > 0 && p->queued) {
        sleeper_init_for(&p->sleeper, q == &c->senders ? AWAITS_ROOM : AWAITS_TAKE, c);
        pthread_mutex_unlock(&c->lock);
        rc = sleeper_sleep(&p->sleeper, deadline_ns);
        pthread_mutex_lock(&c->lock);
    }
    if (!p->queued)
        return 0;
    dequeue(q, p);
    return rc == 0 ? WEIR_EDEADLINE : rc;
}

/* ---- items ----------------------------------------------------------------------------------- */

static char *slot(weir_channel *c, size_t i)
{
    i += c->head;
    return c->ring + (i < c->capacity ? i : i - c->capacity) * c->item_size;
}

/* Hands an item to whoever waits, or keeps it: false if there is no room. */
static bool put(weir_channel *c, const void *item)
{
    struct party *receiver = release_first(&c->receivers, true);

    if (!receiver && c->count == c->capacity)
        return false;
    memcpy(receiver ? receiver->item : slot(c, c->count++), item, c->item_size);
    return true;
}

/* Takes the item that came first: false if there is none. */
static bool take(weir_channel *c, void *item)
{
    if (c->count == 0) {
        struct party *sender = release_first(&c->senders, true);
        if (sender)
            memcpy(item, sender->item, c->item_size);
        return sender;
    }
    memcpy(item, slot(c, 0), c->item_size);
    c->head = c->head + 1 < c->capacity ? c->head + 1 : 0;
    c->count--;
    struct party *sender = release_first(&c->senders, true);
    if (sender)
        memcpy(slot(c, c->count++), sender->item, c->item_size);
    return true;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static int send_locked(weir_channel *c, void *item, bool waits, uint64_t deadline_ns)
{
    if (c->shut)
        return WEIR_ECLOSED;
    if (put(c, item))
        return 0;
    if (!waits)
        return -EAGAIN;
    struct party self = {.item = item};
    int rc = wait_in(c, &c->senders, &self, deadline_ns);
    return rc == 0 && !self.served ? WEIR_ECLOSED : rc;
}

static int recv_locked(weir_channel *c, void *item, bool waits, uint64_t deadline_ns)
{
    if (take(c, item))
        return 1;
    if (c->shut)
        return 0;
    if (!waits)
        return -EAGAIN;
    struct party self = {.item = item};
    int rc = wait_in(c, &c->receivers, &self, deadline_ns);
    return rc == 0 ? self.served : rc;
}

static int call(weir_channel *c, void *item, int (*way)(weir_channel *, void *, bool, uint64_t),
                bool waits)
{
    uint64_t deadline_ns = NEVER;

    if (!c || !item)
        return -EINVAL;
    int rc = waits ? wait_begin(&deadline_ns) : 0;
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->lock);
    rc = way(c, item, waits, deadline_ns);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int weir_channel_send(weir_channel *c, const void *item)
{
    return call(c, (void *)(uintptr_t)item, send_locked, true);
}

int weir_channel_recv(weir_channel *c, void *item)
{
    return call(c, item, recv_locked, true);
}

int weir_channel_try_send(weir_channel *c, const void *item)
{
    return call(c, (void *)(uintptr_t)item, send_locked, false);
}

int weir_channel_try_recv(weir_channel *c, void *item)
{
    return call(c, item, recv_locked, false);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

int weir_channel_open(weir_channel **ret, size_t item_size, size_t capacity)
{
    size_t size;

    if (!ret || item_size == 0 || __builtin_mul_overflow(item_size, capacity, &size) ||
        size > PTRDIFF_MAX - sizeof(weir_channel))
        return -EINVAL;
    weir_channel *c = sys_alloc(sizeof *c + size);
    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->owners = 1;
    c->item_size = item_size;
    c->capacity = capacity;
    *ret = c;
    return 0;
}

weir_channel *weir_channel_ref(weir_channel *c)
{
    if (c) {
        pthread_mutex_lock(&c->lock);
        c->owners++;
        pthread_mutex_unlock(&c->lock);
    }
    return c;
}

static void shut(weir_channel *c)
{
    c->shut = true;
    while (release_first(&c->senders, false) || release_first(&c->receivers, false))
        continue;
}

int weir_channel_shut(weir_channel *c)
{
    if (c) {
        pthread_mutex_lock(&c->lock);
        shut(c);
        pthread_mutex_unlock(&c->lock);
    }
    return 0;
}

int weir_channel_close(weir_channel *c)
{
    if (!c)
        return 0;
    pthread_mutex_lock(&c->lock);
    shut(c);
    bool last = --c->owners == 0;
    pthread_mutex_unlock(&c->lock);
    if (last) {
        pthread_mutex_destroy(&c->lock);
        free(c);
    }
    return 0;
}
