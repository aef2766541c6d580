/* weir_serve among clients that mean no good. */
#include "serve.h"
#include "support/serve_fixture.h"
#include "support/watch.h"

#define HUNDREDS (ground_is_slow() ? 40 : 200)
#define SEATS    10

static weir_socket *crowd[200];

static void crowd_comes(const struct serving *sv, const char *word)
{
    for (int i = 0; i < HUNDREDS; i++) {
        crowd[i] = visitor(sv);
        if (word)
            EXPECT(weir_send(crowd[i], word, strlen(word)), (ssize_t)strlen(word));
    }
}

static void crowd_sees_the_end(void)
{
    for (int i = 0; i < HUNDREDS; i++)
        visitor_sees_the_end(crowd[i]);
}

/* Most of what there is for each handler that runs at a time is a stack; each client has little. */
static void memory_is_bounded(long before_kib, int handlers)
{
    CHECK(watch_memory_kib() - before_kib < 1024 + handlers * 32);
}

static int answers_a_word(weir_socket *s, struct serving *sv)
{
    char word[4];
    size_t done = 0;
    (void)sv;
    int rc = weir_recv_exact(s, word, sizeof word, &done);
    if (rc == 0)
        rc = weir_send_all(s, word, sizeof word, &(size_t){0});
    return rc;
}

static void has_an_answer(weir_socket *c)
{
    char word[4];
    size_t done = 0;
    EXPECT(weir_recv_exact(c, word, sizeof word, &done), 0);
    CHECK(!memcmp(word, "word", sizeof word));
    visitor_sees_the_end(c);
}

/* A good client says that and hears it. On a slow machine its handler, too, may run into its limit:
 * then it comes again. Returns how often it did. */
static int comes_until_it_hears(const struct serving *sv, const char *word)
{
    for (int late = 0;; late++) {
        char heard[8];
        size_t done = 0, len = strlen(word);
        weir_socket *good = visitor(sv);
        int rc = weir_send_all(good, word, len, &done);
        if (rc == 0)
            rc = weir_recv_exact(good, heard, len, &(size_t){0});
        EXPECT(weir_close(good), 0);
        CHECK(rc == -ECONNRESET || rc == -EPIPE || rc == WEIR_EEND || !memcmp(heard, word, len));
        if (rc == 0)
            return late;
    }
}

/* They hold every seat; each only for its time. */
static void slow_clients_by_the_hundred(void)
{
    struct serving sv = {
        .handler = answers_a_word,
        .options = {.max_connections = SEATS, .total_ms = MOMENT_MS, .idle_ms = LONG_MS},
    };
    long memory_kib = watch_memory_kib();
    serving_begin(&sv);
    crowd_comes(&sv, "w");
    int late = comes_until_it_hears(&sv, "word");
    crowd_sees_the_end();
    until(&sv.ended, HUNDREDS + 1 + late);
    memory_is_bounded(memory_kib, SEATS);
    EXPECT(atomic_load(&sv.told), HUNDREDS + late);
    EXPECT(atomic_load(&sv.told_rc), WEIR_EDEADLINE);
    serving_end(&sv);
    CHECK(atomic_load(&sv.most) <= SEATS);
}

/* Without a limit of seats they are in nobody's way. */
static void slow_clients_with_room_for_all(void)
{
    struct serving sv = {.handler = answers_a_word};
    long memory_kib = watch_memory_kib();
    serving_begin(&sv);
    crowd_comes(&sv, "w");
    until(&sv.inside, HUNDREDS);
    for (int i = 0; i < 5; i++) {
        weir_socket *good = visitor(&sv);
        EXPECT(weir_send(good, "word", 4), 4);
        has_an_answer(good);
    }
    memory_is_bounded(memory_kib, HUNDREDS);
    for (int i = 0; i < HUNDREDS; i++) {
        EXPECT(weir_send(crowd[i], "ord", 3), 3);
        has_an_answer(crowd[i]);
    }
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 0);
}

static int floods_or_answers(weir_socket *s, struct serving *sv)
{
    static const char buf[65536];
    char byte;
    ssize_t n = weir_recv(s, &byte, 1);
    (void)sv;
    if (n == 1 && byte == 'x')
        return (int)weir_send(s, &byte, 1);
    while (n > 0)
        n = weir_send(s, buf, sizeof buf);
    EXPECT(n, WEIR_EDEADLINE);
    return (int)n;
}

