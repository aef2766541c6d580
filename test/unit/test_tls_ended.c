/* A handshake that is ended in the middle, at each of its steps, in each call that can be waiting
 * for it, by each of those who can end it. What was ended for good says so; after a cancel or a
 * limit the same socket goes on, or connects anew, and nothing was lost or said twice. */
#include "support/elsewhere.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"

#include <netinet/in.h>

enum call { HANDSHAKE, RECV, SEND, WAIT, CONNECT };
enum how { ABORT, ABORT_BY_THREAD, CLOSE, CANCEL, LIMIT, TIMEOUT, CUT, RESET, HOWS };

struct trial {
    const struct puppet_row *row;
    enum call call;
    enum how how;
    weir_socket *s, *listener;
    weir_address where;
    struct puppet *p; /* NULL until the connection is accepted */
    struct other victim;
    weir_group *g;
};

/* ---- who is ended ---------------------------------------------------------------------------- */

static ssize_t call_once(struct trial *t)
{
    unsigned char byte = tls_peer_byte(0);
    switch (t->call) {
    case HANDSHAKE:
        return weir_handshake(t->s);
    case RECV:
        return weir_recv(t->s, &byte, 1);
    case SEND:
        return weir_send(t->s, &byte, 1);
    case WAIT:
        return weir_wait(t->s, WEIR_WRITABLE);
    default:
        return weir_connect_address(t->s, &t->where);
    }
}

static int is_ended(void *arg)
{
    struct trial *t = arg;
    weir_scope limit = weir_deadline_start(t->how == LIMIT ? MOMENT_MS : -1);
    if (t->how == TIMEOUT)
        EXPECT(weir_set_timeout(t->s, MOMENT_MS), 0);
    ssize_t rc = call_once(t);
    if (t->how == TIMEOUT)
        EXPECT(weir_set_timeout(t->s, -1), 0);
    weir_scope_end(limit);
    return (int)rc;
}

/* ---- up to that step ------------------------------------------------------------------------- */

