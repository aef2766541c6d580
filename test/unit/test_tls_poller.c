/* Pollers and TLS: what is reported is what a call would find, the handshake goes on by itself, and
 * nobody spins over what is only a part of something. */
#include "support/ground.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"

#include <poll.h>
#include <stdlib.h>

#define BOTH (WEIR_READABLE | WEIR_WRITABLE)

struct scene {
    weir_socket *s;
    struct puppet *p;
    weir_poller *poller;
};

static void begin(struct scene *t, const struct puppet_row *row, unsigned events, bool shaken)
{
    t->s = puppet_meet(&t->p, row);
    if (shaken)
        puppet_shake_both(t->p, t->s);
    EXPECT(weir_set_blocking(t->s, false), 0);
    EXPECT(weir_poller_open(&t->poller), 0);
    EXPECT(weir_poller_add(t->poller, t->s, events, t), 0);
}

static void end(struct scene *t)
{
    EXPECT(weir_poller_close(t->poller), 0);
    EXPECT(weir_close(t->s), 0);
    puppet_close(t->p);
}

/* What is reported right now. */
static unsigned events(struct scene *t)
{
    weir_event event = {.events = 0};
    int n = weir_poller_wait(t->poller, &event, 1, 0);
    CHECK(n == 0 || (n == 1 && event.socket == t->s && event.data == t && event.events));
    return event.events;
}

/* A program that waits would sleep: nothing is reported, and after at most a few looks there is
 * nothing to look at either. */
static bool sleeps(struct scene *t)
{
    struct pollfd fd = {.fd = weir_poller_fd(t->poller), .events = POLLIN};
    for (int i = 0; i < 3; i++) {
        if (events(t))
            return false;
        if (poll(&fd, 1, 0) == 0)
            return true;
    }
    return false;
}

static void receive(weir_socket *s, uint64_t *at, size_t len)
{
    unsigned char bytes[20000];
    ssize_t n = weir_recv(s, bytes, len);
    EXPECT(n, (ssize_t)len);
    for (size_t i = 0; i < len; i++)
        CHECK(bytes[i] == tls_peer_byte((*at)++));
}

/* ---- handshakes
 * ---------------------------------------------------------------------------------- */

/* The poller alone brings it to its end; only then is anything reported. */
static void the_handshake_goes_on_by_itself(void)
{
    EACH_ROW(row)
    for (unsigned asked = 0; asked <= BOTH; asked++) {
        struct scene t;
        weir_tls_state state;
        bool over = false;
        begin(&t, row, asked, false);
        while (!over) {
            unsigned got = events(&t);
            over = weir_tls_info(t.s, &state) == 0;
            CHECK(over || !got);
            puppet_turn(t.p);
        }
        puppet_turn(t.p);
        CHECK(t.p->shaken && !t.p->failed);
        CHECK(!(asked & WEIR_WRITABLE) || events(&t) & WEIR_WRITABLE);
        EXPECT(weir_handshake(t.s), 0);
        end(&t);
    }
}

/* At every byte of it: a part of a message is waited for, not looked at again and again. */
static void nobody_spins_in_a_handshake(void)
{
    EACH_ROW(row)
    {
        struct scene t;
        weir_tls_state state;
        begin(&t, row, BOTH, false);
        while (weir_tls_info(t.s, &state) == -EAGAIN) {
            CHECK(sleeps(&t));
            puppet_take(t.p, ALL);
            if (!t.p->shaken)
                puppet_shake(t.p);
            puppet_give(t.p, 1);
            (void)events(&t);
        }
        CHECK(events(&t) & WEIR_WRITABLE);
        end(&t);
    }
}

static void a_handshake_that_fails_is_reported(void)
{
    EACH_ROW(row)
    for (unsigned asked = 1; asked <= BOTH; asked++) {
        struct scene t;
        begin(&t, row, asked, false);
        CHECK(sleeps(&t));
        puppet_raw(t.p, "no such thing\n", 14);
        EXPECT(events(&t), asked);
        EXPECT(events(&t), asked);
        EXPECT(weir_handshake(t.s), WEIR_ETLS);
        end(&t);
    }
}

