/* Stories: told, joined, cut, owned; and foreign text in them. */
#include "context.h"
#include "story.h"
#include "sys.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

static const char cut_mark[] = "; …";

static const char *story(void)
{
    static char text[8192];

    weir_error_detail(NULL, text, sizeof(text));
    return text;
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC ? -ENOMEM : 0;
}

static const struct sys_faults without_memory = {.error = no_memory};

static void telling_returns_the_result(void **state)
{
    (void)state;
    errno = EXDEV;
    assert_int_equal(story_tell(-EINVAL, "port %d", 7), -EINVAL);
    assert_string_equal(story(), "port 7");
    assert_int_equal(story_tell(WEIR_ENONAME, "%s again", story()), WEIR_ENONAME);
    assert_string_equal(story(), "port 7 again");
    assert_int_equal(errno, EXDEV);
}

/* A story that could not be told must not leave an older one in its place. */
static void without_memory_there_is_no_story(void **state)
{
    (void)state;
    (void)story_tell(-EINVAL, "old");
    sys_faults = &without_memory;
    assert_int_equal(story_tell(-EIO, "new"), -EIO);
    sys_faults = NULL;
    assert_string_equal(story(), "");
}

static void *tell_elsewhere(void *arg)
{
    (void)arg;
    assert_string_equal(story(), "");
    (void)story_tell(-EIO, "elsewhere");
    /* Leak checkers do not see what a thread's memory, kept for the next thread, points to. */
    assert_true(context_current()->kept);
    return NULL;
}

/* And what another thread told is freed when it ends. */
static void each_thread_has_its_own(void **state)
{
    pthread_t thread;

    (void)state;
    (void)story_tell(-EIO, "here");
    assert_int_equal(pthread_create(&thread, NULL, tell_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    assert_string_equal(story(), "here");
}

static void parts_are_joined(void **state)
{
    char *told = NULL;

    (void)state;
    errno = EXDEV;
    story_append(&told, "%s: %d", "first", 1);
    assert_string_equal(told, "first: 1");
    story_append(&told, "second");
    story_append(&told, "third %c", '!');
    assert_string_equal(told, "first: 1; second; third !");
    sys_faults = &without_memory;
    story_append(&told, "lost");
    sys_faults = NULL;
    assert_string_equal(told, "first: 1; second; third !");
    assert_int_equal(errno, EXDEV);
    story_give(NULL, told);
    assert_string_equal(story(), "first: 1; second; third !");
    story_give(NULL, NULL);
    assert_string_equal(story(), "");
}

/* However much is told: at most STORY_MAX bytes and the mark, once, and no half character. */
static void long_stories_are_cut(void **state)
{
    static char text[3 * STORY_MAX];

    (void)state;
    for (size_t part = 1; part < sizeof(text); part = part * 2 + 1) {
        char *told = NULL, *mark;

        memset(text, 0, sizeof(text));
        for (size_t i = 0; i + 2 <= part; i++)
            text[i] = "é"[i % 2];
        text[part / 2 * 2] = '\0';
        for (size_t sum = 0; sum < 2 * (size_t)STORY_MAX; sum += part + 2)
            story_append(&told, "%s.", text);
        assert_non_null(mark = strstr(told, cut_mark));
        assert_string_equal(mark, cut_mark);
        assert_in_range(mark - told, STORY_MAX - 1, STORY_MAX);
        for (const char *c = told; c < mark; c += (unsigned char)*c < 0x80 ? 1 : 2)
            assert_true((unsigned char)*c < 0x80 || memcmp(c, "é", 2) == 0);
        free(told);
    }
}

static void a_story_of_just_the_limit_is_whole(void **state)
{
    static char text[STORY_MAX + 1];
    char *told = NULL, *cut;

    (void)state;
    memset(text, 'x', STORY_MAX);
    story_append(&told, "%s", text);
    assert_string_equal(told, text);
    story_append(&told, "more");
    cut = told;
    story_append(&told, "and more");
    assert_ptr_equal(told, cut);
    assert_int_equal(strlen(told), STORY_MAX + strlen(cut_mark));
    assert_memory_equal(told, text, STORY_MAX);
    free(told);
}

static void foreign_text_is_escaped(void **state)
{
    static const struct {
        const char *text, *quoted;
        size_t len;
    } cases[] = {
        {"", "", 0},
        {"plain ~!", "plain ~!", 8},
        {"plain", "pla", 3},
        {"a\0b", "a\\x00b", 3},
        {"\x1f\x20\x7e\x7f\x80\xff", "\\x1f ~\\x7f\\x80\\xff", 6},
        {"\r\n\x1b[2J", "\\x0d\\x0a\\x1b[2J", 6},
    };
    struct story_quote q;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_string_equal(story_quote(&q, cases[i].text, cases[i].len), cases[i].quoted);
}

/* Of any length, an escape across the end or not: never beyond the room, "…" where it is cut. */
static void long_foreign_text_is_cut(void **state)
{
    (void)state;
    for (size_t len = 0; len < 400; len++) {
        for (size_t odd = 0; odd < 8; odd++) {
            struct story_quote q;
            size_t quoted_len, whole = len + 3 * (odd < len ? len - odd : 0);
            char text[400];

            memset(text, 'x', sizeof(text));
            if (odd < len)
                memset(text + odd, 1, len - odd);
            quoted_len = strlen(story_quote(&q, text, len));
            assert_true(quoted_len < sizeof(q.text));
            if (quoted_len == whole)
                continue;
            assert_in_range(quoted_len, sizeof(q.text) - 5, sizeof(q.text) - 1);
            assert_string_equal(q.text + quoted_len - strlen("…"), "…");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(telling_returns_the_result),
        cmocka_unit_test(without_memory_there_is_no_story),
        cmocka_unit_test(each_thread_has_its_own),
        cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(long_stories_are_cut),
        cmocka_unit_test(a_story_of_just_the_limit_is_whole),
        cmocka_unit_test(foreign_text_is_escaped),
        cmocka_unit_test(long_foreign_text_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
