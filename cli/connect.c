#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: weir connect [OPTION...] ADDRESS\n"
    "\n"
    "Connects to ADDRESS, sends it standard input, and writes what it sends to\n"
    "standard output. The end of standard input ends that direction alone: the\n"
    "peer's answer is still read, until the peer ends. If the peer ends first, the\n"
    "rest of standard input is still sent, unless that is a terminal.\n"
    "\n"
    "  -t, --timeout SECONDS   fail if there is no connection within SECONDS (name\n"
    "                          look-up and all addresses together), or later, if\n"
    "                          nothing moves for SECONDS\n"
    "  -v, --verbose           say on standard error what a handshake came to\n"
    "\n"
    "With tls://HOST:PORT the certificate of the peer has to be good, and for HOST:\n"
    "      --ca FILE           trust the authorities in FILE (PEM), not the system's\n"
    "      --name NAME         it has to be for NAME instead\n"
    "      --cert FILE         show this one (PEM, with its chain) if asked for one\n"
    "      --key FILE          its key, unless that is in the same file\n"
    "      --alpn LIST         offer these protocols: h2,http/1.1\n"
    "      --insecure          check nothing: anybody can read and change everything\n"
    "\n"
    "ADDRESS: tcp://HOST:PORT or HOST:PORT, tls://HOST:PORT, udp://HOST:PORT,\n"
    "unix:/PATH, unix:@NAME. With udp://, each read of standard input (a line, at a\n"
    "terminal) is one message of at most 1200 bytes; when standard input has ended,\n"
    "it waits until nothing has come for --timeout (1 second) and ends with status\n"
    "0.\n"
    "\n"
    "  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | weir connect example.com:80\n"
    "  weir connect --ca ca.pem --verbose tls://localhost:7443\n";

struct connecting {
    struct relay_options relaying;
    struct tls_options tls;
    weir_tls_config *config;
    bool verbose;
};

static int talk(void *arg)
{
    const struct connecting *c = arg;
    const char *peer = c->relaying.peer;
    weir_socket *s = NULL;
    weir_scope limit = weir_deadline_start(c->relaying.timeout_ms);
    int status,
        rc = weir_dial(&s, peer, WEIR_DIAL_OPTIONS(.tls = c->config, .tls_name = c->tls.name));

    weir_scope_end(limit);
    if (rc < 0)
        return target_failed("connect", peer, rc);
    if (c->verbose && c->config)
        tls_say(s, peer);
    status = relay(s, &c->relaying);
    weir_close(s);
    return status;
}

int command_connect(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"timeout", required_argument, NULL, 't'},
        {"verbose", no_argument, NULL, 'v'},
        {"cert", required_argument, NULL, TLS_OPTION_CERT},
        {"key", required_argument, NULL, TLS_OPTION_KEY},
        {"ca", required_argument, NULL, TLS_OPTION_TRUST},
        {"name", required_argument, NULL, TLS_OPTION_NAME},
        {"insecure", no_argument, NULL, TLS_OPTION_INSECURE},
        {"alpn", required_argument, NULL, TLS_OPTION_ALPN},
        {0},
    };
    struct connecting c = {.relaying = {.timeout_ms = -1}};
    int option, status;

    while ((option = next_option(argc, argv, "ht:v", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        if (option == 'v')
            c.verbose = true;
        else if (!tls_take_option(&c.tls, option, optarg) &&
                 !parse_seconds(optarg, &c.relaying.timeout_ms))
            return wrong_use(argv[0], "--timeout: \"%s\" is no number of seconds", optarg);
    }
    if (argc - optind != 1)
        return wrong_use(argv[0], "one ADDRESS to connect to is needed");
    c.relaying.peer = argv[optind];
    c.relaying.datagrams = target_is_datagram(c.relaying.peer);
    status = tls_configure(argv[0], c.relaying.peer, &c.tls, false, &c.config);
    if (status == EXIT_SUCCESS)
        status = run_command(talk, &c, false);
    weir_tls_config_close(c.config);
    return status;
}
