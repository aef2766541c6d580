/* The same echo server with libevent's bufferevents. Prints `PORT PID`. */
#include "support/bench.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

static void readable(struct bufferevent *b, void *arg)
{
    (void)arg;
    bufferevent_write_buffer(b, bufferevent_get_input(b));
}

static void drained(struct bufferevent *b, void *arg)
{
    (void)arg;
    bufferevent_free(b);
}

static void ended(struct bufferevent *b, short what, void *arg)
{
    if (what & BEV_EVENT_EOF && evbuffer_get_length(bufferevent_get_output(b)) > 0)
        bufferevent_setcb(b, NULL, drained, ended, arg);
    else
        bufferevent_free(b);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                     int length, void *arg)
{
    struct bufferevent *b =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

    (void)peer;
    (void)length;
    (void)arg;
    if (!b) {
        evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(b, readable, NULL, ended, NULL);
    bufferevent_enable(b, EV_READ | EV_WRITE);
}

int main(void)
{
    struct event_base *base = event_base_new();

    if (!base || !evconnlistener_new(base, accepted, NULL, 0, 0, bench_serve(true)))
        bench_fail("libevent", -ENOMEM);
    return event_base_dispatch(base);
}
