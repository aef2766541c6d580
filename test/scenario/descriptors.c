/* What only Unix sockets can do: pass descriptors, know the peer. */
#include "support/rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Whether both are the same open file. */
static bool same_file(int a, int b)
{
    struct stat first, second;
    return !fstat(a, &first) && !fstat(b, &second) && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

static int open_file(struct rig *rig)
{
    char path[128];
    snprintf(path, sizeof path, "%s/file-%u", rig->dir, atomic_fetch_add(&rig->names, 1));
    return rig_keep_fd(rig, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

static ssize_t recv_fds(struct rig *rig, weir_socket *s, char *buf, size_t len, int *fds,
                        size_t max, size_t *count, size_t *surplus)
{
    return RIG_DONE(rig, s, WEIR_READABLE, weir_recv_fds(s, buf, len, fds, max, count, surplus));
}

static ssize_t send_fds(struct rig *rig, weir_socket *s, const int *fds, size_t count)
{
    return RIG_DONE(rig, s, WEIR_WRITABLE, weir_send_fds(s, "fds", 3, fds, count));
}

SCENARIO_FOR(descriptors_are_passed, LOCAL)
{
    weir_socket *a, *b;
    int sent[] = {open_file(rig), open_file(rig)}, got[4];
    size_t count = 99, surplus = 99;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(send_fds(rig, a, sent, 2), 3);
    EXPECT(recv_fds(rig, b, buf, sizeof buf, got, 4, &count, &surplus), 3);
    CHECK(count == 2 && surplus == 0 && !memcmp(buf, "fds", 3));
    for (int i = 0; i < 2; i++) {
        CHECK(got[i] != sent[i] && same_file(got[i], sent[i]));
        CHECK(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
        close(got[i]);
    }
}

SCENARIO_FOR(bytes_without_descriptors, LOCAL)
{
    weir_socket *a, *b;
    int got[4];
    size_t count = 99, surplus = 99;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(b, false), 0);
    EXPECT(weir_recv_fds(b, buf, sizeof buf, got, 4, &count, &surplus), -EAGAIN);
    CHECK(count == 0 && surplus == 0);
    EXPECT(rig_send(rig, a, "plain", 5), 5);
    count = surplus = 99;
    EXPECT(weir_wait(b, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_recv_fds(b, buf, sizeof buf, got, 4, &count, &surplus), 5);
    CHECK(count == 0 && surplus == 0);
    if (rig->transport->has & CONNECTION) {
        rig_close(rig, a);
        count = surplus = 99;
        EXPECT(recv_fds(rig, b, buf, sizeof buf, got, 4, &count, &surplus), 0);
        CHECK(count == 0 && surplus == 0);
    }
}

/* What does not fit must be closed: the count of descriptors at the end of the scenario tells. */
SCENARIO_FOR(surplus_descriptors_are_closed_and_reported, LOCAL)
{
    weir_socket *a, *b;
    int sent[5], got[5];
    size_t count, surplus;
    char buf[8];
    rig_pair(rig, &a, &b);
    for (int i = 0; i < 5; i++)
        sent[i] = open_file(rig);
    for (size_t max = 0; max < 5; max++) {
        EXPECT(send_fds(rig, a, sent, 5), 3);
        int before = rig_count_fds();
        EXPECT(recv_fds(rig, b, buf, sizeof buf, got, max, &count, &surplus), 3);
        EXPECT(count, max);
        CHECK(surplus >= 1 && surplus <= 5 - max);
        EXPECT(rig_count_fds(), before + (int)max);
        for (size_t i = 0; i < max; i++) {
            CHECK(same_file(got[i], sent[i]));
            close(got[i]);
        }
    }
    EXPECT(send_fds(rig, a, sent, 2), 3);
    EXPECT(recv_fds(rig, b, buf, sizeof buf, NULL, 0, &count, NULL), 3);
    EXPECT(count, 0);
}

SCENARIO_FOR(descriptors_sent_to_a_plain_receive_are_not_leaked, LOCAL)
{
    weir_socket *a, *b;
    int fd = open_file(rig);
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(send_fds(rig, a, &fd, 1), 3);
    int before = rig_count_fds();
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 3);
    EXPECT(rig_count_fds(), before);
}

SCENARIO_FOR(descriptors_sent_to_a_datagram_receive_are_not_leaked, DATAGRAMS | LOCAL)
{
    weir_socket *a, *b;
    weir_datagram_info info;
    int fd = open_file(rig);
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(send_fds(rig, a, &fd, 1), 3);
    int before = rig_count_fds();
    EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, buf, sizeof buf, &info)), 3);
    EXPECT(rig_count_fds(), before);
}

SCENARIO_FOR(descriptors_by_the_hundred, LOCAL)
{
    weir_socket *a, *b;
    int fd = open_file(rig), sent[WEIR_FDS_MAX + 1], got[WEIR_FDS_MAX];
    size_t count, surplus;
    char buf[8];
    rig_pair(rig, &a, &b);
    for (int i = 0; i <= WEIR_FDS_MAX; i++)
        sent[i] = fd;
    EXPECT(weir_send_fds(a, "x", 1, sent, WEIR_FDS_MAX + 1), -EINVAL);
    EXPECT(send_fds(rig, a, sent, WEIR_FDS_MAX), 3);
    EXPECT(recv_fds(rig, b, buf, sizeof buf, got, WEIR_FDS_MAX, &count, &surplus), 3);
    CHECK(count == WEIR_FDS_MAX && surplus == 0);
    for (int i = 0; i < WEIR_FDS_MAX; i++) {
        CHECK(same_file(got[i], fd));
        close(got[i]);
    }
}

