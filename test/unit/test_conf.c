/* The texts of resolv.conf, nsswitch.conf and WEIR_NAMESERVERS. */
#include "resolve/conf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <weir/error.h>

#include <cmocka.h>

static struct conf conf;

static void read_resolv(const char *text)
{
    conf_init(&conf);
    conf_read_resolv(&conf, text, strlen(text));
}

static void check_server(const weir_address *server, const char *want)
{
    char buf[WEIR_ADDRESS_TEXT_MAX];

    weir_address_format(server, buf, sizeof(buf));
    assert_string_equal(buf, want);
}

/* ---- resolv.conf ----------------------------------------------------------------------------- */

static void defaults(void **state)
{
    (void)state;
    read_resolv("");
    assert_int_equal(conf.server_count, 1);
    check_server(&conf.servers[0], "127.0.0.1:53");
    assert_int_equal(conf.ndots, 1);
    assert_int_equal(conf.timeout_s, 5);
    assert_int_equal(conf.attempts, 2);
    assert_int_equal(conf.search_count, 0);
    assert_false(conf.rotate);
    assert_int_equal(conf.source_count, 2);
    assert_int_equal(conf.sources[0].kind, SOURCE_FILES);
    assert_int_equal(conf.sources[1].kind, SOURCE_DNS);
}

static void servers(void **state)
{
    (void)state;
    read_resolv("nameserver 192.0.2.1\nnameserver\t2001:db8::1 # x\r\nnameserver fe80::1%1\n"
                "nameserver name.test\nnameserver\n#nameserver 192.0.2.7\n;nameserver 192.0.2.8\n"
                " nameserver 192.0.2.9\nnameserver 127.0.0.1:5353");
    assert_int_equal(conf.server_count, 4);
    check_server(&conf.servers[0], "192.0.2.1:53");
    check_server(&conf.servers[1], "[2001:db8::1]:53");
    check_server(&conf.servers[2], "[fe80::1%1]:53");
    check_server(&conf.servers[3], "127.0.0.1:5353");
}

static void too_many_servers(void **state)
{
    char text[1024] = "";
    (void)state;

    for (int i = 1; i <= 2 * CONF_SERVERS_MAX; i++)
        snprintf(text + strlen(text), 64, "nameserver 192.0.2.%d\n", i);
    read_resolv(text);
    assert_int_equal(conf.server_count, CONF_SERVERS_MAX);
    check_server(&conf.servers[0], "192.0.2.1:53");
}

static void search(void **state)
{
    (void)state;
    read_resolv("search one.test two.test.  three.test\n");
    assert_int_equal(conf.search_count, 3);
    assert_string_equal(conf.search[1], "two.test");
    read_resolv("search one.test\ndomain two.test ignored.test\n");
    assert_int_equal(conf.search_count, 1);
    assert_string_equal(conf.search[0], "two.test");
    read_resolv("domain two.test\nsearch .\n");
    assert_int_equal(conf.search_count, 0);
}

static void options(void **state)
{
    (void)state;
    read_resolv("options ndots:3 timeout:7 attempts:4 rotate edns0\n");
    assert_int_equal(conf.ndots, 3);
    assert_int_equal(conf.timeout_s, 7);
    assert_int_equal(conf.attempts, 4);
    assert_true(conf.rotate);
    read_resolv("options ndots:99999999999999999999 timeout:0 attempts:0\noptions timeout:100\n");
    assert_int_equal(conf.ndots, 15);
    assert_int_equal(conf.timeout_s, 30);
    assert_int_equal(conf.attempts, 1);
    read_resolv("options ndots: ndots:x ndots:-1 ndots:2x timeout\n");
    assert_int_equal(conf.ndots, 1);
    assert_int_equal(conf.timeout_s, 5);
}

/* ---- The search list ------------------------------------------------------------------------- */

/* All candidates, joined with blanks. */
static void check_candidates(const char *name, const char *want)
{
    char all[2048] = "", one[CONF_NAME_MAX + 1];

    for (size_t i = 0; i < conf_candidates(&conf, name); i++)
        if (conf_candidate(&conf, name, i, one))
            snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", *all ? " " : "", one);
    assert_string_equal(all, want);
}

static void candidates(void **state)
{
    (void)state;
    read_resolv("search a.test b.test\n");
    check_candidates("host", "host.a.test host.b.test host");
    check_candidates("host.", "host");
    check_candidates("www.host", "www.host www.host.a.test www.host.b.test");
    check_candidates("www.host.", "www.host");
    read_resolv("search a.test\noptions ndots:2\n");
    check_candidates("www.host", "www.host.a.test www.host");
    check_candidates("x.www.host", "x.www.host x.www.host.a.test");
    read_resolv("search a.test\noptions ndots:0\n");
    check_candidates("host", "host host.a.test");
    read_resolv("");
    check_candidates("host", "host");
}

