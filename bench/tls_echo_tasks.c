/* An echo server with weir and TLS: a task per connection, in a straight line. The loop is that of
 * WEIR_LOOP. Prints `PORT PID`. */
#include "support/serve.h"
#include "support/tls.h"

int main(void)
{
    return bench_run_server((struct bench_service){
        .where = "tls://127.0.0.1:0", .tls = bench_tls_config(0, true, true), .serve = bench_echo});
}
