/* Answers by name: expiry, replacement, bounds. */
#include "resolve/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/error.h>

#include <cmocka.h>

static struct cache *cache;

static int open_cache(void **state)
{
    (void)state;
    cache = cache_new();
    return cache ? 0 : -1;
}

static int close_cache(void **state)
{
    (void)state;
    cache_free(cache);
    return 0;
}

static struct name fold(const char *host)
{
    struct name name;

    assert_true(name_fold(&name, host));
    return name;
}

/* An answer is known by its time of expiry. */
static void put(const char *host, int family, size_t count, uint64_t expires_ns)
{
    struct name name = fold(host);
    struct answer *a = answer_new(WEIR_FROM_DNS, count);

    assert_non_null(a);
    a->expires_ns = expires_ns;
    cache_entry_free(cache_put(cache, cache_entry_new(&name, family, a)));
    answer_unref(a);
}

/* The expiry of what is there, 0 if nothing is. */
static uint64_t get(const char *host, int family, uint64_t now_ns)
{
    struct name name = fold(host);
    struct answer *found[2];
    uint64_t expires_ns;

    cache_get(cache, &name, now_ns, found);
    expires_ns = found[family_index(family)] ? found[family_index(family)]->expires_ns : 0;
    answer_unref(found[0]);
    answer_unref(found[1]);
    return expires_ns;
}

static void keeps_until_it_expires(void **state)
{
    (void)state;
    put("www.test", AF_INET, 1, 100);
    assert_int_equal(get("www.test", AF_INET, 99), 100);
    assert_int_equal(get("www.test", AF_INET, 100), 0);
    assert_int_equal(get("www.tes", AF_INET, 0), 0);
    assert_int_equal(get("www.test.", AF_INET, 0), 0);
}

static void any_case(void **state)
{
    (void)state;
    put("WWW.Test", AF_INET, 1, 100);
    assert_int_equal(get("www.test", AF_INET, 0), 100);
    assert_int_equal(get("wWw.tESt", AF_INET, 0), 100);
    assert_int_equal(get("www@test", AF_INET, 0), 0);
}

static void families_are_apart(void **state)
{
    (void)state;
    put("www.test", AF_INET, 1, 100);
    assert_int_equal(get("www.test", AF_INET6, 0), 0);
    put("www.test", AF_INET6, 1, 200);
    assert_int_equal(get("www.test", AF_INET, 0), 100);
    assert_int_equal(get("www.test", AF_INET6, 0), 200);
    put("www.test", AF_INET, 1, 300);
    assert_int_equal(get("www.test", AF_INET, 0), 300);
    assert_int_equal(get("www.test", AF_INET6, 0), 200);
    assert_int_equal(cache_count(cache), 1);
}

/* An answer that is taken out lives on with whoever has it. */
static void answers_outlive_the_cache(void **state)
{
    struct name name = fold("www.test");
    struct answer *found[2];
    (void)state;

    put("www.test", AF_INET, 3, 100);
    cache_get(cache, &name, 0, found);
    put("www.test", AF_INET, 1, 200);
    assert_int_equal(found[0]->count, 3);
    answer_unref(found[0]);
}

static void put_many(int count, size_t addresses)
{
    char host[32];

    for (int i = 0; i < count; i++) {
        snprintf(host, sizeof(host), "n%d.test", i);
        put(host, AF_INET, addresses, 100);
    }
}

static void names_are_bounded(void **state)
{
    (void)state;
    put_many(CACHE_NAMES_MAX, 1);
    assert_int_equal(cache_count(cache), CACHE_NAMES_MAX);
    assert_int_equal(get("n0.test", AF_INET, 0), 100); /* used: n1 is the oldest now */
    put("another.test", AF_INET, 1, 100);
    assert_int_equal(cache_count(cache), CACHE_NAMES_MAX);
    assert_int_equal(get("n0.test", AF_INET, 0), 100);
    assert_int_equal(get("n1.test", AF_INET, 0), 0);
    assert_int_equal(get("another.test", AF_INET, 0), 100);
}

static void memory_is_bounded(void **state)
{
    const size_t many = 1000, each = many * sizeof(struct ranked);
    (void)state;

    put_many(1000, many);
    assert_true(cache_count(cache) < CACHE_BYTES_MAX / each + 1);
    assert_true(cache_count(cache) > CACHE_BYTES_MAX / each / 2);
    assert_int_equal(get("n999.test", AF_INET, 0), 100);
}

/* One that is larger than all the room is kept as long as nothing else comes. */
static void one_giant(void **state)
{
    (void)state;
    put("giant.test", AF_INET, CACHE_BYTES_MAX / sizeof(struct ranked) + 1, 100);
    assert_int_equal(get("giant.test", AF_INET, 0), 100);
    put("small.test", AF_INET, 1, 100);
    assert_int_equal(get("giant.test", AF_INET, 0), 0);
    assert_int_equal(get("small.test", AF_INET, 0), 100);
}

static void long_names(void **state)
{
    char host[NAME_MAX_BYTES + 2];
    struct name name;
    (void)state;

    memset(host, 'a', sizeof(host));
    host[NAME_MAX_BYTES] = '\0';
    assert_true(name_fold(&name, host));
    put(host, AF_INET, 1, 100);
    assert_int_equal(get(host, AF_INET, 0), 100);
    host[NAME_MAX_BYTES] = 'a';
    host[NAME_MAX_BYTES + 1] = '\0';
    assert_false(name_fold(&name, host));
}

static void failure_without_memory(void **state)
{
    struct answer *a = answer_failure(WEIR_ENONAME, WEIR_FROM_DNS, 5);
    (void)state;

    assert_int_equal(a->rc, WEIR_ENONAME);
    assert_int_equal(a->count, 0);
    answer_unref(a);
    answer_unref(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_cache, close_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_until_it_expires),
        TEST(any_case),
        TEST(families_are_apart),
        TEST(answers_outlive_the_cache),
        TEST(names_are_bounded),
        TEST(memory_is_bounded),
        TEST(one_giant),
        TEST(long_names),
        TEST(failure_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
