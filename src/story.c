#include "story.h"

#include "context.h"
#include "socket.h"
#include "sys.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char more[] = "; …";

static bool is_cut(const char *story, size_t len)
{
    return len >= sizeof(more) - 1 && strcmp(story + len - (sizeof(more) - 1), more) == 0;
}

/* Cuts `story` to STORY_MAX bytes, not within a character of UTF-8, and marks the cut. There is
 * room for the mark. */
static void cut(char *story)
{
    size_t at = STORY_MAX;

    while (at > 0 && ((unsigned char)story[at] & 0xc0) == 0x80)
        at--;
    memcpy(story + at, more, sizeof(more));
}

/* `old` and the new part joined, in fresh memory; NULL without memory. */
static __attribute__((format(printf, 2, 0))) char *extended(const char *old, const char *format,
                                                            va_list arguments)
{
    size_t old_len = old ? strlen(old) : 0, joint = old_len ? 2 : 0, size;
    va_list again;
    char *story;
    int len;

    va_copy(again, arguments);
    len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0)
        return NULL;
    size = old_len + joint + (size_t)len + 1;
    story = sys_alloc(size + sizeof(more));
    if (!story)
        return NULL;
    if (old_len) {
        memcpy(story, old, old_len);
        memcpy(story + old_len, "; ", joint);
    }
    vsnprintf(story + old_len + joint, (size_t)len + 1, format, arguments);
    if (size - 1 > STORY_MAX)
        cut(story);
    return story;
}

void story_write(const char *format, ...)
{
    int saved = errno;
    va_list arguments;

    va_start(arguments, format);
    story_give(NULL, extended(NULL, format, arguments));
    va_end(arguments);
    errno = saved;
}

void story_append(char **story, const char *format, ...)
{
    int saved = errno;
    va_list arguments;
    char *longer;

    if (*story && is_cut(*story, strlen(*story)))
        return;
    va_start(arguments, format);
    longer = extended(*story, format, arguments);
    va_end(arguments);
    if (longer) {
        free(*story);
        *story = longer;
    }
    errno = saved;
}

const char *story_quote(struct story_quote *q, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef", dots[] = "…";
    size_t room = sizeof(q->text) - sizeof(dots), at = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = c >= 0x20 && c < 0x7f;

        if (at + (plain ? 1 : 4) > room) {
            memcpy(q->text + at, dots, sizeof(dots));
            return q->text;
        }
        if (plain) {
            q->text[at++] = (char)c;
            continue;
        }
        q->text[at++] = '\\';
        q->text[at++] = 'x';
        q->text[at++] = hex[c >> 4];
        q->text[at++] = hex[c & 15];
    }
    q->text[at] = '\0';
    return q->text;
}

void story_give(weir_socket *s, char *story)
{
    struct context *c = context_current();
    char **place = s ? &s->story : &c->story;

    if (!s && story)
        context_keep(c);
    free(*place);
    *place = story;
}

void story_move(weir_socket *s)
{
    struct context *c = context_current();
    char *story = c->story;

    c->story = NULL;
    story_give(s, story);
}
