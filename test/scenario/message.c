/* weir_sendmsg and weir_recvmsg: vectors, flags, control data. */
#include "support/rig.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>

static struct msghdr message_of(struct iovec *vectors, size_t count)
{
    return (struct msghdr){.msg_iov = vectors, .msg_iovlen = count};
}

/* Takes `len` bytes, of a stream perhaps in parts; `vectors` is used up. */
static void receive_all(struct rig *rig, weir_socket *s, struct iovec *vectors, size_t count,
                        size_t len)
{
    struct msghdr message = message_of(vectors, count);
    while (len) {
        ssize_t n = rig_recvmsg(rig, s, &message, 0);
        CHECK(n > 0 && (size_t)n <= len && !(message.msg_flags & MSG_TRUNC));
        CHECK((size_t)n == len || rig->transport->has & HANDSHAKE);
        len -= (size_t)n;
        for (; (size_t)n >= message.msg_iov->iov_len && message.msg_iovlen > 1; message.msg_iov++) {
            n -= (ssize_t)message.msg_iov->iov_len;
            message.msg_iovlen--;
        }
        message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + n;
        message.msg_iov->iov_len -= (size_t)n;
    }
}

SCENARIO(vectors_are_joined_and_split)
{
    weir_socket *a, *b;
    char first[3], second[1], third[8];
    struct iovec out[] = {{(char[]){"ab"}, 2}, {NULL, 0}, {(char[]){"cdef"}, 4}};
    struct iovec in[] = {{first, 3}, {second, 1}, {third, 8}};
    struct msghdr message = message_of(out, 3);
    rig_pair(rig, &a, &b);
    EXPECT(rig_sendmsg(rig, a, &message, 0), 6);
    receive_all(rig, b, in, 3, 6);
    CHECK(!memcmp(first, "abc", 3) && second[0] == 'd' && !memcmp(third, "ef", 2));
}

SCENARIO(peek_leaves_it_there)
{
    weir_socket *a, *b;
    char buf[8];
    struct iovec vector = {buf, sizeof buf};
    struct msghdr message = message_of(&vector, 1);
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "look", 4), 4);
    for (int i = 0; i < 3; i++) {
        EXPECT(rig_recvmsg(rig, b, &message, MSG_PEEK), 4);
        CHECK(!memcmp(buf, "look", 4));
    }
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 4);
    EXPECT(weir_recvmsg(b, &message, MSG_DONTWAIT), -EAGAIN);
}

/* In every mode: for this one call. */
SCENARIO(dontwait_is_for_one_call)
{
    weir_socket *a, *b;
    char buf[8];
    struct iovec vector = {buf, sizeof buf};
    struct msghdr message = message_of(&vector, 1);
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, true), 0);
    EXPECT(weir_recvmsg(a, &message, MSG_DONTWAIT), -EAGAIN);
    EXPECT(weir_get_blocking(a), 1);
    EXPECT(weir_set_timeout(a, RIG_MOMENT_MS), 0);
    EXPECT(weir_recvmsg(a, &message, 0), WEIR_EDEADLINE);
}

SCENARIO_FOR(message_that_is_cut_says_so, MESSAGES)
{
    weir_socket *a, *b;
    char buf[4];
    struct iovec vector = {buf, sizeof buf};
    struct msghdr message = message_of(&vector, 1);
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "longer than that", 16), 16);
    EXPECT(rig_send(rig, a, "longer than that", 16), 16);
    EXPECT(rig_recvmsg(rig, b, &message, 0), 4);
    CHECK(message.msg_flags & MSG_TRUNC);
    EXPECT(rig_recvmsg(rig, b, &message, MSG_TRUNC), 16); /* recv(2): the real length */
}

SCENARIO_FOR(message_carries_addresses, DATAGRAMS)
{
    weir_socket *a = rig_bound(rig), *b = rig_bound(rig);
    weir_address to_a = rig_where(a), to_b = rig_where(b), from;
    struct sockaddr_storage name;
    char buf[8] = "hello";
    struct iovec vector = {buf, sizeof buf};
    struct msghdr message = message_of(&vector, 1);
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&to_b, &length);
    memcpy(&name, sa, length);
    message.msg_name = &name;
    message.msg_namelen = length;
    EXPECT(rig_sendmsg(rig, a, &message, 0), 8);
    message.msg_namelen = sizeof name;
    EXPECT(rig_recvmsg(rig, b, &message, 0), 8);
    EXPECT(weir_address_from_sockaddr(&from, (struct sockaddr *)&name, message.msg_namelen), 0);
    CHECK(weir_address_equal(&from, &to_a));
}

SCENARIO_FOR(messages_with_wrong_arguments, STREAM)
{
    weir_socket *a, *b;
    char buf[4];
    struct iovec vector = {buf, sizeof buf}, nothing = {buf, 0};
    struct msghdr message = message_of(&vector, 1), none = message_of(NULL, 0),
                  empty = message_of(&nothing, 1);
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, b, "kept", 4), 4);
    EXPECT(weir_sendmsg(a, NULL, 0), -EINVAL);
    EXPECT(weir_recvmsg(a, NULL, 0), -EINVAL);
    EXPECT(weir_sendmsg(NULL, &message, 0), -EINVAL);
    EXPECT(weir_recvmsg(NULL, &message, 0), -EINVAL);
    EXPECT(weir_recvmsg(a, &message, MSG_WAITALL), -EINVAL);
    EXPECT(weir_sendmsg(a, &none, 0), -EINVAL);
    EXPECT(weir_recvmsg(a, &none, 0), -EINVAL);
    EXPECT(weir_sendmsg(a, &empty, 0), -EINVAL);
    EXPECT(weir_recvmsg(a, &empty, 0), -EINVAL);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 4);
}

