#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DIAL_MS  10000
#define DRAIN_MS 10000

/* How long to wait for descriptors at a time. */
#define RETRY_MS 50

/* What the command needs itself. */
#define DESCRIPTORS 64

#define CONNECTIONS_MAX 1000000

static const char help[] =
    "usage: weir proxy [OPTION...] LISTEN TO\n"
    "\n"
    "Listens on LISTEN, connects to TO for each who comes, and passes on what either\n"
    "side says, until both have ended. An end of one side is passed on as that, and\n"
    "the other goes on; what broke off ends for the other side as broken off. TO is\n"
    "looked up for each. Prints the address it listens on. SIGINT and SIGTERM end it,\n"
    "with status 0, when those who are there have ended, or --drain is over; a second\n"
    "one at once.\n"
    "\n"
    "  -t, --timeout SECONDS     give a connection to TO up when it is not there by\n"
    "                            then, names, addresses, handshake together (10)\n"
    "  -i, --idle SECONDS        end a conversation in which nothing moves (never)\n"
    "  -d, --drain SECONDS       how long those who are there may go on (10)\n"
    "  -m, --max-connections N   at a time; the others wait to be accepted (as many as\n"
    "                            there are descriptors for)\n"
    "  -s, --stats               say on standard error, at the end and at each SIGUSR1,\n"
    "                            how many came, are there, have failed, what moved\n"
    "  -v, --verbose             say what each conversation and handshake came to\n"
    "\n"
    "With LISTEN tls://HOST:PORT:\n"
    "      --cert FILE           the certificate to show (PEM, with its chain); needed\n"
    "      --key FILE            its key, unless that is in the same file\n"
    "      --client-ca FILE      ask for a certificate by an authority in FILE (PEM)\n"
    "With TO tls://HOST:PORT the certificate has to be good, and for HOST:\n"
    "      --ca FILE             trust the authorities in FILE (PEM), not the system's\n"
    "      --name NAME           it has to be for NAME instead\n"
    "      --insecure            check nothing: anybody can read and change everything\n"
    "      --cert, --key         shown to TO if LISTEN has no use for them\n"
    "With either:\n"
    "      --alpn LIST           protocols to agree on; with both, one alone\n"
    "\n"
    "ADDRESSES: tcp://HOST:PORT or HOST:PORT, tls://HOST:PORT, unix:/PATH, unix:@NAME;\n"
    "to listen, `*` is every local address.\n"
    "\n"
    "  weir proxy 'tcp://*:8080' tcp://example.com:80\n"
    "  weir proxy --cert chain.pem --key key.pem 'tls://*:443' unix:/run/app.sock\n";

/* Of the options of TLS, the one that differs from TLS_OPTION_TRUST only in whose it is. */
enum { OPTION_CLIENT_CA = 512 };

struct proxy {
    struct server server; /* first: it is what the handler is given */
    const char *from, *to;
    struct tls_options near_tls, far_tls;
    weir_tls_config *near, *far; /* NULL: no TLS on that side */
    int64_t dial_ms, idle_ms;
    uint64_t descriptors; /* how many there may be */
    bool verbose;
};

/* ---- a conversation -------------------------------------------------------------------------- */

/* What is cut short must not look whole to the peer: a reset, or TLS without a goodbye. */
static void break_off(weir_socket *s)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    weir_set_option(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    weir_abort(s);
}

