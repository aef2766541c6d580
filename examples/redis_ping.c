/* redis_ping tcp://ADDRESS:PORT answers PING, in both ways to say it, until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <weir.h>

static sigset_t stop;

static long number(weir_bytes b, char kind) /* strtol(3) by itself would skip the line's end */
{
    return *b.data == kind && (unsigned)(b.data[1] - '0') < 10 ? strtol(b.data + 1, NULL, 10) : -1;
}

/* "PING" on a line, or its words, counted and with their sizes: "*2", "$4", "PING", "$2", "me". */
static int talk(weir_socket *s, void *unused)
{
    weir_reader *r = NULL;
    weir_bytes b;
    int rc = weir_reader_open(&r, s, unused);

    while (rc >= 0 && (rc = weir_read_line(r, &b)) > 0) {
        long words = number(b, '*');
        bool ping = b.len == 4 && !strncasecmp(b.data, "ping", 4);
        for (long i = 0; rc > 0 && i < words && (rc = weir_read_line(r, &b)) > 0; i++) {
            long len = number(b, '$');
            rc = len < 0 ? -EPROTO : weir_read_exact(r, (size_t)len + 2, &b);
            ping = rc > 0 && i == 0 ? !strncasecmp(b.data, "ping\r", 5) : ping;
        }
        if (rc > 0 && !ping && b.len > 0)
            rc = weir_writef(r, "-ERR unknown command\r\n");
        else if (rc > 0 && ping && words < 2)
            rc = weir_write(r, "+PONG\r\n", 7);
        else if (rc > 0 && ping && (rc = weir_writef(r, "$%zu\r\n", b.len - 2)) == 0)
            rc = weir_write(r, b.data, b.len);
    }
    weir_reader_close(r);
    return rc;
}

static int serve(void *listener)
{
    return weir_serve(listener, talk, NULL, WEIR_SERVE_OPTIONS(.stop = &stop));
}

int main(int argc, char **argv)
{
    weir_socket *listener = NULL;
    weir_address where;
    int result = 0, rc = weir_listen_on(&listener, argv[argc - 1], NULL);

    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    if (rc == 0 && (rc = weir_local_address(listener, &where)) == 0)
        fprintf(stderr, "listening on port %d\n", weir_address_port(&where));
    if (rc < 0 || (rc = weir_run(serve, listener, NULL, &result)) < 0 || (rc = result) < 0)
        fprintf(stderr, "%s: %s\n", argv[argc - 1], weir_strerror(rc));
    weir_close(listener);
    return rc < 0;
}
