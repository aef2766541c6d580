/* Peers that say much and hear nothing, after the handshake: they cost neither memory nor the turn
 * of others, and nothing gets lost behind them. */
#include "socket.h"
#include "support/ground.h"
#include "support/tls_talk.h"
#include "sys.h"
#include "task/sanitizer.h"
#include "tls/private.h"

#include <malloc.h>

static const struct puppet_row *const client = &puppet_rows[0], *const server = &puppet_rows[1];

/* A peer that is faster than anybody can read: whenever the socket looks, there is more. */
static struct flood {
    struct puppet *p;
    bool ticket, on;
    unsigned looks;
} flood;

#define LOOKS_MAX 20000

static int send_more(enum sys_call call)
{
    if (call != SYS_RECV || !flood.on)
        return 0;
    if (++flood.looks >= LOOKS_MAX)
        flood.on = false;
    if (flood.on)
        CHECK(flood.ticket ? puppet_send_ticket(flood.p) : puppet_update_keys(flood.p, false));
    puppet_give(flood.p, ALL);
    return 0;
}

static const struct sys_faults endless = {.error = send_more};

static void flood_start(struct puppet *p, bool ticket)
{
    flood = (struct flood){.p = p, .ticket = ticket, .on = true};
    sys_faults = &endless;
}

static void flood_end(void)
{
    sys_faults = NULL;
    flood.on = false;
}

/* A call that does not wait comes back, though there is always more to be read. */
static void floods_do_not_keep_a_call(void)
{
    for (int ticket = 0; ticket < 2; ticket++) {
        struct puppet *p;
        weir_socket *s = puppet_meet(&p, client);
        unsigned char byte;
        puppet_shake_both(p, s);
        EXPECT(weir_set_blocking(s, false), 0);
        flood_start(p, ticket);
        for (int i = 0; i < 5; i++) {
            unsigned before = flood.looks;
            EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
            CHECK(flood.on && flood.looks - before < LOOKS_MAX / 20);
        }
        flood_end();
        CHECK(puppet_say(p, 100));
        EXPECT(weir_set_blocking(s, true), 0);
        while (puppet_owes(p)) {
            puppet_give(p, ALL);
            unsigned char bytes[100];
            struct iovec vector = {bytes, sizeof bytes};
            struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
            ssize_t n = weir_recvmsg(s, &message, MSG_DONTWAIT | MSG_PEEK);
            CHECK(n > 0 || n == -EAGAIN);
        }
        talk_receive(s, 0, 100);
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

static int receives_a_byte(void *s)
{
    unsigned char byte;
    EXPECT(weir_recv(s, &byte, 1), WEIR_ECLOSED);
    return 0;
}

/* Nor does it keep the others of the loop, nor a close. */
static void floods_do_not_keep_others(void)
{
    struct puppet *p;
    weir_socket *s = puppet_meet(&p, client);
    weir_group *g = group_open();
    puppet_shake_both(p, s);
    flood_start(p, false);
    EXPECT(weir_go(g, receives_a_byte, s), 0);
    while (flood.looks == 0)
        give_way();
    for (int i = 0; i < 3; i++)
        give_way();
    CHECK(flood.on);
    EXPECT(weir_abort(s), 0);
    group_end(g);
    CHECK(flood.on);
    flood_end();
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

/* A peer that asks for answers and does not read them, until nothing moves any more. */
static void pile_up(weir_socket *s, struct puppet *p)
{
    char byte;
    EXPECT(weir_set_blocking(s, false), 0);
    talk_make_small(s);
    talk_make_small(p->line);
    for (int idle = 0, rounds = 0; idle < 3 && rounds < 100000; rounds++) {
        for (int j = 0; j < 50 && puppet_owes(p) < 2000; j++)
            CHECK(puppet_update_keys(p, true));
        idle = puppet_give(p, ALL) ? 0 : idle + 1;
        EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
    }
}

/* What cannot be sent is not piled up without end. */
static void answers_are_not_piled_up(void)
{
    const struct puppet_row *both[] = {client, server};
    if (RUNNING_ON_VALGRIND)
        return;
    for (int i = 0; i < 2; i++) {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, both[i]);
        uint64_t at = 0;
        size_t before = mallinfo2().uordblks;
        pile_up(s, p);
        CHECK(ground_is_slow() || mallinfo2().uordblks < before + 600000);
        /* Once it reads, all goes on. */
        CHECK(puppet_say(p, 100));
        for (int j = 0; j < 1000 && (puppet_owes(p) || at < 100); j++) {
            unsigned char bytes[100];
            puppet_take(p, ALL);
            puppet_hear(p);
            puppet_give(p, ALL);
            ssize_t n = weir_recv(s, bytes, sizeof bytes);
            CHECK(n > 0 || n == -EAGAIN);
            at += n > 0 ? (uint64_t)n : 0;
        }
        EXPECT((long long)at, 100);
        CHECK(!p->failed && p->updates > 0);
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

/* The same, but the last answer has just found room: nothing waits for more of it. Tests that begin
 * with thousands of new keys would take Valgrind many minutes: one such is enough there. */
static void fill_up(weir_socket *s, struct puppet *p)
{
    const struct outbox *o = &s->tls->out;
    char byte;
    EXPECT(weir_set_blocking(s, false), 0);
    talk_make_small(s);
    while (o->end - o->start < (size_t)128 * 1024) {
        CHECK(puppet_update_keys(p, true));
        puppet_give(p, ALL);
        EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
    }
}

/* Nor does an end get lost that finds no room behind them. */
static void an_end_waits_behind_answers(void)
{
    if (RUNNING_ON_VALGRIND)
        return;
    for (int i = 0; i < 4; i++) {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, i / 2 ? client : server);
        int rc;
        (i % 2 ? pile_up : fill_up)(s, p);
        while ((rc = weir_shutdown(s, SHUT_WR)) == -EAGAIN) {
            puppet_take(p, ALL);
            puppet_hear(p);
        }
        EXPECT(rc, 0);
        talk_is_heard(p, 0, true);
        talk_end(s, p);
    }
}

static void make_large(weir_socket *s)
{
    static const int large = 1 << 20;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_SNDBUF, &large, sizeof large), 0);
}

static bool refused;

static int refuse_once(enum sys_call call)
{
    if (call != SYS_SEND || refused)
        return 0;
    refused = true;
    return -EAGAIN;
}

static const struct sys_faults refusing = {.error = refuse_once};

/* Room that there is all at once, in the middle of a look, is looked for again: the peer has
 * nothing to say that would bring that about. */
static void an_answer_waits_for_no_input(void)
{
    const struct puppet_row *both[] = {client, server};
    if (RUNNING_ON_VALGRIND)
        return;
    for (int i = 0; i < 2; i++) {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, both[i]);
        char byte;
        fill_up(s, p);
        CHECK(puppet_update_keys(p, true));
        puppet_give(p, ALL);
        EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
        make_large(s);
        refused = false;
        sys_faults = &refusing;
        EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
        CHECK(refused);
        sys_faults = NULL;
        talk_end(s, p);
    }
}

