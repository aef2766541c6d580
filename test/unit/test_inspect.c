/* Looking inside: what a dump tells of tasks that wait, each for its own thing; that it hangs on
 * nobody; and the counters. */
#include "support/ground.h"
#include "support/json.h"

#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PART_SIZE (WEIR_ADDRESS_TEXT_MAX + 16)

/* ---- dumps as text --------------------------------------------------------------------------- */

struct text {
    char *at;
    size_t size;
};

static int keep(void *arg, const char *part, size_t size)
{
    struct text *t = arg;
    t->at = realloc(t->at, t->size + size + 1);
    CHECK(t->at != NULL);
    memcpy(t->at + t->size, part, size);
    t->size += size;
    t->at[t->size] = '\0';
    return 0;
}

/* To be freed. Whatever it is, it is JSON. */
static char *dump(int form)
{
    struct text t = {NULL, 0};
    EXPECT(weir_inspect_dump(form, keep, &t), 0);
    CHECK(strlen(t.at) == t.size && t.at[t.size - 1] == '\n');
    if (form == WEIR_INSPECT_JSON)
        CHECK(json_is_valid(t.at));
    return t.at;
}

/* The object in `json` of the task of that name; to be freed. */
static char *task_in(const char *json, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "\"name\":\"%s\"", name);
    const char *at = strstr(json, key);
    if (!at)
        printf("no task \"%s\" in %s\n", name, json);
    CHECK(at != NULL);
    CHECK(!strstr(at + 1, key));
    return strndup(at, strcspn(at, "}"));
}

static void expect_part(const char *text, const char *part)
{
    if (!strstr(text, part))
        printf("no %s in %s\n", part, text);
    CHECK(strstr(text, part) != NULL);
}

static void expect_task(const char *name, const char *part)
{
    char *json = dump(WEIR_INSPECT_JSON), *task = task_in(json, name);
    expect_part(task, part);
    free(task);
    free(json);
}

/* ---- what tasks wait for --------------------------------------------------------------------- */

/* A task that does one thing, under its name. */
struct waiting {
    struct other other;
    const char *name;
    int (*fn)(struct waiting *w);
    weir_socket *s;
    weir_mutex *m;
    weir_channel *c;
    weir_group *g;
    const weir_address *to;
};

static int named(void *arg)
{
    struct waiting *w = arg;
    EXPECT(weir_task_name(w->name), 0);
    return w->fn(w);
}

static void go(struct waiting *w, weir_group *g, const char *name, int (*fn)(struct waiting *))
{
    w->name = name;
    w->fn = fn;
    other_go(&w->other, g, named, w);
    other_until_asleep(&w->other);
}

/* Returns when it has ended. */
static void stop(struct waiting *w, weir_group *g)
{
    weir_group_cancel(g);
    other_until_ended(&w->other);
    group_end(g);
}

static int receives(struct waiting *w)
{
    char byte;
    return (int)weir_recv(w->s, &byte, 1);
}

/* The second time it is known that nothing is left. */
static int answers_once(struct waiting *w)
{
    char bytes[64];
    EXPECT(weir_recv(w->s, bytes, sizeof bytes), 3);
    EXPECT(weir_sleep(1), 0); /* another wait in between */
    EXPECT(weir_send(w->s, bytes, 3), 3);
    return (int)weir_recv(w->s, bytes, sizeof bytes);
}

static int accepts(struct waiting *w)
{
    weir_socket *s;
    return weir_accept(w->s, &s);
}

static int sends_for_ever(struct waiting *w)
{
    static const char much[65536];
    ssize_t n;
    while ((n = weir_send(w->s, much, sizeof much)) > 0)
        continue;
    return (int)n;
}

static int connects(struct waiting *w)
{
    return weir_connect_address(w->s, w->to);
}

static int waits_for_either(struct waiting *w)
{
    return weir_wait(w->s, WEIR_READABLE | WEIR_WRITABLE);
}

