/* Connecting by name: with a resolver of the program's own, with name servers that are good, slow,
 * silent or lie. */
#include "support/rig.h"
#include "support/stub_dns.h"

#include <netinet/in.h>
#include <stdio.h>

/* ---- a resolver of the program's own -------------------------------------------------------- */

struct book {
    weir_address list[4]; /* for "known.test" */
    int count;
    atomic_int asked;
};

static int look_up(void *arg, const char *name, int family, weir_address *list, int max)
{
    struct book *book = arg;
    int count = 0;
    atomic_fetch_add(&book->asked, 1);
    if (!strcmp(name, "again.test"))
        return WEIR_ENAMEAGAIN;
    if (!strcmp(name, "server.test"))
        return WEIR_ENAMESERVER;
    if (strcmp(name, "known.test") != 0)
        return WEIR_ENONAME;
    for (int i = 0; i < book->count && count < max; i++)
        if (weir_address_family(&book->list[i]) == family)
            list[count++] = book->list[i];
    return count;
}

static void note(struct book *book, const char *host)
{
    EXPECT(weir_address_from_host(host, 0, &book->list[book->count++]), 0);
}

static const char *loopback(const struct rig *rig)
{
    return rig->transport->family == AF_INET ? "127.0.0.1" : "::1";
}

/* Another address that is this machine; with IPv6 there is but one. */
static const char *other_loopback(const struct rig *rig)
{
    return rig->transport->family == AF_INET ? "127.0.0.7" : "::1";
}

SCENARIO_FOR(name_from_the_programs_resolver, TCP | NAMES)
{
    struct book book = {.count = 0};
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener), peer;
    note(&book, loopback(rig));
    EXPECT(weir_set_resolver(look_up, &book), 0);
    rig_meet_by_name(rig, s, "known.test", listener, &accepted);
    EXPECT(weir_peer_address(s, &peer), 0);
    CHECK(weir_address_equal(&peer, &where));
    CHECK(atomic_load(&book.asked) >= 1);
    EXPECT(weir_set_resolver(NULL, NULL), 0);
}

SCENARIO_FOR(name_that_is_not_there, TCP | NAMES)
{
    struct book book = {.count = 0};
    weir_socket *s = rig_open(rig);
    EXPECT(weir_set_resolver(look_up, &book), 0);
    EXPECT(rig_connect(rig, s, "nobody.test", 80), WEIR_ENONAME);
    EXPECT(weir_connect_status(s), WEIR_ENONAME);
    EXPECT_STORY(s, "nobody.test");
    EXPECT(rig_connect(rig, s, "known.test", 80), WEIR_ENONAME); /* it has no address */
    EXPECT(rig_connect(rig, s, "again.test", 80), WEIR_ENAMEAGAIN);
    EXPECT(rig_connect(rig, s, "server.test", 80), WEIR_ENAMESERVER);
    char byte;
    EXPECT(weir_recv(s, &byte, 1), WEIR_ENAMESERVER);
    EXPECT(weir_set_resolver(NULL, NULL), 0);
}

SCENARIO_FOR(name_whose_first_address_refuses, TCP | NAMES)
{
    struct book book = {.count = 0};
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    note(&book, other_loopback(rig));
    note(&book, loopback(rig));
    EXPECT(weir_set_resolver(look_up, &book), 0);
    rig_meet_by_name(rig, s, "known.test", listener, &accepted);
    EXPECT(weir_set_resolver(NULL, NULL), 0);
}

SCENARIO_FOR(name_whose_addresses_all_refuse, TCP | NAMES)
{
    struct book book = {.count = 0};
    weir_socket *s = rig_open(rig);
    weir_address nobody = rig_nobody(rig);
    note(&book, other_loopback(rig));
    note(&book, loopback(rig));
    EXPECT(weir_set_resolver(look_up, &book), 0);
    EXPECT(rig_connect(rig, s, "known.test", weir_address_port(&nobody)), -ECONNREFUSED);
    EXPECT_STORY(s, other_loopback(rig)); /* each address, and why */
    EXPECT_STORY(s, loopback(rig));
    EXPECT_STORY(s, "refused");
    EXPECT(weir_set_resolver(NULL, NULL), 0);
}