/* ---- reading
 * ------------------------------------------------------------------------------------- */

/* They are in no buffer of the kernel's any more. */
static void decrypted_bytes_are_reported(void)
{
    EACH_ROW(row)
    {
        struct scene t;
        uint64_t at = 0;
        begin(&t, row, WEIR_READABLE, true);
        CHECK(puppet_say(t.p, 100));
        puppet_give(t.p, ALL);
        for (int i = 0; i < 100; i++) {
            EXPECT(events(&t), WEIR_READABLE);
            EXPECT(weir_wait(t.s, WEIR_READABLE), WEIR_READABLE);
            receive(t.s, &at, 1);
        }
        char byte;
        EXPECT(weir_recv(t.s, &byte, 1), -EAGAIN);
        CHECK(sleeps(&t));
        end(&t);
    }
}

/* Several records that were read at once. */
static void records_that_were_read_ahead_are_reported(void)
{
    EACH_ROW(row)
    {
        struct scene t;
        uint64_t at = 0;
        begin(&t, row, WEIR_READABLE, true);
        for (int i = 0; i < 20; i++)
            CHECK(puppet_say(t.p, 50));
        puppet_give(t.p, ALL);
        for (int i = 0; i < 20; i++) {
            EXPECT(events(&t), WEIR_READABLE);
            receive(t.s, &at, 50);
        }
        char byte;
        EXPECT(weir_recv(t.s, &byte, 1), -EAGAIN);
        CHECK(sleeps(&t));
        end(&t);
    }
}

/* Who reads what is reported sleeps over half a record, whatever half that is. */
static void nobody_spins_over_half_a_record(void)
{
    EACH_ROW(row)
    {
        struct scene t;
        uint64_t at = 0;
        begin(&t, row, WEIR_READABLE, true);
        CHECK(puppet_say(t.p, 200));
        CHECK(puppet_update_keys(t.p, false));
        CHECK(puppet_say(t.p, 1));
        while (puppet_owes(t.p)) {
            unsigned char bytes[1000];
            ssize_t n;
            puppet_give(t.p, 1);
            if (!events(&t))
                continue;
            while ((n = weir_recv(t.s, bytes, sizeof bytes)) > 0)
                at += (uint64_t)n;
            EXPECT(n, -EAGAIN);
            CHECK(sleeps(&t));
        }
        EXPECT((long long)at, 201);
        end(&t);
    }
}

static void ends_are_reported(void)
{
    EACH_ROW(row)
    for (int clean = 0; clean < 2; clean++) {
        struct scene t;
        char byte;
        begin(&t, row, WEIR_READABLE, true);
        while (weir_recv(t.s, &byte, 1) == -EAGAIN && !sleeps(&t))
            ;
        if (clean) {
            CHECK(puppet_say_end(t.p));
            puppet_give(t.p, ALL);
        } else {
            puppet_cut(t.p);
        }
        for (int i = 0; i < 3; i++) {
            EXPECT(events(&t), WEIR_READABLE);
            EXPECT(weir_recv(t.s, &byte, 1), clean ? 0 : WEIR_ETRUNCATED);
        }
        end(&t);
    }
}

/* ---- writing
 * ------------------------------------------------------------------------------------- */

static uint64_t fill(weir_socket *s, uint64_t sent)
{
    unsigned char bytes[30000];
    ssize_t n;
    do {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = tls_peer_byte(sent + i);
        n = weir_send(s, bytes, sizeof bytes);
        sent += n > 0 ? (uint64_t)n : 0;
    } while (n > 0);
    EXPECT(n, -EAGAIN);
    return sent;
}

