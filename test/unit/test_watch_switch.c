/* The watcher may interrupt a loop's thread at any instruction, one in the middle of a switch among
 * them, where registers are those of two stacks. Here it does so at each. */
#include "loop/loop.h"
#include "support/ground.h"
#include "task/sanitizer.h"
#include "task/watch.h"

#include <execinfo.h>
#include <signal.h>

#if defined(__x86_64__) && !defined(__ILP32__) && !SANITIZER_ADDRESS && !SANITIZER_THREAD

#define TRAP_FLAG 0x100

extern char __executable_start[], etext[];

static volatile sig_atomic_t steps_end;
static unsigned steps, traces;

/* Each is followed by the next, until the end. */
static void step(int signal, siginfo_t *info, void *context)
{
    ucontext_t *interrupted = context;
    const char *at = (const char *)interrupted->uc_mcontext.gregs[REG_RIP];
    void *frames[48];
    (void)signal;
    (void)info;
    if (steps_end)
        interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    steps++;
    if (at >= __executable_start && at < etext)
        traces += stall_trace(loop_here, interrupted, frames, 48) > 0;
}

static void start_stepping(void)
{
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    void *frame;
    (void)backtrace(&frame, 1);
    steps_end = 0;
    steps = traces = 0;
    EXPECT(sigaction(SIGTRAP, &action, NULL), 0);
    __asm__ volatile("subq $128, %%rsp\n\tpushfq\n\torl %0, (%%rsp)\n\tpopfq\n\taddq $128, %%rsp"
                     :
                     : "i"(TRAP_FLAG)
                     : "memory", "cc");
}

static void stop_stepping(void)
{
    steps_end = 1;
    for (volatile int i = 0; i < 10; i++)
        continue;
    signal(SIGTRAP, SIG_DFL);
    CHECK(steps > 1000 && traces > 100);
}

static int receives(void *channel)
{
    char item;
    while (weir_channel_recv(channel, &item) > 0)
        continue;
    return 0;
}

static int ends_at_once(void *arg)
{
    (void)arg;
    return 0;
}

static void switches_are_looked_at(void)
{
    weir_group *g;
    weir_channel *channel;
    if (RUNNING_ON_VALGRIND)
        return;
    g = group_open();
    EXPECT(weir_channel_open(&channel, 1, 1), 0);
    EXPECT(weir_go(g, receives, channel), 0);
    EXPECT(weir_yield(), 0);
    start_stepping();
    for (int i = 0; i < 3; i++) {
        (void)weir_sleep(1);
        (void)weir_channel_send(channel, "");
        (void)weir_yield();
        (void)weir_go(g, ends_at_once, NULL);
        (void)weir_yield();
    }
    stop_stepping();
    EXPECT(weir_channel_close(channel), 0);
    group_end(g);
}

#else

static void switches_are_looked_at(void)
{
}

#endif

static const struct ground_test tests[] = {
    GROUND_TEST(IN_TASKS, switches_are_looked_at),
};

int main(int argc, char **argv)
{
    return ground_main(argc, argv, "watch_switch", tests, sizeof tests / sizeof *tests);
}