SCENARIO_FOR(name_is_kept, TCP | NAMES)
{
    struct book book = {.count = 0};
    weir_address list[4];
    enum weir_name_source source = 0;
    int family = rig->transport->family;
    note(&book, loopback(rig));
    EXPECT(weir_set_resolver(look_up, &book), 0);
    EXPECT(weir_resolve("known.test", 80, family, list, 4, &source), 1);
    CHECK(source == WEIR_FROM_PROGRAM && weir_address_port(&list[0]) == 80);
    int asked = atomic_load(&book.asked);
    EXPECT(weir_resolve("KNOWN.test", 81, family, list, 4, &source), 1);
    CHECK(source == WEIR_FROM_CACHE && weir_address_port(&list[0]) == 81);
    EXPECT(atomic_load(&book.asked), asked);
    EXPECT(weir_resolve("nobody.test", 80, family, list, 4, &source), WEIR_ENONAME);
    EXPECT(weir_resolve(loopback(rig), 80, family, list, 4, &source), 1);
    CHECK(source == WEIR_FROM_NUMERIC);
    EXPECT(weir_set_resolver(look_up, &book), 0); /* the cache is forgotten */
    EXPECT(weir_resolve("known.test", 80, family, list, 0, &source), 1);
    CHECK(source == WEIR_FROM_PROGRAM && atomic_load(&book.asked) > asked);
    EXPECT(weir_set_resolver(NULL, NULL), 0);
}

SCENARIO_FOR(name_to_bind_to, TCP | NAMES)
{
    struct book book = {.count = 0};
    weir_socket *s = rig_open(rig);
    note(&book, loopback(rig));
    EXPECT(weir_set_resolver(look_up, &book), 0);
    int rc;
    while (weir_in_progress(rc = weir_bind(s, "known.test", 0)))
        rig_give_way(); /* nothing but calling again is promised */
    EXPECT(rc, 0);
    weir_address local = rig_where(s), want;
    EXPECT(weir_address_from_host(loopback(rig), weir_address_port(&local), &want), 0);
    CHECK(weir_address_equal(&local, &want));
    EXPECT(weir_listen(s, 0), 0);
    EXPECT(weir_set_resolver(NULL, NULL), 0);
}

SCENARIO_FOR(name_of_this_machine, TCP | NAMES)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    if (rig->transport->family != AF_INET)
        rig_skip("not every hosts file has an IPv6 address for localhost");
    rig_meet_by_name(rig, s, "localhost", listener, &accepted);
}

/* ---- name servers --------------------------------------------------------------------------- */

static struct stub_dns *open_dns(struct rig *rig, const char *name, const char *rule)
{
    struct stub_dns *dns = stub_dns_open();
    char text[128];
    CHECK(dns != NULL);
    snprintf(text, sizeof text, "A:127.0.0.1,AAAA:::1%s%s", *rule ? "," : "", rule);
    stub_dns_add(dns, name, *rule == '!' ? rule + 1 : text);
    EXPECT(weir_set_nameservers(stub_dns_servers(dns)), 0);
    (void)rig;
    return dns;
}

static void close_dns(struct stub_dns *dns)
{
    EXPECT(weir_set_nameservers(NULL), 0);
    stub_dns_close(dns);
}

SCENARIO_FOR(name_server_answers, TCP | NAMES)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    struct stub_dns *dns = open_dns(rig, "www.test", "");
    rig_meet_by_name(rig, s, "www.test", listener, &accepted);
    close_dns(dns);
}

/* What each of them gives, when there is time enough. */
SCENARIO_FOR(name_server_says_no, TCP | NAMES)
{
    static const struct {
        const char *rule;
        int want;
    } cases[] = {{"!nxdomain", WEIR_ENONAME},
                 {"!nodata", WEIR_ENONAME},
                 {"!servfail", WEIR_ENAMEAGAIN},
                 {"!refused", WEIR_ENAMEAGAIN}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_socket *s = rig_open(rig);
        struct stub_dns *dns = open_dns(rig, "www.test", cases[i].rule);
        EXPECT(rig_connect(rig, s, "www.test", 80), cases[i].want);
        EXPECT_STORY(s, "www.test");
        close_dns(dns);
    }
}

SCENARIO_FOR(name_server_that_is_not_there, TCP | NAMES)
{
    weir_socket *s = rig_open(rig);
    struct stub_dns *dns = open_dns(rig, "www.test", "");
    stub_dns_deafen(dns);
    EXPECT(rig_connect(rig, s, "www.test", 80), WEIR_ENAMESERVER);
    close_dns(dns);
}

/* Nothing that they send may be believed, so it is as if they had said nothing; the limit has to
 * end it. */
