/* Looking up at name servers that answer, late or not at all, but do not lie. */
#include "resolve/flight.h"
#include "support/names_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <weir/error.h>

#include <cmocka.h>

static void check(const char *host, const char *ipv4, const char *ipv6)
{
    assert_string_equal(ask(host, AF_INET), ipv4);
    assert_string_equal(ask(host, AF_INET6), ipv6);
}

static unsigned asked(const char *host)
{
    return stub_dns_count(names_server(), host, 0);
}

/* ---- What comes out -------------------------------------------------------------------------- */

static void answers(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,A:127.0.0.2,AAAA:::1");
    stub_dns_add(names_server(), "alias.test", "cname:www.other.test,A:127.0.0.3");
    stub_dns_add(names_server(), "bare.test", "");
    check("www.test", "127.0.0.1 127.0.0.2", "[::1]");
    check("WWW.Test", "127.0.0.1 127.0.0.2", "[::1]");
    check("alias.test", "127.0.0.3", "WEIR_ENONAME");
    check("bare.test", "WEIR_ENONAME", "WEIR_ENONAME");
    check("gone.test", "WEIR_ENONAME", "WEIR_ENONAME");
    check("www.test.", "127.0.0.1 127.0.0.2", "[::1]");
}

static void server_that_cannot_tell(void **state)
{
    static const char *const rules[] = {"servfail", "refused", "notimp"};
    (void)state;

    for (int i = 0; i < 3; i++) {
        stub_dns_add(names_server(), "www.test", rules[i]);
        check("www.test", "WEIR_ENAMEAGAIN", "WEIR_ENAMEAGAIN");
    }
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,AAAA:::1");
    check("www.test", "127.0.0.1", "[::1]"); /* that was not kept */
}

static void no_server(void **state)
{
    (void)state;
    stub_dns_deafen(names_server());
    check("www.test", "WEIR_ENAMESERVER", "WEIR_ENAMESERVER");
}

static void wrong_names(void **state)
{
    char name[300];
    (void)state;

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_string_equal(ask(name, AF_INET), "ENAMETOOLONG");
    assert_string_equal(ask("", AF_INET), "EINVAL");
    assert_string_equal(ask("a..b", AF_INET), "EINVAL");
    assert_string_equal(ask(".", AF_INET), "EINVAL");
    assert_string_equal(ask("b\xc3\xbc.test", AF_INET), "EINVAL");
    assert_string_equal(ask("a b", AF_INET), "EINVAL");
    assert_string_equal(ask("fe80::1%nosuchif", AF_INET6), "ENODEV");
    assert_int_equal(asked(NULL), 0);
}

/* More than fits into a datagram comes over TCP, all of it. */
static void a_thousand_addresses(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "many.test", "many:1000");
    assert_int_equal(ask_begin(&a, "many.test", AF_UNSPEC), -EINPROGRESS);
    assert_int_equal(ask_wait(&a, AF_INET)->count, 1000);
    assert_int_equal(ask_wait(&a, AF_INET6)->count, 1000);
    ask_end(&a);
}

static void truncated(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "tc.test", "A:127.0.0.1,tc");
    check("tc.test", "127.0.0.1", "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(names_server(), "tc.test", STUB_DNS_A), 2);
}

/* ---- When and whom it tells ------------------------------------------------------------------ */

static void tells_once_per_family(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,AAAA:::1,hold/aaaa");
    assert_int_equal(ask_begin(&a, "www.test", AF_UNSPEC), -EINPROGRESS);
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    assert_null(resolve_answer(a.request, AF_INET6)); /* one family does not wait for the other */
    assert_int_equal(a.released, 0);
    stub_dns_release(names_server(), "www.test");
    assert_int_equal(ask_wait(&a, AF_INET6)->rc, 0);
    ask_wait_released(&a);
    assert_int_equal(a.told, 2);
    ask_end(&a);
    assert_int_equal(a.released, 1);
}

