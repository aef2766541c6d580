/* stub_dns_main NAME=RULE…: the name server of test/support/stub_dns.h for shell tests. Prints its
 * port and serves until its standard input ends.
 *
 * Programs here are linked with the library alone, so the server is compiled in. */
#include "../support/stub_dns.c"
#include "../support/stub_reply.c"

int main(int argc, char **argv)
{
    struct stub_dns *d = stub_dns_open();
    char sink[512];

    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');

        if (!equals) {
            fprintf(stderr, "usage: %s NAME=RULE…   (for the rules see stub_dns.h)\n", argv[0]);
            return 2;
        }
        *equals = '\0';
        stub_dns_add(d, argv[i], equals + 1);
    }
    printf("%u\n", (unsigned)stub_dns_port(d));
    fflush(stdout);
    while (read(STDIN_FILENO, sink, sizeof(sink)) > 0)
        continue;
    stub_dns_close(d);
    return 0;
}
