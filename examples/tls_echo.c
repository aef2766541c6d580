/* tls_echo tls://ADDRESS:PORT CHAIN.pem KEY.pem is echo_server over TLS. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <weir.h>

static sigset_t signals;

static int echo(weir_socket *s, void *unused)
{
    char bytes[16 * 1024];

    (void)unused;
    weir_set_timeout(s, 10000); /* for each call; the first one has the handshake in it */
    for (ssize_t n; (n = weir_recv(s, bytes, sizeof(bytes))) > 0;)
        if (weir_send_all(s, bytes, (size_t)n, &(size_t){0}) < 0)
            break;
    WEIR_SHIELDED_MS(500); /* for a goodbye, also when the server is being stopped */
    return weir_finish(s);
}

static int stop_at_signal(void *listener)
{
    weir_signal_wait(&signals);
    return weir_abort(listener); /* ends the accept below */
}

static int serve(void *listener)
{
    weir_group *tasks = NULL;
    weir_address address;
    weir_socket *s;
    int rc = weir_group_open(&tasks, NULL);

    if (rc == 0 && (rc = weir_local_address(listener, &address)) == 0)
        fprintf(stderr, "listening on port %d\n", weir_address_port(&address));
    if (rc == 0)
        rc = weir_go(tasks, stop_at_signal, listener);
    while (rc == 0 && (rc = weir_accept(listener, &s)) == 0)
        weir_go_socket(tasks, echo, s, NULL);
    weir_group_close(tasks); /* cancels the conversations and waits for their goodbyes */
    return rc == WEIR_ECLOSED ? 0 : rc;
}

int main(int argc, char **argv)
{
    const weir_run_options *how = WEIR_RUN_OPTIONS(.models = WEIR_TASKS | WEIR_THREADS);
    weir_tls_config *config = NULL;
    weir_socket *listener = NULL;
    char detail[1000];
    int result = 0, rc = argc == 4 ? weir_tls_config_open(&config) : -EINVAL;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (rc == 0 && (rc = weir_tls_config_certificate_files(config, argv[2], argv[3])) == 0)
        rc = weir_listen_on(&listener, argv[1], WEIR_LISTEN_OPTIONS(.tls = config));
    if (rc == 0 && (rc = weir_run(serve, listener, how, &result)) == 0)
        rc = result;
    if (rc < 0 && weir_error_detail(NULL, detail, sizeof(detail)) >= 0)
        fprintf(stderr, "%s: %s (%s)\n", argv[argc > 1], weir_strerror(rc), detail);
    weir_close(listener);
    weir_tls_config_close(config);
    return rc < 0;
}
