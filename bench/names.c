/* Looking names up, against a name server that knows all of them:
 *
 *     names call HOST COUNT         weir_resolve of one host, again and again: nanoseconds a call,
 *                                   the median and the fastest of many blocks
 *     names connects COUNT PENDING  datagram sockets that connect to COUNT different names without
 *                                   blocking, PENDING at a time: look-ups a second
 *     names threads COUNT THREADS   weir_resolve of COUNT different names in THREADS threads
 *     names ares COUNT PENDING      c-ares alone, in the thread that asks
 *
 * Each look-up asks for IPv4 and for IPv6. The answer is 127.0.0.1 for what is connected to, an
 * address elsewhere for the others. */
#include "support/bench.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include <weir.h>

static void name_of(const char *kind, long number, char buf[static 64])
{
    snprintf(buf, 64, "%s-%ld.bench.test", kind, number);
}

static void print_rate(long count, uint64_t start_ns)
{
    printf("rate %.0f\n", (double)count * 1e9 / (double)(bench_now_ns() - start_ns));
}

/* ---- one host ------------------------------------------------------------------------------ */

static uint64_t block_ns(const char *host, long count)
{
    weir_address list[8];
    uint64_t start_ns = bench_now_ns();

    for (long i = 0; i < count; i++)
        bench_check(host, weir_resolve(host, 80, AF_UNSPEC, list, BENCH_LENGTH(list), NULL));
    return bench_now_ns() - start_ns;
}

static void run_call(const char *host, long count)
{
    weir_address list[8];
    enum weir_name_source source;
    uint64_t blocks[101];

    for (size_t i = 0; i < BENCH_LENGTH(blocks); i++)
        blocks[i] = block_ns(host, count);
    bench_check(host, weir_resolve(host, 80, AF_UNSPEC, list, BENCH_LENGTH(list), &source));
    uint64_t median_ns = bench_quantile(blocks, BENCH_LENGTH(blocks), 0.5);
    printf("source %s\nfastest %.1f\nmedian %.1f\n", weir_name_source_text(source),
           (double)blocks[0] / (double)count, (double)median_ns / (double)count);
}

/* ---- sockets in a poller ------------------------------------------------------------------- */

static void begin_connect(weir_poller *p, long number)
{
    weir_socket *s;
    char host[64];

    name_of("near", number, host);
    bench_check("weir_socket_open", weir_socket_open(&s, AF_UNSPEC, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    int rc = weir_connect(s, host, 9);
    if (rc != -EINPROGRESS)
        bench_fail("weir_connect", rc);
    bench_check("weir_poller_add", weir_poller_add(p, s, WEIR_WRITABLE, NULL));
}

static void run_connects(long count, long pending)
{
    weir_poller *p;
    weir_event events[256];
    long begun = 0, ended = 0;

    bench_check("weir_poller_open", weir_poller_open(&p));
    uint64_t start_ns = bench_now_ns();
    while (ended < count) {
        while (begun < count && begun - ended < pending)
            begin_connect(p, begun++);
        int n = weir_poller_wait(p, events, BENCH_LENGTH(events), 10000);
        if (n <= 0)
            bench_fail("weir_poller_wait", n < 0 ? n : WEIR_EDEADLINE);
        for (int i = 0; i < n; i++) {
            bench_check("weir_connect_status", weir_connect_status(events[i].socket));
            weir_close(events[i].socket);
        }
        ended += n;
    }
    print_rate(count, start_ns);
    weir_poller_close(p);
}

/* ---- threads ------------------------------------------------------------------------------- */

static atomic_long next_name;
static long name_count;

static void *resolve_some(void *arg)
{
    weir_address list[8];
    char host[64];

    for (long i; (i = atomic_fetch_add(&next_name, 1)) < name_count;) {
        name_of("far", i, host);
        bench_check(host, weir_resolve(host, 9, AF_UNSPEC, list, BENCH_LENGTH(list), NULL));
    }
    return arg;
}

static void run_threads(long count, long threads)
{
    pthread_t *all = calloc((size_t)threads, sizeof *all);

    if (!all)
        bench_fail("calloc", -ENOMEM);
    name_count = count;
    uint64_t start_ns = bench_now_ns();
    for (long i = 0; i < threads; i++)
        bench_check("pthread_create", -pthread_create(&all[i], NULL, resolve_some, NULL));
    for (long i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    print_rate(count, start_ns);
    free(all);
}

/* ---- c-ares -------------------------------------------------------------------------------- */

static long ares_left, ares_live;

static void ares_done(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
    (void)timeouts;
    if (status != ARES_SUCCESS && arg) {
        fprintf(stderr, "c-ares: %s\n", ares_strerror(status));
        exit(1);
    }
    ares_freeaddrinfo(result);
    ares_live--;
    ares_left--;
}

/* Two requests, as weir makes them; of the one for IPv6 nothing is expected. */
static void ares_ask(ares_channel channel, long number)
{
    static const struct ares_addrinfo_hints inet = {.ai_family = AF_INET},
                                            inet6 = {.ai_family = AF_INET6};
    static char wanted;
    char host[64];

    name_of("far", number, host);
    ares_live += 2;
    ares_getaddrinfo(channel, host, NULL, &inet, ares_done, &wanted);
    ares_getaddrinfo(channel, host, NULL, &inet6, ares_done, NULL);
}

static void ares_turn(ares_channel channel)
{
    fd_set readable, writable;
    struct timeval second = {.tv_sec = 1};

    FD_ZERO(&readable);
    FD_ZERO(&writable);
    int count = ares_fds(channel, &readable, &writable);
    bench_errno("select", select(count, &readable, &writable, NULL, &second));
    ares_process(channel, &readable, &writable);
}

static void run_ares(long count, long pending)
{
    ares_channel channel;
    long begun = 0;
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH, .lookups = strdup("b")};

    if (ares_init_options(&channel, &options, ARES_OPT_FLAGS | ARES_OPT_LOOKUPS) ||
        ares_set_servers_ports_csv(channel, getenv("WEIR_NAMESERVERS")))
        bench_fail("ares_init_options", -ENOMEM);
    ares_left = 2 * count;
    uint64_t start_ns = bench_now_ns();
    while (ares_left > 0) {
        while (begun < count && ares_live < 2 * pending)
            ares_ask(channel, begun++);
        ares_turn(channel);
    }
    print_rate(count, start_ns);
    ares_destroy(channel);
    free(options.lookups);
}

int main(int argc, char **argv)
{
    char server[32];

    if (argc != 4) {
        fprintf(stderr, "usage: names call HOST COUNT | connects COUNT PENDING |"
                        " threads COUNT THREADS | ares COUNT PENDING\n");
        return 2;
    }
    bench_many_descriptors();
    setenv("WEIR_NAMESERVERS", bench_server_text(bench_name_server(), server), 1);
    long last = bench_number(argv[3], 1);
    if (strcmp(argv[1], "call") == 0)
        run_call(argv[2], last);
    else if (strcmp(argv[1], "connects") == 0)
        run_connects(bench_number(argv[2], 1), last);
    else if (strcmp(argv[1], "threads") == 0)
        run_threads(bench_number(argv[2], 1), last);
    else
        run_ares(bench_number(argv[2], 1), last);
    return 0;
}