/* Neither over what the kernel has no room for nor over what it has room for only now. */
static void nobody_spins_over_a_full_outbox(void)
{
    EACH_ROW(row)
    {
        struct scene t;
        uint64_t sent = 0;
        unsigned char byte;
        begin(&t, row, BOTH, true);
        EXPECT(weir_recv(t.s, &byte, 1), -EAGAIN);
        for (int i = 0; i < 20; i++) {
            sent = fill(t.s, sent);
            CHECK(sleeps(&t));
            /* The other direction goes on meanwhile. */
            CHECK(puppet_say(t.p, 1));
            puppet_give(t.p, ALL);
            EXPECT(events(&t), WEIR_READABLE);
            EXPECT(weir_recv(t.s, &byte, 1), 1);
            EXPECT(weir_recv(t.s, &byte, 1), -EAGAIN);
            CHECK(sleeps(&t));
            for (int looks = 0; !(events(&t) & WEIR_WRITABLE); looks++) {
                CHECK(looks < 1000);
                puppet_take(t.p, ALL);
                puppet_hear(t.p);
            }
        }
        while (t.p->heard < sent) {
            (void)events(&t);
            CHECK(puppet_take(t.p, ALL) > 0);
            puppet_hear(t.p);
        }
        CHECK(!t.p->differs && !t.p->failed);
        end(&t);
    }
}

/* New keys are asked for while nothing can be written: who waits to read waits for the peer. */
static void nobody_spins_over_answers(void)
{
    const struct puppet_row *row = &puppet_rows[1];
    struct scene t;
    unsigned char byte;
    begin(&t, row, WEIR_READABLE, true);
    fill(t.s, 0);
    for (int i = 0; i < 20000; i++) {
        if (puppet_owes(t.p) < 500)
            CHECK(puppet_update_keys(t.p, true));
        bool given = puppet_give(t.p, ALL) > 0;
        if (!given)
            break;
        if (events(&t))
            EXPECT(weir_recv(t.s, &byte, 1), -EAGAIN);
        CHECK(sleeps(&t));
    }
    end(&t);
}

/* ---- connecting
 * ------------------------------------------------------------------------------------ */

/* By TCP, from the first step to the last, with nothing but a poller. */
static void a_connect_with_its_handshake(void)
{
    for (int fails = 0; fails < 2; fails++) {
        struct scene t;
        weir_socket *listener, *line = NULL;
        weir_address a;
        unsigned got = 0;
        EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
        EXPECT(weir_local_address(listener, &a), 0);
        EXPECT(weir_socket_open(&t.s, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
        EXPECT(weir_set_tls(t.s, puppet_config(false), fails ? "other.test" : "server.test"), 0);
        EXPECT(weir_poller_open(&t.poller), 0);
        EXPECT(weir_poller_add(t.poller, t.s, BOTH, &t), 0);
        EXPECT(weir_connect_address(t.s, &a), -EINPROGRESS);
        EXPECT(weir_accept(listener, &line), 0);
        t.p = puppet_open(line, false, 0);
        for (int i = 0; !got && i < 100000; i++) {
            got = events(&t);
            CHECK(got || weir_connect_status(t.s) == -EINPROGRESS || fails);
            puppet_turn(t.p);
        }
        if (fails) {
            EXPECT(got, BOTH);
            EXPECT(weir_connect_status(t.s), WEIR_ECERT);
        } else {
            CHECK(got & WEIR_WRITABLE);
            EXPECT(weir_connect_status(t.s), 0);
        }
        EXPECT(weir_close(listener), 0);
        end(&t);
    }
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(ONCE, the_handshake_goes_on_by_itself),
        GROUND_TEST(ONCE, nobody_spins_in_a_handshake),
        GROUND_TEST(ONCE, a_handshake_that_fails_is_reported),
        GROUND_TEST(ONCE, decrypted_bytes_are_reported),
        GROUND_TEST(ONCE, records_that_were_read_ahead_are_reported),
        GROUND_TEST(ONCE, nobody_spins_over_half_a_record),
        GROUND_TEST(ONCE, ends_are_reported),
        GROUND_TEST(ONCE, nobody_spins_over_a_full_outbox),
        GROUND_TEST(ONCE, nobody_spins_over_answers),
        GROUND_TEST(ONCE, a_connect_with_its_handshake),
    };
    int failed = ground_main(argc, argv, "tls_poller", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
