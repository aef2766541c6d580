/* Signals as something to wait for. */
#include "../clock.h"
#include "../story.h"
#include "../sys.h"
#include "../wait.h"
#include "task.h"

#include <weir/error.h>

/* A signal that is not blocked would never be seen: it takes its usual effect. That shows only when
 * it comes, so it is refused at once. */
int signal_check(const sigset_t *set)
{
    sigset_t catchable = *set, mask;

    sigdelset(&catchable, SIGKILL);
    sigdelset(&catchable, SIGSTOP);
    if (sigisemptyset(&catchable))
        return -EINVAL;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int signal = 1; signal < NSIG; signal++)
        if (sigismember(&catchable, signal) == 1 && sigismember(&mask, signal) == 0)
            return story_tell(-EINVAL, "signal %d is not blocked in this thread", signal);
    return 0;
}

/* Another that waits for the same may be quicker, after both were told. */
static int take(int fd, uint64_t deadline_ns)
{
    int rc;

    while ((rc = sys_signalfd_take(fd)) == -EAGAIN || rc == -EINTR) {
        rc = wait_for_fd_of(fd, AWAITS_SIGNAL, POLLIN, deadline_ns);
        if (rc < 0)
            break;
    }
    return rc;
}

int weir_signal_wait(const sigset_t *set)
{
    uint64_t deadline_ns;

    if (!set)
        return -EINVAL;
    int rc = signal_check(set);
    if (rc < 0)
        return rc;
    rc = wait_begin(&deadline_ns);
    if (rc < 0)
        return rc;
    int fd = sys_signalfd(set);
    if (fd < 0)
        return fd;
    rc = take(fd, deadline_ns);
    sys_close(fd);
    return rc;
}
