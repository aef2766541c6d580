/* many HOST:PORT... asks up to 1000 servers, three times over, with the same fetch() each time. */
#include <pthread.h>
#include <stdio.h>
#include <weir.h>

static enum { IN_TURN, THREADS, POLLER } way;
static const char *const titles[] = {"one after the other", "a thread each", "a poller"};
static struct job {
    weir_socket *s;
    size_t sent;
    char *target, reply[1024];
    pthread_t thread;
} jobs[1000];

static void *fetch(void *job)
{
    const weir_dial_options *how = WEIR_DIAL_OPTIONS(.nonblocking = way == POLLER);
    struct job *j = job;
    ssize_t rc = j->s ? 0 : weir_dial(&j->s, j->target, how);

    if (rc >= 0 && (rc = weir_send_all(j->s, "Hello, world!", 13, &j->sent)) >= 0)
        rc = weir_recv(j->s, j->reply, sizeof(j->reply));
    if (weir_in_progress(rc))
        return j; /* a socket that does not block: to be called again when it is ready */
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", j->target, weir_strerror((int)rc));
    weir_close(j->s);
    return NULL;
}

int main(int argc, char **argv)
{
    struct job *j, *end = jobs + argc - 1;
    struct timespec start, now;
    weir_poller *p;
    weir_event e;
    int left = 0;

    if (argc < 2 || argc > 1001 || weir_poller_open(&p) < 0)
        return 2;
    for (way = IN_TURN; way <= POLLER; way++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (j = jobs; j < end; j++) {
            *j = (struct job){.target = argv[j - jobs + 1]};
            if (way == THREADS)
                pthread_create(&j->thread, NULL, fetch, j);
            else if (fetch(j)) /* in progress */
                left += weir_poller_add(p, j->s, WEIR_WRITABLE, j) == 0;
        }
        for (j = jobs; j < end && way == THREADS; j++)
            pthread_join(j->thread, NULL);
        while (left > 0 && weir_poller_wait(p, &e, 1, -1) > 0)
            if (weir_poller_modify(p, e.socket, WEIR_READABLE, e.data) == 0 && !fetch(e.data))
                left--;
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%s: %ld µs\n", titles[way],
               (now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000);
    }
    return weir_poller_close(p);
}
