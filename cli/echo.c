#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: weir echo ADDRESS\n"
    "\n"
    "Listens on ADDRESS and sends back whatever comes, to any number of peers at\n"
    "once, in one thread with a poller. A peer that ends its side gets the rest,\n"
    "then the end. A peer that does not read is not read from. Prints the address\n"
    "it listens on, with the port that port 0 became, and runs until SIGINT or\n"
    "SIGTERM, which end it with status 0.\n"
    "\n"
    "ADDRESS: tcp://HOST:PORT, udp://HOST:PORT, unix:/PATH, unix:@NAME; `*` is\n"
    "every local address.\n"
    "\n"
    "  weir echo tcp://127.0.0.1:0\n"
    "  weir echo 'udp://*:7007'\n";

static int serve(weir_socket *listener, const char *target)
{
    weir_socket *stop = NULL;
    char text[TARGET_TEXT_MAX];
    int rc = stop_signals(&stop);

    if (rc == 0)
        rc = target_of_listener(listener, target, text, sizeof(text));
    if (rc == 0) {
        puts(text);
        fflush(stdout);
        rc = target_is_datagram(target) ? echo_datagrams(listener, stop)
                                        : echo_streams(listener, stop);
    }
    weir_close(stop);
    return rc;
}

int command_echo(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    weir_socket *listener = NULL;
    const char *target;
    int status, rc;

    if (next_option(argc, argv, "h", options, help, &status) == 0)
        return status;
    if (argc - optind != 1)
        return wrong_use(argv[0], "one ADDRESS to listen on is needed");
    target = argv[optind];

    raise_descriptor_limit();
    rc = weir_listen_on(&listener, target, NULL);
    if (rc < 0)
        return target_failed("listen on", target, rc);
    rc = serve(listener, target);
    target_unlink(target);
    status = rc < 0 ? failed(listener, rc, "echo on %s", target) : EXIT_SUCCESS;
    weir_close(listener);
    return status;
}
