/* http_hello tcp://ADDRESS:PORT says hello to whoever asks by HTTP, until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <weir.h>

static sigset_t stop;
static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

static bool says(weir_bytes line, const char *field, const char *value)
{
    const char *at = line.data + strlen(field);

    return !strncasecmp(line.data, field, strlen(field)) &&
           !strncasecmp(at + strspn(at, " \t"), value, strlen(value));
}

static int talk(weir_socket *s, void *unused)
{
    weir_reader *r = NULL;
    weir_bytes line;
    int rc = weir_reader_open(&r, s, unused);

    for (bool stay = true; stay && rc >= 0 && (rc = weir_read_line(r, &line)) > 0;) {
        const char *version = line.len > 9 ? line.data + line.len - 9 : line.data;
        bool good = !strncmp(version, " HTTP/1.", 8), head = says(line, "HEAD ", "");
        stay = good && version[8] == '1';
        while (good && (rc = weir_read_line(r, &line)) > 0 && line.len > 0)
            stay &= !says(line, "connection:", "close") && !says(line, "content-length:", "") &&
                    !says(line, "transfer-encoding:", ""); /* a body is not read */
        if (rc > 0 && stay)
            rc = weir_write(r, hello, sizeof hello - (head ? 7 : 1));
        else if (rc > 0)
            rc = weir_writef(r, "HTTP/1.1 %s\r\nContent-Length: 6\r\nConnection: close\r\n\r\n%s",
                             good ? "200 OK" : "400 Bad Request", head ? "" : "hello\n");
    }
    weir_reader_close(r);
    return weir_finish(s);
}

static int serve(void *listener)
{
    return weir_serve(listener, talk, NULL, WEIR_SERVE_OPTIONS(.stop = &stop, .idle_ms = 10000));
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
