/* Two tasks on two loops hand a variable to each other, with a byte through a socket: it is with
 * one of them, unless who has handed it over goes on with it.
 *
 * tsan: ThreadSanitizer: data race .* in (begins|follows) */
#include "planted.h"

static weir_socket *ends[2];
static long count;

static void give(weir_socket *end)
{
    char token = 1;

    must((int)weir_send(end, &token, 1));
}

static void take(weir_socket *end)
{
    char token;

    must((int)weir_recv(end, &token, 1));
}

static int begins(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        count++;
        give(ends[0]);
        if (planted)
            count++;
        take(ends[0]);
    }
    return 0;
}

static int follows(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        take(ends[1]);
        count++;
        give(ends[1]);
    }
    return 0;
}

/* With another task that can run, a loop of io_uring sends and receives by itself. */
static int keeps_busy(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++)
        must(weir_yield());
    return 0;
}

int scene(void *arg)
{
    weir_group *g;

    must(weir_pair(ends, SOCK_STREAM));
    must(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)));
    must(weir_go(g, begins, arg));
    must(weir_go(g, follows, arg));
    must(weir_go(g, keeps_busy, arg));
    must(weir_go(g, keeps_busy, arg));
    must(weir_group_wait(g, NULL));
    must(weir_group_close(g));
    must(weir_close(ends[0]));
    return weir_close(ends[1]);
}
