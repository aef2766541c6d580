/* echo_server tcp://ADDRESS:PORT sends back whatever comes, to everybody, until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <weir.h>

static sigset_t signals;

/* A conversation from beginning to end, in a task of its own. */
static int echo(weir_socket *s, void *unused)
{
    char bytes[16 * 1024];
    ssize_t n;
    int rc = 0;

    (void)unused;
    while (rc == 0 && (n = weir_recv(s, bytes, sizeof(bytes))) > 0) {
        size_t done = 0;
        rc = weir_send_all(s, bytes, (size_t)n, &done);
    }
    WEIR_SHIELDED_MS(500); /* for a goodbye, also when the server is being stopped */
    return weir_finish(s);
}

static int serve(void *target)
{
    weir_socket *listener;
    weir_address address;
    int rc = weir_listen_on(&listener, target, NULL);

    if (rc < 0)
        return rc;
    if (weir_local_address(listener, &address) == 0)
        fprintf(stderr, "listening on port %d\n", weir_address_port(&address));
    rc = weir_serve(listener, echo, NULL, WEIR_SERVE_OPTIONS(.stop = &signals));
    weir_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    const weir_run_options *how = WEIR_RUN_OPTIONS(.models = WEIR_TASKS | WEIR_THREADS);
    int rc, result = 0;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    rc = weir_run(serve, argv[argc - 1], how, &result);
    if (rc < 0 || (rc = result) < 0)
        fprintf(stderr, "%s: %s\n", argv[argc - 1], weir_strerror(rc));
    return rc < 0;
}