/* Whoever has gone without a word is found out. */
static void keep_alive(weir_socket *s)
{
    static const int on = 1;

    weir_set_option(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* not for Unix sockets */
}

/* Others give descriptors back. */
static int dial(const struct proxy *p, weir_socket **ret)
{
    int rc;

    WEIR_WITHIN_MS(p->dial_ms);
    do
        rc = weir_dial(ret, p->to, WEIR_DIAL_OPTIONS(.tls = p->far, .tls_name = p->far_tls.name));
    while (out_of_descriptors(rc) && weir_sleep(RETRY_MS) == 0);
    return rc;
}

static void moved(void *proxy, bool to_b, size_t n)
{
    struct proxy *p = proxy;

    server_count(to_b ? &p->server.there : &p->server.back, n);
}

static void tell(const struct proxy *p, const char *who, int rc, const weir_relay_result *result)
{
    if (rc == -ECANCELED)
        rc = 0;
    if (result->b_error < 0)
        say("%s, for %s: %s", p->to, who, weir_strerror(result->b_error));
    if (p->verbose)
        say("%s: %" PRIu64 " bytes to %s, %" PRIu64 " back%s%s", who, result->a_to_b, p->to,
            result->b_to_a, rc < 0 ? "; " : "", rc < 0 ? weir_strerror(rc) : "");
}

static int pass_on(struct proxy *p, weir_socket *client, weir_socket *far, const char *who)
{
    weir_relay_result result;
    weir_relay_options options = {.size = sizeof(options), .idle_ms = p->idle_ms};

    if (p->server.stats) {
        options.moved = moved;
        options.arg = p;
    }
    keep_alive(far);
    if (p->far && p->verbose)
        tls_say(far, p->to);
    int rc = weir_relay(client, far, &options, &result);
    tell(p, who, rc, &result);
    if (rc == WEIR_EDEADLINE || rc == -ECANCELED) {
        break_off(client);
        break_off(far);
    }
    return rc;
}

static void turn_away(const struct proxy *p, weir_socket *client, const char *who, int rc)
{
    if (rc != -ECANCELED)
        failed(NULL, rc, "connect %s to %s", who, p->to);
    break_off(client);
}

static int converse(weir_socket *client, struct server *server)
{
    struct proxy *p = (struct proxy *)server;
    char text[WEIR_ADDRESS_TEXT_MAX];
    const char *who = peer_text(client, text);
    weir_socket *far = NULL;
    int rc = p->near ? tls_welcome(client, p->verbose) : 0;

    if (rc == 0) {
        keep_alive(client);
        rc = dial(p, &far);
        if (rc == 0)
            rc = pass_on(p, client, far, who);
        else
            turn_away(p, client, who, rc);
    }
    weir_close(far);
    return rc;
}

/* ---- the server ------------------------------------------------------------------------------ */

/* What a conversation takes: two sockets, and the pipes of both directions if it goes through the
 * kernel, or before that further attempts to connect. Threads have more: what wakes them. */
static unsigned descriptors_each(const struct proxy *p)
{
    weir_run_info info = {.model = WEIR_THREADS};
    unsigned each = p->near || p->far ? 3 : 6;

    (void)weir_inspect_run(&info, sizeof(info));
    return info.model == WEIR_TASKS ? each : each + 5;
}

/* Who is accepted has to be connected too. */
static unsigned room(const struct proxy *p)
{
    uint64_t all = p->descriptors, reserve = all / 2 < DESCRIPTORS ? all / 2 : DESCRIPTORS,
             pairs = (all - reserve) / descriptors_each(p);

    if (pairs == 0)
        return 1;
    return pairs < CONNECTIONS_MAX ? (unsigned)pairs : CONNECTIONS_MAX;
}

static int serve(weir_socket *listener, struct proxy *p)
{
    char text[TARGET_TEXT_MAX], how[200];
    int rc = target_of_listener(listener, p->from, text, sizeof(text));

    if (rc < 0)
        return rc;
    puts(text);
    fflush(stdout);
    if (p->verbose) {
        run_describe(how, sizeof(how));
        say("running as %s", how);
    }
    p->server.listener = listener;
    if (p->server.max_connections == 0)
        p->server.max_connections = room(p);
    return serve_until_signal(&p->server);
}

/* Whether TO is an address at all shows before anybody comes. */
static int check_target(const struct proxy *p)
{
    weir_socket *s = NULL;
    WEIR_WITHIN_MS(0);
    int rc = weir_dial(&s, p->to, WEIR_DIAL_OPTIONS(.tls = p->far, .tls_name = p->far_tls.name));

    weir_close(s);
    return rc == -EINVAL || rc == -EPROTONOSUPPORT || rc == -ENAMETOOLONG ? rc : 0;
}

static int proxy(void *arg)
{
    struct proxy *p = arg;
    weir_socket *listener = NULL;
    int status, rc = check_target(p);

    if (rc < 0)
        return target_failed("connect to", p->to, rc);
    rc = weir_listen_on(&listener, p->from, WEIR_LISTEN_OPTIONS(.tls = p->near));

    if (rc < 0)
        return target_failed("listen on", p->from, rc);
    rc = serve(listener, p);
    target_unlink(p->from);
    status = rc < 0 ? failed(listener, rc, "proxy on %s", p->from) : EXIT_SUCCESS;
    weir_close(listener);
    return status;
}

/* ---- options --------------------------------------------------------------------------------- */

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {"timeout", required_argument, NULL, 't'},
    {"idle", required_argument, NULL, 'i'},
    {"drain", required_argument, NULL, 'd'},
    {"max-connections", required_argument, NULL, 'm'},
    {"stats", no_argument, NULL, 's'},
    {"verbose", no_argument, NULL, 'v'},
    {"cert", required_argument, NULL, TLS_OPTION_CERT},
    {"key", required_argument, NULL, TLS_OPTION_KEY},
    {"client-ca", required_argument, NULL, OPTION_CLIENT_CA},
    {"ca", required_argument, NULL, TLS_OPTION_TRUST},
    {"name", required_argument, NULL, TLS_OPTION_NAME},
    {"insecure", no_argument, NULL, TLS_OPTION_INSECURE},
    {"alpn", required_argument, NULL, TLS_OPTION_ALPN},
    {0},
};

