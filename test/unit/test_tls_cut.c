/* A stream that is cut off, at every byte of a session: what came whole is delivered, the end is an
 * error that stays, and only close_notify is a clean end. And a stream that comes a byte at a time.
 *
 * WEIR_SEED chooses the places where they are not all tried; it is printed. */
#include "support/chance.h"
#include "support/ground.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"
#include "sys.h"

#include <stdio.h>

/* How it is cut off. */
enum cut { NEVER_CUT, BY_SHUTDOWN, BY_CLOSE };

#define FIRST  100
#define SECOND 37

/* One session: the puppet says FIRST bytes, renews its keys, says SECOND bytes, and the end; so
 * much of that passes on. The puppet hears one byte, and so knows the socket's handshake to be
 * over. */
struct session {
    const struct puppet_row *row;
    uint64_t limit;
    enum cut cut;
    struct puppet *p;
    weir_socket *s;
    bool said, over;
    uint64_t shaken_at, first_at, second_at; /* what has to have passed on for each */
    uint64_t received;
    int end; /* 1 until there is one */
    bool greeted;
};

/* ---- the puppet's part ----------------------------------------------------------------------- */

static void say_all(struct session *t)
{
    struct puppet *p = t->p;
    CHECK(puppet_say(p, FIRST));
    t->first_at = p->given + puppet_owes(p);
    if (t->row->version == WEIR_TLS_1_3)
        CHECK(puppet_update_keys(p, false));
    CHECK(puppet_say(p, SECOND));
    t->second_at = p->given + puppet_owes(p);
    CHECK(puppet_say_end(p));
    t->said = true;
}

/* True if something has moved. */
static bool play(struct session *t)
{
    struct puppet *p = t->p;
    size_t before = p->given + p->taken;
    puppet_take(p, ALL);
    if (!p->shaken)
        (void)puppet_shake(p);
    if (p->shaken && !t->said)
        say_all(t);
    if (p->shaken)
        (void)puppet_hear(p);
    puppet_give(p, t->limit - p->given);
    if (t->cut && p->given == t->limit && !t->over) {
        if (t->cut == BY_SHUTDOWN)
            puppet_cut(p);
        else
            puppet_vanish(p);
        return t->over = true;
    }
    return p->given + p->taken > before;
}

/* ---- the socket's part ----------------------------------------------------------------------- */

static void keep(struct session *t, const unsigned char *bytes, ssize_t n)
{
    for (ssize_t i = 0; i < n; i++)
        CHECK(bytes[i] == tls_peer_byte(t->received++));
}

/* Until there is an end, or for a while nothing more to be had. */
static void use(struct session *t)
{
    unsigned char bytes[64], byte = tls_peer_byte(0);
    int rc = weir_handshake(t->s);
    if (rc == -EAGAIN)
        return;
    if (rc < 0) {
        t->end = rc;
        return;
    }
    if (!t->greeted)
        t->greeted = weir_send(t->s, &byte, 1) == 1;
    ssize_t n;
    while ((n = weir_recv(t->s, bytes, sizeof bytes)) > 0)
        keep(t, bytes, n);
    if (n != -EAGAIN)
        t->end = (int)n;
}

/* ---- what must hold at the end --------------------------------------------------------------- */

static bool is_right(const struct session *t, bool shaken)
{
    if (t->said && !puppet_owes(t->p))
        return t->end == 0;
    if (t->cut == BY_CLOSE && (t->end == -ECONNRESET || t->end == -EPIPE))
        return true;
    return t->end == (shaken ? WEIR_ETRUNCATED : WEIR_ETLS);
}

/* What has come whole. A reset may take it along. */
static void check_received(const struct session *t)
{
    uint64_t given = t->p->given;
    size_t due = 0;
    if (t->said && given >= t->first_at)
        due = given >= t->second_at ? FIRST + SECOND : FIRST;
    if (t->cut == BY_SHUTDOWN)
        EXPECT((long long)t->received, (long long)due);
    CHECK(t->received <= due);
}

static void check_end(const struct session *t)
{
    unsigned char byte = 0;
    char detail[512];
    int shaken = weir_handshake(t->s);
    CHECK(is_right(t, shaken == 0));
    EXPECT(shaken, shaken ? t->end : 0);
    EXPECT(weir_recv(t->s, &byte, 1), t->end);
    if (t->end < 0)
        EXPECT(weir_send(t->s, &byte, 1), t->end);
    EXPECT(weir_recv(t->s, &byte, 1), t->end);
    CHECK(t->end == 0 || weir_error_detail(t->s, detail, sizeof detail) > 0);
    CHECK(t->end != WEIR_ETLS || strstr(detail, "ended"));
    check_received(t);
    CHECK(!t->p->differs);
}

static void begin(struct session *t, const struct puppet_row *row, uint64_t limit, enum cut cut)
{
    *t = (struct session){.row = row, .limit = limit, .cut = cut, .end = 1};
    t->s = puppet_meet(&t->p, row);
}

static void end(struct session *t)
{
    CHECK(t->end <= 0);
    check_end(t);
    EXPECT(weir_close(t->s), 0);
    puppet_close(t->p);
}

/* ---- in non-blocking mode: all of them ------------------------------------------------------- */

