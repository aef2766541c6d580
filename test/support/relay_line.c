#include "support/relay_line.h"

#include <stdlib.h>

#define PIECE ((size_t)50000)

void line_tcp_pair(weir_socket *ret[2])
{
    weir_socket *listener;
    weir_address where;
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    EXPECT(weir_socket_open(&ret[0], AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(ret[0], &where), 0);
    EXPECT(weir_accept(listener, &ret[1]), 0);
    EXPECT(weir_close(listener), 0);
}

void line_open(struct line *l, bool swapped)
{
    *l = (struct line){.options = *WEIR_RELAY_OPTIONS()};
    line_tcp_pair(swapped ? l->far : l->near);
    stream_pair(swapped ? l->near : l->far);
}

void line_close(struct line *l)
{
    pair_close(l->near);
    pair_close(l->far);
}

int line_relay(void *line)
{
    struct line *l = line;
    return weir_relay(l->near[1], l->far[0], &l->options, &l->result);
}

static unsigned char byte_at(size_t at)
{
    return (unsigned char)(at * 31 + (at >> 8));
}

int line_say(void *talk)
{
    struct line_talk *t = talk;
    unsigned char *bytes = malloc(t->amount);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < t->amount; i++)
        bytes[i] = byte_at(i);
    t->rc = weir_send_all(t->s, bytes, t->amount, &t->moved);
    if (t->rc == 0)
        t->rc = weir_shutdown(t->s, SHUT_WR);
    free(bytes);
    return 0;
}

static bool is_right(const unsigned char *bytes, size_t len, size_t at)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != byte_at(at + i))
            return false;
    return true;
}

int line_hear(void *talk)
{
    struct line_talk *t = talk;
    unsigned char *bytes = malloc(PIECE);
    ssize_t n;
    CHECK(bytes != NULL);
    while ((n = weir_recv(t->s, bytes, PIECE)) > 0) {
        CHECK(is_right(bytes, (size_t)n, t->moved));
        t->moved += (size_t)n;
    }
    t->rc = (int)n;
    free(bytes);
    return 0;
}

void line_check(weir_socket *from, weir_socket *to, size_t amount, weir_group *g,
                struct line_talk talk[2])
{
    talk[0] = (struct line_talk){.s = from, .amount = amount};
    talk[1] = (struct line_talk){.s = to};
    EXPECT(weir_go(g, line_say, &talk[0]), 0);
    EXPECT(weir_go(g, line_hear, &talk[1]), 0);
}
