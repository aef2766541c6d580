/* The files of the system: what they say, in which order they are asked, and that a change is
 * noticed. */
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

static void write_and_wait(const char *file, const char *text)
{
    names_write(file, text);
    names_later(1001);
}

static enum weir_name_source source_of(const char *host)
{
    enum weir_name_source source = 0;
    weir_address list[1];

    assert_true(weir_resolve(host, 0, AF_UNSPEC, list, 1, &source) > 0);
    return source;
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static void the_file_comes_first(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,AAAA:::1");
    write_and_wait("hosts", "127.0.0.7 www.test\n");
    check("www.test", "127.0.0.7", "WEIR_ENONAME"); /* not mixed with what the server has */
    check("www.test.", "127.0.0.7", "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(names_server(), "www.test", 0), 0);
    assert_int_equal(source_of("www.test"), WEIR_FROM_HOSTS);
}

static void a_change_is_noticed(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    check("www.test", "127.0.0.1", "WEIR_ENONAME");
    write_and_wait("hosts", "127.0.0.7 www.test\n");
    check("www.test", "127.0.0.7", "WEIR_ENONAME");
    write_and_wait("hosts", "127.0.0.8 www.test\n::1 www.test\n");
    check("www.test", "127.0.0.8", "[::1]");
    write_and_wait("hosts", "");
    check("www.test", "127.0.0.1", "WEIR_ENONAME");
}

/* Within a second nobody looks: a look-up that is cached makes no system call. */
static void nobody_looks_within_a_second(void **state)
{
    (void)state;
    write_and_wait("hosts", "127.0.0.7 www.test\n");
    check("www.test", "127.0.0.7", "WEIR_ENONAME");
    names_write("hosts", "127.0.0.8 www.test\n");
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.7");
    names_later(1001);
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.8");
}

static void localhost_needs_no_file(void **state)
{
    (void)state;
    check("localhost", "127.0.0.1", "[::1]");
    check("a.LOCALHOST.", "127.0.0.1", "[::1]");
    write_and_wait("hosts", "192.0.2.1 localhost\n");
    write_and_wait("nsswitch.conf", "hosts: dns\n");
    names_use_files("");
    check("localhost", "127.0.0.1", "[::1]");
    assert_int_equal(source_of("localhost"), WEIR_FROM_HOSTS);
    assert_int_equal(stub_dns_count(names_server(), NULL, 0), 0);
}

/* ---- resolv.conf ----------------------------------------------------------------------------- */

static void another_name_server(void **state)
{
    struct stub_dns *other = stub_dns_open();
    char text[128];
    (void)state;

    names_use_files("");
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    stub_dns_add(other, "www.test", "A:127.0.0.2");
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
    snprintf(text, sizeof(text), "nameserver %s\n", stub_dns_servers(other));
    write_and_wait("resolv.conf", text);
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.2");
    weir_set_nameservers(stub_dns_servers(names_server()));
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1"); /* at once */
    stub_dns_close(other);
}

/* What is on its way when the servers change is still answered by the one that was asked. */
static void change_in_flight(void **state)
{
    struct asker a;
    (void)state;

    names_use_files("");
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,hold");
    assert_int_equal(ask_begin(&a, "www.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 1);
    write_and_wait("resolv.conf", "nameserver 127.0.0.1:1\noptions attempts:1\n");
    assert_string_equal(ask("other.test", AF_INET), "WEIR_ENAMESERVER");
    stub_dns_release(names_server(), "www.test");
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    ask_end(&a);
}

/* ---- nsswitch.conf --------------------------------------------------------------------------- */

static void use_sources(const char *line)
{
    names_write("nsswitch.conf", line);
    names_use_files("");
    names_later(1001);
}

static void order_of_sources(void **state)
{
    struct stub_dns *d = names_server();
    (void)state;

    stub_dns_add(d, "both.test", "A:127.0.0.1");
    stub_dns_add(d, "fails.test", "servfail");
    names_write("hosts", "127.0.0.7 both.test file.test fails.test\n");
    use_sources("hosts: dns files\n");
    assert_string_equal(ask("both.test", AF_INET), "127.0.0.1");
    assert_string_equal(ask("file.test", AF_INET), "127.0.0.7");
    assert_string_equal(ask("fails.test", AF_INET), "127.0.0.7");
    assert_string_equal(ask("none.test", AF_INET), "WEIR_ENONAME");
    use_sources("hosts: dns [NOTFOUND=return] files\n");
    assert_string_equal(ask("file.test", AF_INET), "WEIR_ENONAME");
    assert_string_equal(ask("fails.test", AF_INET), "127.0.0.7");
    use_sources("hosts: files [NOTFOUND=return] dns\n");
    assert_string_equal(ask("both.test", AF_INET), "127.0.0.7");
    unsigned before = stub_dns_count(d, NULL, 0);
    assert_string_equal(ask("none.test", AF_INET), "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(d, NULL, 0), before);
    use_sources("hosts: dns\n");
    assert_string_equal(ask("file.test", AF_INET), "WEIR_ENONAME");
    use_sources("hosts: files\n");
    assert_string_equal(ask("both.test", AF_INET), "127.0.0.7");
    assert_string_equal(ask("none.test", AF_INET), "WEIR_ENONAME");
}

/* An error of one source is told rather than that another knows nothing. */
static void error_outweighs_not_found(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "fails.test", "servfail");
    use_sources("hosts: dns files\n");
    assert_string_equal(ask("fails.test", AF_INET), "WEIR_ENAMEAGAIN");
    use_sources("hosts: resolve [!UNAVAIL=return] dns files\n");
    assert_string_equal(ask("fails.test", AF_INET), "WEIR_ENAMEAGAIN");
    assert_int_equal(stub_dns_count(names_server(), "fails.test", 0), 2); /* asked once each time */
}

/* With servers set by the program the line does not count. */
static void set_servers_outweigh_nsswitch(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    write_and_wait("nsswitch.conf", "hosts: files\n");
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
}

/* Only names below .local go to mdns; other names are not kept from the name server by it. */
static void mdns_is_for_local_names(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    use_sources("hosts: mdns4_minimal [NOTFOUND=return] myhostname dns\n");
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
}

/* A name that the system's own look-up finds in its files, whichever there is: "" if there is
 * none. */
static void name_in_etc_hosts(char ret[64])
{
    FILE *in = fopen("/etc/hosts", "r");
    char line[512], address[64];

    *ret = '\0';
    while (in && !*ret && fgets(line, sizeof(line), in))
        if (sscanf(line, "%63s %63s", address, ret) != 2 || strncmp(address, "127.", 4) != 0 ||
            strstr(ret, "localhost"))
            *ret = '\0';
    if (in)
        fclose(in);
}

static void other_sources_go_to_the_system(void **state)
{
    char name[64];
    (void)state;

    name_in_etc_hosts(name);
    if (!*name) {
        print_message("/etc/hosts has no name to look for\n");
        skip();
    }
    use_sources("hosts: files wins dns\n");
    assert_int_equal(source_of(name), WEIR_FROM_SYSTEM);
    assert_true(strncmp(ask(name, AF_INET), "127.", 4) == 0);
    assert_int_equal(stub_dns_count(names_server(), NULL, 0), 0);
}

/* A directory, nothing, a FIFO: no file. */
static void files_that_are_none(void **state)
{
    const struct resolve_paths paths = {"/", "/dev/null", "/nonexistent/file", "/"};
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    resolve_set_paths(&paths);
    check("www.test", "127.0.0.1", "WEIR_ENONAME");
    check("localhost", "127.0.0.1", "[::1]");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, names_setup, names_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_file_comes_first),
        TEST(a_change_is_noticed),
        TEST(nobody_looks_within_a_second),
        TEST(localhost_needs_no_file),
        TEST(another_name_server),
        TEST(change_in_flight),
        TEST(order_of_sources),
        TEST(error_outweighs_not_found),
        TEST(set_servers_outweigh_nsswitch),
        TEST(mdns_is_for_local_names),
        TEST(other_sources_go_to_the_system),
        TEST(files_that_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
