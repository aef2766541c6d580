/* Talks to a Redis server: redis_client TARGET blocking|nonblocking. Many commands at once,
 * replies checked byte by byte. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

#define KEYS  2000
#define LARGE ((size_t)4 << 20)

struct bytes {
    char *data;
    size_t length, room;
};

static void die(const char *what, ssize_t rc)
{
    char story[512] = "";
    weir_error_detail(NULL, story, sizeof story);
    fprintf(stderr, "redis_client: %s: %s: %s\n", what, weir_strerror((int)rc), story);
    exit(1);
}

static void append(struct bytes *b, const void *data, size_t length)
{
    if (b->length + length > b->room) {
        b->room = 2 * (b->length + length);
        b->data = realloc(b->data, b->room);
        if (!b->data)
            die("realloc", -ENOMEM);
    }
    memcpy(b->data + b->length, data, length);
    b->length += length;
}

static void append_text(struct bytes *b, const char *text)
{
    append(b, text, strlen(text));
}

/* In Redis's protocol, as commands and as replies. */
static void append_bulk(struct bytes *b, const void *data, size_t length)
{
    char head[32];
    snprintf(head, sizeof head, "$%zu\r\n", length);
    append_text(b, head);
    append(b, data, length);
    append_text(b, "\r\n");
}

static void append_command(struct bytes *b, int words, const char *name, const char *key)
{
    char head[32];
    snprintf(head, sizeof head, "*%d\r\n", words);
    append_text(b, head);
    append_bulk(b, name, strlen(name));
    if (key)
        append_bulk(b, key, strlen(key));
}

static void exchange_blocking(weir_socket *s, const struct bytes *out, char *in, size_t length)
{
    size_t sent = 0, received = 0;
    int rc = weir_send_all(s, out->data, out->length, &sent);
    if (rc)
        die("sending", rc);
    rc = weir_recv_exact(s, in, length, &received);
    if (rc)
        die("receiving", rc);
}

static void exchange_polling(weir_socket *s, const struct bytes *out, char *in, size_t length)
{
    size_t sent = 0, received = 0;
    weir_poller *p;
    weir_event event;
    if (weir_poller_open(&p) || weir_poller_add(p, s, WEIR_READABLE | WEIR_WRITABLE, NULL))
        die("the poller", -ENOMEM);
    while (received < length) {
        int rc = weir_poller_wait(p, &event, 1, -1);
        if (rc < 0)
            die("waiting", rc);
        if (event.events & WEIR_WRITABLE) {
            rc = weir_send_all(s, out->data, out->length, &sent);
            if (!rc)
                weir_poller_modify(p, s, WEIR_READABLE, NULL);
            else if (!weir_in_progress(rc))
                die("sending", rc);
        }
        if (event.events & WEIR_READABLE) {
            rc = weir_recv_exact(s, in, length, &received);
            if (rc && !weir_in_progress(rc))
                die("receiving", rc);
        }
    }
    weir_poller_close(p);
}

static void exchange(weir_socket *s, const char *what, struct bytes *out, struct bytes *want)
{
    char *in = malloc(want->length);
    if (!in)
        die("malloc", -ENOMEM);
    if (weir_get_blocking(s))
        exchange_blocking(s, out, in, want->length);
    else
        exchange_polling(s, out, in, want->length);
    if (memcmp(in, want->data, want->length) != 0) {
        fprintf(stderr, "redis_client: %s: an unexpected reply: %.60s\n", what, in);
        exit(1);
    }
    printf("ok %s: %zu bytes out, %zu in\n", what, out->length, want->length);
    free(in);
    out->length = want->length = 0;
}

static void run(weir_socket *s)
{
    struct bytes out = {0}, want = {0};
    char key[32], value[64], *large = malloc(LARGE);
    if (!large)
        die("malloc", -ENOMEM);
    append_command(&out, 1, "PING", NULL);
    append_text(&want, "+PONG\r\n");
    exchange(s, "ping", &out, &want);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        snprintf(value, sizeof value, "value \r\n of %d", i * i);
        append_command(&out, 3, "SET", key);
        append_bulk(&out, value, strlen(value));
        append_text(&want, "+OK\r\n");
    }
    exchange(s, "set, pipelined", &out, &want);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        snprintf(value, sizeof value, "value \r\n of %d", i * i);
        append_command(&out, 2, "GET", key);
        append_bulk(&want, value, strlen(value));
    }
    exchange(s, "get, pipelined", &out, &want);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 7 + (i >> 9));
    append_command(&out, 3, "SET", "large");
    append_bulk(&out, large, LARGE);
    append_text(&want, "+OK\r\n");
    exchange(s, "set, large", &out, &want);
    append_command(&out, 2, "GET", "large");
    append_bulk(&want, large, LARGE);
    exchange(s, "get, large", &out, &want);
    append_command(&out, 2, "GET", "nothing");
    append_text(&want, "$-1\r\n");
    append_command(&out, 1, "QUIT", NULL);
    append_text(&want, "+OK\r\n");
    exchange(s, "quit", &out, &want);
    free(out.data);
    free(want.data);
    free(large);
}

int main(int argc, char **argv)
{
    weir_socket *s;
    if (argc != 3)
        return 2;
    bool nonblocking = !strcmp(argv[2], "nonblocking");
    int rc = weir_dial(&s, argv[1], WEIR_DIAL_OPTIONS(.nonblocking = nonblocking));
    if (rc && !weir_in_progress(rc))
        die(argv[1], rc);
    run(s);
    rc = weir_set_blocking(s, true);
    if (!rc)
        rc = weir_finish(s); /* the server has said goodbye as well */
    if (rc)
        die("the end", rc);
    weir_close(s);
    return 0;
}
