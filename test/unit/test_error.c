/* Results: their texts, their symbols, what is "not yet", and the story of a failure. */
#include "context.h"
#include "socket.h"
#include "story.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

static const int own[] = {
    WEIR_EDEADLINE,   WEIR_ECLOSED, WEIR_EEND,  WEIR_ENONAME,    WEIR_ENAMEAGAIN,
    WEIR_ENAMESERVER, WEIR_ETLS,    WEIR_ECERT, WEIR_ETRUNCATED,
};
static const char *const own_names[] = {
    "WEIR_EDEADLINE",   "WEIR_ECLOSED", "WEIR_EEND",  "WEIR_ENONAME",    "WEIR_ENAMEAGAIN",
    "WEIR_ENAMESERVER", "WEIR_ETLS",    "WEIR_ECERT", "WEIR_ETRUNCATED",
};

/* Every errno that the system knows has its symbol and a text of its own. */
static void system_errors(void **state)
{
    (void)state;
    for (int code = 1; code < 4096; code++) {
        const char *expected = strerrorname_np(code), *name = weir_error_name(-code);
        const char *text = weir_strerror(-code);

        if (!expected) {
            assert_null(name);
            assert_string_equal(text, "unknown error");
            continue;
        }
        assert_non_null(name);
        assert_string_equal(name, expected);
        assert_string_not_equal(text, "unknown error");
        assert_false(isupper((unsigned char)text[0]));
        assert_ptr_equal(text, weir_strerror(-code));
        for (int other = 1; other < code; other++)
            assert_string_not_equal(text, weir_strerror(-other));
    }
    assert_string_equal(weir_strerror(-ECONNREFUSED), "connection refused");
    assert_string_equal(weir_error_name(-EWOULDBLOCK), "EAGAIN");
}

static void own_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        assert_true(own[i] < -4095);
        assert_string_equal(weir_error_name(own[i]), own_names[i]);
        assert_string_not_equal(weir_strerror(own[i]), "unknown error");
        assert_string_equal(weir_strerror(-own[i]), "success");
    }
}

static void odd_results(void **state)
{
    static const int unknown[] = {INT_MIN, INT_MIN + 1, -4096, -5000, -5010, -134, -41};

    (void)state;
    for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
        assert_string_equal(weir_strerror(unknown[i]), "unknown error");
        assert_null(weir_error_name(unknown[i]));
    }
    assert_string_equal(weir_strerror(0), "success");
    assert_string_equal(weir_strerror(INT_MAX), "success");
    assert_null(weir_error_name(0));
    assert_null(weir_error_name(ECONNREFUSED));
}

static void in_progress_is_three_codes(void **state)
{
    (void)state;
    for (int rc = -6000; rc <= 6000; rc++)
        assert_int_equal(weir_in_progress(rc),
                         rc == -EAGAIN || rc == -EINPROGRESS || rc == -EALREADY);
    /* Not cut to an int. */
    assert_false(weir_in_progress(((ssize_t)1 << 40) - EAGAIN));
    assert_false(weir_in_progress(-((ssize_t)1 << 40) - EAGAIN));
}

static void details_of_the_thread(void **state)
{
    char text[64], part[8];

    (void)state;
    story_give(NULL, NULL);
    assert_int_equal(weir_error_detail(NULL, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    (void)story_tell(-EIO, "a story of %d bytes", 19);
    assert_int_equal(weir_error_detail(NULL, text, sizeof(text)), 19);
    assert_string_equal(text, "a story of 19 bytes");
    assert_int_equal(weir_error_detail(NULL, NULL, 0), 19);
    assert_int_equal(weir_error_detail(NULL, NULL, 1), -EINVAL);
    memset(part, 0x5a, sizeof(part));
    assert_int_equal(weir_error_detail(NULL, part, 7), 19);
    assert_string_equal(part, "a stor");
    assert_int_equal(part[7], 0x5a);
}

static weir_socket *bare_socket(void)
{
    weir_socket *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

static void bare_socket_free(weir_socket *s)
{
    pthread_mutex_destroy(&s->lock);
    free(s->story);
    free(s);
}

static void details_of_a_socket(void **state)
{
    weir_socket *s = bare_socket();
    char text[64];

    (void)state;
    (void)story_tell(-EIO, "of the thread");
    assert_int_equal(weir_error_detail(s, text, sizeof(text)), 0);
    assert_string_equal(text, "");

    s->connect_error = -ECONNREFUSED;
    weir_error_detail(s, text, sizeof(text));
    assert_string_equal(text, "connection refused");
    s->error = -ECONNRESET;
    weir_error_detail(s, text, sizeof(text));
    assert_string_equal(text, weir_strerror(-ECONNRESET));

    story_append(&s->story, "of the socket");
    assert_int_equal(weir_error_detail(s, text, 7), 13);
    assert_string_equal(text, "of the");
    weir_error_detail(s, text, sizeof(text));
    assert_string_equal(text, "of the socket");
    assert_int_equal(weir_error_detail(s, NULL, 1), -EINVAL);

    story_give(s, NULL);
    weir_error_detail(s, text, sizeof(text));
    assert_string_equal(text, weir_strerror(-ECONNRESET));
    bare_socket_free(s);
    weir_error_detail(NULL, text, sizeof(text));
    assert_string_equal(text, "of the thread");
}

#define TURNS 2000

static void *tell_often(void *arg)
{
    weir_socket *s = arg;

    for (int i = 0; i < TURNS; i++) {
        char *story = NULL;

        story_append(&story, "turn %d of %d", i, TURNS);
        pthread_mutex_lock(&s->lock);
        story_give(s, story);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

/* A story that is replaced while it is asked for is read whole, the old one or the new. */
static void details_while_they_change(void **state)
{
    weir_socket *s = bare_socket();
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, tell_often, s), 0);
    for (int i = 0; i < TURNS; i++) {
        char text[64], copy[64];
        int len = weir_error_detail(s, text, sizeof(text));

        assert_int_equal(len, strlen(text));
        if (len == 0)
            continue;
        assert_memory_equal(text, "turn ", 5);
        snprintf(copy, sizeof(copy), "turn %ld of %d", strtol(text + 5, NULL, 10), TURNS);
        assert_string_equal(text, copy);
    }
    pthread_join(thread, NULL);
    bare_socket_free(s);
}

static void version_is_that_of_the_headers(void **state)
{
    char text[32];

    (void)state;
    snprintf(text, sizeof(text), "%d.%d.%d", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR,
             WEIR_VERSION_PATCH);
    assert_string_equal(WEIR_VERSION, text);
    assert_string_equal(weir_version(), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(system_errors),
        cmocka_unit_test(own_errors),
        cmocka_unit_test(odd_results),
        cmocka_unit_test(in_progress_is_three_codes),
        cmocka_unit_test(details_of_the_thread),
        cmocka_unit_test(details_of_a_socket),
        cmocka_unit_test(details_while_they_change),
        cmocka_unit_test(version_is_that_of_the_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
