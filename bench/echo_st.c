/* The same echo server with State Threads: a thread of its own, in user space, per connection.
 * Prints `PORT PID`. */
#include "support/bench.h"

#include <errno.h>
#include <st.h>

static void *serve(void *arg)
{
    st_netfd_t s = arg;
    char buf[1024];
    ssize_t n;

    while ((n = st_read(s, buf, sizeof buf, ST_UTIME_NO_TIMEOUT)) > 0) {
        if (st_write(s, buf, (size_t)n, ST_UTIME_NO_TIMEOUT) != n)
            break;
    }
    st_netfd_close(s);
    return NULL;
}

int main(void)
{
    int fd = bench_serve(false);

    bench_errno("st_set_eventsys", st_set_eventsys(ST_EVENTSYS_ALT));
    bench_errno("st_init", st_init());
    st_netfd_t listener = st_netfd_open_socket(fd);
    if (!listener)
        bench_fail("st_netfd_open_socket", -errno);
    for (;;) {
        st_netfd_t s = st_accept(listener, NULL, NULL, ST_UTIME_NO_TIMEOUT);
        if (s && !st_thread_create(serve, s, 0, 0))
            st_netfd_close(s);
    }
}