static void clients_that_never_receive(void)
{
    struct serving sv = {
        .handler = floods_or_answers,
        .options = {.max_connections = SEATS, .idle_ms = MOMENT_MS},
    };
    long memory_kib = watch_memory_kib();
    serving_begin(&sv);
    crowd_comes(&sv, "flood");
    int late = comes_until_it_hears(&sv, "x");
    until(&sv.told, HUNDREDS + late);
    EXPECT(atomic_load(&sv.told_rc), WEIR_EDEADLINE);
    memory_is_bounded(memory_kib, SEATS);
    for (int i = 0; i < HUNDREDS; i++)
        EXPECT(weir_close(crowd[i]), 0);
    serving_end(&sv);
}

static int answers_lines(weir_socket *s, struct serving *sv)
{
    weir_reader *r;
    weir_bytes line;
    int rc;
    (void)sv;
    EXPECT(weir_reader_open(&r, s, WEIR_READER_OPTIONS(.max = 1000)), 0);
    while ((rc = weir_read_line(r, &line)) > 0)
        EXPECT(weir_write(r, line.data, line.len), 0);
    int flushed = weir_reader_close(r);
    return rc ? rc : flushed;
}

static void asks_a_line(weir_socket *c)
{
    char answer[5];
    size_t done = 0;
    EXPECT(weir_send(c, "hello\n", 6), 6);
    EXPECT(weir_recv_exact(c, answer, sizeof answer, &done), 0);
    CHECK(!memcmp(answer, "hello", sizeof answer));
}

/* Goes on until nobody takes any more. */
static int never_ends_its_line(void *c)
{
    static const char buf[4096];
    ssize_t n;
    do
        n = weir_send(c, buf, sizeof buf);
    while (n > 0);
    CHECK(n == -EPIPE || n == -ECONNRESET);
    return 0;
}

#define FLOODS 10

/* Somebody else is answered when they have begun, while they flood, and when they are gone. */
static void lines_without_end(void)
{
    static const char half[900];
    struct serving sv = {.handler = answers_lines};
    weir_group *g = group_open();
    weir_socket *bad[FLOODS];
    serving_begin(&sv);
    weir_socket *good = visitor(&sv);
    for (int i = 0; i < FLOODS; i++) {
        bad[i] = visitor(&sv);
        EXPECT(weir_send(bad[i], half, sizeof half), (ssize_t)sizeof half);
        asks_a_line(good);
    }
    for (int i = 0; i < FLOODS; i++) {
        EXPECT(weir_go(g, never_ends_its_line, bad[i]), 0);
        asks_a_line(good);
    }
    do
        asks_a_line(good);
    while (atomic_load(&sv.told) < FLOODS);
    group_end(g);
    asks_a_line(good);
    EXPECT(atomic_load(&sv.told_rc), -EMSGSIZE);
    EXPECT(weir_close(good), 0);
    for (int i = 0; i < FLOODS; i++)
        EXPECT(weir_close(bad[i]), 0);
    until(&sv.ended, FLOODS + 1);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), FLOODS);
}

