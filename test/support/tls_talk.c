#include "support/tls_talk.h"

#include "support/ground.h"
#include "support/tls_peer.h"

#include <sys/socket.h>

#define BYTES_MAX 1000

weir_socket *talk_begin(struct puppet **ret, const struct puppet_row *row)
{
    weir_socket *s = puppet_meet(ret, row);
    puppet_shake_both(*ret, s);
    EXPECT(weir_set_timeout(s, LONG_MS), 0);
    return s;
}

void talk_end(weir_socket *s, struct puppet *p)
{
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

void talk_send(weir_socket *s, uint64_t at, size_t count)
{
    unsigned char bytes[BYTES_MAX];
    size_t done = 0;
    CHECK(count <= sizeof bytes);
    for (size_t i = 0; i < count; i++)
        bytes[i] = tls_peer_byte(at + i);
    EXPECT(weir_send_all(s, bytes, count, &done), 0);
}

void talk_receive(weir_socket *s, uint64_t at, size_t count)
{
    unsigned char bytes[BYTES_MAX];
    size_t done = 0;
    CHECK(count <= sizeof bytes);
    EXPECT(weir_recv_exact(s, bytes, count, &done), 0);
    for (size_t i = 0; i < count; i++)
        EXPECT(bytes[i], tls_peer_byte(at + i));
}

void talk_is_heard(struct puppet *p, uint64_t count, bool closed)
{
    puppet_take(p, ALL);
    puppet_hear(p);
    EXPECT((long long)p->heard, (long long)count);
    EXPECT(p->closed, closed);
    CHECK(!p->differs && !p->failed);
}

void talk_make_small(weir_socket *s)
{
    static const int small = 4608;
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
}
