/* Tasks of one loop need no lock: this has no bug at all. */
#include "planted.h"

static long count;

static int counts(void *arg)
{
    weir_channel *c = arg;
    char token = 0;

    for (int i = 0; i < 100; i++) {
        count++;
        must(weir_yield());
        count++;
        must(i % 2 ? weir_channel_try_send(c, &token) : weir_sleep(0));
        count++;
    }
    return 0;
}

static int sleeps(void *arg)
{
    weir_channel *c = arg;
    char token;

    for (int i = 0; i < 100; i++) {
        must(weir_channel_recv(c, &token));
        count++;
    }
    return 0;
}

int scene(void *arg)
{
    weir_channel *c;
    weir_group *g;

    (void)arg;
    must(weir_channel_open(&c, 1, 100));
    must(weir_group_open(&g, NULL));
    must(weir_go(g, counts, c));
    must(weir_go(g, counts, c));
    must(weir_go(g, sleeps, c));
    must(weir_group_wait(g, NULL));
    must(weir_group_close(g));
    return weir_channel_close(c);
}
