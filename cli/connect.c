#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: weir connect [--timeout SECONDS] ADDRESS\n"
    "\n"
    "Connects to ADDRESS, sends it standard input, and writes what it sends to\n"
    "standard output. The end of standard input ends that direction alone: the\n"
    "peer's answer is still read, until the peer ends. If the peer ends first, the\n"
    "rest of standard input is still sent, unless that is a terminal.\n"
    "\n"
    "  -t, --timeout SECONDS   fail if there is no connection within SECONDS (name\n"
    "                          look-up and all addresses together), or later, if\n"
    "                          nothing moves for SECONDS\n"
    "\n"
    "ADDRESS: tcp://HOST:PORT or HOST:PORT, udp://HOST:PORT, unix:/PATH,\n"
    "unix:@NAME. With udp://, each read of standard input (a line, at a terminal)\n"
    "is one message of at most 1200 bytes; when standard input has ended, it waits\n"
    "until nothing has come for --timeout (1 second) and ends with status 0.\n"
    "\n"
    "  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | weir connect example.com:80\n";

static int talk(void *options)
{
    const struct relay_options *relaying = options;
    weir_socket *s = NULL;
    weir_scope limit = weir_deadline_start(relaying->timeout_ms);
    int status, rc = weir_dial(&s, relaying->peer, NULL);

    weir_scope_end(limit);
    if (rc < 0)
        return target_failed("connect", relaying->peer, rc);
    status = relay(s, relaying);
    weir_close(s);
    return status;
}

int command_connect(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"timeout", required_argument, NULL, 't'}, {0}};
    struct relay_options relaying = {.timeout_ms = -1};
    int option, status;

    while ((option = next_option(argc, argv, "ht:", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        if (!parse_seconds(optarg, &relaying.timeout_ms))
            return wrong_use(argv[0], "--timeout: \"%s\" is no number of seconds", optarg);
    }
    if (argc - optind != 1)
        return wrong_use(argv[0], "one ADDRESS to connect to is needed");
    relaying.peer = argv[optind];
    relaying.datagrams = target_is_datagram(relaying.peer);
    return run_command(talk, &relaying, false);
}