SCENARIO_FOR(message_after_the_end, CONNECTION)
{
    weir_socket *a, *b;
    char buf[4] = "";
    struct iovec vector = {buf, sizeof buf};
    struct msghdr message = message_of(&vector, 1);
    rig_pair(rig, &a, &b);
    rig_close(rig, a);
    EXPECT(rig_recvmsg(rig, b, &message, 0), 0);
    EXPECT(rig_recvmsg(rig, b, &message, 0), 0);
    ssize_t n;
    while ((n = rig_sendmsg(rig, b, &message, 0)) > 0) /* and no SIGPIPE */
        CHECK(rig->transport->has & TCP);
    CHECK(n == -EPIPE || n == -ECONNRESET);
}

static const struct cmsghdr *find_control(struct msghdr *message, int level, int type)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == level && c->cmsg_type == type)
            return c;
    return NULL;
}

SCENARIO_FOR(control_data_comes_through, LOCAL)
{
    weir_socket *a, *b;
    int on = 1;
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = message_of(&vector, 1);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct ucred sender;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_option(b, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    EXPECT(rig_send(rig, a, "x", 1), 1);
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    EXPECT(rig_recvmsg(rig, b, &message, 0), 1);
    const struct cmsghdr *c = find_control(&message, SOL_SOCKET, SCM_CREDENTIALS);
    CHECK(c != NULL);
    memcpy(&sender, CMSG_DATA(c), sizeof sender);
    CHECK(sender.pid == getpid() && sender.uid == getuid());
    EXPECT(rig_send(rig, a, "x", 1), 1);
    message.msg_controllen = sizeof(struct cmsghdr); /* too little room */
    EXPECT(rig_recvmsg(rig, b, &message, 0), 1);
    CHECK(message.msg_flags & MSG_CTRUNC);
}

SCENARIO_FOR(control_data_of_datagrams, DATAGRAMS | INTERNET)
{
    weir_socket *a, *b;
    int on = 1, ttl = 17, got = 0;
    bool v4 = rig->transport->family == AF_INET;
    int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    char byte = 'x';
    struct iovec vector = {&byte, 1};
    struct msghdr message = message_of(&vector, 1);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof ttl),
                            .cmsg_level = level,
                            .cmsg_type = v4 ? IP_TTL : IPV6_HOPLIMIT}};
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_option(b, level, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, &on, sizeof on), 0);
    memcpy(CMSG_DATA(&control.header), &ttl, sizeof ttl);
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    EXPECT(rig_sendmsg(rig, a, &message, 0), 1);
    memset(&control, 0, sizeof control);
    EXPECT(rig_recvmsg(rig, b, &message, 0), 1);
    const struct cmsghdr *c = find_control(&message, level, v4 ? IP_TTL : IPV6_HOPLIMIT);
    CHECK(c != NULL);
    memcpy(&got, CMSG_DATA(c), sizeof got);
    EXPECT(got, ttl);
}

/* More vectors than the kernel takes at once is the caller's mistake, as in sendmsg(2). */
SCENARIO_FOR(too_many_vectors, STREAM)
{
    weir_socket *a, *b;
    static struct iovec vectors[1025];
    static char byte;
    for (int i = 0; i < 1025; i++)
        vectors[i] = (struct iovec){&byte, 1};
    struct msghdr message = message_of(vectors, 1025);
    rig_pair(rig, &a, &b);
    EXPECT(rig_sendmsg(rig, a, &message, 0), -EMSGSIZE);
    message.msg_iovlen = 1024;
    EXPECT(rig_sendmsg(rig, a, &message, 0), 1024);
    size_t done = 0;
    char buf[1024];
    EXPECT(rig_recv_exact(rig, b, buf, sizeof buf, &done), 0);
}

SCENARIO_FOR(urgent_byte, TCP | PLAIN)
{
    weir_socket *a, *b;
    char byte = '!', buf[4];
    struct iovec vector = {&byte, 1};
    struct msghdr message = message_of(&vector, 1);
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "ab", 2), 2);
    EXPECT(rig_sendmsg(rig, a, &message, MSG_OOB), 1);
    EXPECT(rig_send(rig, a, "cd", 2), 2);
    struct pollfd urgent = {.fd = weir_fd(b), .events = POLLPRI};
    while (poll(&urgent, 1, -1) < 0)
        ;
    byte = 0;
    EXPECT(weir_recvmsg(b, &message, MSG_OOB), 1);
    CHECK(byte == '!');
    size_t done = 0;
    EXPECT(rig_recv_exact(rig, b, buf, 4, &done), 0);
    CHECK(!memcmp(buf, "abcd", 4));
}
