/* Operations that a loop carries out itself: whatever becomes of them, each ends once, and no byte
 * is lost or taken twice. */
#include "support/chance.h"
#include "support/loop_rig.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct loop_rig rig;
static struct actor waiter; /* whose task is woken */
static int fds[2];

static int set_up(void **state)
{
    (void)state;
    alarm(60);
    memset(&waiter, 0, sizeof waiter);
    if (!loop_rig_open(&rig, WEIR_LOOP_IO_URING))
        return 0;
    waiter.task.context.loop = rig.loop;
    unix_pair(fds);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alarm(0);
    if (!rig.loop)
        return 0;
    loop_rig_close(&rig);
    close_both(fds);
    return 0;
}

#define NEEDS_A_LOOP()                                                                             \
    do {                                                                                           \
        if (!rig.loop)                                                                             \
            skip();                                                                                \
    } while (0)

static void begin(struct loop_operation *op, enum loop_operation_kind kind, const void *buf,
                  size_t len)
{
    *op = (struct loop_operation){
        .kind = kind, .fd = fds[0], .out = buf, .len = len, .task = &waiter.task};
    assert_int_equal(rig.loop->ops->start(rig.loop, op), 0);
}

static void cancel(struct loop_operation *op)
{
    rig.loop->ops->cancel(rig.loop, op);
}

static ssize_t ended(struct loop_operation *op)
{
    while (!op->done)
        loop_rig_turn(&rig);
    return op->result;
}

/* ---- one at a time ------------------------------------------------------------------------- */

static void receives(void **state)
{
    struct loop_operation op;
    char buf[8] = "";

    (void)state;
    NEEDS_A_LOOP();
    put(fds[1]);
    begin(&op, LOOP_RECV, buf, sizeof buf);
    assert_int_equal(ended(&op), 1);
    assert_int_equal(buf[0], 'x');
    begin(&op, LOOP_RECV, buf, sizeof buf);
    loop_rig_settle(&rig);
    assert_false(op.done);
    put(fds[1]);
    assert_int_equal(ended(&op), 1);
    begin(&op, LOOP_RECV, buf, sizeof buf);
    loop_rig_settle(&rig);
    shutdown(fds[1], SHUT_WR);
    assert_int_equal(ended(&op), 0);
}

static void sends(void **state)
{
    struct loop_operation op;
    char buf[4] = "";

    (void)state;
    NEEDS_A_LOOP();
    begin(&op, LOOP_SEND, "abc", 3);
    assert_int_equal(ended(&op), 3);
    assert_int_equal(recv(fds[1], buf, sizeof buf, 0), 3);
    assert_string_equal(buf, "abc");
}

/* Nobody waits for room, and SIGPIPE would end the test. */
static void sends_in_vain(void **state)
{
    struct loop_operation op;

    (void)state;
    NEEDS_A_LOOP();
    fill(fds[0]);
    begin(&op, LOOP_SEND, "abc", 3);
    assert_int_equal(ended(&op), -EAGAIN);
    shutdown(fds[1], SHUT_WR);
    begin(&op, LOOP_SEND, "abc", 3);
    assert_int_equal(ended(&op), -EAGAIN);
    shutdown(fds[1], SHUT_RD);
    begin(&op, LOOP_SEND, "abc", 3);
    assert_int_equal(ended(&op), -EPIPE);
}

static void is_cancelled(void **state)
{
    struct loop_operation op;
    char buf[8];

    (void)state;
    NEEDS_A_LOOP();
    for (int submitted = 0; submitted < 2; submitted++) {
        begin(&op, LOOP_RECV, buf, sizeof buf);
        if (submitted)
            loop_rig_settle(&rig);
        cancel(&op);
        assert_int_equal(ended(&op), -ECANCELED);
        put(fds[1]);
        begin(&op, LOOP_RECV, buf, sizeof buf);
        assert_int_equal(ended(&op), 1);
    }
}

/* What has happened is told, whoever has cancelled it meanwhile. */
static void is_cancelled_too_late(void **state)
{
    struct loop_operation op;
    char buf[8];

    (void)state;
    NEEDS_A_LOOP();
    put(fds[1]);
    begin(&op, LOOP_RECV, buf, sizeof buf);
    cancel(&op);
    assert_int_equal(ended(&op), 1);
    begin(&op, LOOP_SEND, "abc", 3);
    cancel(&op);
    assert_int_equal(ended(&op), 3);
}

/* The kernel has the file: the operation goes on, and the peer notices its end only then. */
static void number_is_closed_meanwhile(void **state)
{
    struct loop_operation op, other;
    char buf[8], more[8];
    int pair[2];

    (void)state;
    NEEDS_A_LOOP();
    begin(&op, LOOP_RECV, buf, sizeof buf);
    loop_rig_settle(&rig);
    unix_pair(pair);
    assert_int_equal(dup3(pair[0], fds[0], O_CLOEXEC), fds[0]);
    begin(&other, LOOP_RECV, more, sizeof more);
    loop_rig_settle(&rig);
    put(pair[1]);
    assert_int_equal(ended(&other), 1);
    assert_false(op.done);
    cancel(&op);
    assert_int_equal(ended(&op), -ECANCELED);
    assert_int_equal(recv(fds[1], buf, 1, 0), 0);
    close_both(pair);
}

/* ---- many ---------------------------------------------------------------------------------- */

#define MANY 1500 /* more than there is room for at a time */

