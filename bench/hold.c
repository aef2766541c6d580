/* Holds COUNT connections that say nothing, until its standard input ends: hold PORT COUNT. Prints
 * a line when it has them. */
#include "support/bench.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte;

    if (argc != 3) {
        fprintf(stderr, "usage: hold PORT COUNT\n");
        return 2;
    }
    uint16_t port = (uint16_t)bench_number(argv[1], 1);
    bench_many_descriptors();
    bench_pin(1);
    for (long left = bench_number(argv[2], 0); left > 0; left--)
        (void)bench_connect(port);
    puts("held");
    fflush(stdout);
    (void)!read(STDIN_FILENO, &byte, 1);
    return 0;
}
