/* io_uring(7). What is asked for goes to the kernel with the wait of the next turn, in one system
 * call.
 *
 * A descriptor is watched by a poll for each of its two sides, until it has reported: what has come
 * is asked for again only when somebody waits again, and a connection that nobody waits for costs
 * nothing. An armed poll keeps the kernel's file open, whatever becomes of the descriptor's number,
 * so it is taken back when nobody waits any more.
 *
 * By liburing 2.3; what later kernels offer beyond that is defined here. */
#include "../clock.h"
#include "../sys.h"
#include "../task/sanitizer.h"
#include "loop.h"

#include <liburing.h>
#include <string.h>

#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#define IORING_FEAT_NO_IOWAIT  (1U << 17)
#endif

/* Completions beyond that wait in the kernel. Rings count as locked memory, of which there may be
 * as little as 8 MiB for all programs of a user. */
#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096
#define HARVEST    64

/* What came with Linux 5.19, or before: nothing gets lost when completions come too fast, a wait
 * has a time limit, a request that succeeds may be silent, and a batch goes on after one that
 * fails. */
#define NEEDED_FEATURES (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)
#define NEEDED_FLAGS                                                                               \
    (IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED |                          \
     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG)

/* Requests in flight carry one of
 *     serial number << 32 | side << 30 | descriptor     a poll
 *     the address of an operation, moved apart at bit 31, which is set
 *     WOKEN, SILENT: addresses at which there is no operation */
#define SIDE_SHIFT 30
#define FD_MASK    ((1U << SIDE_SHIFT) - 1)
#define NO_POLL    (UINT64_C(1) << 31)
#define WOKEN      (NO_POLL | 1)
#define SILENT     (NO_POLL | 2)

enum { SIDES = 2 };
static const short side_events[SIDES] = {POLLIN, POLLOUT};

/* The polls of a descriptor. A poll that has been taken back may have been completed just before:
 * the serial number tells it from the one that was armed in its place. */
struct watch {
    uint32_t armed[SIDES]; /* serial numbers, or one of the following */
    uint32_t batch;        /* with which the last request for it goes to the kernel */
    int next_unsent;       /* in the ring's list: a place; 0: not in there */
};

enum {
    NOT_ARMED,
    UNSENT, /* the request for it has found no room: it is in the list */
    FIRST_SERIAL,
};

/* A place in the list of watches: a descriptor + 1, or the end. */
#define LIST_END (-1)

struct ring {
    struct io_uring uring;
    bool open, enabled;
    bool wakeable; /* `wake_fd` is watched */
    bool under_valgrind;
    int wake_fd;
    unsigned enter_flags;
    uint32_t serial, batch;
    struct watch *watches; /* by descriptor */
    int watch_count;
    struct loop_operation *to_cancel; /* the requests for that found no room */
    int unsent;                       /* watches of which some poll is UNSENT, perhaps */
};

/* ---- entering the kernel ------------------------------------------------------------------- */

/* A ring belongs to the thread that enables it, which is the first that enters.
 *
 * Submits what is prepared, lets the kernel post what is done, and waits for `wait_for`
 * completions. By hand, because liburing 2.3 has no way to say NO_IOWAIT: a thread that waits in a
 * ring would look like one that waits for a disk. */