static void many_at_once(void **state)
{
    struct loop_operation *ops = sys_alloc(MANY * sizeof *ops);
    char *bytes = sys_alloc(MANY);

    (void)state;
    NEEDS_A_LOOP();
    for (int i = 0; i < MANY; i++)
        begin(&ops[i], LOOP_RECV, &bytes[i], 1);
    for (int i = 0; i < MANY; i += 2)
        cancel(&ops[i]);
    loop_rig_settle(&rig);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(ops[i].done, i % 2 == 0);
    assert_int_equal(write(fds[1], bytes, MANY / 2), MANY / 2);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(ended(&ops[i]), i % 2 ? 1 : -ECANCELED);
    free(bytes);
    free(ops);
}

static int refuses;

static int refuse_to_enter(enum sys_call call)
{
    return call == SYS_RING_ENTER && refuses > 0 ? refuses--, -EAGAIN : 0;
}

static const struct sys_faults moody = {.error = refuse_to_enter};

/* No room for the request to cancel: it is made as soon as there is, unless the operation has ended
 * by then. */
static void cancelled_without_room(void **state)
{
    struct loop_operation *ops = sys_alloc(MANY * sizeof *ops);
    char *bytes = sys_alloc(MANY);
    int count = 0;

    (void)state;
    NEEDS_A_LOOP();
    assert_int_equal(write(fds[1], bytes, 100), 100);
    loop_rig_settle(&rig);
    sys_faults = &moody;
    refuses = MANY;
    for (; count < MANY; count++) {
        struct loop_operation *op = &ops[count];
        *op = (struct loop_operation){.fd = fds[0], .buf = bytes, .len = 1, .task = &waiter.task};
        if (rig.loop->ops->start(rig.loop, op) < 0)
            break;
    }
    assert_in_range(count, 101, MANY - 1);
    refuses = count + 1; /* each, and all of them in the first turn */
    for (int i = 0; i < count; i++)
        cancel(&ops[i]);
    for (int i = 0; i < count; i++) {
        assert_int_equal(ended(&ops[i]), i < 100 ? 1 : -ECANCELED);
        memset(&ops[i], 0xff, sizeof ops[i]);
        loop_rig_settle(&rig);
    }
    assert_int_equal(refuses, 0);
    sys_faults = NULL;
    free(bytes);
    free(ops);
}

/* ---- anything, in any order ---------------------------------------------------------------- */

#define ROUNDS 50000

static unsigned char byte_of(size_t place)
{
    return (unsigned char)(place * 31 + (place >> 8));
}

static size_t check_bytes(const unsigned char *buf, ssize_t n, size_t place)
{
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(buf[i], byte_of(place + (size_t)i));
    return place + (n > 0 ? (size_t)n : 0);
}

static size_t put_bytes(int fd, size_t count, size_t place)
{
    unsigned char buf[64];

    for (size_t i = 0; i < count; i++)
        buf[i] = byte_of(place + i);
    ssize_t n = send(fd, buf, count, 0);
    return place + (n > 0 ? (size_t)n : 0);
}

/* Turns, or not, before and after the cancel, so that it meets the operation in every state. */
static void meet_by_chance(struct loop_operation *op, struct chance *chance)
{
    if (chance_below(chance, 3) == 0)
        loop_rig_settle(&rig);
    if (chance_below(chance, 2) == 0) {
        cancel(op);
        if (chance_below(chance, 2) == 0)
            loop_rig_settle(&rig);
    }
}

static void received_by_chance(void **state)
{
    struct chance chance = chance_of(0);
    size_t sent = 0, received = 0;
    struct loop_operation op;
    unsigned char buf[64];

    (void)state;
    NEEDS_A_LOOP();
    for (int round = 0; round < ROUNDS; round++) {
        if (chance_below(&chance, 2) == 0)
            sent = put_bytes(fds[1], 1 + chance_below(&chance, 64), sent);
        begin(&op, LOOP_RECV, buf, 1 + chance_below(&chance, 64));
        if (chance_below(&chance, 2) == 0)
            loop_rig_settle(&rig);
        if (chance_below(&chance, 2) == 0)
            sent = put_bytes(fds[1], 1 + chance_below(&chance, 64), sent);
        meet_by_chance(&op, &chance);
        if (!op.done && sent == received)
            cancel(&op);
        ssize_t n = ended(&op);
        assert_true(n > 0 || n == -ECANCELED);
        received = check_bytes(buf, n, received);
    }
    ssize_t n;
    while ((n = recv(fds[0], buf, sizeof buf, 0)) > 0)
        received = check_bytes(buf, n, received);
    assert_int_equal(received, sent);
}

static void sent_by_chance(void **state)
{
    struct chance chance = chance_of(1);
    size_t sent = 0, received = 0;
    struct loop_operation op;
    unsigned char buf[64], in[4096];

    (void)state;
    NEEDS_A_LOOP();
    for (int round = 0; round < ROUNDS; round++) {
        size_t len = 1 + chance_below(&chance, 64);
        for (size_t i = 0; i < len; i++)
            buf[i] = byte_of(sent + i);
        begin(&op, LOOP_SEND, buf, len);
        meet_by_chance(&op, &chance);
        ssize_t n = ended(&op);
        assert_true(n > 0 || n == -ECANCELED || n == -EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        if (chance_below(&chance, 100) == 0 || n == -EAGAIN)
            while ((n = recv(fds[1], in, sizeof in, 0)) > 0)
                received = check_bytes(in, n, received);
    }
    ssize_t n;
    while ((n = recv(fds[1], in, sizeof in, 0)) > 0)
        received = check_bytes(in, n, received);
    assert_int_equal(received, sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(receives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sends_in_vain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_cancelled_too_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(number_is_closed_meanwhile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled_without_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(received_by_chance, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sent_by_chance, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
