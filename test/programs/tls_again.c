/* tls_again TARGET CA LINE COUNT: connects COUNT times, one after the other, sends LINE and an
 * empty one, and reads to the end. Says of each connection whether a session was resumed, and how
 * much came. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

/* How many bytes until the end, or the error. */
static ssize_t ask(weir_socket *s, const char *line)
{
    char bytes[16 * 1024];
    int length = snprintf(bytes, sizeof bytes, "%s\r\n\r\n", line);
    ssize_t n = weir_send_all(s, bytes, (size_t)length, &(size_t){0}), count = 0;

    while (n >= 0 && (n = weir_recv(s, bytes, sizeof bytes)) > 0)
        count += n;
    return n < 0 ? n : count;
}

static int visit(weir_tls_config *config, const char *target, const char *line)
{
    WEIR_WITHIN_MS(30000);
    weir_tls_state state;
    weir_socket *s;
    ssize_t n = weir_dial(&s, target, WEIR_DIAL_OPTIONS(.tls = config));

    if (n < 0)
        return (int)n;
    n = weir_tls_info(s, &state);
    if (n == 0 && (n = ask(s, line)) >= 0)
        printf("%s %s, certificate %s, %zd bytes\n",
               state.version == WEIR_TLS_1_3 ? "TLS 1.3" : "TLS 1.2",
               state.resumed ? "resumed" : "new", state.peer_verified ? "good" : "bad", n);
    weir_close(s);
    return n < 0 ? (int)n : 0;
}

int main(int argc, char **argv)
{
    weir_tls_config *config = NULL;
    char detail[1000];
    int rc = argc == 5 ? weir_tls_config_open(&config) : -EINVAL;

    if (rc == 0)
        rc = weir_tls_config_trust_file(config, argv[2]);
    for (int i = 0; rc == 0 && i < atoi(argv[4]); i++)
        rc = visit(config, argv[1], argv[3]);
    weir_tls_config_close(config);
    if (rc < 0 && weir_error_detail(NULL, detail, sizeof detail) >= 0)
        fprintf(stderr, "tls_again: %s (%s)\n", weir_strerror(rc), detail);
    return rc < 0;
}
