#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: weir echo [OPTION...] ADDRESS\n"
    "\n"
    "Listens on ADDRESS and sends back whatever comes, to any number of peers at\n"
    "once, each in a task. A peer that ends its side gets the rest, then the end. A\n"
    "peer that does not read is not read from. Prints the address it listens on,\n"
    "with the port that port 0 became, and runs until SIGINT or SIGTERM, which end\n"
    "it with status 0 when all peers have ended too, after half a second at most.\n"
    "\n"
    "  -v, --verbose        say on standard error what the tasks are made of, and\n"
    "                       what each handshake came to\n"
    "  -s, --stats          say on standard error, at the end and at each SIGUSR1,\n"
    "                       how many came, are there, have failed, and what moved\n"
    "\n"
    "With tls://HOST:PORT:\n"
    "      --cert FILE      the certificate to show (PEM, with its chain); needed\n"
    "      --key FILE       its key, unless that is in the same file\n"
    "      --client-ca FILE ask for a certificate by an authority in FILE (PEM)\n"
    "      --alpn LIST      the protocols to agree on, the best first\n"
    "\n"
    "The environment chooses that: WEIR_MODEL=tasks or threads, WEIR_LOOP=auto,\n"
    "epoll, io_uring or poll, WEIR_LOOPS=N (by default one for each processor).\n"
    "\n"
    "ADDRESS: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix:/PATH,\n"
    "unix:@NAME; `*` is every local address.\n"
    "\n"
    "  weir echo tcp://127.0.0.1:0\n"
    "  weir echo --cert chain.pem --key key.pem 'tls://*:7443'\n";

struct echo {
    const char *target;
    struct echo_options how;
    struct tls_options tls;
    weir_tls_config *config;
};

static int serve(weir_socket *listener, struct echo *e)
{
    char text[TARGET_TEXT_MAX];
    int rc = target_of_listener(listener, e->target, text, sizeof(text));

    if (rc < 0)
        return rc;
    puts(text);
    fflush(stdout);
    if (e->how.verbose) {
        run_describe(text, sizeof(text));
        say("running as %s", text);
    }
    return echo_until_signal(listener, &e->how);
}

static int echo(void *arg)
{
    struct echo *e = arg;
    weir_socket *listener = NULL;
    int status, rc = weir_listen_on(&listener, e->target, WEIR_LISTEN_OPTIONS(.tls = e->config));

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
        {"help", no_argument, NULL, 'h'},
        {"verbose", no_argument, NULL, 'v'},
        {"stats", no_argument, NULL, 's'},
        {"cert", required_argument, NULL, TLS_OPTION_CERT},
        {"key", required_argument, NULL, TLS_OPTION_KEY},
        {"client-ca", required_argument, NULL, TLS_OPTION_TRUST},
        {"alpn", required_argument, NULL, TLS_OPTION_ALPN},
        {0},
    };
    struct echo e = {.target = NULL};
    int option, status, rc;

    while ((option = next_option(argc, argv, "hsv", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        if (option == 's')
            e.how.stats = true;
        else if (!tls_take_option(&e.tls, option, optarg))
            e.how.verbose = true;
    }
    if (argc - optind != 1)
        return wrong_use(argv[0], "one ADDRESS to listen on is needed");
    e.target = argv[optind];
    e.how.datagrams = target_is_datagram(e.target);
    e.how.tls = target_is_tls(e.target);

    raise_descriptor_limit();
    rc = server_block_signals(e.how.stats);
    if (rc < 0)
        return failed(NULL, rc, "block signals");
    status = tls_configure(argv[0], e.target, &e.tls, true, &e.config);
    if (status == EXIT_SUCCESS)
        status = run_command(echo, &e, true);
    weir_tls_config_close(e.config);
    return status;
}