static void check_limit(struct rig *rig, const char *rule)
{
    weir_socket *s = rig_open(rig);
    struct stub_dns *dns = open_dns(rig, "www.test", rule);
    EXPECT(weir_set_timeout(s, RIG_MOMENT_MS), 0);
    if (rig->mode->kind == MODE_DEADLINE) {
        WEIR_WITHIN_MS(RIG_MOMENT_MS);
        EXPECT(weir_set_timeout(s, -1), 0);
        EXPECT(weir_connect(s, "www.test", 80), WEIR_EDEADLINE);
    } else {
        EXPECT(rig_connect(rig, s, "www.test", 80), WEIR_EDEADLINE);
    }
    EXPECT(weir_connect_status(s), WEIR_EDEADLINE);
    EXPECT_STORY(s, "www.test");
    close_dns(dns);
}

SCENARIO_FOR(name_server_is_silent, TCP | NAMES)
{
    check_limit(rig, "silent");
}

SCENARIO_FOR(name_server_sends_a_wrong_id, TCP | NAMES)
{
    check_limit(rig, "wrong-id");
}

SCENARIO_FOR(name_server_answers_another_question, TCP | NAMES)
{
    check_limit(rig, "wrong-question");
}

SCENARIO_FOR(name_server_answers_from_elsewhere, TCP | NAMES)
{
    check_limit(rig, "wrong-source");
}

SCENARIO_FOR(name_server_truncates_and_hangs, TCP | NAMES)
{
    check_limit(rig, "tc-hang");
}

/* These are bad, but they are answers: no address may come of them, and no crash. */
SCENARIO_FOR(name_server_sends_nonsense, TCP | NAMES)
{
    static const char *const rules[] = {"empty",        "short", "counts",  "cname-loop",
                                        "pointer-loop", "echo",  "tc-close"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char rule[64];
        weir_socket *s = rig_open(rig);
        snprintf(rule, sizeof rule, "!%s", rules[i]);
        struct stub_dns *dns = open_dns(rig, "www.test", rule);
        EXPECT(weir_set_timeout(s, 10 * RIG_MOMENT_MS), 0);
        int rc = rig_connect(rig, s, "www.test", 80);
        CHECK(rc == WEIR_ENAMEAGAIN || rc == WEIR_ENAMESERVER || rc == WEIR_ENONAME ||
              rc == WEIR_EDEADLINE);
        close_dns(dns);
    }
}

/* The server never answers, and the calls come back all the same. */
SCENARIO_FOR(name_server_is_silent_and_nobody_waits, TCP | NAMES)
{
    weir_socket *s[20];
    char byte;
    struct stub_dns *dns = open_dns(rig, "*", "silent");
    for (int i = 0; i < 20; i++) {
        char host[32];
        snprintf(host, sizeof host, "host-%d.test", i);
        s[i] = rig_open(rig);
        EXPECT(weir_set_blocking(s[i], false), 0);
        EXPECT(weir_connect(s[i], host, 80), -EINPROGRESS);
        EXPECT(weir_connect(s[i], host, 80), -EALREADY);
        EXPECT(weir_connect_status(s[i]), -EINPROGRESS);
        EXPECT(weir_recv(s[i], &byte, 1), -EAGAIN);
        EXPECT(weir_send(s[i], &byte, 1), -EAGAIN);
    }
    for (int i = 0; i < 20; i++)
        rig_close(rig, s[i]);
    close_dns(dns);
}

SCENARIO_FOR(name_server_answers_late, TCP | NAMES)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig);
    weir_address where = rig_where(listener);
    struct stub_dns *dns = open_dns(rig, "www.test", "hold");
    weir_poller *p;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_set_blocking(s, false), 0);
    struct rig_thread *t = rig_go(rig, rig_admit_one, listener);
    EXPECT(weir_connect(s, "www.test", weir_address_port(&where)), -EINPROGRESS);
    stub_dns_wait(dns, "www.test", 0, 1);
    EXPECT(weir_connect_status(s), -EINPROGRESS);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    stub_dns_release(dns, "www.test");
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.socket == s && event.events == WEIR_WRITABLE);
    EXPECT(weir_connect_status(s), 0);
    EXPECT(weir_poller_close(p), 0);
    rig_join(t);
    close_dns(dns);
}

static void release(struct rig *rig, void *arg)
{
    (void)rig;
    stub_dns_release(arg, "www.test");
}