static int enter(struct ring *r, unsigned wait_for, const struct timespec *timeout)
{
    struct io_uring_sq *sq = &r->uring.sq;
    struct __kernel_timespec left;
    struct io_uring_getevents_arg arg = {0};
    int rc = sys_fault(SYS_RING_ENTER);

    if (rc == 0 && !r->enabled) {
        rc = io_uring_register(r->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        r->enabled = rc == 0;
    }
    if (rc < 0)
        return rc;
    if (timeout) {
        left = (struct __kernel_timespec){timeout->tv_sec, timeout->tv_nsec};
        arg.ts = (uintptr_t)&left;
    }
    sq->sqe_head = sq->sqe_tail;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    rc = io_uring_enter2(r->uring.ring_fd, io_uring_sq_ready(&r->uring), wait_for, r->enter_flags,
                         (sigset_t *)&arg, sizeof arg);
    r->batch += rc > 0 && io_uring_sq_ready(&r->uring) == 0;
    return rc;
}

/* Room for a request, or NULL if the kernel takes none. */
static struct io_uring_sqe *request(struct ring *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

    if (!sqe && enter(r, 0, NULL) >= 0)
        sqe = io_uring_get_sqe(&r->uring);
    return sqe;
}

/* ---- waking -------------------------------------------------------------------------------- */

/* A multishot poll tells each raise of the eventfd, which therefore need not be read. */
static bool watch_wake_fd(struct ring *r)
{
    struct io_uring_sqe *sqe = r->wakeable ? NULL : request(r);

    if (!sqe)
        return r->wakeable;
    io_uring_prep_poll_multishot(sqe, r->wake_fd, POLLIN);
    sqe->user_data = WOKEN;
    return r->wakeable = true;
}

static void ring_wake(struct loop *l)
{
    const struct ring *r = l->backend;

    sys_eventfd_raise(r->wake_fd);
}

/* ---- opening and closing ------------------------------------------------------------------- */

#if SANITIZER_THREAD
#include <sanitizer/tsan_interface.h>

/* liburing maps and unmaps by system calls that ThreadSanitizer does not see: what one ring did is
 * not to be held against another that has the same place later. */
static char ring_memory;

static void memory_came(void)
{
    __tsan_acquire(&ring_memory);
}

static void memory_goes(void)
{
    __tsan_release(&ring_memory);
}
#else
static void memory_came(void)
{
}

static void memory_goes(void)
{
}
#endif

static void ring_close(struct loop *l)
{
    struct ring *r = l->backend;

    memory_goes();
    if (r->open)
        io_uring_queue_exit(&r->uring);
    sys_close(r->wake_fd);
    free(r->watches);
    free(r);
    l->backend = NULL;
}

/* The second way is for Linux 5.19 and 6.0, and for whoever waits by poll(2). */
static int set_up(struct ring *r)
{
    static const unsigned ways[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_COOP_TASKRUN,
    };
    int rc = sys_fault(SYS_RING_SETUP);

    for (size_t i = r->under_valgrind; rc == 0 && i < sizeof ways / sizeof *ways; i++) {
        struct io_uring_params p = {.flags = NEEDED_FLAGS | ways[i], .cq_entries = CQ_ENTRIES};
        rc = io_uring_queue_init_params(SQ_ENTRIES, &r->uring, &p);
        if (rc != -EINVAL)
            break;
        rc = i + 1 < sizeof ways / sizeof *ways ? 0 : rc;
    }
    r->open = rc == 0;
    return rc;
}

/* What allows a ring to be made may still forbid its use: a filter of system calls, for one. A ring
 * that is not enabled answers EBADFD. */
static int try_to_enter(struct ring *r)
{
    int rc = sys_fault(SYS_RING_ENTER);

    if (rc == 0)
        rc = io_uring_enter(r->uring.ring_fd, 0, 0, 0, NULL);
    return rc == -EBADFD ? 0 : rc;
}

static int try_to_register(struct ring *r)
{
    struct io_uring_probe probe = {0};

    return io_uring_register_probe(&r->uring, &probe, 0);
}

static int ring_open(struct loop *l, const char **ret_step)
{
    struct ring *r = sys_alloc(sizeof *r);
    int rc;

    *ret_step = "memory";
    if (!r)
        return -ENOMEM;
    l->backend = r;
    r->under_valgrind = RUNNING_ON_VALGRIND;
    r->serial = FIRST_SERIAL;
    r->unsent = LIST_END;
    *ret_step = "eventfd";
    rc = r->wake_fd = sys_eventfd();
    if (rc >= 0) {
        *ret_step = "io_uring_setup";
        rc = set_up(r);
    }
    if (rc == 0 && (r->uring.features & NEEDED_FEATURES) != NEEDED_FEATURES)
        rc = -ENOSYS;
    if (rc == 0) {
        *ret_step = "io_uring_enter";
        rc = try_to_enter(r);
    }
    if (rc == 0) {
        *ret_step = "io_uring_register";
        rc = try_to_register(r);
    }
    if (rc < 0) {
        ring_close(l);
        return rc;
    }
    memory_came();
    r->enter_flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (r->uring.features & IORING_FEAT_NO_IOWAIT)
        r->enter_flags |= IORING_ENTER_NO_IOWAIT;
    return 0;
}

/* ---- watching ------------------------------------------------------------------------------ */

static int reserve(struct ring *r, int fd)
{
    int count = r->watch_count ? r->watch_count : 64;

    if (fd < r->watch_count)
        return 0;
    if ((unsigned)fd > FD_MASK)
        return -EMFILE;
    while (count <= fd)
        count *= 2;
    struct watch *watches = sys_alloc((size_t)count * sizeof *watches);
    if (!watches)
        return -ENOMEM;
    if (r->watches)
        memcpy(watches, r->watches, (size_t)r->watch_count * sizeof *watches);
    free(r->watches);
    r->watches = watches;
    r->watch_count = count;
    return 0;
}

static uint64_t poll_data(int fd, int side, uint32_t serial)
{
    return (uint64_t)serial << 32 | (uint32_t)side << SIDE_SHIFT | (uint32_t)fd;
}

/* A poll reports POLLRDHUP unasked, and at once: for somebody who waits to write to a peer that has
 * sent all it had to send this is no news. A one-shot poll would tell it for ever, a multishot poll
 * tells it once. */
static bool send_poll(struct ring *r, int fd, int side)
{
    struct watch *w = &r->watches[fd];
    struct io_uring_sqe *sqe = request(r);

    if (!sqe)
        return false;
    r->serial = r->serial == UINT32_MAX ? FIRST_SERIAL : r->serial + 1;
    w->armed[side] = r->serial;
    w->batch = r->batch;
    if (side == 0)
        io_uring_prep_poll_add(sqe, fd, POLLIN | POLLRDHUP);
    else
        io_uring_prep_poll_multishot(sqe, fd, POLLOUT);
    sqe->user_data = poll_data(fd, side, r->serial);
    return true;
}

static void arm(struct ring *r, int fd, int side, struct slot *slot)
{
    struct watch *w = &r->watches[fd];

    slot->watched |= side_events[side];
    if (send_poll(r, fd, side))
        return;
    w->armed[side] = UNSENT;
    if (w->next_unsent == 0) {
        w->next_unsent = r->unsent;
        r->unsent = fd + 1;
    }
}

/* False if not all of them have found room. */
static bool send_unsent(struct ring *r)
{
    while (r->unsent != LIST_END) {
        int fd = r->unsent - 1;
        struct watch *w = &r->watches[fd];
        for (int side = 0; side < SIDES; side++)
            if (w->armed[side] == UNSENT && !send_poll(r, fd, side))
                return false;
        r->unsent = w->next_unsent;
        w->next_unsent = 0;
    }
    return true;
}

/* Not by IORING_OP_POLL_REMOVE, which gives up if the poll is about to report something. */
static bool ask_for_end(struct ring *r, uint64_t data)
{
    struct io_uring_sqe *sqe = request(r);

    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, data, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = SILENT;
    return true;
}

/* Without room for the request the poll stays as it is, and ends with the next event. */
static void disarm(struct ring *r, int fd, int side, struct slot *slot)
{
    struct watch *w = &r->watches[fd];
    uint32_t serial = w->armed[side];

    if (serial == NOT_ARMED)
        return;
    if (serial != UNSENT) {
        if (!ask_for_end(r, poll_data(fd, side, serial)))
            return;
        w->batch = r->batch;
    }
    w->armed[side] = NOT_ARMED;
    slot->watched &= (short)~side_events[side];
}

static int ring_watch(struct loop *l, int fd, struct slot *slot, short events, bool fresh)
{
    struct ring *r = l->backend;
    int rc = reserve(r, fd);

    for (int side = 0; rc == 0 && side < SIDES; side++) {
        if (fresh) { /* what is armed is about another file */
            disarm(r, fd, side, slot);
            r->watches[fd].armed[side] = NOT_ARMED;
        }
        if (events & side_events[side] && r->watches[fd].armed[side] == NOT_ARMED)
            arm(r, fd, side, slot);
    }
    return rc;
}

/* If the number is about to be closed, no request that the kernel has not seen may be left: it
 * would find what the number stands for next, or keep open what was to be closed. */
static void ring_unwatch(struct loop *l, int fd, struct slot *slot, bool gone)
{
    struct ring *r = l->backend;

    if (fd >= r->watch_count)
        return;
    for (int side = 0; side < SIDES; side++)
        disarm(r, fd, side, slot);
    if (gone && r->watches[fd].batch == r->batch && io_uring_sq_ready(&r->uring) > 0)
        (void)enter(r, 0, NULL);
}

static void polled(struct loop *l, const struct io_uring_cqe *cqe)
{
    struct ring *r = l->backend;
    int fd = (int)(cqe->user_data & FD_MASK), side = (int)(cqe->user_data >> SIDE_SHIFT & 1);
    struct watch *w = &r->watches[fd];
    struct slot *slot = &l->slots[fd];
    bool goes_on = cqe->flags & IORING_CQE_F_MORE;

    if (w->armed[side] != (uint32_t)(cqe->user_data >> 32))
        return;
    if (goes_on && cqe->res == POLLRDHUP)
        return;
    if (goes_on)
        disarm(r, fd, side, slot);
    w->armed[side] = NOT_ARMED;
    slot->watched &= (short)~side_events[side];
    loop_report(l, loop_key(fd, slot->generation), cqe->res < 0 ? POLLNVAL : (short)cqe->res);
}

/* ---- operations ---------------------------------------------------------------------------- */

static uint64_t operation_data(const struct loop_operation *op)
{
    uint64_t address = (uintptr_t)op, low = NO_POLL - 1;

    return (address & ~low) << 1 | NO_POLL | (address & low);
}

static struct loop_operation *operation_of(uint64_t data)
{
    uint64_t low = NO_POLL - 1;

    return (struct loop_operation *)(uintptr_t)((data >> 1 & ~low) | (data & low));
}

/* A send that finds no room is not left to the kernel, which would wait for it in a thread if the
 * peer has ended its side: see `arm`. */
static int ring_start(struct loop *l, struct loop_operation *op)
{
    struct ring *r = l->backend;
    struct io_uring_sqe *sqe = request(r);

    if (!sqe)
        return -EAGAIN;
    op->done = false;
    if (op->kind == LOOP_RECV)
        io_uring_prep_recv(sqe, op->fd, op->buf, op->len, op->flags);
    else
        io_uring_prep_send(sqe, op->fd, op->out, op->len, op->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    sqe->user_data = operation_data(op);
    return 0;
}

static void ring_cancel(struct loop *l, struct loop_operation *op)
{
    struct ring *r = l->backend;

    if (ask_for_end(r, operation_data(op)))
        return;
    op->next = r->to_cancel;
    r->to_cancel = op;
}

static bool cancel_rest(struct ring *r)
{
    while (r->to_cancel && ask_for_end(r, operation_data(r->to_cancel)))
        r->to_cancel = r->to_cancel->next;
    return !r->to_cancel;
}

static void operation_ended(struct loop *l, struct loop_operation *op, int result)
{
    struct ring *r = l->backend;

    for (struct loop_operation **at = &r->to_cancel; *at; at = &(*at)->next)
        if (*at == op) {
            *at = op->next;
            break;
        }
    if (r->under_valgrind && op->kind == LOOP_RECV && result > 0)
        VALGRIND_MAKE_MEM_DEFINED_IF_ADDRESSABLE(op->buf, result);
    loop_done(l, op, result);
}

/* ---- turning ------------------------------------------------------------------------------- */

static void completed(struct loop *l, const struct io_uring_cqe *cqe)
{
    struct ring *r = l->backend;

    if (!(cqe->user_data & NO_POLL))
        polled(l, cqe);
    else if (cqe->user_data == WOKEN)
        r->wakeable = cqe->flags & IORING_CQE_F_MORE;
    else if (cqe->user_data != SILENT)
        operation_ended(l, operation_of(cqe->user_data), cqe->res);
}

/* The look at the completions enters the kernel by itself if the ring's memory tells that more are
 * to be had there. */
static void harvest(struct loop *l)
{
    struct ring *r = l->backend;
    struct io_uring_cqe *cqes[HARVEST];
    unsigned count;

    while ((count = io_uring_peek_batch_cqe(&r->uring, cqes, HARVEST)) > 0) {
        for (unsigned i = 0; i < count; i++)
            completed(l, cqes[i]);
        io_uring_cq_advance(&r->uring, count);
    }
}

/* Valgrind takes io_uring_enter(2) for a call that does not wait, and lets no other thread run
 * meanwhile. It knows better of poll(2). */
static int enter_under_valgrind(struct ring *r, const struct timespec *timeout)
{
    struct pollfd news = {.fd = r->uring.ring_fd, .events = POLLIN};
    int rc = enter(r, 0, NULL);

    return rc < 0 ? rc : sys_poll(&news, 1, timeout);
}

static int enter_and_wait(struct ring *r, uint64_t until_ns)
{
    struct timespec left;
    const struct timespec *timeout = clock_left(until_ns, &left);

    return r->under_valgrind ? enter_under_valgrind(r, timeout) : enter(r, 1, timeout);
}

/* How long the ring sleeps at a time while the kernel has not been told all that it is to watch. */
#define UNSENT_NS NS_PER_MS

static int ring_turn(struct loop *l, uint64_t until_ns)
{
    struct ring *r = l->backend;
    int rc = 0;

    if (!(watch_wake_fd(r) && cancel_rest(r) && send_unsent(r)) && until_ns != 0)
        until_ns = earlier(until_ns, sys_now() + UNSENT_NS);
    if (until_ns != 0)
        rc = enter_and_wait(r, until_ns);
    else if (io_uring_sq_ready(&r->uring) > 0)
        rc = enter(r, 0, NULL);
    harvest(l);
    return rc < 0 && rc != -EINTR && rc != -ETIME ? rc : 0;
}

const struct loop_ops loop_io_uring = {
    .name = "io_uring",
    .keeps_files = true,
    .open = ring_open,
    .close = ring_close,
    .watch = ring_watch,
    .unwatch = ring_unwatch,
    .turn = ring_turn,
    .wake = ring_wake,
    .start = ring_start,
    .cancel = ring_cancel,
};
