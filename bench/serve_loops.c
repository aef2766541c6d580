/* A server on as many loops as WEIR_LOOPS says, up to two, which works on each message before it
 * sends it back: it is hashed BENCH_WORK times. Prints `PORT PID`. */
#include "support/bench.h"

#include <stdlib.h>
#include <weir.h>

static long work;

/* FNV-1a, of which the compiler can leave nothing out. */
static uint64_t hash(const char *bytes, size_t len, uint64_t seed)
{
    uint64_t sum = seed ^ UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static int answer(weir_socket *s, void *unused)
{
    char bytes[1024];
    ssize_t n;
    int rc = 0;

    (void)unused;
    while (rc == 0 && (n = weir_recv(s, bytes, sizeof bytes)) > 0) {
        uint64_t sum = 0;
        size_t done = 0;
        for (long i = 0; i < work; i++)
            sum = hash(bytes, (size_t)n, sum);
        bytes[0] = (char)sum;
        rc = weir_send_all(s, bytes, (size_t)n, &done);
    }
    return rc;
}

static int serve(void *unused)
{
    weir_socket *listener;
    weir_address here;

    (void)unused;
    bench_check("weir_listen_on", weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL));
    bench_check("weir_local_address", weir_local_address(listener, &here));
    bench_announce(weir_address_port(&here));
    return (int)bench_check("weir_serve", weir_serve(listener, answer, NULL, NULL));
}

int main(void)
{
    const char *times = getenv("BENCH_WORK");

    work = times ? bench_number(times, 0) : 0;
    bench_many_descriptors();
    bench_check("weir_run", weir_run(serve, NULL, WEIR_RUN_OPTIONS(.max_loops = 2), NULL));
    return 0;
}
