#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: weir echo [--verbose] ADDRESS\n"
    "\n"
    "Listens on ADDRESS and sends back whatever comes, to any number of peers at\n"
    "once, each in a task. A peer that ends its side gets the rest, then the end. A\n"
    "peer that does not read is not read from. Prints the address it listens on,\n"
    "with the port that port 0 became, and runs until SIGINT or SIGTERM, which end\n"
    "it with status 0 when all peers have ended too, after half a second at most.\n"
    "\n"
    "  -v, --verbose    say on standard error what the tasks are made of\n"
    "\n"
    "The environment chooses that: WEIR_MODEL=tasks or threads, WEIR_LOOP=auto,\n"
    "epoll, io_uring or poll, WEIR_LOOPS=N (by default one for each processor).\n"
    "\n"
    "ADDRESS: tcp://HOST:PORT, udp://HOST:PORT, unix:/PATH, unix:@NAME; `*` is\n"
    "every local address.\n"
    "\n"
    "  weir echo tcp://127.0.0.1:0\n"
    "  weir echo 'udp://*:7007'\n";

struct echo {
    const char *target;
    bool verbose;
};

static int serve(weir_socket *listener, const struct echo *e)
{
    char text[TARGET_TEXT_MAX];
    int rc = target_of_listener(listener, e->target, text, sizeof(text));

    if (rc < 0)
        return rc;
    puts(text);
    fflush(stdout);
    if (e->verbose) {
        run_describe(text, sizeof(text));
        say("running as %s", text);
    }
    return echo_until_signal(listener, target_is_datagram(e->target));
}

static int echo(void *arg)
{
    const struct echo *e = arg;
    weir_socket *listener = NULL;
    int status, rc = weir_listen_on(&listener, e->target, NULL);

    if (rc < 0)
        return target_failed("listen on", e->target, rc);
    rc = serve(listener, e);
    target_unlink(e->target);
    status = rc < 0 ? failed(listener, rc, "echo on %s", e->target) : EXIT_SUCCESS;
    weir_close(listener);
    return status;
}

int command_echo(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"verbose", no_argument, NULL, 'v'}, {0}};
    struct echo e = {.target = NULL};
    int option, status, rc;

    while ((option = next_option(argc, argv, "hv", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        e.verbose = true;
    }
    if (argc - optind != 1)
        return wrong_use(argv[0], "one ADDRESS to listen on is needed");
    e.target = argv[optind];

    raise_descriptor_limit();
    rc = block_stop_signals();
    if (rc < 0)
        return failed(NULL, rc, "block signals");
    return run_command(echo, &e, true);
}
