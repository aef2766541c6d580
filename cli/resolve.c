#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ADDRESSES_MAX 1024

static const char help[] =
    "usage: weir resolve [-4 | -6] [--timeout SECONDS] [--server ADDRESS[:PORT]] NAME\n"
    "\n"
    "Prints the addresses of the host NAME, one a line, in the order in which they\n"
    "would be tried; then, on standard error, how many there are, how long that\n"
    "took and who answered: numeric (NAME is an address), hosts (/etc/hosts), dns\n"
    "(a name server), system (getaddrinfo(3)).\n"
    "\n"
    "  -4, -6                  only IPv4, only IPv6\n"
    "  -t, --timeout SECONDS   fail if there is no answer within SECONDS\n"
    "  -s, --server ADDRESS    ask this name server: 192.0.2.1, 192.0.2.1:5353,\n"
    "                          [2001:db8::1]:53\n";

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The host alone: the text of an address is 192.0.2.1:0 or [2001:db8::1]:0. */
static void print_host(const weir_address *a)
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    bool brackets;

    weir_address_format(a, text, sizeof(text));
    brackets = text[0] == '[';
    *strrchr(text, brackets ? ']' : ':') = '\0';
    puts(text + brackets);
}

static int resolve(const char *name, int family, int64_t timeout_ms)
{
    static weir_address list[ADDRESSES_MAX];
    enum weir_name_source source = 0;
    double start = now_ms();
    weir_scope limit = weir_deadline_start(timeout_ms);
    int count = weir_resolve(name, 0, family, list, ADDRESSES_MAX, &source);

    weir_scope_end(limit);
    if (count < 0)
        return failed(NULL, count, "resolve %s", name);
    for (int i = 0; i < count && i < ADDRESSES_MAX; i++)
        print_host(&list[i]);
    fflush(stdout);
    say("%d address%s in %.2f ms, from %s", count, count == 1 ? "" : "es", now_ms() - start,
        weir_name_source_text(source));
    return EXIT_SUCCESS;
}

int command_resolve(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"server", required_argument, NULL, 's'},
                                            {0}};
    int option, status, family = AF_UNSPEC;
    int64_t timeout_ms = -1;

    while ((option = next_option(argc, argv, "h46t:s:", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        if (option == '4')
            family = AF_INET;
        else if (option == '6')
            family = AF_INET6;
        else if (option == 't' && !parse_seconds(optarg, &timeout_ms))
            return wrong_use(argv[0], "--timeout: \"%s\" is no number of seconds", optarg);
        else if (option == 's' && weir_set_nameservers(optarg) < 0)
            return wrong_use(argv[0], "--server: \"%s\" is no numeric address", optarg);
    }
    if (argc - optind != 1)
        return wrong_use(argv[0], "one NAME is needed");
    return resolve(argv[optind], family, timeout_ms);
}