static int waits_for_a_signal(struct waiting *w)
{
    sigset_t set;
    (void)w;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return weir_signal_wait(&set);
}

static int sleeps(struct waiting *w)
{
    (void)w;
    return weir_sleep(LONG_MS);
}

static int locks(struct waiting *w)
{
    return weir_mutex_lock(w->m);
}

static int takes(struct waiting *w)
{
    char item;
    return weir_channel_recv(w->c, &item);
}

static int gives(struct waiting *w)
{
    char item = 0;
    return weir_channel_send(w->c, &item);
}

static int joins(struct waiting *w)
{
    return weir_group_wait(w->g, NULL);
}

static weir_socket *tcp_listener(weir_address *ret)
{
    weir_socket *s;
    EXPECT(weir_socket_open(&s, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_bind(s, "127.0.0.1", 0), 0);
    EXPECT(weir_listen(s, 1), 0);
    EXPECT(weir_local_address(s, ret), 0);
    return s;
}

static void address_part(char part[PART_SIZE], const char *key, const weir_address *a)
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    weir_address_format(a, text, sizeof text);
    snprintf(part, PART_SIZE, "\"%s\":\"%s\"", key, text);
}

/* The socket is known by what it is connected to. */
static void receivers_have_addresses(void)
{
    weir_group *g = group_open();
    struct waiting w = {0}, l = {0};
    weir_address at, peer;
    weir_socket *client, *listener = tcp_listener(&at);
    char part[PART_SIZE];
    l.s = listener;
    go(&l, g, "listener", accepts);
    expect_task("listener", "\"waits_for\":\"accept\"");
    address_part(part, "local", &at);
    expect_task("listener", part);
    stop(&l, g);
    g = group_open();
    EXPECT(weir_socket_open(&client, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(client, &at), 0);
    EXPECT(weir_accept(listener, &w.s), 0);
    EXPECT(weir_peer_address(w.s, &peer), 0);
    go(&w, g, "receiver", receives);
    expect_task("receiver", "\"waits_for\":\"receive\"");
    address_part(part, "local", &at);
    expect_task("receiver", part);
    address_part(part, "peer", &peer);
    expect_task("receiver", part);
    snprintf(part, sizeof part, "\"fd\":%d,", weir_fd(w.s));
    expect_task("receiver", part);
    stop(&w, g);
    weir_close(w.s);
    weir_close(client);
    weir_close(listener);
}

/* Also after a receive that has found all there was, which is a wait of another kind. */
static void waits_after_a_message_are_seen(void)
{
    weir_group *g = group_open();
    struct waiting w = {0};
    weir_address at;
    weir_socket *client, *listener = tcp_listener(&at);
    char bytes[64];
    EXPECT(weir_socket_open(&client, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(client, &at), 0);
    EXPECT(weir_accept(listener, &w.s), 0);
    go(&w, g, "drained", answers_once);
    EXPECT(weir_send(client, "abc", 3), 3);
    EXPECT(weir_recv(client, bytes, sizeof bytes), 3);
    other_until_asleep(&w.other);
    char part[PART_SIZE];
    weir_address peer;
    EXPECT(weir_peer_address(w.s, &peer), 0);
    address_part(part, "peer", &peer);
    expect_task("drained", "\"waits_for\":\"receive\"");
    expect_task("drained", part);
    stop(&w, g);
    weir_close(w.s);
    weir_close(client);
    weir_close(listener);
}

static void senders_are_seen(void)
{
    weir_group *g = group_open();
    struct waiting w = {0};
    weir_socket *pair[2];
    stream_pair(pair);
    w.s = pair[0];
    go(&w, g, "sender", sends_for_ever);
    expect_task("sender", "\"waits_for\":\"send\"");
    stop(&w, g);
    pair_close(pair);
}

static void fill(weir_socket *s)
{
    static const char much[65536];
    ssize_t n;
    EXPECT(weir_set_blocking(s, false), 0);
    while ((n = weir_send(s, much, sizeof much)) > 0)
        continue;
    EXPECT(n, -EAGAIN);
    EXPECT(weir_set_blocking(s, true), 0);
}

/* Of those who send on one socket all but the first; and who only waits for what can be done. */
static void turns_are_seen(void)
{
    weir_group *g = group_open();
    struct waiting first = {0}, second = {0}, either = {0};
    weir_socket *pair[2];
    stream_pair(pair);
    first.s = second.s = either.s = pair[0];
    fill(pair[0]);
    go(&first, g, "first", sends_for_ever);
    go(&second, g, "second", sends_for_ever);
    go(&either, g, "either", waits_for_either);
    expect_task("first", "\"waits_for\":\"send\"");
    expect_task("second", "\"waits_for\":\"turn\"");
    expect_task("either", "\"waits_for\":\"either\"");
    weir_group_cancel(g);
    other_until_ended(&first.other);
    other_until_ended(&second.other);
    stop(&either, g);
    pair_close(pair);
}

/* The listener's queue is full, so that it gets no answer. */
static void connects_are_seen(void)
{
    weir_group *g = group_open();
    struct waiting w = {0};
    weir_address at;
    weir_socket *s[3], *listener = tcp_listener(&at);
    for (size_t i = 0; i < 3; i++)
        EXPECT(weir_socket_open(&s[i], AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(s[0], &at), 0);
    EXPECT(weir_connect_address(s[1], &at), 0);
    w.s = s[2];
    w.to = &at;
    go(&w, g, "third", connects);
    expect_task("third", "\"waits_for\":\"connect\"");
    stop(&w, g);
    for (size_t i = 0; i < 3; i++)
        weir_close(s[i]);
    weir_close(listener);
}

static void waits_for_signals_are_seen(void)
{
    weir_group *g = group_open();
    struct waiting w = {0};
    go(&w, g, "it", waits_for_a_signal);
    expect_task("it", "\"waits_for\":\"signal\"");
    stop(&w, g);
}

static void object_part(char part[64], const void *object)
{
    snprintf(part, 64, "\"object\":\"0x%lx\"", (unsigned long)(uintptr_t)object);
}

static void each_thing_is_told(void)
{
    weir_mutex m = WEIR_MUTEX_INIT;
    weir_channel *c;
    char part[64];
    EXPECT(weir_mutex_lock(&m), 0);
    EXPECT(weir_channel_open(&c, 1, 0), 0);
    const struct {
        int (*fn)(struct waiting *);
        const char *word;
        bool mutex, channel, group;
    } cases[] = {
        {sleeps, "time", false, false, false}, {locks, "mutex", true, false, false},
        {takes, "item", false, true, false},   {gives, "room", false, true, false},
        {joins, "group", false, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_group *g = group_open(), *inner = group_open();
        struct waiting w = {.m = &m, .c = c, .g = inner}, sleeper = {0};
        char word[64];
        go(&sleeper, inner, "sleeper", sleeps);
        go(&w, g, "it", cases[i].fn);
        snprintf(word, sizeof word, "\"waits_for\":\"%s\"", cases[i].word);
        expect_task("it", word);
        expect_task("it", "\"state\":\"parked\"");
        object_part(part, cases[i].mutex     ? (void *)&m
                          : cases[i].channel ? (void *)c
                                             : (void *)inner);
        if (cases[i].mutex || cases[i].channel || cases[i].group)
            expect_task("it", part);
        expect_task("sleeper", "\"left_ms\":");
        weir_group_cancel(g);
        other_until_ended(&w.other);
        stop(&sleeper, inner);
        group_end(g);
    }
    weir_channel_close(c);
    weir_mutex_unlock(&m);
}

static sem_t offload_may_end;

static void waits_for_leave(void *arg)
{
    (void)arg;
    while (sem_wait(&offload_may_end) < 0)
        continue;
}

static int offloads(struct waiting *w)
{
    (void)w;
    return weir_offload(waits_for_leave, NULL);
}

static void offloads_are_told(void)
{
    weir_group *g = group_open();
    struct waiting w = {0};
    ground_keeps_threads();
    sem_init(&offload_may_end, 0, 0);
    go(&w, g, "offloader", offloads);
    expect_task("offloader", "\"waits_for\":\"offload\"");
    expect_task("offloader", "\"offloaded\":\"");
    sem_post(&offload_may_end);
    group_end(g);
}

static void own_task_is_running(void)
{
    EXPECT(weir_task_name("myself"), 0);
    expect_task("myself", "\"state\":\"running\"");
    EXPECT(weir_task_name(""), 0);
    EXPECT(weir_task_name(NULL), -EINVAL);
}

/* A wait that has gone on is longer. */
static void since_grows(void)
{
    weir_group *g = group_open();
    struct waiting w = {0};
    go(&w, g, "it", sleeps);
    weir_sleep(50);
    char *json = dump(WEIR_INSPECT_JSON), *task = task_in(json, "it");
    const char *since = strstr(task, "\"since_ms\":"), *left = strstr(task, "\"left_ms\":");
    CHECK(since && strtol(since + 11, NULL, 10) >= 40);
    CHECK(left && strtol(left + 10, NULL, 10) <= LONG_MS - 40);
    CHECK(left && strtol(left + 10, NULL, 10) > 0);
    free(task);
    free(json);
    stop(&w, g);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void loop_and_reason_are_told(void)
{
    weir_run_info info;
    char part[128];
    char *json = dump(WEIR_INSPECT_JSON), *text = dump(WEIR_INSPECT_TEXT);
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    if (ground->tasks) {
        CHECK(!strcmp(info.loop, ground->name) && !strcmp(info.reason, "asked for"));
        snprintf(part, sizeof part, "\"loop\":\"%s\",\"reason\":\"asked for\"", ground->name);
        expect_part(json, part);
        snprintf(part, sizeof part, "tasks, %s (asked for), ", ground->name);
        expect_part(text, part);
    } else {
        expect_part(json, "\"model\":\"threads\"");
        expect_part(text, "threads, ");
    }
    free(text);
    free(json);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void names_are_shown_safely(void)
{
    static const struct {
        const char *name, *json, *text;
    } cases[] = {
        {"plain", "\"name\":\"plain\"", " plain: "},
        {"a\"b\\c", "\"name\":\"a\\\"b\\\\c\"", " a\"b\\c: "},
        {"\x1b[31m\n\x7f", "\"name\":\"\\u001b[31m\\u000a\\u007f\"", " \\x1b[31m\\x0a\\x7f: "},
        {"gr\xc3\xbc\xc3\x9f", "\"name\":\"gr\xc3\xbc\xc3\x9f\"", " gr\\xc3\\xbc\\xc3\\x9f: "},
        {"\xff\xc3", "\"name\":\"\\ufffd\\ufffd\"", " \\xff\\xc3: "},
        {"\xed\xa0\x80", "\"name\":\"\\ufffd\\ufffd\\ufffd\"", " \\xed\\xa0\\x80: "},
        {"0123456789012345678901234567890123456789", "\"name\":\"0123456789012345678901234567890\"",
         " 0123456789012345678901234567890: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EXPECT(weir_task_name(cases[i].name), 0);
        char *json = dump(WEIR_INSPECT_JSON), *text = dump(WEIR_INSPECT_TEXT);
        expect_part(json, cases[i].json);
        expect_part(text, cases[i].text);
        for (const char *at = text; *at; at++)
            CHECK(*at == '\n' || (*at >= ' ' && *at < 0x7f));
        free(json);
        free(text);
    }
}

/* ---- stacks ---------------------------------------------------------------------------------- */

#define DEEP_BYTES 65536

static int goes_deep(struct waiting *w)
{
    volatile char much[DEEP_BYTES];
    for (size_t i = 0; i < sizeof much; i += 512)
        much[i] = 1;
    (void)w;
    int rc = weir_sleep(LONG_MS);
    return rc * much[0];
}

static uint64_t number_of(const char *task, const char *key)
{
    const char *at = strstr(task, key);
    CHECK(at != NULL);
    return strtoull(at + strlen(key), NULL, 10);
}

static void stacks_are_measured(void)
{
    weir_group *g = group_open();
    struct waiting deep = {0}, flat = {0};
    weir_counters counters;
    go(&flat, g, "flat", sleeps);
    go(&deep, g, "deep", goes_deep);
    char *json = dump(WEIR_INSPECT_JSON), *d = task_in(json, "deep"), *f = task_in(json, "flat");
    uint64_t most = number_of(d, "\"stack_most\":"), size = number_of(d, "\"stack_size\":");
    CHECK(number_of(d, "\"stack\":") >= DEEP_BYTES || number_of(d, "\"stack\":") == 0);
    CHECK(number_of(d, "\"stack\":") <= most);
    CHECK(most >= DEEP_BYTES && most <= size && most % (uint64_t)sysconf(_SC_PAGESIZE) == 0);
    CHECK(number_of(f, "\"stack\":") <= number_of(f, "\"stack_most\":"));
    EXPECT(weir_inspect_counters(&counters, sizeof counters), 0);
    CHECK(counters.stack_most >= most && counters.stack_most <= size);
    free(f);
    free(d);
    free(json);
    weir_group_cancel(g);
    other_until_ended(&deep.other);
    other_until_ended(&flat.other);
    group_end(g);
}

/* ---- counters -------------------------------------------------------------------------------- */

static void counters_count(void)
{
    weir_counters before, now;
    struct waiting w[3] = {0};
    weir_group *g = group_open();
    EXPECT(weir_inspect_counters(&before, sizeof before), 0);
    for (size_t i = 0; i < 3; i++)
        go(&w[i], g, "one", sleeps);
    EXPECT(weir_inspect_counters(&now, sizeof now), 0);
    EXPECT(now.tasks - before.tasks, 3);
    EXPECT(now.tasks_started - before.tasks_started, 3);
    CHECK(now.tasks_most >= now.tasks && now.runs == 1);
    if (ground->tasks) {
        CHECK(now.switches >= before.switches + 3 && now.loops == 1);
        CHECK(now.stacks >= 4 && now.stack_most > 0);
    }
    weir_group_cancel(g);
    for (size_t i = 0; i < 3; i++)
        other_until_ended(&w[i].other);
    group_end(g);
    while (now.tasks != before.tasks) {
        give_way();
        EXPECT(weir_inspect_counters(&now, sizeof now), 0);
    }
    EXPECT(weir_inspect_counters(NULL, sizeof now), -EINVAL);
    EXPECT(weir_inspect_counters(&now, sizeof now - 8), -EINVAL);
    EXPECT(weir_inspect_counters(&now, sizeof now + 8), -EINVAL);
}

static int returns_at_once(void *arg)
{
    return arg != NULL;
}

/* What has ended still counts. */
static void ended_runs_count(void)
{
    weir_counters before, now;
    EXPECT(weir_inspect_counters(&before, sizeof before), 0);
    ground_run(returns_at_once, NULL);
    EXPECT(weir_inspect_counters(&now, sizeof now), 0);
    EXPECT(now.tasks_started - before.tasks_started, 1);
    EXPECT(now.runs, 0);
    EXPECT(now.tasks, 0);
    EXPECT(now.loops, 0);
    if (ground->tasks)
        CHECK(now.switches > before.switches && now.turns >= before.turns);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int refuses(void *arg, const char *part, size_t size)
{
    (void)part;
    (void)size;
    ++*(int *)arg;
    return -ENOSPC;
}

static void writers_may_refuse(void)
{
    int calls = 0;
    EXPECT(weir_inspect_dump(WEIR_INSPECT_TEXT, refuses, &calls), -ENOSPC);
    EXPECT(calls, 1);
    EXPECT(weir_inspect_dump(WEIR_INSPECT_TEXT, NULL, NULL), -EINVAL);
    EXPECT(weir_inspect_dump(0, refuses, &calls), -EINVAL);
    EXPECT(weir_inspect_dump(3, refuses, &calls), -EINVAL);
    EXPECT(weir_inspect_dump_fd(WEIR_INSPECT_TEXT, -1), -EBADF);
}

static int reads_all(void *arg)
{
    char bytes[4096];
    ssize_t n, sum = 0;
    while ((n = weir_recv(arg, bytes, sizeof bytes)) > 0)
        sum += n;
    return n < 0 ? (int)n : (int)sum;
}

/* A descriptor that is full for a while lets the others go on. */
static void full_descriptors_are_waited_for(void)
{
    int fds[2];
    weir_socket *reader;
    struct other o;
    weir_group *g = group_open(), *crowd = group_open();
    struct waiting w[200] = {0};
    int small = 4096;
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    EXPECT(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    EXPECT(weir_from_fd(&reader, fds[1]), 0);
    for (size_t i = 0; i < 200; i++)
        go(&w[i], crowd, "one of many", sleeps);
    other_go(&o, g, reads_all, reader);
    EXPECT(weir_inspect_dump_fd(WEIR_INSPECT_JSON, fds[0]), 0);
    close(fds[0]);
    other_until_ended(&o);
    CHECK(o.rc > 200 * 100);
    weir_close(reader);
    weir_group_cancel(crowd);
    for (size_t i = 0; i < 200; i++)
        other_until_ended(&w[i].other);
    group_end(g);
    group_end(crowd);
}

/* ---- nobody there ---------------------------------------------------------------------------- */

static void without_runs_there_is_little(void)
{
    char *json = dump(WEIR_INSPECT_JSON), *text = dump(WEIR_INSPECT_TEXT);
    expect_part(json, "\"runs\":[]");
    free(json);
    free(text);
    EXPECT(weir_task_name("nobody"), 0);
}

/* A child has no runs, also if it was a task that forked, and nothing hangs. */
static void children_look_at_themselves(void)
{
    weir_counters counters;
    pid_t child = fork();
    if (child == 0) {
        char *json = dump(WEIR_INSPECT_JSON);
        CHECK(strstr(json, "\"runs\":[]") != NULL);
        free(json);
        EXPECT(weir_inspect_counters(&counters, sizeof counters), 0);
        EXPECT(counters.tasks + counters.tasks_started, 0);
        _exit(0);
    }
    child_ends(child, 0);
}

static const struct ground_test tests[] = {
    GROUND_TEST(IN_RUNS, receivers_have_addresses),
    GROUND_TEST(IN_RUNS, waits_after_a_message_are_seen),
    GROUND_TEST(IN_RUNS, senders_are_seen),
    GROUND_TEST(IN_RUNS, turns_are_seen),
    GROUND_TEST(IN_RUNS, connects_are_seen),
    GROUND_TEST(IN_RUNS, waits_for_signals_are_seen),
    GROUND_TEST(IN_RUNS, each_thing_is_told),
    GROUND_TEST(IN_TASKS, offloads_are_told),
    GROUND_TEST(IN_RUNS, own_task_is_running),
    GROUND_TEST(IN_RUNS, since_grows),
    GROUND_TEST(IN_RUNS, loop_and_reason_are_told),
    GROUND_TEST(IN_RUNS, names_are_shown_safely),
    GROUND_TEST(IN_TASKS, stacks_are_measured),
    GROUND_TEST(IN_RUNS, counters_count),
    GROUND_TEST(BEFORE_RUN, ended_runs_count),
    GROUND_TEST(EVERYWHERE, writers_may_refuse),
    GROUND_TEST(IN_RUNS, full_descriptors_are_waited_for),
    GROUND_TEST(ONCE, without_runs_there_is_little),
    GROUND_TEST(EVERYWHERE, children_look_at_themselves),
};

int main(int argc, char **argv)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return ground_main(argc, argv, "inspect", tests, sizeof tests / sizeof *tests);
}
