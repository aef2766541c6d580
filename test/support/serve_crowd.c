#include "support/serve_crowd.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- threads -------------------------------------------------------------------------------- */

/* How many connections each thread has had. */
static struct {
    atomic_int tid, count;
} threads[LOOPS];
static atomic_int strangers;

static void note_thread(void)
{
    pid_t tid = gettid();
    for (int i = 0; i < LOOPS; i++) {
        int none = 0;
        if (atomic_compare_exchange_strong(&threads[i].tid, &none, tid) || none == tid) {
            atomic_fetch_add(&threads[i].count, 1);
            return;
        }
    }
    atomic_fetch_add(&strangers, 1);
}

void forget_threads(void)
{
    memset(threads, 0, sizeof threads);
    atomic_store(&strangers, 0);
}

int threads_used(void)
{
    int used = 0;
    EXPECT(atomic_load(&strangers), 0);
    for (int i = 0; i < LOOPS; i++)
        used += atomic_load(&threads[i].count) > 0;
    return used;
}

int thread_connections(int i)
{
    return atomic_load(&threads[i].count);
}

bool thread_is_mine(void)
{
    return atomic_load(&threads[0].tid) == gettid();
}

int stays_and_echoes(weir_socket *s, struct serving *sv)
{
    pid_t tid = gettid();
    char byte;
    ssize_t n;
    note_thread();
    while ((n = weir_recv(s, &byte, 1)) == 1) {
        EXPECT(gettid(), tid);
        EXPECT(weir_sleep(1), 0);
        EXPECT(gettid(), tid);
        EXPECT(weir_send(s, &byte, 1), 1);
    }
    EXPECT(gettid(), tid);
    (void)sv;
    return (int)n;
}

/* ---- running -------------------------------------------------------------------------------- */

static int calls_it(void *arg)
{
    void (*fn)(void) = *(void (**)(void))arg;
    fn();
    return 0;
}

void on_loops(unsigned loops, void (*fn)(void))
{
    char text[16];
    int result = 77;
    if (!ground->tasks)
        return;
    forget_threads();
    snprintf(text, sizeof text, "%u", loops);
    EXPECT(setenv("WEIR_LOOPS", text, 1), 0);
    EXPECT(weir_run(calls_it, &fn, WEIR_RUN_OPTIONS(.loop = ground->loop, .max_loops = loops),
                    &result),
           0);
    EXPECT(unsetenv("WEIR_LOOPS"), 0);
    EXPECT(result, 0);
}

/* ---- listeners ------------------------------------------------------------------------------- */

/* Another process may have a listener at the same port, of another family. */
int listeners_at(const struct serving *sv)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_storage at;
        socklen_t size = sizeof at, length = sizeof(int);
        weir_address address;
        int listens = 0;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) || !listens)
            continue;
        EXPECT(getsockname(fd, (struct sockaddr *)&at, &size), 0);
        if (at.ss_family == AF_UNIX)
            continue;
        EXPECT(weir_address_from_sockaddr(&address, (struct sockaddr *)&at, size), 0);
        count += weir_address_port(&address) == weir_address_port(&sv->where);
    }
    return count;
}

/* ---- clients --------------------------------------------------------------------------------- */

weir_socket *crowd[CROWD];

void crowd_comes(struct serving *sv)
{
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = visitor(sv);
        visitor_asks(crowd[i]);
    }
}

void crowd_asks_and_leaves(void)
{
    for (int i = 0; i < CROWD; i++) {
        visitor_asks(crowd[i]);
        EXPECT(weir_close(crowd[i]), 0);
    }
}
