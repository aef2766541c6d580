/* A non-blocking socket: each call returns at once: done, in progress, or failed.
 *
 *     nonblocking HOST PORT */
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

/* Prints which of the three outcomes of a call it was. */
static ssize_t outcome(const weir_socket *s, const char *call, ssize_t rc)
{
    char detail[500];

    if (rc >= 0) {
        printf("%s: done\n", call);
    } else if (weir_in_progress(rc)) {
        printf("%s: in progress\n", call);
    } else {
        weir_error_detail(s, detail, sizeof(detail));
        printf("%s: failed: %s (%s)\n", call, weir_strerror((int)rc), detail);
    }
    return rc;
}

int main(int argc, char **argv)
{
    weir_socket *s;
    char response[1024];
    ssize_t rc;

    if (argc != 3 || weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM, 0) < 0) {
        fprintf(stderr, "usage: nonblocking HOST PORT\n");
        return 2;
    }
    weir_set_blocking(s, false);

    /* This returns at once, even if HOST is a name and no name server answers. */
    outcome(s, "connect", weir_connect(s, argv[1], (uint16_t)strtoul(argv[2], NULL, 10)));

    /* So does this. Here a program would do other work; this one has none, so it waits. */
    while (weir_in_progress(outcome(s, "send", weir_send(s, "Hello, world!", 13))))
        weir_wait(s, WEIR_WRITABLE);

    /* And so does this. */
    while (weir_in_progress(rc = outcome(s, "recv", weir_recv(s, response, sizeof(response)))))
        weir_wait(s, WEIR_READABLE);

    if (rc >= 0)
        printf("received: %.*s\n", (int)rc, response);
    weir_close(s);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