static void one_family_alone(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,AAAA:::1");
    assert_int_equal(ask_begin(&a, "www.test", AF_INET6), -EINPROGRESS);
    ask_wait_released(&a);
    assert_int_equal(a.told, 1);
    assert_null(resolve_answer(a.request, AF_INET));
    ask_end(&a);
    assert_int_equal(stub_dns_count(names_server(), "www.test", STUB_DNS_A), 0);
}

static void numbers_are_answered_at_once(void **state)
{
    struct asker a;
    (void)state;

    assert_int_equal(ask_begin(&a, "192.0.2.1", AF_UNSPEC), 0);
    assert_int_equal(a.released, 1);
    assert_int_equal(resolve_answer(a.request, AF_INET)->source, WEIR_FROM_NUMERIC);
    assert_int_equal(resolve_answer(a.request, AF_INET6)->rc, WEIR_ENONAME);
    ask_end(&a);
    assert_int_equal(ask_begin(&a, "::1", AF_INET), 0);
    assert_int_equal(resolve_answer(a.request, AF_INET)->rc, WEIR_ENONAME);
    assert_null(resolve_answer(a.request, AF_INET6));
    ask_end(&a);
    assert_int_equal(a.released, 1);
    assert_int_equal(a.told, 0);
}

static void two_join(void **state)
{
    struct asker a, b, c;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,hold");
    assert_int_equal(ask_begin(&a, "www.test", AF_UNSPEC), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 2);
    assert_int_equal(ask_begin(&b, "www.TEST", AF_UNSPEC), -EINPROGRESS);
    assert_int_equal(ask_begin(&c, "www.test", AF_INET), -EINPROGRESS);
    ask_end(&a); /* the others go on with what he has asked */
    stub_dns_release(names_server(), "www.test");
    assert_int_equal(ask_wait(&b, AF_INET)->rc, 0);
    assert_int_equal(ask_wait(&b, AF_INET6)->rc, WEIR_ENONAME);
    assert_int_equal(ask_wait(&c, AF_INET)->rc, 0);
    ask_end(&b);
    ask_end(&c);
    assert_int_equal(asked("www.test"), 2);
    assert_int_equal(a.told, 0);
    assert_int_equal(a.released + b.released + c.released, 3);
}

