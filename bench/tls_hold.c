/* Holds COUNT connections with TLS to a server that echoes, until its standard input ends: tls_hold
 * VERSION PORT COUNT. On each a byte has gone there and back. Prints a line when it has them. */
#include "support/tls.h"

#include <stdio.h>
#include <unistd.h>

/* The connection stays; of the object nothing is needed any more. */
static void hold_one(SSL_CTX *ctx, uint16_t port)
{
    char byte = 'x';
    SSL *ssl = bench_tls_new(ctx, bench_connect(port), false);

    bench_tls_send(ssl, &byte, 1);
    bench_tls_receive(ssl, &byte, 1);
    SSL_free(ssl);
}

int main(int argc, char **argv)
{
    char byte;

    if (argc != 4) {
        fprintf(stderr, "usage: tls_hold VERSION PORT COUNT\n");
        return 2;
    }
    SSL_CTX *ctx = bench_tls_client(bench_tls_version(argv[1]));
    uint16_t port = (uint16_t)bench_number(argv[2], 1);
    bench_many_descriptors();
    bench_pin(1);
    for (long left = bench_number(argv[3], 0); left > 0; left--)
        hold_one(ctx, port);
    puts("held");
    fflush(stdout);
    (void)!read(STDIN_FILENO, &byte, 1);
    return 0;
}
