#include "planted.h"

#include <stdio.h>
#include <stdlib.h>

bool planted;

void must(int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", weir_strerror(rc));
    exit(3);
}

void in_task(int (*fn)(void *arg), void *arg)
{
    weir_group *g;

    must(weir_group_open(&g, NULL));
    must(weir_go(g, fn, arg));
    must(weir_group_wait(g, NULL));
    must(weir_group_close(g));
}

int main(int argc, char **argv)
{
    (void)argv;
    planted = argc > 1;
    must(weir_run(scene, NULL, WEIR_RUN_OPTIONS(.max_loops = 2), NULL));
    return 0;
}
