/* A blocking socket, which is the default: each call waits until it is done.
 *
 *     blocking HOST PORT */
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

static int failed(weir_socket *s, const char *call, ssize_t rc)
{
    char detail[500];

    weir_error_detail(s, detail, sizeof(detail));
    fprintf(stderr, "%s: %s (%s)\n", call, weir_strerror((int)rc), detail);
    weir_close(s);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    weir_socket *s;
    char response[1024];
    ssize_t rc;

    if (argc != 3) {
        fprintf(stderr, "usage: blocking HOST PORT\n");
        return 2;
    }

    /* Create a blocking socket */
    rc = weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM, 0);
    if (rc < 0)
        return failed(NULL, "socket", rc);

    /* Connect to a server */
    rc = weir_connect(s, argv[1], (uint16_t)strtoul(argv[2], NULL, 10));
    if (rc < 0)
        return failed(s, "connect", rc);

    /* Send data through the socket */
    rc = weir_send(s, "Hello, world!", 13);
    if (rc < 0)
        return failed(s, "send", rc);

    /* Receive data from the socket */
    rc = weir_recv(s, response, sizeof(response));
    if (rc < 0)
        return failed(s, "recv", rc);
    printf("received: %.*s\n", (int)rc, response);

    /* Close the socket */
    weir_close(s);
    return EXIT_SUCCESS;
}
