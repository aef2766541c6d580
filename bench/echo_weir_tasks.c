/* The same echo server with weir: a task per connection, in a straight line. The loop is that of
 * WEIR_LOOP. Prints `PORT PID`. */
#include "support/serve.h"

int main(void)
{
    return bench_run_server(
        (struct bench_service){.where = "tcp://127.0.0.1:0", .serve = bench_echo});
}
