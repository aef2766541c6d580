/* A buffer that is shorter than is said, and a receive that waits, whoever does it: with another
 * task that can run, a loop of io_uring.
 *
 * asan: AddressSanitizer: heap-buffer-overflow
 * valgrind: (Una|una)ddressable byte\(s\) */
#include "planted.h"

#include <stdlib.h>

enum { SHORT = 50, LONG = 60 };

static weir_socket *ends[2];

static int receives(void *arg)
{
    char *buffer = malloc(planted ? SHORT : LONG);

    (void)arg;
    if (buffer)
        must((int)weir_recv(ends[0], buffer, LONG));
    free(buffer);
    return 0;
}

static int sends(void *arg)
{
    char bytes[LONG] = {0};
    size_t done = 0;

    (void)arg;
    must(weir_yield());
    must(weir_send_all(ends[1], bytes, LONG, &done));
    return 0;
}

int scene(void *arg)
{
    weir_group *g;

    must(weir_pair(ends, SOCK_STREAM));
    must(weir_group_open(&g, NULL));
    must(weir_go(g, receives, arg));
    must(weir_go(g, sends, arg));
    must(weir_group_wait(g, NULL));
    must(weir_group_close(g));
    must(weir_close(ends[0]));
    return weir_close(ends[1]);
}