/* One that would be too long is left out; the others are not. */
static void long_candidates(void **state)
{
    char name[252];
    (void)state;

    memset(name, 'x', sizeof(name));
    for (int i = 50; i < 250; i += 50)
        name[i] = '.';
    name[251] = '\0';
    read_resolv("search a.test b\noptions ndots:9\n");
    char want[1024];
    snprintf(want, sizeof(want), "%s.b %s", name, name);
    check_candidates(name, want);
}

/* ---- nsswitch.conf --------------------------------------------------------------------------- */

static void check_sources(const char *text, const char *want)
{
    static const char letters[] = "fdmos";
    char got[64] = "";

    conf_init(&conf);
    conf_read_nsswitch(&conf, text, strlen(text));
    for (size_t i = 0; i < conf.source_count; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%c%s",
                 letters[conf.sources[i].kind], conf.sources[i].last ? "!" : "");
    assert_string_equal(got, want);
}

static void sources(void **state)
{
    (void)state;
    check_sources("", "fd");
    check_sources("hosts: files dns", "fd");
    check_sources("passwd: ldap\nhosts:\tdns files # ldap\nnetworks: nis\n", "df");
    check_sources("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", "fm!d");
    check_sources("hosts: files myhostname resolve [!UNAVAIL=return] dns\n", "fod!d");
    check_sources("hosts: files[NOTFOUND=return]dns", "f!d");
    check_sources("hosts: files [SUCCESS=return !NOTFOUND=return] dns", "fd");
    check_sources("hosts: files [notfound=return NOTFOUND=continue] ldap wins", "fss");
    check_sources("hosts: dns\n", "d");
    check_sources("hosts:", "");
}

static void broken_sources(void **state)
{
    (void)state;
    check_sources("hosts: [NOTFOUND=return] files", "f");
    check_sources("hosts: files [NOTFOUND=return", "f!");
    check_sources("hosts: files [", "f");
    check_sources("hosts: files [=] []]", "fs");
    check_sources("hosts", "fd");
    check_sources(": files", "fd");
}

static bool applies(enum source_kind kind, const char *name)
{
    const struct source source = {.kind = kind};

    return conf_applies(&conf, &source, name);
}

static void what_applies(void **state)
{
    (void)state;
    conf_init(&conf);
    assert_true(applies(SOURCE_MDNS, "printer.local"));
    assert_true(applies(SOURCE_MDNS, "Printer.LOCAL."));
    assert_false(applies(SOURCE_MDNS, "local"));
    assert_false(applies(SOURCE_MDNS, "notlocal"));
    assert_false(applies(SOURCE_MDNS, "www.test"));
    assert_false(applies(SOURCE_MYHOSTNAME, "me"));
    snprintf(conf.host_name, sizeof(conf.host_name), "me");
    assert_true(applies(SOURCE_MYHOSTNAME, "ME."));
    assert_true(applies(SOURCE_MYHOSTNAME, "_gateway"));
    assert_false(applies(SOURCE_MYHOSTNAME, "men"));
    assert_true(applies(SOURCE_SYSTEM, "www.test"));
}

/* ---- Servers given by hand ------------------------------------------------------------------- */

static void given_servers(void **state)
{
    weir_address list[CONF_SERVERS_MAX];
    (void)state;

    assert_int_equal(
        conf_read_servers("192.0.2.1,192.0.2.2:5353, [2001:db8::1]:54 ,2001:db8::2,[::1]", list),
        5);
    check_server(&list[0], "192.0.2.1:53");
    check_server(&list[1], "192.0.2.2:5353");
    check_server(&list[2], "[2001:db8::1]:54");
    check_server(&list[3], "[2001:db8::2]:53");
    check_server(&list[4], "[::1]:53");
}

static void given_nonsense(void **state)
{
    static const char *const texts[] = {
        "",
        ",",
        "192.0.2.1,",
        "name.test",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:x",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[192.0.2.1]:53",
        "*:53",
        ":53",
        "tcp://192.0.2.1:53",
        "unix:/x",
        "192.0.2.1 192.0.2.2",
        "192.0.2.300",
        "192.0.2.1:99999999999",
        "1,2,3,4,5,6,7,8,9",
    };
    weir_address list[CONF_SERVERS_MAX];
    char detail[256];
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (conf_read_servers(texts[i], list) != -EINVAL)
            fail_msg("\"%s\" was taken", texts[i]);
        assert_true(weir_error_detail(NULL, detail, sizeof(detail)) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),         cmocka_unit_test(servers),
        cmocka_unit_test(too_many_servers), cmocka_unit_test(search),
        cmocka_unit_test(options),          cmocka_unit_test(candidates),
        cmocka_unit_test(long_candidates),  cmocka_unit_test(sources),
        cmocka_unit_test(broken_sources),   cmocka_unit_test(what_applies),
        cmocka_unit_test(given_servers),    cmocka_unit_test(given_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
