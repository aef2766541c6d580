/* Fetches a path from an HTTP server: http_get TARGET PATH MODE TIMES. One connection for all
 * times, kept alive; once: "Connection: close". The bodies go to standard output. MODE is
 * blocking, timeout, deadline or nonblocking. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <weir.h>

#define LIMIT_MS 30000

static weir_socket *s;

static void die(const char *what, ssize_t rc)
{
    fprintf(stderr, "http_get: %s: %s\n", what, weir_strerror((int)rc));
    exit(1);
}

static ssize_t receive(char *buf, size_t size)
{
    ssize_t n;
    while (weir_in_progress(n = weir_recv(s, buf, size)))
        weir_wait(s, WEIR_READABLE);
    if (n < 0)
        die("receiving", n);
    return n;
}

static void request(const char *path, bool keep)
{
    char text[1024];
    size_t done = 0;
    int rc, length = snprintf(text, sizeof text,
                              "GET %s HTTP/1.1\r\nHost: test\r\nConnection: %s\r\n\r\n", path,
                              keep ? "keep-alive" : "close");
    while (weir_in_progress(rc = weir_send_all(s, text, (size_t)length, &done)))
        weir_wait(s, WEIR_WRITABLE);
    if (rc)
        die("sending", rc);
}

/* Reads the head; what of the body came with it stays in `buf`, `*used` bytes. Returns the length
 * of the body. */
static size_t read_head(char *buf, size_t size, size_t *used)
{
    char *end;
    *used = 0;
    do {
        ssize_t n = receive(buf + *used, size - 1 - *used);
        if (n == 0)
            die("the head", WEIR_EEND);
        *used += (size_t)n;
        buf[*used] = '\0';
    } while (!(end = strstr(buf, "\r\n\r\n")));
    if (strncmp(buf, "HTTP/1.1 200 ", 13) != 0)
        die(buf, -EPROTO);
    const char *length = strcasestr(buf, "\r\ncontent-length:");
    if (!length || length > end)
        die("no Content-Length", -EPROTO);
    size_t body = strtoul(length + 17, NULL, 10);
    *used -= (size_t)(end + 4 - buf);
    memmove(buf, end + 4, *used);
    return body;
}

static void fetch(const char *path, bool keep)
{
    static char buf[1 << 16];
    size_t used;
    request(path, keep);
    size_t left = read_head(buf, sizeof buf, &used);
    while (used <= left) {
        fwrite(buf, 1, used, stdout);
        left -= used;
        if (left == 0)
            break;
        used = (size_t)receive(buf, left < sizeof buf ? left : sizeof buf);
        if (used == 0)
            die("the body", WEIR_EEND);
    }
    if (!keep && receive(buf, sizeof buf) != 0)
        die("the server goes on", -EPROTO);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    bool nonblocking = !strcmp(argv[3], "nonblocking");
    int times = atoi(argv[4]);
    if (!strcmp(argv[3], "deadline"))
        weir_deadline_start(LIMIT_MS);
    int rc = weir_dial(&s, argv[1],
                       WEIR_DIAL_OPTIONS(.nonblocking = nonblocking,
                                         .timeout_ms = strcmp(argv[3], "timeout") ? 0 : LIMIT_MS));
    if (rc && !weir_in_progress(rc))
        die(argv[1], rc);
    for (int i = 0; i < times; i++)
        fetch(argv[2], times > 1);
    weir_close(s);
    return fflush(stdout) ? 1 : 0;
}
