/* fork(2) in the middle of tasks: what the child has inherited is refused and hangs nowhere, and
 * what it keeps open troubles no loop of the parent. */
#include "support/ground.h"
#include "sys.h"

#include <stdio.h>

/* ---- the child ------------------------------------------------------------------------------ */

static int not_here(void *arg)
{
    const bool runs_in_the_child = true;
    (void)arg;
    CHECK(!runs_in_the_child);
    return 0;
}

static int serves_not_here(weir_socket *s, void *arg)
{
    (void)s;
    return not_here(arg);
}

/* A group of the parent takes no tasks and has none. */
static void use_inherited(weir_group *g)
{
    weir_socket *pair[2];
    int failure = 77;
    char byte = 'x';
    EXPECT(weir_go(g, not_here, NULL), -EINVAL);
    EXPECT(weir_go_copy(g, not_here, &byte, 1), -EINVAL);
    stream_pair(pair);
    EXPECT(weir_go_socket(g, serves_not_here, pair[0], NULL), -EINVAL);
    EXPECT(weir_recv(pair[1], &byte, 1), 0);
    weir_close(pair[1]);
    EXPECT(weir_group_wait(g, &failure), -EINVAL);
    EXPECT(failure, 77);
    {
        WEIR_WITHIN_MS(1);
        EXPECT(weir_group_wait(g, NULL), -EINVAL);
    }
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_close(g), 0);
}

/* What the parent's tasks have in memory is lost in the child, and no leak: nothing is to look at
 * it at the end. */
static void end_child(void)
{
    execlp("true", "true", (char *)NULL);
    _exit(0);
}

static void in_a_child(void (*fn)(weir_group *g), weir_group *g)
{
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(30);
        fn(g);
        end_child();
    }
    child_ends(pid, 0);
}

/* ---- groups --------------------------------------------------------------------------------- */

static int sleeps_for_good(void *arg)
{
    EXPECT(weir_sleep(-1), -ECANCELED);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int ends_at_once(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return -5;
}

static void group_without_tasks(void)
{
    weir_group *g = group_open();
    in_a_child(use_inherited, g);
    group_end(g);
}

static void group_with_a_task_that_waits(void)
{
    atomic_int ended = 0;
    struct other other;
    weir_group *g = group_open();
    other_go(&other, g, sleeps_for_good, &ended);
    other_until_asleep(&other);
    in_a_child(use_inherited, g);
    EXPECT(atomic_load(&ended), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load(&ended), 1);
}

/* Those that the loop has not even heard of stay with the parent too. */
static void group_with_tasks_that_have_not_begun(void)
{
    atomic_int ended = 0;
    int failure = 0;
    weir_group *g = group_open();
    for (int i = 0; i < 3; i++)
        EXPECT(weir_go(g, ends_at_once, &ended), 0);
    in_a_child(use_inherited, g);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, -5);
    EXPECT(atomic_load(&ended), 3);
    EXPECT(weir_group_close(g), 0);
}

static int forks(void *g)
{
    in_a_child(use_inherited, g);
    return 0;
}

/* The child of a task may even close the task's own group. */
static void group_of_the_task_itself(void)
{
    weir_group *g = group_open();
    EXPECT(weir_go(g, forks, g), 0);
    group_end(g);
}

static void use_after_another_fork(weir_group *g)
{
    in_a_child(use_inherited, g);
    use_inherited(g);
}

static void group_of_a_grandparent(void)
{
    weir_group *g = group_open();
    in_a_child(use_after_another_fork, g);
    group_end(g);
}

static void open_own(weir_group *inherited)
{
    weir_group *g = group_open();
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_go(inherited, not_here, NULL), -EINVAL);
    EXPECT(weir_group_close(g), 0);
}

/* What the child opens itself is its own. */
static void group_of_the_child(void)
{
    weir_group *g = group_open();
    in_a_child(open_own, g);
    group_end(g);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

#define ROUNDS 50

static atomic_uint turns;

static int count_turns(enum sys_call call)
{
    if (call == SYS_EPOLL_WAIT || call == SYS_POLL || call == SYS_RING_ENTER)
        atomic_fetch_add(&turns, 1);
    return 0;
}

/* How often the loop turns while something comes for `fd`, and the task sleeps, again and again. */
static unsigned turns_beside(int fd)
{
    static const struct sys_faults counted = {.error = count_turns};
    atomic_store(&turns, 0);
    sys_faults = &counted;
    for (int i = 0; i < ROUNDS; i++) {
        EXPECT(send(fd, "x", 1, MSG_NOSIGNAL), 1);
        EXPECT(weir_sleep(2), 0);
    }
    sys_faults = NULL;
    return atomic_load(&turns);
}

/* Both sides have been waited for, so that a loop knows of them what it ever knows. */
static void make_known(weir_socket *s)
{
    char byte;
    EXPECT(weir_wait(s, WEIR_READABLE | WEIR_WRITABLE), WEIR_WRITABLE);
    WEIR_WITHIN_MS(1);
    EXPECT(weir_recv(s, &byte, 1), WEIR_EDEADLINE);
}

static pid_t child_that_keeps_all(int *ret_until)
{
    int ends[2];
    char byte;
    CHECK(!pipe(ends));
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(60);
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) != 0);
    }
    close(ends[0]);
    *ret_until = ends[1];
    return pid;
}

/* The child has the file still; what comes for it is no business of the parent's loop. */
static void close_what_a_child_keeps(void (*let_go)(weir_socket *s))
{
    weir_socket *pair[2];
    int until;
    stream_pair(pair);
    make_known(pair[0]);
    pid_t child = child_that_keeps_all(&until);
    let_go(pair[0]);
    CHECK(turns_beside(weir_fd(pair[1])) < 3 * ROUNDS / 2);
    close(until);
    child_ends(child, 0);
    weir_close(pair[1]);
}

static void close_it(weir_socket *s)
{
    weir_close(s);
}

static void closed_socket_that_a_child_keeps(void)
{
    close_what_a_child_keeps(close_it);
}

static weir_socket *kept;

static void close_what_is_shared(weir_socket *s)
{
    kept = weir_ref(s);
    weir_close(s);
}

static void shared_socket_that_a_child_keeps(void)
{
    close_what_a_child_keeps(close_what_is_shared);
    weir_close(kept);
}

static void detach_it(weir_socket *s)
{
    close(weir_detach(s));
}

static void detached_socket_that_a_child_keeps(void)
{
    close_what_a_child_keeps(detach_it);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, group_without_tasks),
        GROUND_TEST(EVERYWHERE, group_with_a_task_that_waits),
        GROUND_TEST(EVERYWHERE, group_with_tasks_that_have_not_begun),
        GROUND_TEST(EVERYWHERE, group_of_the_task_itself),
        GROUND_TEST(EVERYWHERE, group_of_a_grandparent),
        GROUND_TEST(EVERYWHERE, group_of_the_child),
        GROUND_TEST(IN_TASKS, closed_socket_that_a_child_keeps),
        GROUND_TEST(IN_TASKS, shared_socket_that_a_child_keeps),
        GROUND_TEST(IN_TASKS, detached_socket_that_a_child_keeps),
    };
    return ground_main(argc, argv, "forked_tasks", tests, sizeof tests / sizeof *tests);
}
