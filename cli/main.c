#include "cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    char title[16]; /* argv[0] in its messages */
} commands[] = {
    {"echo", command_echo, "weir echo"},       {"connect", command_connect, "weir connect"},
    {"listen", command_listen, "weir listen"}, {"resolve", command_resolve, "weir resolve"},
    {"proxy", command_proxy, "weir proxy"},    {"compare", command_compare, "weir compare"},
};

static const char help[] =
    "usage: weir COMMAND [OPTION...] [ARGUMENT...]\n"
    "\n"
    "  weir echo ADDRESS       listen, and send back whatever comes\n"
    "  weir connect ADDRESS    connect; standard input to the peer, the peer to standard output\n"
    "  weir listen ADDRESS     take one connection, then the same\n"
    "  weir proxy LISTEN TO    listen, and connect each who comes to another address\n"
    "  weir resolve NAME       the addresses of a host, how long that took, who answered\n"
    "  weir compare            what threads, tasks and a poller cost, side by side\n"
    "\n"
    "  weir COMMAND --help     more about one of them\n"
    "  weir --version\n"
    "\n"
    "An ADDRESS is tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix:/PATH or\n"
    "unix:@NAME (abstract); HOST:PORT means TCP, `*` every local address, port 0 a\n"
    "free one to listen on.\n"
    "\n"
    "Exit status: 0 it worked, 1 it failed (stderr says why), 2 wrong use.\n";

/* Whoever starts a program without standard descriptors would otherwise see its sockets become
 * them. */
static void open_standard_descriptors(void)
{
    int fd = 0;

    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    if (fd > STDERR_FILENO)
        close(fd);
}

static int finish(int status)
{
    if (fflush(stdout) != 0 && status == EXIT_SUCCESS)
        return EXIT_FAILED;
    return status;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    open_standard_descriptors();
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        fputs(help, stdout);
        return finish(EXIT_SUCCESS);
    }
    if (strcmp(name, "--version") == 0) {
        printf("weir %s\n", weir_version());
        return finish(EXIT_SUCCESS);
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        argv[1] = commands[i].title;
        return finish(commands[i].run(argc - 1, argv + 1));
    }
    if (argc < 2)
        fputs(help, stderr);
    else
        wrong_use("weir", "there is no command \"%s\"", name);
    return EXIT_WRONG_USE;
}