/* A close makes room for them where there is any, and says goodbye behind them. */
static void a_close_hands_answers_on(void)
{
    const struct puppet_row *both[] = {client, server};
    if (RUNNING_ON_VALGRIND)
        return;
    for (int i = 0; i < 2; i++) {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, both[i]);
        pile_up(s, p);
        make_large(s);
        EXPECT(weir_close(s), 0);
        while (puppet_take(p, ALL))
            puppet_hear(p);
        talk_is_heard(p, 0, true);
        puppet_close(p);
    }
}

/* A blocking receiver whose answers the peer does not take waits for just that. */
static int receives_a_hundred(void *s)
{
    talk_receive(s, 0, 100);
    return 0;
}

static void receivers_wait_for_the_peer_to_read(void)
{
    struct puppet *p;
    weir_socket *s = puppet_meet(&p, server);
    struct other receiver;
    weir_group *g = group_open();
    puppet_shake_both(p, s);
    talk_make_small(s);
    talk_make_small(p->line);
    other_go(&receiver, g, receives_a_hundred, s);
    for (int idle = 0, rounds = 0; idle < 3 && rounds < 100000; rounds++) {
        for (int j = 0; j < 50 && puppet_owes(p) < 2000; j++)
            CHECK(puppet_update_keys(p, true));
        idle = puppet_give(p, ALL) ? 0 : idle + 1;
        other_until_asleep(&receiver);
    }
    CHECK(puppet_say(p, 100));
    while (!atomic_load(&receiver.self.ended)) {
        puppet_take(p, ALL);
        puppet_hear(p);
        puppet_give(p, ALL);
        other_until_asleep(&receiver);
    }
    group_end(g);
    CHECK(!p->failed);
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(ONCE, floods_do_not_keep_a_call),
        GROUND_TEST(IN_TASKS, floods_do_not_keep_others),
        GROUND_TEST(ONCE, answers_are_not_piled_up),
        GROUND_TEST(ONCE, an_end_waits_behind_answers),
        GROUND_TEST(ONCE, an_answer_waits_for_no_input),
        GROUND_TEST(ONCE, a_close_hands_answers_on),
        GROUND_TEST(EVERYWHERE, receivers_wait_for_the_peer_to_read),
    };
    int failed = ground_main(argc, argv, "tls_floods", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
