/* proxy LISTEN TO passes on whatever comes at LISTEN to TO, and what comes back, until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <weir.h>

static sigset_t stop;

/* A conversation from beginning to end, in a task of its own. */
static int pass_on(weir_socket *client, void *target)
{
    static const struct linger reset = {.l_onoff = 1};
    weir_socket *server;
    int rc = weir_dial(&server, target, WEIR_DIAL_OPTIONS(.timeout_ms = 10000));

    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", (const char *)target, weir_strerror(rc));
        return rc;
    }
    weir_set_timeout(server, -1);
    rc = weir_relay(client, server, WEIR_RELAY_OPTIONS(.idle_ms = 600000), NULL);
    if (rc == WEIR_EDEADLINE || rc == -ECANCELED) { /* it must not look whole */
        weir_set_option(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        weir_set_option(server, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    weir_close(server);
    return rc;
}

static int serve(void *arguments)
{
    char **argv = arguments;
    weir_socket *listener;
    weir_address address;
    int rc = weir_listen_on(&listener, argv[1], NULL);

    if (rc < 0)
        return rc;
    if (weir_local_address(listener, &address) == 0)
        fprintf(stderr, "listening on port %d\n", weir_address_port(&address));
    rc =
        weir_serve(listener, pass_on, argv[2], WEIR_SERVE_OPTIONS(.stop = &stop, .drain_ms = 5000));
    weir_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    int result = -EINVAL, rc;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    rc = argc == 3 ? weir_run(serve, argv, WEIR_RUN_OPTIONS(.max_loops = 64), &result) : 0;
    if (rc < 0 || (rc = result) < 0)
        fprintf(stderr, "proxy LISTEN TO: %s\n", weir_strerror(rc));
    return rc < 0;
}
