/* many HOST:PORT... asks up to 1000 servers, four times over, with the same fetch() each time. */
#include <stdio.h>
#include <time.h>
#include <weir.h>

static enum { TASKS = WEIR_TASKS, THREADS = WEIR_THREADS, POLLER, IN_TURN } way;
static const char *titles[] = {"", "a task each", "a thread each", "a poller", "in turn"};
static struct job {
    weir_socket *s;
    size_t sent;
    char *target, reply[1024];
} jobs[1000], *end;

static int fetch(void *job)
{
    const weir_dial_options *how = WEIR_DIAL_OPTIONS(.nonblocking = way == POLLER);
    struct job *j = job;
    ssize_t rc = j->s ? 0 : weir_dial(&j->s, j->target, how);

    if (rc >= 0 && (rc = weir_send_all(j->s, "Hello, world!", 13, &j->sent)) >= 0)
        rc = weir_recv(j->s, j->reply, sizeof(j->reply));
    if (rc < 0 && !weir_in_progress(rc))
        fprintf(stderr, "%s: %s\n", j->target, weir_strerror((int)rc));
    /* A socket that does not block: to be called again when it is ready. */
    return weir_in_progress(rc) ? 1 : weir_close(j->s);
}

static int start_all(void *options)
{
    weir_group *g = NULL;

    weir_group_open(&g, options);
    for (struct job *j = jobs; j < end; j++)
        weir_go(g, fetch, j);
    weir_group_wait(g, NULL);
    return weir_group_close(g);
}

int main(int argc, char **argv)
{
    struct timespec start, now;
    weir_poller *p;
    weir_event e;
    int left = 0;

    if (argc < 2 || argc > 1001 || weir_poller_open(&p) < 0)
        return 2;
    for (way = IN_TURN; way >= TASKS; way--) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (end = jobs; end < jobs + argc - 1; end++) {
            *end = (struct job){.target = argv[end - jobs + 1]};
            if (way >= POLLER && fetch(end)) /* in progress */
                left += weir_poller_add(p, end->s, WEIR_WRITABLE, end) == 0;
        }
        while (left > 0 && weir_poller_wait(p, &e, 1, -1) > 0)
            left -= weir_poller_modify(p, e.socket, WEIR_READABLE, e.data) == 0 && !fetch(e.data);
        if (way <= THREADS)
            weir_run(start_all, NULL, WEIR_RUN_OPTIONS(.models = way), NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%s: %ld µs\n", titles[way],
               (now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000);
    }
    return weir_poller_close(p);
}