SCENARIO_FOR(descriptors_with_wrong_arguments, LOCAL)
{
    weir_socket *a, *b;
    int fd = open_file(rig), got[2];
    size_t count = 99, surplus = 99;
    char buf[8];
    rig_pair(rig, &a, &b);
    int closed = dup(fd);
    close(closed);
    EXPECT(weir_send_fds(a, "x", 1, &fd, 0), -EINVAL);
    EXPECT(weir_send_fds(a, "x", 1, NULL, 1), -EINVAL);
    EXPECT(weir_send_fds(a, NULL, 1, &fd, 1), -EINVAL);
    if (rig->transport->has & STREAM)
        EXPECT(weir_send_fds(a, "x", 0, &fd, 1), -EINVAL);
    EXPECT(weir_send_fds(a, "x", 1, &closed, 1), -EBADF);
    EXPECT(weir_send_fds(NULL, "x", 1, &fd, 1), -EINVAL);
    EXPECT(weir_recv_fds(NULL, buf, 1, got, 2, &count, &surplus), -EINVAL);
    EXPECT(RIG_BRIEFLY(rig, b, WEIR_READABLE, weir_recv(b, buf, 1)), WEIR_EDEADLINE);
}

SCENARIO_FOR(descriptors_over_other_transports, INTERNET)
{
    weir_socket *a, *b;
    int fd = 0, got[2];
    size_t count = 99, surplus = 99;
    weir_credentials who;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(weir_send_fds(a, "x", 1, &fd, 1), -EOPNOTSUPP);
    EXPECT(weir_recv_fds(b, buf, 1, got, 2, &count, &surplus), -EOPNOTSUPP);
    CHECK(count == 0 && surplus == 0);
    EXPECT(weir_peer_credentials(a, &who), -EOPNOTSUPP);
}

SCENARIO_FOR(descriptors_when_there_is_no_room_for_them, LOCAL)
{
    weir_socket *a, *b;
    int sent[3] = {open_file(rig), open_file(rig), open_file(rig)}, got[3];
    size_t count, surplus;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(send_fds(rig, a, sent, 3), 3);
    rig_exhaust_fds(rig, 1);
    EXPECT(recv_fds(rig, b, buf, sizeof buf, got, 3, &count, &surplus), 3);
    EXPECT(count, 1);
    CHECK(surplus >= 1);
    close(got[0]);
    rig_restore_fds(rig);
}

/* Through weir_recvmsg too: a program that is started in between must not inherit them. */
SCENARIO_FOR(descriptors_in_control_data_are_close_on_exec, LOCAL)
{
    weir_socket *a, *b;
    int fd = open_file(rig), got;
    char byte;
    struct iovec vector = {&byte, 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    rig_pair(rig, &a, &b);
    EXPECT(send_fds(rig, a, &fd, 1), 3);
    EXPECT(rig_recvmsg(rig, b, &message, 0), 1);
    CHECK(CMSG_FIRSTHDR(&message) && CMSG_FIRSTHDR(&message)->cmsg_type == SCM_RIGHTS);
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
    rig_keep_fd(rig, got);
    CHECK(same_file(got, fd) && fcntl(got, F_GETFD) & FD_CLOEXEC);
}

SCENARIO_FOR(credentials_of_the_peer, LOCAL | CONNECTION)
{
    weir_socket *a, *b;
    weir_credentials who = {0};
    rig_pair(rig, &a, &b);
    EXPECT(weir_peer_credentials(a, &who), 0);
    CHECK(who.pid == getpid() && who.uid == geteuid() && who.gid == getegid());
    EXPECT(weir_peer_credentials(b, &who), 0);
    CHECK(who.pid == getpid());
    EXPECT(weir_peer_credentials(rig_open(rig), &who), -ENOTCONN);
    EXPECT(weir_peer_credentials(a, NULL), -EINVAL);
    EXPECT(weir_peer_credentials(NULL, &who), -EINVAL);
}

/* ---- names ---------------------------------------------------------------------------------- */

SCENARIO_FOR(unix_names_as_hosts, LISTENER | LOCAL)
{
    weir_address place = rig_place(rig), where;
    weir_socket *listener = rig_open(rig), *s = rig_open(rig), *accepted;
    char text[WEIR_ADDRESS_TEXT_MAX];
    CHECK(weir_address_format(&place, text, sizeof text) > 0);
    EXPECT(weir_bind(listener, text, 0), 0);
    EXPECT(weir_listen(listener, 0), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    CHECK(weir_address_equal(&where, &place));
    rig_meet_by_name(rig, s, text, listener, &accepted);
    EXPECT(weir_peer_address(s, &where), 0);
    CHECK(weir_address_equal(&where, &place));
}

SCENARIO_FOR(unix_names_that_are_wrong, LISTENER | LOCAL)
{
    weir_socket *s = rig_open(rig);
    char path[140] = "unix:/";
    memset(path + 6, 'x', 120);
    EXPECT(weir_connect(s, path, 0), -ENAMETOOLONG);
    EXPECT(weir_bind(s, path, 0), -ENAMETOOLONG);
    EXPECT(weir_connect(s, "unix:", 0), -EINVAL);
    EXPECT(weir_connect(s, NULL, 0), -EINVAL);
    EXPECT(rig_connect(rig, s, "127.0.0.1", 9), -EAFNOSUPPORT);
    EXPECT(weir_fd(s), -ENOTCONN);
}