static void begin(struct trial *t)
{
    if (t->call != CONNECT) {
        t->s = puppet_meet(&t->p, t->row);
        return;
    }
    EXPECT(weir_listen_on(&t->listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(t->listener, &t->where), 0);
    EXPECT(weir_socket_open(&t->s, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_set_tls(t->s, puppet_config(false), "server.test"), 0);
}

static void accept_it(struct trial *t)
{
    weir_socket *line;
    EXPECT(weir_accept(t->listener, &line), 0);
    t->p = puppet_open(line, false, t->row->version);
}

/* True if something has passed on, either way. */
static bool turn(struct trial *t, uint64_t limit)
{
    struct puppet *p = t->p;
    size_t before = p->given + p->taken;
    puppet_take(p, ALL);
    if (!p->shaken)
        puppet_shake(p);
    puppet_give(p, limit - p->given);
    return p->given + p->taken > before;
}

/* So much passes on to the socket, or as much as there is; then it waits, or its call is over. */
static void go_up_to(struct trial *t, uint64_t limit)
{
    if (!t->p)
        accept_it(t);
    for (int idle = 0; idle < 3 && !atomic_load(&t->victim.self.ended);) {
        other_until_asleep(&t->victim);
        idle = turn(t, limit) ? 0 : idle + 1;
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static int aborts(void *s)
{
    return weir_abort(s);
}

/* From the puppet's side, with whatever has not been read: a reset. */
static void reset(struct trial *t)
{
    struct linger at_once = {.l_onoff = 1};
    weir_set_option(t->p->line, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    puppet_vanish(t->p);
}

static void end_it(struct trial *t)
{
    struct elsewhere e;
    switch (t->how) {
    case ABORT:
        EXPECT(weir_abort(t->s), 0);
        break;
    case ABORT_BY_THREAD:
        elsewhere_go(&e, IN_A_THREAD, aborts, t->s);
        EXPECT(elsewhere_end(&e), 0);
        break;
    case CLOSE:
        weir_ref(t->s);
        EXPECT(weir_close(t->s), 0);
        break;
    case CANCEL:
        EXPECT(weir_group_cancel(t->g), 0);
        break;
    case CUT:
        puppet_cut(t->p);
        break;
    case RESET:
        reset(t);
        break;
    default:
        break;
    }
}

static void check_result(const struct trial *t)
{
    int rc = t->victim.rc;
    bool shaken = t->how >= CUT && t->call == RECV && weir_handshake(t->s) == 0;
    int cut_off = shaken ? WEIR_ETRUNCATED : WEIR_ETLS;
    switch (t->how) {
    case ABORT:
    case ABORT_BY_THREAD:
    case CLOSE:
        EXPECT(rc, WEIR_ECLOSED);
        break;
    case CANCEL:
        EXPECT(rc, -ECANCELED);
        break;
    case LIMIT:
    case TIMEOUT:
        EXPECT(rc, WEIR_EDEADLINE);
        break;
    case CUT:
        EXPECT(rc, t->call == WAIT ? WEIR_WRITABLE : cut_off);
        break;
    default:
        CHECK(t->call == WAIT ? rc == WEIR_WRITABLE
                              : rc == -ECONNRESET || rc == cut_off || rc == -EPIPE);
        break;
    }
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void check_gone(struct trial *t, int rc)
{
    unsigned char byte = 0;
    EXPECT(weir_recv(t->s, &byte, 1), rc);
    EXPECT(weir_send(t->s, &byte, 1), rc);
    EXPECT(weir_handshake(t->s), rc == WEIR_ETRUNCATED ? 0 : rc);
    EXPECT(weir_recv(t->s, &byte, 1), rc);
}

/* A byte each way: what the ended call was to send has not been sent. */
static void check_goes_on(struct trial *t)
{
    unsigned char byte = tls_peer_byte(0);
    puppet_shake_both(t->p, t->s);
    puppet_turn(t->p);
    EXPECT((long long)t->p->heard, 0);
    EXPECT(weir_send(t->s, &byte, 1), 1);
    CHECK(puppet_say(t->p, 1));
    puppet_turn(t->p);
    EXPECT((long long)t->p->heard, 1);
    EXPECT(weir_recv(t->s, &byte, 1), 1);
    CHECK(!t->p->differs && !t->p->failed && !t->p->closed);
}

static int connects(void *arg)
{
    struct trial *t = arg;
    return weir_connect_address(t->s, &t->where);
}

static void check_connects_anew(struct trial *t)
{
    struct other again;
    weir_group *g = group_open();
    EXPECT(weir_connect_status(t->s), t->victim.rc);
    CHECK(weir_error_detail(t->s, NULL, 0) > 0);
    EXPECT(weir_fd(t->s), -ENOTCONN);
    puppet_close(t->p);
    other_go(&again, g, connects, t);
    accept_it(t);
    while (!atomic_load(&again.self.ended)) {
        puppet_turn(t->p);
        give_way();
    }
    group_end(g);
    EXPECT(again.rc, 0);
    check_goes_on(t);
}

static void check_afterwards(struct trial *t)
{
    if (t->how <= CLOSE) {
        check_gone(t, WEIR_ECLOSED);
    } else if (t->call == CONNECT) {
        check_connects_anew(t);
    } else if (t->how == CUT) {
        check_gone(t, t->call == WAIT ? WEIR_ETLS : t->victim.rc);
    } else if (t->how != RESET) {
        check_goes_on(t);
    }
    if (t->how <= ABORT_BY_THREAD) {
        puppet_take(t->p, ALL);
        puppet_hear(t->p);
        CHECK(!t->p->closed);
    }
}

/* ---- all of it
 * ----------------------------------------------------------------------------------- */

/* A limit ends it whenever it likes. */
static bool was_ended(const struct trial *t, bool waited)
{
    return t->how == LIMIT || t->how == TIMEOUT ? t->victim.rc == WEIR_EDEADLINE : waited;
}

/* False if there are no more steps: so many bytes do not pass. */
static bool end_at(const struct puppet_row *row, enum call call, enum how how, uint64_t given)
{
    struct trial t = {.row = row, .call = call, .how = how, .g = group_open()};
    begin(&t);
    other_go(&t.victim, t.g, is_ended, &t);
    go_up_to(&t, given);
    bool waits = !atomic_load(&t.victim.self.ended), more = waits && t.p->given == given;
    if (waits)
        end_it(&t);
    other_until_ended(&t.victim);
    group_end(t.g);
    if (was_ended(&t, waits)) {
        check_result(&t);
        check_afterwards(&t);
    }
    EXPECT(weir_close(t.s), 0);
    EXPECT(weir_close(t.listener), 0);
    puppet_close(t.p);
    return more;
}

static void end_everywhere(enum call call)
{
    unsigned step = ground_is_slow() ? 1400 : 450;
    EACH_ROW(row)
    {
        if (call == CONNECT && row->server)
            continue;
        for (enum how how = 0; how < HOWS; how++)
            for (uint64_t given = 0; end_at(row, call, how, given);)
                given += given == 0 ? 1 : step;
    }
}

static void ended_in_weir_handshake(void)
{
    end_everywhere(HANDSHAKE);
}

static void ended_in_the_first_recv(void)
{
    end_everywhere(RECV);
}

static void ended_in_the_first_send(void)
{
    end_everywhere(SEND);
}

static void ended_in_weir_wait(void)
{
    end_everywhere(WAIT);
}

static void ended_in_connect(void)
{
    end_everywhere(CONNECT);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, ended_in_weir_handshake),
        GROUND_TEST(EVERYWHERE, ended_in_the_first_recv),
        GROUND_TEST(EVERYWHERE, ended_in_the_first_send),
        GROUND_TEST(EVERYWHERE, ended_in_weir_wait),
        GROUND_TEST(EVERYWHERE, ended_in_connect),
    };
    int failed = ground_main(argc, argv, "tls_ended", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
