/* A task receives into a buffer that a task of another loop reads.
 *
 * tsan: ThreadSanitizer: data race .* in (witness_received|sys_recv|looks) */
#include "planted.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static weir_socket *ends[2];
static char buffer[8];
static atomic_bool over;

static int receives(void *arg)
{
    (void)arg;
    while (weir_recv(ends[0], buffer, sizeof buffer) > 0)
        ;
    atomic_store(&over, true);
    return 0;
}

static int sends(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        must((int)weir_send(ends[1], "x", 1));
        must(weir_yield());
    }
    return weir_shutdown(ends[1], SHUT_WR);
}

/* What it knows of the others tells the tool nothing of what comes first. */
static int looks(void *arg)
{
    int sum = 0;

    (void)arg;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        if (planted)
            sum += *(volatile char *)buffer;
        must(weir_yield());
    }
    return sum < 0;
}

int scene(void *arg)
{
    weir_run_info info;
    weir_group *g;

    must(weir_inspect_run(&info, sizeof info));
    if (info.loops < 2) {
        puts("skipped: this machine has one processor");
        exit(77);
    }
    must(weir_pair(ends, SOCK_STREAM));
    must(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)));
    must(weir_go(g, receives, arg));
    must(weir_go(g, looks, arg));
    must(weir_go(g, sends, arg));
    must(weir_group_wait(g, NULL));
    must(weir_group_close(g));
    must(weir_close(ends[0]));
    return weir_close(ends[1]);
}
