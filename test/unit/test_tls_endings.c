/* Ends: of one direction, of both, by close. */
#include "support/elsewhere.h"
#include "support/pki.h"
#include "support/tls_peer.h"
#include "support/tls_talk.h"

#include <stdlib.h>

/* ---- one direction --------------------------------------------------------------------------- */

static void half_a_close_from_here(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        char byte = 'x';
        talk_send(s, 0, 10);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        talk_is_heard(p, 10, true);
        puppet_take(p, ALL);
        CHECK(p->ended);
        EXPECT(weir_send(s, &byte, 1), -EPIPE);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        for (int i = 0; i < 3; i++) {
            CHECK(puppet_say(p, 100));
            puppet_give(p, ALL);
            EXPECT(weir_shutdown(s, SHUT_WR), 0); /* takes nothing of that */
            talk_receive(s, 100 * (uint64_t)i, 100);
        }
        CHECK(puppet_say_end(p));
        puppet_give(p, ALL);
        EXPECT(weir_recv(s, &byte, 1), 0);
        EXPECT(weir_recv(s, &byte, 1), 0);
        EXPECT(weir_shutdown(s, SHUT_RDWR), 0);
        talk_end(s, p);
    }
}

static void half_a_close_from_there(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        char byte;
        CHECK(puppet_say(p, 10) && puppet_say_end(p));
        puppet_give(p, ALL);
        puppet_cut(p);
        talk_receive(s, 0, 10);
        EXPECT(weir_recv(s, &byte, 1), 0);
        for (int i = 0; i < 3; i++) {
            talk_send(s, 100 * (uint64_t)i, 100);
            talk_is_heard(p, 100 * ((uint64_t)i + 1), false);
            EXPECT(weir_recv(s, &byte, 1), 0);
        }
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        talk_is_heard(p, 300, true);
        talk_end(s, p);
    }
}

static void no_more_is_received(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        char byte;
        EXPECT(weir_shutdown(s, SHUT_RD), 0);
        EXPECT(weir_recv(s, &byte, 1), 0);
        talk_send(s, 0, 10);
        talk_is_heard(p, 10, false);
        EXPECT(weir_recv(s, &byte, 1), 0);
        talk_end(s, p);
    }
}

/* Where there is no session there is nothing to say in it: before it has begun, and after it has
 * failed. */
static void an_end_without_a_session(void)
{
    EACH_ROW(row)
    for (int failed = 0; failed < 2; failed++) {
        struct puppet *p;
        weir_socket *s = failed ? talk_begin(&p, row) : puppet_meet(&p, row);
        char byte;
        EXPECT(weir_set_timeout(s, LONG_MS), 0);
        if (failed) {
            puppet_cut(p);
            EXPECT(weir_recv(s, &byte, 1), WEIR_ETRUNCATED);
        }
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        while (puppet_take(p, ALL))
            ;
        CHECK(p->ended && !p->closed);
        talk_end(s, p);
    }
}

/* Everything that was counted goes before the end, in as many calls as it takes. */
static void the_end_waits_for_its_turn(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        unsigned char *bytes = malloc(200000);
        size_t done = 0;
        for (size_t i = 0; i < 200000; i++)
            bytes[i] = tls_peer_byte(i);
        talk_make_small(s);
        EXPECT(weir_set_blocking(s, false), 0);
        EXPECT(weir_send_all(s, bytes, 200000, &done), -EAGAIN);
        int rc;
        EXPECT(weir_shutdown(s, SHUT_WR), -EAGAIN);
        EXPECT(weir_shutdown(s, SHUT_WR), -EAGAIN);
        CHECK(weir_send(s, bytes, 1) < 0);
        while ((rc = weir_shutdown(s, SHUT_WR)) == -EAGAIN)
            CHECK(puppet_take(p, ALL) > 0);
        EXPECT(rc, 0);
        talk_is_heard(p, done, true);
        free(bytes);
        talk_end(s, p);
    }
}

/* ---- weir_finish ----------------------------------------------------------------------------- */

static int finishes(void *s)
{
    return weir_finish(s);
}

static void finish_waits_for_the_other_side(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        struct other finisher;
        weir_group *g = group_open();
        talk_send(s, 0, 10);
        other_go(&finisher, g, finishes, s);
        other_until_asleep(&finisher);
        talk_is_heard(p, 10, true);
        CHECK(puppet_say(p, 20000));
        puppet_give(p, ALL);
        other_until_asleep(&finisher);
        CHECK(!atomic_load(&finisher.self.ended));
        CHECK(puppet_say_end(p));
        puppet_give(p, ALL);
        puppet_cut(p);
        group_end(g);
        EXPECT(finisher.rc, 0);
        talk_end(s, p);
    }
}

