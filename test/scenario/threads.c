/* Many threads on one socket: who may, who waits, who is refused. */
#include "support/rig.h"

#include <stdlib.h>

#define LARGE ((size_t)16 << 20)

static void send_large(struct rig *rig, void *arg)
{
    unsigned char *data = malloc(LARGE);
    size_t done = 0;
    CHECK(data != NULL);
    rig_fill(data, LARGE, 7, 0);
    EXPECT(rig_send_all(rig, arg, data, LARGE, &done), 0);
    CHECK(done == LARGE);
    free(data);
}

#define SENDERS 6
#define ROUNDS  4
#define PIECE   ((size_t)64 << 10)

struct sender {
    weir_socket *s;
    unsigned char number;
};

static void send_pieces(struct rig *rig, void *arg)
{
    const struct sender *sender = arg;
    unsigned char *piece = malloc(PIECE);
    CHECK(piece != NULL);
    memset(piece, sender->number, PIECE);
    for (int i = 0; i < ROUNDS; i++) {
        size_t done = 0;
        EXPECT(rig_send_all(rig, sender->s, piece, PIECE, &done), 0);
    }
    free(piece);
}

SCENARIO_FOR(senders_take_turns_whole, STREAM | WAITS)
{
    weir_socket *a, *b;
    struct sender senders[SENDERS];
    struct rig_thread *t[SENDERS];
    unsigned char *piece = malloc(PIECE);
    int pieces[SENDERS] = {0};
    CHECK(piece != NULL);
    rig_pair(rig, &a, &b);
    for (unsigned char i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){a, i};
        t[i] = rig_go(rig, send_pieces, &senders[i]);
    }
    for (int i = 0; i < SENDERS * ROUNDS; i++) {
        size_t done = 0;
        EXPECT(rig_recv_exact(rig, b, piece, PIECE, &done), 0);
        CHECK(piece[0] < SENDERS && !memcmp(piece, piece + 1, PIECE - 1));
        pieces[piece[0]]++;
    }
    for (int i = 0; i < SENDERS; i++) {
        rig_join(t[i]);
        EXPECT(pieces[i], ROUNDS);
    }
    free(piece);
}

static void send_one(struct rig *rig, void *arg)
{
    const struct sender *sender = arg;
    EXPECT(rig_send(rig, sender->s, &sender->number, 1), 1);
}

/* The first sender is stuck in the middle of its bytes; the others queue up behind it. */
SCENARIO_FOR(senders_go_in_order_of_arrival, STREAM | WAITS)
{
    weir_socket *a, *b;
    struct sender senders[SENDERS];
    struct rig_thread *t[SENDERS];
    unsigned char *data = malloc(LARGE), number;
    size_t done = 0;
    CHECK(data != NULL);
    rig_pair(rig, &a, &b);
    struct rig_thread *large = rig_go(rig, send_large, a);
    rig_until_asleep(large);
    for (unsigned char i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){a, i};
        t[i] = rig_go(rig, send_one, &senders[i]);
        rig_until_asleep(t[i]);
    }
    EXPECT(rig_recv_exact(rig, b, data, LARGE, &done), 0);
    CHECK(rig_is_filled(data, LARGE, 7, 0));
    for (int i = 0; i < SENDERS; i++) {
        EXPECT(rig_recv(rig, b, &number, 1), 1);
        EXPECT(number, i);
    }
    for (int i = 0; i < SENDERS; i++)
        rig_join(t[i]);
    rig_join(large);
    free(data);
}

static void send_within_a_moment(struct rig *rig, void *arg)
{
    WEIR_WITHIN_MS(RIG_MOMENT_MS);
    (void)rig;
    EXPECT(weir_send(arg, "x", 1), WEIR_EDEADLINE);
}

/* Who gives up waiting for its turn leaves the queue in order, and has sent nothing. */
SCENARIO_FOR(sender_gives_up_its_turn, STREAM | WAITS)
{
    weir_socket *a, *b;
    struct sender last;
    unsigned char *data = malloc(LARGE), number;
    size_t done = 0;
    CHECK(data != NULL);
    rig_pair(rig, &a, &b);
    last = (struct sender){a, 42};
    struct rig_thread *large = rig_go(rig, send_large, a);
    rig_until_asleep(large);
    struct rig_thread *hasty = rig_go(rig, send_within_a_moment, a);
    rig_until_asleep(hasty);
    struct rig_thread *patient = rig_go(rig, send_one, &last);
    rig_until_asleep(patient);
    rig_join(hasty);
    EXPECT(rig_recv_exact(rig, b, data, LARGE, &done), 0);
    EXPECT(rig_recv(rig, b, &number, 1), 1);
    EXPECT(number, 42);
    rig_join(patient);
    rig_join(large);
    free(data);
}

/* In non-blocking mode nobody waits for a turn. */
SCENARIO_FOR(sender_that_does_not_wait_for_its_turn, STREAM | WAITS)
{
    weir_socket *a, *b;
    unsigned char *data = malloc(LARGE);
    struct iovec vector = {(char[]){"x"}, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    size_t done = 0;
    CHECK(data != NULL);
    rig_pair(rig, &a, &b);
    struct rig_thread *large = rig_go(rig, send_large, a);
    rig_until_asleep(large);
    EXPECT(weir_sendmsg(a, &message, MSG_DONTWAIT), -EAGAIN);
    EXPECT(rig_recv_exact(rig, b, data, LARGE, &done), 0);
    rig_join(large);
    EXPECT(weir_sendmsg(a, &message, MSG_DONTWAIT), 1);
    free(data);
}

static void receive_a_word(struct rig *rig, void *arg)
{
    char word[4];
    EXPECT(rig_recv(rig, arg, word, sizeof word), 4);
}

SCENARIO_FOR(second_receiver_is_busy, STREAM | WAITS)
{
    weir_socket *a, *b;
    char byte;
    size_t done = 0;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_go(rig, receive_a_word, a);
    rig_until_asleep(t);
    EXPECT(weir_recv(a, &byte, 1), -EBUSY);
    EXPECT(weir_recv_exact(a, &byte, 1, &done), -EBUSY);
    EXPECT(weir_recvmsg(a, &message, 0), -EBUSY);
    EXPECT(weir_send(a, "other way", 9), 9);
    EXPECT(weir_send(b, "word", 4), 4);
    rig_join(t);
    EXPECT(weir_send(b, "x", 1), 1);
    EXPECT(rig_recv(rig, a, &byte, 1), 1);
}

SCENARIO_FOR(datagrams_are_for_every_receiver, DATAGRAMS | WAITS)
{
    weir_socket *a, *b;
    struct rig_thread *t[4];
    rig_pair(rig, &a, &b);
    for (int i = 0; i < 4; i++)
        t[i] = rig_go(rig, receive_a_word, a);
    for (int i = 0; i < 4; i++)
        EXPECT(rig_send(rig, b, "word", 4), 4);
    for (int i = 0; i < 4; i++)
        rig_join(t[i]);
}
