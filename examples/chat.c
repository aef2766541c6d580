/* chat tcp://ADDRESS:PORT passes each line on to everybody else, until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <weir.h>

static sigset_t stop;

/* All tasks share a thread, and whoever looks through the list does not wait: it needs no lock. */
static weir_socket *guests[500], **end = guests;

static int tell_others(const weir_socket *from, weir_bytes line)
{
    for (weir_socket **to = guests; to < end; to++)
        if (*to != from && weir_send_all(*to, line.data, line.len + 1, &(size_t){0}) < 0)
            weir_abort(*to); /* has not read for so long that the kernel takes no more */
    return weir_yield();     /* whoever says much lets the others go on */
}

static int talk(weir_socket *s, void *unused)
{
    weir_reader *r = unused;
    weir_bytes line;
    int rc = weir_reader_open(&r, s, WEIR_READER_OPTIONS(.max = 1000));

    weir_set_blocking(s, false); /* so that nobody is waited for who does not read */
    *end++ = s;
    while (rc >= 0 && (rc = weir_read_until(r, "\n", 1, &line)) != 0)
        if (rc > 0)
            rc = tell_others(s, line);
        else if (rc == -EAGAIN)
            rc = weir_wait(s, WEIR_READABLE);
    for (weir_socket **at = guests; at < end; at++)
        if (*at == s)
            *at = *--end;
    weir_reader_close(r);
    return rc;
}

static int serve(void *listener)
{
    return weir_serve(listener, talk, NULL,
                      WEIR_SERVE_OPTIONS(.max_connections = 500, .stop = &stop));
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
