/* Two tasks on two loops, and a variable that nothing guards.
 *
 * tsan: ThreadSanitizer: data race .* in counts */
#include "race_between.h"

#include <stdio.h>
#include <stdlib.h>

int scene(void *arg)
{
    weir_run_info info;
    weir_group *g;

    must(weir_inspect_run(&info, sizeof info));
    if (info.loops < 2) {
        puts("skipped: this machine has one processor");
        exit(77);
    }
    must(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)));
    must(weir_go(g, counts, arg));
    must(weir_go(g, counts, arg));
    must(weir_group_wait(g, NULL));
    return weir_group_close(g);
}
