#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: weir listen [--timeout SECONDS] ADDRESS\n"
    "\n"
    "Listens on ADDRESS and takes one connection; from then on it does as `weir\n"
    "connect` does: standard input to the peer, the peer to standard output, until\n"
    "both have ended. Says on standard error where it listens (with the port that\n"
    "port 0 became) and who has come.\n"
    "\n"
    "  -t, --timeout SECONDS   fail if nobody comes within SECONDS, or later, if\n"
    "                          nothing moves for SECONDS\n"
    "\n"
    "ADDRESS: tcp://HOST:PORT, udp://HOST:PORT, unix:/PATH, unix:@NAME; `*` is\n"
    "every local address. With udp://, the sender of the first message is the peer.\n"
    "\n"
    "  weir listen tcp://127.0.0.1:7007 >received\n";

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

static void say_who(weir_socket *s)
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    weir_address address;

    if (weir_peer_address(s, &address) == 0 &&
        weir_address_format(&address, text, sizeof(text)) > 0)
        say("connection from %s", text);
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

static int converse(weir_socket **s, const char *target, struct relay_options relaying)
{
    char text[TARGET_TEXT_MAX];
    int rc = target_of_listener(*s, target, text, sizeof(text));
    weir_scope limit;

    if (rc < 0)
        return failed(*s, rc, "listen on %s", target);
    say("listening on %s", text);
    limit = weir_deadline_start(relaying.timeout_ms);
    rc = take_first(s, relaying.datagrams);
    weir_scope_end(limit);
    target_unlink(target);
    if (rc < 0)
        return failed(*s, rc, "wait for somebody on %s", text);
    say_who(*s);
    relaying.peer = text;
    return relay(*s, &relaying);
}

static int listen_once(void *options)
{
    const struct relay_options *relaying = options;
    weir_socket *s = NULL;
    int status, rc = weir_listen_on(&s, relaying->peer, NULL);

    if (rc < 0)
        return target_failed("listen on", relaying->peer, rc);
    status = converse(&s, relaying->peer, *relaying);
    weir_close(s);
    return status;
}

int command_listen(int argc, char **argv)
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
        return wrong_use(argv[0], "one ADDRESS to listen on is needed");
    relaying.peer = argv[optind];
    relaying.datagrams = target_is_datagram(relaying.peer);
    return run_command(listen_once, &relaying, false);
}
