#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: weir listen [OPTION...] ADDRESS\n"
    "\n"
    "Listens on ADDRESS and takes one connection; from then on it does as `weir\n"
    "connect` does: standard input to the peer, the peer to standard output, until\n"
    "both have ended. Says on standard error where it listens (with the port that\n"
    "port 0 became) and who has come.\n"
    "\n"
    "  -t, --timeout SECONDS   fail if nobody comes within SECONDS, or later, if\n"
    "                          nothing moves for SECONDS\n"
    "  -v, --verbose           say on standard error what a handshake came to\n"
    "\n"
    "With tls://HOST:PORT:\n"
    "      --cert FILE         the certificate to show (PEM, with its chain); needed\n"
    "      --key FILE          its key, unless that is in the same file\n"
    "      --client-ca FILE    ask for a certificate by an authority in FILE (PEM)\n"
    "      --alpn LIST         the protocols to agree on, the best first\n"
    "\n"
    "ADDRESS: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix:/PATH,\n"
    "unix:@NAME; `*` is every local address. With udp://, the sender of the first\n"
    "message is the peer.\n"
    "\n"
    "  weir listen tcp://127.0.0.1:7007 >received\n";

struct listening {
    struct relay_options relaying;
    struct tls_options tls;
    weir_tls_config *config;
    bool verbose;
};

/* Waits for the first message, leaves it in the queue, and takes its sender as the peer. */
static int take_sender(weir_socket *s)
{
    struct sockaddr_storage from;
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof(from)};
    weir_address address;
    ssize_t n = weir_recvmsg(s, &message, MSG_PEEK);
    int rc;

    if (n < 0)
        return (int)n;
    rc = weir_address_from_sockaddr(&address, (const struct sockaddr *)&from, message.msg_namelen);
    return rc < 0 ? rc : weir_connect_address(s, &address);
}

/* `*s`, which listens, becomes the conversation with the first who comes. */
static int take_first(weir_socket **s, bool datagrams)
{
    weir_socket *accepted = NULL;
    int rc;

    if (datagrams)
        return take_sender(*s);
    rc = weir_accept(*s, &accepted);
    if (rc < 0)
        return rc;
    weir_close(*s);
    *s = accepted;
    return 0;
}

/* The same, and the handshake. Returns an exit status. */
static int meet(weir_socket **s, const struct listening *l, const char *text)
{
    char who[WEIR_ADDRESS_TEXT_MAX] = "";
    weir_address address;
    int rc = take_first(s, l->relaying.datagrams);

    if (rc < 0)
        return failed(*s, rc, "wait for somebody on %s", text);
    if (weir_peer_address(*s, &address) == 0 && weir_address_format(&address, who, sizeof(who)) > 0)
        say("connection from %s", who);
    rc = l->config ? weir_handshake(*s) : 0;
    if (rc < 0)
        return tls_failed(*s, rc, who);
    if (l->config && l->verbose)
        tls_say(*s, who);
    return EXIT_SUCCESS;
}

static int converse(weir_socket **s, const struct listening *l)
{
    struct relay_options relaying = l->relaying;
    const char *target = relaying.peer;
    char text[TARGET_TEXT_MAX];
    int status, rc = target_of_listener(*s, target, text, sizeof(text));
    weir_scope limit;

    if (rc < 0)
        return failed(*s, rc, "listen on %s", target);
    say("listening on %s", text);
    limit = weir_deadline_start(relaying.timeout_ms);
    status = meet(s, l, text);
    weir_scope_end(limit);
    target_unlink(target);
    if (status != EXIT_SUCCESS)
        return status;
    relaying.peer = text;
    return relay(*s, &relaying);
}

static int listen_once(void *arg)
{
    const struct listening *l = arg;
    weir_socket *s = NULL;
    int status, rc = weir_listen_on(&s, l->relaying.peer, WEIR_LISTEN_OPTIONS(.tls = l->config));

    if (rc < 0)
        return target_failed("listen on", l->relaying.peer, rc);
    status = converse(&s, l);
    weir_close(s);
    return status;
}

int command_listen(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"timeout", required_argument, NULL, 't'},
        {"verbose", no_argument, NULL, 'v'},
        {"cert", required_argument, NULL, TLS_OPTION_CERT},
        {"key", required_argument, NULL, TLS_OPTION_KEY},
        {"client-ca", required_argument, NULL, TLS_OPTION_TRUST},
        {"alpn", required_argument, NULL, TLS_OPTION_ALPN},
        {0},
    };
    struct listening l = {.relaying = {.timeout_ms = -1}};
    int option, status;

    while ((option = next_option(argc, argv, "ht:v", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        if (option == 'v')
            l.verbose = true;
        else if (!tls_take_option(&l.tls, option, optarg) &&
                 !parse_seconds(optarg, &l.relaying.timeout_ms))
            return wrong_use(argv[0], "--timeout: \"%s\" is no number of seconds", optarg);
    }
    if (argc - optind != 1)
        return wrong_use(argv[0], "one ADDRESS to listen on is needed");
    l.relaying.peer = argv[optind];
    l.relaying.datagrams = target_is_datagram(l.relaying.peer);
    status = tls_configure(argv[0], l.relaying.peer, &l.tls, true, &l.config);
    if (status == EXIT_SUCCESS)
        status = run_command(listen_once, &l, false);
    weir_tls_config_close(l.config);
    return status;
}