/* Returns how much the puppet passed on. */
static uint64_t run(const struct puppet_row *row, uint64_t limit, enum cut cut)
{
    struct session t;
    begin(&t, row, limit, cut);
    EXPECT(weir_set_blocking(t.s, false), 0);
    do
        use(&t);
    while (play(&t));
    use(&t);
    uint64_t passed = t.p->given;
    end(&t);
    return passed;
}

/* The lengths of signatures vary. */
#define VARIES 16

static void cut_at_every_byte(void)
{
    unsigned step = ground_is_slow() ? 7 : 1;
    EACH_ROW(row)
    {
        uint64_t whole = run(row, UINT64_MAX, BY_SHUTDOWN) + VARIES;
        for (uint64_t at = 0; at < whole; at += step)
            run(row, at, BY_SHUTDOWN);
        for (uint64_t at = 0; at < whole; at += 8 * step)
            run(row, at, BY_CLOSE);
    }
}

/* ---- in blocking mode: some, everywhere ------------------------------------------------------ */

static int uses(void *session)
{
    use(session);
    return 0;
}

static void play_for(const struct other *user, struct session *t, bool (*turn)(struct session *))
{
    while (!atomic_load(&user->self.ended)) {
        other_until_asleep(user);
        turn(t);
    }
}

static uint64_t run_blocking(const struct puppet_row *row, uint64_t limit, enum cut cut)
{
    struct session t;
    struct other user;
    weir_group *g = group_open();
    begin(&t, row, limit, cut);
    EXPECT(weir_set_timeout(t.s, LONG_MS), 0);
    other_go(&user, g, uses, &t);
    play_for(&user, &t, play);
    group_end(g);
    uint64_t passed = t.p->given;
    end(&t);
    return passed;
}

static void cut_anywhere(void)
{
    struct chance c = chance_of(1);
    unsigned times = ground_is_slow() ? 20 : 100;
    EACH_ROW(row)
    {
        uint64_t whole = run_blocking(row, UINT64_MAX, BY_SHUTDOWN) + VARIES;
        for (unsigned i = 0; i < times; i++) {
            uint64_t at = chance_below(&c, (uint32_t)whole);
            run_blocking(row, at, chance_below(&c, 2) ? BY_SHUTDOWN : BY_CLOSE);
        }
    }
}

/* ---- a byte at a time ------------------------------------------------------------------------ */

/* Every byte of the puppet's passes on by itself. */
static bool dribble(struct session *t)
{
    t->limit = t->p->given + 1;
    return play(t);
}

static void bytes_come_one_by_one(void)
{
    EACH_ROW(row)
    {
        struct session t;
        struct other user;
        weir_group *g = group_open();
        begin(&t, row, 0, NEVER_CUT);
        other_go(&user, g, uses, &t);
        play_for(&user, &t, dribble);
        group_end(g);
        EXPECT(t.end, 0);
        end(&t);
    }
}

static void bytes_come_one_by_one_without_waiting(void)
{
    EACH_ROW(row)
    {
        struct session t;
        begin(&t, row, 0, NEVER_CUT);
        EXPECT(weir_set_blocking(t.s, false), 0);
        do
            use(&t);
        while (dribble(&t));
        EXPECT(t.end, 0);
        end(&t);
    }
}

/* The system moves one byte at a time, and the program asks for no more. */
static size_t one_byte(enum sys_call call, size_t len)
{
    (void)call;
    return len ? 1 : 0;
}

static int sends_one_by_one(void *session)
{
    struct session *t = session;
    for (uint64_t i = 0; i < FIRST; i++) {
        unsigned char byte = tls_peer_byte(i);
        EXPECT(weir_send(t->s, &byte, 1), 1);
    }
    for (uint64_t i = 0; i < FIRST + SECOND; i++) {
        unsigned char byte;
        EXPECT(weir_recv(t->s, &byte, 1), 1);
        EXPECT(byte, tls_peer_byte(i));
    }
    unsigned char byte;
    EXPECT(weir_recv(t->s, &byte, 1), 0);
    EXPECT(weir_shutdown(t->s, SHUT_WR), 0);
    return 0;
}

static void bytes_go_one_by_one(void)
{
    static const struct sys_faults faults = {.amount = one_byte};
    EACH_ROW(row)
    {
        struct session t;
        struct other user;
        weir_group *g = group_open();
        begin(&t, row, UINT64_MAX, NEVER_CUT);
        sys_faults = &faults;
        other_go(&user, g, sends_one_by_one, &t);
        play_for(&user, &t, play);
        group_end(g);
        sys_faults = NULL;
        play(&t);
        CHECK(t.p->closed && !t.p->differs);
        EXPECT((long long)t.p->heard, FIRST);
        EXPECT(weir_close(t.s), 0);
        puppet_close(t.p);
    }
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(ONCE, cut_at_every_byte),
        GROUND_TEST(EVERYWHERE, cut_anywhere),
        GROUND_TEST(EVERYWHERE, bytes_come_one_by_one),
        GROUND_TEST(ONCE, bytes_come_one_by_one_without_waiting),
        GROUND_TEST(EVERYWHERE, bytes_go_one_by_one),
    };
    int failed = ground_main(argc, argv, "tls_cut", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