static bool parse_connections(const char *value, unsigned *ret)
{
    uint64_t count;

    if (!parse_count(value, 1, CONNECTIONS_MAX, &count))
        return false;
    *ret = (unsigned)count;
    return true;
}

/* True if it is a good one. */
static bool take_number(struct proxy *p, int option, const char *value)
{
    switch (option) {
    case 't':
        return parse_seconds(value, &p->dial_ms);
    case 'i':
        return parse_seconds(value, &p->idle_ms);
    case 'd':
        return parse_seconds(value, &p->server.drain_ms);
    default:
        return parse_connections(value, &p->server.max_connections);
    }
}

static void take_tls_option(struct proxy *p, int option, const char *value)
{
    switch (option) {
    case OPTION_CLIENT_CA:
        p->near_tls.trust = value;
        break;
    case TLS_OPTION_TRUST:
    case TLS_OPTION_NAME:
    case TLS_OPTION_INSECURE:
        tls_take_option(&p->far_tls, option, value);
        break;
    default: /* whose they are is known later */
        tls_take_option(&p->near_tls, option, value);
    }
}

/* Goes through all but the addresses. -1: all is well, or how the command ends. */
static int take_options(struct proxy *p, int argc, char **argv)
{
    int option, status;

    while ((option = next_option(argc, argv, "ht:i:d:m:sv", options, help, &status)) != -1) {
        if (option == 0)
            return status;
        if (option == 's')
            p->server.stats = true;
        else if (option == 'v')
            p->verbose = true;
        else if (option > UINT8_MAX)
            take_tls_option(p, option, optarg);
        else if (!take_number(p, option, optarg))
            return wrong_use(argv[0], "-%c: \"%s\" is no number of %s", option, optarg,
                             option == 'm' ? "connections" : "seconds");
    }
    return -1;
}

static void share_tls_options(struct tls_options *near, struct tls_options *far, bool near_is_tls,
                              bool far_is_tls)
{
    if (far_is_tls)
        far->alpn = near->alpn;
    if (!far_is_tls || near_is_tls)
        return;
    far->certificate = near->certificate;
    far->key = near->key;
    *near = (struct tls_options){.trust = near->trust};
}

static int configure(struct proxy *p, const char *command)
{
    bool near = target_is_tls(p->from), far = target_is_tls(p->to);

    if (target_is_datagram(p->from) || target_is_datagram(p->to))
        return wrong_use(command, "udp:// has no conversations that could be passed on");
    if (near && far && p->near_tls.alpn && strchr(p->near_tls.alpn, ','))
        return wrong_use(command,
                         "--alpn: one protocol alone where both sides have to agree on it");
    share_tls_options(&p->near_tls, &p->far_tls, near, far);
    int status = tls_configure(command, p->from, &p->near_tls, true, &p->near);
    return status == EXIT_SUCCESS ? tls_configure(command, p->to, &p->far_tls, false, &p->far)
                                  : status;
}

static int start(struct proxy *p)
{
    int rc = server_block_signals(p->server.stats);

    if (rc < 0)
        return failed(NULL, rc, "block signals");
    p->descriptors = raise_descriptor_limit();
    return run_command(proxy, p, true);
}

int command_proxy(int argc, char **argv)
{
    struct proxy p = {
        .server = {.handler = converse,
                   .drain_ms = DRAIN_MS,
                   .there_is = "there",
                   .back_is = "back"},
        .dial_ms = DIAL_MS,
    };
    int status = take_options(&p, argc, argv);

    if (status >= 0)
        return status;
    if (argc - optind != 2)
        return wrong_use(argv[0], "two addresses are needed, to listen on and to connect to");
    p.from = argv[optind];
    p.to = argv[optind + 1];
    status = configure(&p, argv[0]);
    if (status == EXIT_SUCCESS)
        status = start(&p);
    weir_tls_config_close(p.near);
    weir_tls_config_close(p.far);
    return status;
}