SCENARIO_FOR(name_wakes_a_connect, TCP | NAMES)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    struct stub_dns *dns = open_dns(rig, "www.test", "hold");
    struct rig_thread *t = rig_when_asleep(rig, release, dns);
    rig_meet_by_name(rig, s, "www.test", listener, &accepted);
    rig_join(t);
    close_dns(dns);
}

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

SCENARIO_FOR(abort_wakes_a_look_up, TCP | NAMES)
{
    weir_socket *s = rig_open(rig);
    struct stub_dns *dns = open_dns(rig, "www.test", "silent");
    struct rig_thread *t = rig_when_asleep(rig, abort_it, s);
    EXPECT(rig_connect(rig, s, "www.test", 80), WEIR_ECLOSED);
    rig_join(t);
    close_dns(dns);
}

/* The other family's answer is waited for only a moment. */
SCENARIO_FOR(name_server_is_silent_about_one_family, TCP | NAMES)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open_family(rig, AF_UNSPEC), *accepted;
    bool v4 = rig->transport->family == AF_INET;
    struct stub_dns *dns = open_dns(rig, "www.test", v4 ? "silent/aaaa" : "silent/a");
    rig_meet_by_name(rig, s, "www.test", listener, &accepted);
    close_dns(dns);
}

/* The name is known, so that the limit passes while its address is tried. */
SCENARIO_FOR(limit_covers_the_addresses_of_a_name, TCP | NAMES)
{
    weir_address full, list[2];
    rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    struct stub_dns *dns = open_dns(rig, "www.test", "");
    EXPECT(weir_resolve("www.test", 80, rig->transport->family, list, 2, NULL), 1);
    EXPECT(weir_set_timeout(s, RIG_MOMENT_MS), 0);
    EXPECT(rig_connect(rig, s, "www.test", weir_address_port(&full)), WEIR_EDEADLINE);
    EXPECT_STORY(s, loopback(rig));
    close_dns(dns);
}

/* ---- fork(2) -------------------------------------------------------------------------------- */

struct by_name {
    weir_socket *s;
    uint16_t port;
};

/* The resolver's thread is not in the child; the look-up must go on all the same. */
static void go_on_connecting(struct rig *rig, void *arg)
{
    const struct by_name *b = arg;
    (void)rig;
    EXPECT(weir_wait(b->s, WEIR_WRITABLE), WEIR_WRITABLE);
    EXPECT(weir_connect_status(b->s), 0);
    EXPECT(weir_send(b->s, "x", 1), 1);
}

SCENARIO_FOR(fork_in_the_middle_of_a_look_up, TCP | NAMES | PLAIN)
{
    weir_socket *listener = rig_listener(rig), *accepted;
    weir_address where = rig_where(listener);
    struct by_name b = {rig_open(rig), weir_address_port(&where)};
    struct stub_dns *dns = open_dns(rig, "www.test", "hold");
    char byte;
    EXPECT(weir_set_blocking(b.s, false), 0);
    EXPECT(weir_connect(b.s, "www.test", b.port), -EINPROGRESS);
    stub_dns_wait(dns, "www.test", 0, 1);
    pid_t child = rig_fork(rig, go_on_connecting, &b);
    stub_dns_release(dns, "www.test");
    go_on_connecting(rig, &b);
    rig_wait_child(child);
    for (int i = 0; i < 2; i++) {
        EXPECT(rig_accept(rig, listener, &accepted), 0);
        EXPECT(rig_recv(rig, accepted, &byte, 1), 1);
    }
    close_dns(dns);
}

static void connect_by_name(struct rig *rig, void *arg)
{
    const struct by_name *b = arg;
    rig_arrive_by_name(rig, rig_open(rig), "other.test", b->port);
}

SCENARIO_FOR(child_looks_names_up, TCP | NAMES)
{
    weir_socket *listener = rig_listener(rig);
    weir_address where = rig_where(listener);
    struct by_name b = {rig_open(rig), weir_address_port(&where)};
    struct stub_dns *dns = open_dns(rig, "*", "");
    struct rig_thread *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = rig_go(rig, rig_admit_one, listener);
    rig_arrive_by_name(rig, b.s, "www.test", b.port);
    rig_wait_child(rig_fork(rig, connect_by_name, &b));
    rig_wait_child(rig_fork(rig, connect_by_name, &b));
    for (int i = 0; i < 3; i++)
        rig_join(t[i]);
    close_dns(dns);
}