/* What has been asked is worth keeping, though nobody waits any more. */
static void ended_in_flight(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,hold");
    assert_int_equal(ask_begin(&a, "www.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 1);
    resolve_end(a.request);
    assert_int_equal(a.released, 1);
    stub_dns_release(names_server(), "www.test");
    check("www.test", "127.0.0.1", "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(names_server(), "www.test", STUB_DNS_A), 1);
}

/* ---- The cache ------------------------------------------------------------------------------- */

static void kept_as_long_as_the_server_says(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,ttl:30,soa:5");
    check("www.test", "127.0.0.1", "WEIR_ENONAME");
    names_later(4000);
    assert_int_equal(ask_begin(&a, "www.test", AF_UNSPEC), 0);
    assert_int_equal(a.released, 1);
    ask_end(&a);
    names_later(2000); /* the negative answer is over */
    check("www.test", "127.0.0.1", "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(names_server(), "www.test", STUB_DNS_A), 1);
    assert_int_equal(stub_dns_count(names_server(), "www.test", STUB_DNS_AAAA), 2);
    names_later(26000);
    check("www.test", "127.0.0.1", "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(names_server(), "www.test", STUB_DNS_A), 2);
}

/* One family comes from the cache, the other is asked for. */
static void half_cached(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,AAAA:::1,hold/aaaa");
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
    assert_int_equal(ask_begin(&a, "www.test", AF_UNSPEC), -EINPROGRESS);
    assert_int_equal(resolve_answer(a.request, AF_INET)->rc, 0);
    assert_null(resolve_answer(a.request, AF_INET6));
    stub_dns_release(names_server(), "www.test");
    assert_int_equal(ask_wait(&a, AF_INET6)->rc, 0);
    ask_end(&a);
    assert_int_equal(a.told, 1);
}

static void forgotten_with_the_servers(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    stub_dns_add(names_server(), "held.test", "A:127.0.0.1,hold");
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
    assert_int_equal(ask_begin(&a, "held.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "held.test", 0, 1);
    assert_int_equal(weir_set_nameservers(stub_dns_servers(names_server())), 0);
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
    assert_int_equal(asked("www.test"), 2);
    stub_dns_release(names_server(), "held.test");
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0); /* it is answered, */
    ask_end(&a);
    assert_string_equal(ask("held.test", AF_INET), "127.0.0.1");
    assert_int_equal(asked("held.test"), 2); /* but was not kept */
}

/* ---- Several servers ------------------------------------------------------------------------- */

static struct stub_dns *other;

static void use_both(struct stub_dns *first, struct stub_dns *second, const char *more)
{
    char text[256];

    snprintf(text, sizeof(text), "nameserver %s\nnameserver %s\n%s", stub_dns_servers(first),
             stub_dns_servers(second), more);
    names_write("resolv.conf", text);
    weir_set_nameservers(NULL);
    names_later(1001);
}

static int open_two(void **state)
{
    other = stub_dns_open();
    return names_setup(state);
}

static int close_two(void **state)
{
    stub_dns_close(other);
    return names_teardown(state);
}

static void the_next_server_is_asked(void **state)
{
    static const char *const rules[] = {"servfail", "refused", "notimp", "echo", "counts"};
    (void)state;

    use_both(other, names_server(), "");
    for (int i = 0; i < 5; i++) {
        char host[32];

        snprintf(host, sizeof(host), "%s.test", rules[i]);
        stub_dns_add(other, host, rules[i]);
        stub_dns_add(names_server(), host, "A:127.0.0.1");
        assert_string_equal(ask(host, AF_INET), "127.0.0.1");
        assert_int_equal(stub_dns_count(other, host, 0), 1);
    }
    stub_dns_add(other, "all.test", "servfail");
    stub_dns_add(names_server(), "all.test", "refused");
    assert_string_equal(ask("all.test", AF_INET), "WEIR_ENAMEAGAIN");
    assert_int_equal(stub_dns_count(other, "all.test", 0), 1); /* once is enough */
    assert_string_equal(ask("gone.test", AF_INET), "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(names_server(), "gone.test", 0), 0); /* "no" is an answer */
}

static void a_server_that_is_gone(void **state)
{
    (void)state;
    use_both(other, names_server(), "");
    stub_dns_deafen(other);
    stub_dns_add(names_server(), "*.test", "A:127.0.0.1");
    assert_string_equal(ask("one.test", AF_INET), "127.0.0.1");
    assert_string_equal(ask("two.test", AF_INET), "127.0.0.1");
}

static void rotation(void **state)
{
    char host[32];
    (void)state;

    use_both(other, names_server(), "options rotate\n");
    stub_dns_add(other, "*.test", "A:127.0.0.1");
    stub_dns_add(names_server(), "*.test", "A:127.0.0.1");
    for (int i = 0; i < 10; i++) {
        snprintf(host, sizeof(host), "n%d.test", i);
        assert_string_equal(ask(host, AF_INET), "127.0.0.1");
    }
    assert_int_equal(stub_dns_count(other, NULL, 0), 5);
    assert_int_equal(stub_dns_count(names_server(), NULL, 0), 5);
}

/* A silent server is waited for once, not by each look-up: two waits would be more than the
 * deadline allows. */
static void a_silent_server_is_remembered(void **state)
{
    (void)state;
    use_both(other, names_server(), "options timeout:1\n");
    stub_dns_add(other, "*", "silent");
    stub_dns_add(names_server(), "*.test", "A:127.0.0.1");
    assert_string_equal(ask("one.test", AF_INET), "127.0.0.1");
    assert_string_equal(ask("two.test", AF_INET), "127.0.0.1");
    assert_int_equal(stub_dns_count(other, "two.test", 0), 0);
}

/* ---- The search list ------------------------------------------------------------------------- */

static void search_list(void **state)
{
    struct stub_dns *d = names_server();
    (void)state;

    names_use_files("search one.test two.test\n");
    stub_dns_add(d, "host.two.test", "A:127.0.0.2");
    stub_dns_add(d, "www.host", "A:127.0.0.3");
    stub_dns_add(d, "deep.host.one.test", "A:127.0.0.4");
    assert_string_equal(ask("host", AF_INET), "127.0.0.2");
    assert_int_equal(asked("host.one.test"), 1);
    assert_int_equal(asked("host"), 0);
    assert_string_equal(ask("www.host", AF_INET), "127.0.0.3");
    assert_int_equal(asked("www.host.one.test"), 0);
    assert_string_equal(ask("deep.host", AF_INET), "127.0.0.4");
    assert_string_equal(ask("host.", AF_INET), "WEIR_ENONAME");
    assert_int_equal(asked("host"), 1);
}

/* Both families stop at the first name that exists: their addresses are of one host. */
static void search_list_does_not_mix_hosts(void **state)
{
    (void)state;
    names_use_files("search one.test two.test\n");
    stub_dns_add(names_server(), "host.one.test", "A:127.0.0.1");
    stub_dns_add(names_server(), "host.two.test", "A:127.0.0.2,AAAA:::1");
    check("host", "127.0.0.1", "WEIR_ENONAME");
    stub_dns_add(names_server(), "fails.one.test", "A:127.0.0.1,servfail/aaaa");
    stub_dns_add(names_server(), "fails.two.test", "AAAA:::1");
    check("fails", "127.0.0.1", "WEIR_ENAMEAGAIN");
}

/* ---- Many ------------------------------------------------------------------------------------ */

#define MANY 3000

static struct asker many[MANY];

static void begin_many(const char *domain)
{
    char host[64];

    for (int i = 0; i < MANY; i++) {
        snprintf(host, sizeof(host), "n%d.%s", i, domain);
        assert_int_equal(ask_begin(&many[i], host, AF_UNSPEC), -EINPROGRESS);
    }
}

/* More than a server has room for at a time. */
static void all_of_many_are_answered(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "*.bench.test", "A:127.0.0.1");
    begin_many("bench.test");
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(ask_wait(&many[i], AF_INET)->rc, 0);
        assert_int_equal(ask_wait(&many[i], AF_INET6)->rc, WEIR_ENONAME);
        ask_end(&many[i]);
    }
    assert_int_equal(asked(NULL), 2 * MANY); /* none was lost and sent again */
}

static unsigned in_stage(enum stage stage)
{
    unsigned count;

    pthread_mutex_lock(&resolver.lock);
    count = resolver.counts[stage];
    pthread_mutex_unlock(&resolver.lock);
    return count;
}

/* Names that need no server are found at once while thousands wait for one that is silent; and who
 * gives up leaves the queue. */
static void silence_holds_up_nobody_else(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "known.test", "A:127.0.0.1");
    names_write("hosts", "127.0.0.7 file.test\n");
    names_later(1001);
    assert_string_equal(ask("known.test", AF_INET), "127.0.0.1");
    stub_dns_add(names_server(), "*.silent.test", "silent");
    begin_many("silent.test");
    assert_string_equal(ask("known.test", AF_INET), "127.0.0.1");
    assert_string_equal(ask("file.test", AF_INET), "127.0.0.7");
    assert_string_equal(ask("localhost", AF_INET), "127.0.0.1");
    assert_string_equal(ask("192.0.2.1", AF_INET), "192.0.2.1");
    for (int i = 0; i < MANY; i++) {
        ask_end(&many[i]);
        assert_int_equal(many[i].told, 0);
    }
    assert_int_equal(in_stage(STAGE_NEW) + in_stage(STAGE_READY), 0);
    assert_true(in_stage(STAGE_ASKING) <= ASKING_TOTAL_MAX);
}

#define ROUND 60

/* Questions that nobody waits for any more take no place from others, however many they are. The
 * server has time enough that none of them is given up for its silence; and one that somebody
 * waits for is not given up with them, though it is the oldest and has one try. */
static void abandoned_questions_hold_up_nobody(void **state)
{
    struct stub_dns *d = names_server();
    struct asker slow;
    char host[64];
    (void)state;

    names_use_files("options timeout:30 attempts:1\n");
    stub_dns_add(d, "new.test", "A:127.0.0.1");
    stub_dns_add(d, "slow.test", "A:127.0.0.1,hold");
    stub_dns_add(d, "*.silent.test", "silent");
    assert_int_equal(ask_begin(&slow, "slow.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(d, "slow.test", 0, 1);
    for (unsigned round = 0; 2 * ROUND * round <= ASKING_TOTAL_MAX + 2 * ROUND; round++) {
        for (int i = 0; i < ROUND; i++) {
            snprintf(host, sizeof(host), "n%d-%u.silent.test", i, round);
            assert_int_equal(ask_begin(&many[i], host, AF_UNSPEC), -EINPROGRESS);
        }
        for (int i = 0; i < ROUND; i++) {
            snprintf(host, sizeof(host), "n%d-%u.silent.test", i, round);
            stub_dns_wait(d, host, 0, 2);
            ask_end(&many[i]);
        }
    }
    assert_string_equal(ask("new.test", AF_INET), "127.0.0.1");
    assert_int_equal(asked("n0-0.silent.test"), 2);
    assert_true(in_stage(STAGE_ASKING) <= ASKING_TOTAL_MAX);
    stub_dns_wait(d, "slow.test", 0, 2);
    stub_dns_release(d, "slow.test");
    assert_int_equal(ask_wait(&slow, AF_INET)->rc, 0);
    ask_end(&slow);
}

/* ---- Resources ------------------------------------------------------------------------------- */

static atomic_int failing = -1;

static int fail_kind(enum sys_call call)
{
    return (int)call == failing ? (call == SYS_ALLOC ? -ENOMEM : -EMFILE) : 0;
}

static const struct sys_faults failing_kind = {.error = fail_kind};

static void out_of_resources(void **state)
{
    const struct sys_faults *before = sys_faults;
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "*.test", "A:127.0.0.1");
    assert_string_equal(ask("a.test", AF_INET), "127.0.0.1");
    sys_faults = &failing_kind;
    failing = SYS_ALLOC;
    assert_int_equal(ask_begin(&a, "b.test", AF_UNSPEC), -ENOMEM);
    assert_int_equal(a.released, 1);
    assert_null(a.request);
    failing = SYS_SOCKET;
    assert_string_equal(ask("c.test", AF_INET), "WEIR_ENAMESERVER");
    failing = -1;
    sys_faults = before;
    assert_string_equal(ask("c.test", AF_INET), "127.0.0.1");
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, names_setup, names_teardown)
#define TEST2(name) cmocka_unit_test_setup_teardown(name, open_two, close_two)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers),
        TEST(server_that_cannot_tell),
        TEST(no_server),
        TEST(wrong_names),
        TEST(a_thousand_addresses),
        TEST(truncated),
        TEST(tells_once_per_family),
        TEST(one_family_alone),
        TEST(numbers_are_answered_at_once),
        TEST(two_join),
        TEST(ended_in_flight),
        TEST(kept_as_long_as_the_server_says),
        TEST(half_cached),
        TEST(forgotten_with_the_servers),
        TEST2(the_next_server_is_asked),
        TEST2(a_server_that_is_gone),
        TEST2(rotation),
        TEST2(a_silent_server_is_remembered),
        TEST(search_list),
        TEST(search_list_does_not_mix_hosts),
        TEST(all_of_many_are_answered),
        TEST(silence_holds_up_nobody_else),
        TEST(abandoned_questions_hold_up_nobody),
        TEST(out_of_resources),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
