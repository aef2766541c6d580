#include "socket.h"
#include "sys.h"

#include <string.h>
#include <weir/unix.h>

union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(WEIR_FDS_MAX * sizeof(int))];
};

ssize_t weir_send_fds(weir_socket *s, const void *buf, size_t len, const int *fds, size_t count)
{
    union fd_control control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
    struct transfer t = {.try = transfer_sendmsg, .const_message = &message};

    if (!s || (!buf && len > 0) || !fds || count == 0 || count > WEIR_FDS_MAX)
        return -EINVAL;
    if (s->family != AF_UNIX)
        return -EOPNOTSUPP;
    if (len == 0 && socket_is_stream(s))
        return -EINVAL;
    memset(&control, 0, sizeof control);
    message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof *fds);
    memcpy(CMSG_DATA(c), fds, count * sizeof *fds);
    return transfer_out(s, &t);
}

/* Hands over what fits, closes the rest. Returns how many were too many. */
static size_t take_fds(const struct cmsghdr *c, int *fds, size_t max, size_t *count)
{
    size_t came = (c->cmsg_len - CMSG_LEN(0)) / sizeof *fds, surplus = 0;

    for (size_t i = 0; i < came; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        if (*count < max) {
            fds[(*count)++] = fd;
        } else {
            sys_close(fd);
            surplus++;
        }
    }
    return surplus;
}

ssize_t weir_recv_fds(weir_socket *s, void *buf, size_t len, int *fds, size_t max,
                      size_t *ret_count, size_t *ret_surplus)
{
    union fd_control control;
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    struct transfer t = {.try = transfer_recvmsg, .message = &message};
    size_t surplus = 0;

    if (!s || !buf || len == 0 || !ret_count || (!fds && max > 0))
        return -EINVAL;
    *ret_count = 0;
    if (ret_surplus)
        *ret_surplus = 0;
    if (s->family != AF_UNIX)
        return -EOPNOTSUPP;
    control.align = (struct cmsghdr){.cmsg_len = 0};
    ssize_t n = transfer_in(s, &t);
    if (n < 0)
        return n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            surplus += take_fds(c, fds, max, ret_count);
    /* Room was there for all, so the kernel cut them because no descriptor numbers were left. */
    if (message.msg_flags & MSG_CTRUNC && surplus == 0)
        surplus = 1;
    if (ret_surplus)
        *ret_surplus = surplus;
    return n;
}

int weir_peer_credentials(weir_socket *s, weir_credentials *ret)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (!s || !ret)
        return -EINVAL;
    if (s->family != AF_UNIX)
        return -EOPNOTSUPP;
    if (socket_phase(s) != PHASE_CONNECTED)
        return -ENOTCONN;
    int rc = weir_get_option(s, SOL_SOCKET, SO_PEERCRED, &peer, &length);
    if (rc == 0)
        *ret = (weir_credentials){.pid = peer.pid, .uid = peer.uid, .gid = peer.gid};
    return rc;
}
