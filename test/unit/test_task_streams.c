/* Streams of tasks, where a loop may carry out what they ask for itself. */
#include "support/ground.h"
#include "sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static void tcp_pair(weir_socket *ret[2])
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

/* ---- no room for requests ------------------------------------------------------------------- */

/* More than there is room for in a ring. */
#define CROWD 300

static int receives_one(void *arg)
{
    char byte;
    return (int)weir_recv(arg, &byte, 1);
}

static int kernel_is_busy(enum sys_call call)
{
    return call == SYS_RING_ENTER ? -EBUSY : 0;
}

/* A call in blocking mode waits, whatever the loop is short of: -EAGAIN is for others. */
static void blocking_calls_wait_while_the_kernel_is_busy(void)
{
    static const struct sys_faults faults = {.error = kernel_is_busy};
    static weir_socket *pairs[CROWD][2];
    static struct other others[CROWD];
    weir_group *g = group_open();
    for (int i = 0; i < CROWD; i++) {
        stream_pair(pairs[i]);
        other_go(&others[i], g, receives_one, pairs[i][0]);
    }
    sys_faults = &faults;
    EXPECT(weir_sleep(MOMENT_MS), 0);
    sys_faults = NULL;
    for (int i = 0; i < CROWD; i++)
        EXPECT(weir_send(pairs[i][1], "x", 1), 1);
    EXPECT(weir_group_wait(g, NULL), 0);
    for (int i = 0; i < CROWD; i++) {
        EXPECT(others[i].rc, 1);
        pair_close(pairs[i]);
    }
    EXPECT(weir_group_close(g), 0);
}

/* ---- amounts -------------------------------------------------------------------------------- */

static size_t a_third(enum sys_call call, size_t len)
{
    (void)call;
    return len > 3 ? len / 3 : len;
}

static int receives_all(void *arg)
{
    char buf[90];
    WEIR_WITHIN_MS(LONG_MS);
    for (size_t done = 0; done < sizeof buf;) {
        ssize_t n = weir_recv(arg, buf + done, sizeof buf - done);
        CHECK(n > 0);
        done += (size_t)n;
    }
    return 0;
}

/* A read that was cut short by something other than the end of what was there has not emptied the
 * stream. */
static void reads_cut_short_leave_nothing_behind(void)
{
    static const struct sys_faults faults = {.amount = a_third};
    weir_socket *pair[2];
    char text[90] = "";
    struct other other;
    weir_group *g = group_open();
    tcp_pair(pair);
    for (int beforehand = 0; beforehand < 2; beforehand++) {
        size_t sent = 0;
        if (!beforehand) {
            other_go(&other, g, receives_all, pair[0]);
            other_until_asleep(&other);
        }
        EXPECT(weir_send_all(pair[1], text, sizeof text, &sent), 0);
        sys_faults = &faults;
        if (beforehand)
            other_go(&other, g, receives_all, pair[0]);
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(other.rc, 0);
        sys_faults = NULL;
    }
    EXPECT(weir_group_close(g), 0);
    pair_close(pair);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static int sockets_that_block(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        struct stat st;
        if (fd > 2 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
            count += !(fcntl(fd, F_GETFL) & O_NONBLOCK);
    }
    closedir(dir);
    return count;
}

/* Whoever gets to know a descriptor, by weir_fd or as a child, can rely on it: how a loop waits is
 * nobody's business. */
static void descriptors_are_non_blocking_all_the_while(void)
{
    weir_socket *pair[2];
    struct other other;
    int before = sockets_that_block();
    tcp_pair(pair);
    for (int i = 0; i < 3; i++) {
        weir_group *g = group_open();
        other_go(&other, g, receives_one, pair[i % 2]);
        other_until_asleep(&other);
        EXPECT(sockets_that_block(), before);
        EXPECT(weir_send(pair[1 - i % 2], "x", 1), 1);
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(other.rc, 1);
        EXPECT(weir_group_close(g), 0);
    }
    EXPECT(sockets_that_block(), before);
    pair_close(pair);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(IN_RUNS, blocking_calls_wait_while_the_kernel_is_busy),
        GROUND_TEST(IN_RUNS, reads_cut_short_leave_nothing_behind),
        GROUND_TEST(IN_TASKS, descriptors_are_non_blocking_all_the_while),
    };
    return ground_main(argc, argv, "task_streams", tests, sizeof tests / sizeof *tests);
}