/* They have gone before they were accepted. */
static void clients_that_leave_at_once(void)
{
    struct linger at_once = {.l_onoff = 1};
    struct serving sv = {.handler = answers_a_word, .options.max_connections = 1};
    long memory_kib = watch_memory_kib();
    serving_begin(&sv);
    weir_socket *first = visitor(&sv);
    until(&sv.begun, 1);
    crowd_comes(&sv, NULL);
    for (int i = 0; i < HUNDREDS; i++) {
        if (i % 2)
            EXPECT(weir_set_option(crowd[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
        EXPECT(weir_close(crowd[i]), 0);
    }
    EXPECT(weir_send(first, "word", 4), 4);
    has_an_answer(first);
    weir_socket *good = visitor(&sv);
    EXPECT(weir_send(good, "word", 4), 4);
    has_an_answer(good);
    memory_is_bounded(memory_kib, 1);
    serving_end(&sv);
}

/* ---- resets in the middle -------------------------------------------------------------------- */

#define BATCH   20
#define BATCHES (HUNDREDS / BATCH)

/* Much to whoever says t, and what they say to the others. */
static int talks_or_echoes(weir_socket *s, struct serving *sv)
{
    static const char much[65536];
    char byte;
    ssize_t n = weir_recv(s, &byte, 1);
    if (n == 1)
        n = weir_send(s, &byte, 1);
    if (n == 1 && byte != 't')
        return echoes(s, sv);
    while (n > 0)
        n = weir_send(s, much, sizeof much);
    CHECK(n == -ECONNRESET || n == -EPIPE);
    return (int)n;
}

/* Each is in the middle of it when it goes. */
static void batch_is_reset(const struct serving *sv)
{
    static const struct linger at_once = {.l_onoff = 1};
    weir_socket *c[BATCH];
    for (int i = 0; i < BATCH; i++) {
        char byte;
        c[i] = visitor(sv);
        EXPECT(weir_send(c[i], i % 2 ? "t" : "e", 1), 1);
        EXPECT(weir_recv(c[i], &byte, 1), 1);
        EXPECT(weir_set_option(c[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    }
    for (int i = 0; i < BATCH; i++)
        EXPECT(weir_close(c[i]), 0);
}

/* Descriptors: a thread has some of its own when it has waited, and until it has ended. */
static void until_open(int fds)
{
    while (watch_fd_count() > fds)
        give_way();
}

static void resets_in_the_middle_leave_nothing(void)
{
    struct serving sv = {.handler = talks_or_echoes};
    long memory_kib = 0;
    serving_begin(&sv);
    weir_socket *good = visitor(&sv);
    visitor_asks(good);
    int fds = 0;
    for (int i = 0; i < BATCHES; i++) {
        batch_is_reset(&sv);
        visitor_asks(good);
        weir_socket *another = visitor(&sv);
        visitor_asks(another);
        EXPECT(weir_close(another), 0);
        until(&sv.ended, (i + 1) * (BATCH + 1));
        if (i == 0) { /* what is kept for the next is kept */
            memory_kib = watch_memory_kib();
            fds = watch_fd_count();
        }
        until_open(fds + 4);
    }
    CHECK(watch_memory_kib() < memory_kib + 512);
    EXPECT(atomic_load(&sv.inside), 1);
    EXPECT(atomic_load(&sv.told), BATCHES * BATCH);
    EXPECT(weir_close(good), 0);
    until(&sv.ended, BATCHES * (BATCH + 1) + 1);
    serving_end(&sv);
}

/* ---- many at once ---------------------------------------------------------------------------- */

/* How many had been accepted when the first handler began. */
static int notes_the_time(weir_socket *s, struct serving *sv)
{
    struct serve_counts counts;
    uint64_t none = 0;
    (void)s;
    serve_count(&counts);
    atomic_compare_exchange_strong((_Atomic uint64_t *)sv->arg, &none, counts.accepted);
    return 0;
}

static void who_is_accepted_need_not_wait_for_the_others(void)
{
    struct serve_counts before;
    _Atomic uint64_t at_first = 0;
    struct serving sv = {.handler = notes_the_time, .arg = &at_first};
    serve_count(&before);
    long memory_kib = watch_memory_kib();
    serving_listen(&sv, "tcp://127.0.0.1:0");
    crowd_comes(&sv, NULL);
    serving_start(&sv);
    crowd_sees_the_end();
    memory_is_bounded(memory_kib, HUNDREDS);
    serving_end(&sv);
    if (ground->tasks && HUNDREDS > 100)
        CHECK(atomic_load(&at_first) - before.accepted < (uint64_t)HUNDREDS);
}

static int aborts_it(weir_socket *s, struct serving *sv)
{
    (void)sv;
    EXPECT(weir_abort(s), 0);
    return weir_recv(s, &(char){0}, 1) == WEIR_ECLOSED ? 0 : -EDOM;
}

static void handlers_that_abort_their_socket(void)
{
    struct serving sv = {.handler = aborts_it};
    serving_begin(&sv);
    for (int i = 0; i < 5; i++)
        visitor_sees_the_end(visitor(&sv));
    until(&sv.ended, 5);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.told), 0);
}

/* Two servers of one listener: each connection is for one of them, and the end of one is felt by
 * the other, since the listener is aborted with it. */
static void two_servers_of_one_listener(void)
{
    struct serving a = {.handler = echoes}, b = {.handler = echoes};
    serving_begin(&a);
    serving_listen_on(&b, weir_ref(a.listener));
    serving_start(&b);
    for (int i = 0; i < 20; i++) {
        weir_socket *c = visitor(&a);
        visitor_asks(c);
        EXPECT(weir_close(c), 0);
    }
    while (atomic_load(&a.ended) + atomic_load(&b.ended) < 20)
        give_way();
    serving_end(&a);
    EXPECT(serving_result(&b), WEIR_ECLOSED);
    EXPECT(atomic_load(&a.begun) + atomic_load(&b.begun), 20);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, slow_clients_by_the_hundred),
        GROUND_TEST(EVERYWHERE, slow_clients_with_room_for_all),
        GROUND_TEST(EVERYWHERE, clients_that_never_receive),
        GROUND_TEST(EVERYWHERE, lines_without_end),
        GROUND_TEST(EVERYWHERE, clients_that_leave_at_once),
        GROUND_TEST(EVERYWHERE, resets_in_the_middle_leave_nothing),
        GROUND_TEST(EVERYWHERE, who_is_accepted_need_not_wait_for_the_others),
        GROUND_TEST(EVERYWHERE, handlers_that_abort_their_socket),
        GROUND_TEST(EVERYWHERE, two_servers_of_one_listener),
    };
    return ground_main(argc, argv, "serve_hostile", tests, sizeof tests / sizeof *tests);
}
