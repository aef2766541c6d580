/* https_get URL prints what a web server has there: https_get https://example.com/ */
#include <stdio.h>
#include <string.h>
#include <weir.h>

/* Everything after the head, up to the end of the stream. One that somebody has cut off does not
 * end, it fails: WEIR_ETRUNCATED. */
static ssize_t print_page(weir_socket *s)
{
    static const char gap[] = "\r\n\r\n"; /* between head and page */
    char bytes[16 * 1024];
    size_t passed = 0;
    ssize_t n;

    while ((n = weir_recv(s, bytes, sizeof(bytes))) > 0) {
        size_t at = 0, count = (size_t)n;
        for (; at < count && passed < 4; at++)
            passed = bytes[at] == gap[passed] ? passed + 1 : bytes[at] == '\r';
        fwrite(bytes + at, 1, count - at, stdout);
    }
    return n;
}

static ssize_t get(const char *host, const char *path)
{
    const char *colon = strrchr(host, ':');
    bool has_port = colon && !strchr(colon, ']');
    char target[300], request[2000];
    weir_socket *s;
    size_t done = 0;
    ssize_t rc;

    WEIR_WITHIN_MS(20000); /* name, connection, handshake and page, all together */
    snprintf(target, sizeof(target), "tls://%s%s", host, has_port ? "" : ":443");
    snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host);
    rc = weir_dial(&s, target, NULL);
    if (rc < 0)
        return rc;
    rc = weir_send_all(s, request, strlen(request), &done);
    if (rc == 0)
        rc = print_page(s);
    weir_close(s);
    return rc;
}

int main(int argc, char **argv)
{
    char host[256], path[1024] = "/", detail[1000];
    const char *url = argc == 2 ? argv[1] : "", *rest = strncmp(url, "https://", 8) ? url : url + 8;
    ssize_t rc;

    if (sscanf(rest, "%255[^/]%1023s", host, path) < 1) {
        fprintf(stderr, "usage: https_get URL\n");
        return 2;
    }
    rc = get(host, path);
    if (rc < 0 && weir_error_detail(NULL, detail, sizeof(detail)) >= 0)
        fprintf(stderr, "%s: %s (%s)\n", url, weir_strerror((int)rc), detail);
    return rc < 0;
}
