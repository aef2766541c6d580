/* Text and JSON, made in parts. */
#include "dump.h"

#include "../sys.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int out_keep(void *arg, const char *part, size_t size)
{
    struct kept *k = arg;

    if (k->room - k->length <= size) {
        size_t room = (k->length + size + 1) * 2;
        char *text = sys_alloc(room);
        if (!text)
            return -ENOMEM;
        if (k->length)
            memcpy(text, k->text, k->length);
        free(k->text);
        k->text = text;
        k->room = room;
    }
    memcpy(k->text + k->length, part, size);
    k->length += size;
    return 0;
}

void out_flush(struct out *o)
{
    if (o->length && o->rc >= 0)
        o->rc = o->write(o->arg, o->part, o->length);
    o->length = 0;
}

void out_text(struct out *o, const char *text, size_t size)
{
    while (size) {
        size_t room = sizeof o->part - o->length, count = size < room ? size : room;
        memcpy(o->part + o->length, text, count);
        o->length += count;
        text += count;
        size -= count;
        if (o->length == sizeof o->part)
            out_flush(o);
    }
}

void out_format(struct out *o, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length > 0)
        out_text(o, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

void out_quoted(struct out *o, const char *text)
{
    for (; *text; text++)
        if (*text >= ' ' && *text < 0x7f)
            out_text(o, text, 1);
        else
            out_format(o, "\\x%02x", (unsigned char)*text);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* How many bytes of `text` are one character of UTF-8; 0 if it is none. */
static size_t utf8_length(const unsigned char *text)
{
    static const struct {
        unsigned char first, last, least, most; /* of the first byte; of the second */
        size_t length;
    } forms[] = {
        {0x01, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*text < forms[i].first || *text > forms[i].last)
            continue;
        if (forms[i].length > 1 && (text[1] < forms[i].least || text[1] > forms[i].most))
            return 0;
        for (size_t n = 2; n < forms[i].length; n++)
            if ((text[n] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static void escaped(struct out *o, const char *text)
{
    while (*text) {
        size_t length = utf8_length((const unsigned char *)text);
        if (!length)
            out_text(o, "\\ufffd", 6);
        else if ((unsigned char)*text < ' ' || *text == 0x7f)
            out_format(o, "\\u%04x", (unsigned char)*text);
        else if (*text == '"' || *text == '\\')
            out_format(o, "\\%c", *text);
        else
            out_text(o, text, length);
        text += length ? length : 1;
    }
}

static void key_of(struct out *o, const char *key)
{
    if (!o->first)
        out_text(o, ",", 1);
    o->first = false;
    if (key)
        out_format(o, "\"%s\":", key);
}

void json_open(struct out *o, const char *key, char bracket)
{
    key_of(o, key);
    out_text(o, &bracket, 1);
    o->first = true;
}

void json_close(struct out *o, char bracket)
{
    out_text(o, &bracket, 1);
    o->first = false;
}

void json_string(struct out *o, const char *key, const char *text)
{
    key_of(o, key);
    out_text(o, "\"", 1);
    escaped(o, text);
    out_text(o, "\"", 1);
}

void json_number(struct out *o, const char *key, uint64_t number)
{
    key_of(o, key);
    out_format(o, "%llu", (unsigned long long)number);
}

void json_bool(struct out *o, const char *key, bool yes)
{
    key_of(o, key);
    out_format(o, yes ? "true" : "false");
}

/* A string: not every reader of JSON keeps 64 bits. */
void json_pointer(struct out *o, const char *key, uintptr_t at)
{
    key_of(o, key);
    out_format(o, "\"0x%lx\"", (unsigned long)at);
}

/* ---- code ------------------------------------------------------------------------------------ */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Static functions have no names that could be found here: then that of the one before, or none, is
 * all there is, and only a debugger knows better. */
static void name_code(uintptr_t at, bool is_entry, char name[CODE_NAME_SIZE])
{
    Dl_info info;

    if (!at || !dladdr((const void *)at, &info) || !info.dli_fname) {
        (void)snprintf(name, CODE_NAME_SIZE, "0x%lx", (unsigned long)at);
        return;
    }
    unsigned long offset = at - (uintptr_t)info.dli_fbase;
    unsigned long within = info.dli_sname ? at - (uintptr_t)info.dli_saddr : 0;
    if (info.dli_sname && is_entry && within == 0)
        (void)snprintf(name, CODE_NAME_SIZE, "%s", info.dli_sname);
    else if (info.dli_sname && !is_entry)
        (void)snprintf(name, CODE_NAME_SIZE, "%s+0x%lx (%s+0x%lx)", info.dli_sname, within,
                       base_name(info.dli_fname), offset);
    else
        (void)snprintf(name, CODE_NAME_SIZE, "%s+0x%lx", base_name(info.dli_fname), offset);
}

void name_function(uintptr_t at, char name[CODE_NAME_SIZE])
{
    name_code(at, true, name);
}

const char *out_function(struct out *o, uintptr_t at)
{
    if (!at || at != o->named)
        name_function(at, o->name);
    o->named = at;
    return o->name;
}

void name_place(uintptr_t at, char name[CODE_NAME_SIZE])
{
    name_code(at, false, name);
}
