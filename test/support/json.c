#include "support/json.h"

#include <ctype.h>
#include <string.h>

static const char *value(const char *at);

static const char *space(const char *at)
{
    return at ? at + strspn(at, " \t\r\n") : NULL;
}

static const char *literal(const char *at, const char *word)
{
    return strncmp(at, word, strlen(word)) ? NULL : at + strlen(word);
}

static const char *escape(const char *at)
{
    if (*at != 'u')
        return *at && strchr("\"\\/bfnrt", *at) ? at + 1 : NULL;
    for (int i = 1; i <= 4; i++)
        if (!isxdigit((unsigned char)at[i]))
            return NULL;
    return at + 5;
}

/* Bytes that are no ASCII are taken as they are, if they could be UTF-8. */
static const char *string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    while (at && *at != '"') {
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0xf8)
            return NULL;
        at = *at == '\\' ? escape(at + 1) : at + 1;
    }
    return at ? at + 1 : NULL;
}

static const char *number(const char *at)
{
    at += *at == '-';
    if (*at == '0')
        return at + 1;
    return isdigit((unsigned char)*at) ? at + strspn(at, "0123456789") : NULL;
}

static const char *member(const char *at)
{
    at = space(string(at));
    return at && *at == ':' ? value(at + 1) : NULL;
}

static const char *list(const char *at, char end, const char *(*one)(const char *))
{
    at = space(at + 1);
    if (*at == end)
        return at + 1;
    for (;;) {
        at = space(one(space(at)));
        if (!at || *at == end)
            return at ? at + 1 : NULL;
        if (*at++ != ',')
            return NULL;
    }
}

static const char *value(const char *at)
{
    at = space(at);
    switch (*at) {
    case '{':
        return list(at, '}', member);
    case '[':
        return list(at, ']', value);
    case '"':
        return string(at);
    case 't':
        return literal(at, "true");
    case 'f':
        return literal(at, "false");
    case 'n':
        return literal(at, "null");
    default:
        return number(at);
    }
}

bool json_is_valid(const char *text)
{
    const char *end = space(value(text));

    return end && !*end;
}