static void finish_is_bounded(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        EXPECT(weir_set_timeout(s, MOMENT_MS), 0);
        EXPECT(weir_finish(s), WEIR_EDEADLINE);
        talk_is_heard(p, 0, true);
        EXPECT(weir_set_blocking(s, false), 0);
        EXPECT(weir_finish(s), -EAGAIN);
        CHECK(puppet_say_end(p));
        puppet_give(p, ALL);
        puppet_cut(p);
        EXPECT(weir_finish(s), 0);
        talk_end(s, p);
    }
}

static void finish_of_a_truncated_stream(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        CHECK(puppet_say(p, 100));
        puppet_give(p, ALL);
        puppet_cut(p);
        EXPECT(weir_finish(s), WEIR_ETRUNCATED);
        EXPECT(weir_finish(s), WEIR_ETRUNCATED);
        talk_end(s, p);
    }
}

/* The peer takes nothing, and then its stream is cut off: the error is for who receives, and what
 * is in the outbox waits for the peer no longer than the caller does. */
static void an_end_with_a_full_outbox(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        unsigned char *bytes = calloc(1, 200000);
        size_t done = 0;
        weir_poller *poller;
        weir_event event;
        CHECK(bytes != NULL);
        talk_make_small(s);
        EXPECT(weir_set_timeout(s, MOMENT_MS), 0);
        EXPECT(weir_send_all(s, bytes, 200000, &done), WEIR_EDEADLINE);
        puppet_cut(p);
        EXPECT(weir_recv(s, bytes, 1), WEIR_ETRUNCATED);
        EXPECT(weir_shutdown(s, SHUT_WR), WEIR_EDEADLINE);
        CHECK(weir_finish(s) < 0);
        EXPECT(weir_send(s, bytes, 1), WEIR_ETRUNCATED);
        EXPECT(weir_poller_open(&poller), 0);
        EXPECT(weir_poller_add(poller, s, WEIR_WRITABLE, NULL), 0);
        EXPECT(weir_poller_wait(poller, &event, 1, MOMENT_MS), 0);
        EXPECT(weir_poller_close(poller), 0);
        free(bytes);
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

/* ---- weir_close ------------------------------------------------------------------------------ */

static void a_close_says_goodbye(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        talk_send(s, 0, 10);
        weir_ref(s);
        EXPECT(weir_close(s), 0);
        EXPECT(weir_close(s), 0);
        talk_is_heard(p, 10, true);
        puppet_close(p);
    }
}

static void close_does_not_wait(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        static unsigned char bytes[100000];
        talk_make_small(s);
        EXPECT(weir_set_blocking(s, false), 0);
        while (weir_send(s, bytes, sizeof bytes) > 0)
            ;
        EXPECT(weir_close(s), 0);
        puppet_take(p, ALL);
        puppet_hear(p);
        CHECK(p->ended && !p->closed);
        puppet_close(p);
    }
}

static int receives_until_closed(void *s)
{
    char byte;
    return (int)weir_recv(s, &byte, 1);
}

static int sends_until_closed(void *s)
{
    static const unsigned char bytes[100000];
    ssize_t n;
    do
        n = weir_send(s, bytes, sizeof bytes);
    while (n > 0);
    return (int)n;
}

static void close_wakes_those_who_wait(void)
{
    EACH_ROW(row)
    for (enum place place = 0; place < PLACES; place++) {
        struct puppet *p;
        weir_socket *s = talk_begin(&p, row);
        struct elsewhere reader, writer;
        talk_make_small(s);
        EXPECT(weir_set_timeout(s, -1), 0);
        elsewhere_go(&reader, place, receives_until_closed, s);
        elsewhere_go(&writer, BESIDE, sends_until_closed, s);
        elsewhere_until_asleep(&reader);
        elsewhere_until_asleep(&writer);
        weir_ref(s);
        EXPECT(weir_close(s), 0);
        EXPECT(elsewhere_end(&reader), WEIR_ECLOSED);
        int rc = elsewhere_end(&writer);
        CHECK(rc == WEIR_ECLOSED);
        talk_end(s, p);
    }
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, half_a_close_from_here),
        GROUND_TEST(EVERYWHERE, half_a_close_from_there),
        GROUND_TEST(EVERYWHERE, an_end_with_a_full_outbox),
        GROUND_TEST(EVERYWHERE, no_more_is_received),
        GROUND_TEST(EVERYWHERE, an_end_without_a_session),
        GROUND_TEST(ONCE, the_end_waits_for_its_turn),
        GROUND_TEST(EVERYWHERE, finish_waits_for_the_other_side),
        GROUND_TEST(EVERYWHERE, finish_is_bounded),
        GROUND_TEST(EVERYWHERE, finish_of_a_truncated_stream),
        GROUND_TEST(EVERYWHERE, a_close_says_goodbye),
        GROUND_TEST(ONCE, close_does_not_wait),
        GROUND_TEST(EVERYWHERE, close_wakes_those_who_wait),
    };
    int failed = ground_main(argc, argv, "tls_endings", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
