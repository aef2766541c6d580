#include "stub_reply.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 12, TYPE_A = 1, TYPE_CNAME = 5, TYPE_SOA = 6, TYPE_AAAA = 28 };
enum { FLAGS_REPLY = 0x8180, FLAG_TC = 0x0200 };

/* ---- Rules ----------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    enum stub_mode mode;
} modes[] = {
    {"nxdomain", STUB_NXDOMAIN},
    {"nodata", STUB_NODATA},
    {"servfail", STUB_SERVFAIL},
    {"refused", STUB_REFUSED},
    {"notimp", STUB_NOTIMP},
    {"silent", STUB_SILENT},
    {"hold", STUB_HOLD},
    {"wrong-id", STUB_WRONG_ID},
    {"wrong-question", STUB_WRONG_QUESTION},
    {"wrong-source", STUB_WRONG_SOURCE},
    {"echo", STUB_ECHO},
    {"empty", STUB_EMPTY},
    {"short", STUB_SHORT},
    {"counts", STUB_COUNTS},
    {"cname-loop", STUB_CNAME_LOOP},
    {"pointer-loop", STUB_POINTER_LOOP},
    {"tc", STUB_TC},
    {"tc-hang", STUB_TC_HANG},
    {"tc-close", STUB_TC_CLOSE},
};

static bool add_record(struct stub_rule *rule, int type, const char *text)
{
    struct stub_record *record = calloc(1, sizeof(*record)), **link = &rule->records;

    if (!record)
        abort();
    while (*link)
        link = &(*link)->next;
    *link = record;
    record->type = type;
    return inet_pton(type == TYPE_A ? AF_INET : AF_INET6, text, record->address) == 1;
}

static bool set_mode(struct stub_rule *rule, char *item)
{
    char *slash = strchr(item, '/');
    bool for_a = !slash || strcmp(slash, "/a") == 0;
    bool for_aaaa = !slash || strcmp(slash, "/aaaa") == 0;

    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(item, modes[i].text) == 0) {
            if (for_a)
                rule->modes[0] = modes[i].mode;
            if (for_aaaa)
                rule->modes[1] = modes[i].mode;
            return for_a || for_aaaa;
        }
    return false;
}

static bool read_item(struct stub_rule *rule, char *item)
{
    char *value = strchr(item, ':');

    if (!value)
        return *item == '\0' || set_mode(rule, item);
    *value++ = '\0';
    if (strcmp(item, "A") == 0)
        return add_record(rule, TYPE_A, value);
    if (strcmp(item, "AAAA") == 0)
        return add_record(rule, TYPE_AAAA, value);
    if (strcmp(item, "cname") == 0 && strlen(value) < sizeof(rule->alias_of)) {
        memcpy(rule->alias_of, value, strlen(value) + 1);
        return true;
    }
    unsigned number = (unsigned)strtoul(value, NULL, 10);
    if (strcmp(item, "ttl") == 0)
        rule->ttl_s = number;
    else if (strcmp(item, "many") == 0)
        rule->many = number;
    else if (strcmp(item, "soa") == 0)
        rule->has_soa = true, rule->soa_s = number;
    else
        return false;
    return true;
}

bool stub_rule_parse(struct stub_rule *rule, const char *text)
{
    char *copy = strdup(text), *rest = copy, *item;
    bool good = copy != NULL;

    rule->ttl_s = 300;
    while (good && (item = strsep(&rest, ",")))
        good = read_item(rule, item);
    free(copy);
    return good;
}

void stub_rule_free(struct stub_rule *rule)
{
    if (!rule)
        return;
    for (struct stub_record *r = rule->records, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    free(rule);
}

enum stub_mode stub_rule_mode(const struct stub_rule *rule, int type)
{
    return rule ? rule->modes[type == TYPE_AAAA] : STUB_NXDOMAIN;
}

/* ---- Questions ------------------------------------------------------------------------------- */

bool stub_question_read(struct stub_question *q, const unsigned char *buf, size_t len)
{
    size_t at = HEADER, out = 0;

    if (len < HEADER + 5 || len > sizeof(q->bytes))
        return false;
    while (at < len && buf[at]) {
        size_t label = buf[at++];

        if (label > 63 || at + label >= len || out + label + 1 >= sizeof(q->name))
            return false;
        for (size_t i = 0; i < label; i++)
            q->name[out++] = (char)tolower(buf[at++]);
        q->name[out++] = '.';
    }
    if (at + 5 > len)
        return false;
    q->name[out ? out - 1 : 0] = '\0';
    q->type = buf[at + 1] << 8 | buf[at + 2];
    q->len = at + 5;
    memcpy(q->bytes, buf, q->len);
    return true;
}

/* ---- Replies --------------------------------------------------------------------------------- */

struct writer {
    unsigned char *buf;
    size_t at, room;
    bool full;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    w->full = w->full || w->room - w->at < len;
    if (w->full)
        return;
    memcpy(&w->buf[w->at], bytes, len);
    w->at += len;
}

static void put16(struct writer *w, unsigned value)
{
    const unsigned char bytes[2] = {(unsigned char)(value >> 8), (unsigned char)value};

    put(w, bytes, 2);
}

static void put32(struct writer *w, uint32_t value)
{
    put16(w, value >> 16);
    put16(w, value & 0xffff);
}

static void put_name(struct writer *w, const char *name)
{
    while (*name) {
        size_t len = strcspn(name, ".");
        const unsigned char byte = (unsigned char)len;

        put(w, &byte, 1);
        put(w, name, len);
        name += len + (name[len] == '.');
    }
    put(w, "", 1);
}

/* A record up to its data; the owner is a pointer. */
static void put_record(struct writer *w, unsigned owner, int type, uint32_t ttl_s, size_t len)
{
    put16(w, 0xc000 | owner);
    put16(w, (unsigned)type);
    put16(w, 1);
    put32(w, ttl_s);
    put16(w, (unsigned)len);
}

static unsigned put_alias(struct writer *w, unsigned owner, const char *target, uint32_t ttl_s)
{
    unsigned at;

    put_record(w, owner, TYPE_CNAME, ttl_s, strlen(target) + 2);
    at = (unsigned)w->at;
    put_name(w, target);
    return at;
}

static void put_made_up(struct writer *w, unsigned owner, int type, uint32_t ttl_s, unsigned i)
{
    unsigned char address[16] = {0xfd};
    unsigned char *tail = type == TYPE_A ? &address[1] : &address[13];

    address[0] = type == TYPE_A ? 10 : 0xfd;
    tail[0] = (unsigned char)(i >> 16);
    tail[1] = (unsigned char)(i >> 8);
    tail[2] = (unsigned char)i;
    put_record(w, owner, type, ttl_s, type == TYPE_A ? 4 : 16);
    put(w, address, type == TYPE_A ? 4 : 16);
}

/* Returns the number of records. */
static unsigned put_records(struct writer *w, const struct stub_question *q,
                            const struct stub_rule *rule)
{
    unsigned count = 0, owner = HEADER;

    if (*rule->alias_of) {
        owner = put_alias(w, owner, rule->alias_of, rule->ttl_s);
        count++;
    }
    for (const struct stub_record *r = rule->records; r; r = r->next)
        if (r->type == q->type) {
            put_record(w, owner, r->type, rule->ttl_s, r->type == TYPE_A ? 4 : 16);
            put(w, r->address, r->type == TYPE_A ? 4 : 16);
            count++;
        }
    if (q->type == TYPE_A || q->type == TYPE_AAAA)
        for (unsigned i = 0; i < rule->many; i++, count++)
            put_made_up(w, owner, q->type, rule->ttl_s, i);
    return count;
}

static void put_soa(struct writer *w, uint32_t minimum_s)
{
    put_record(w, HEADER, TYPE_SOA, 86400, 22);
    put(w, "\0\0", 2); /* two names, both the root */
    for (int i = 0; i < 4; i++)
        put32(w, 3600);
    put32(w, minimum_s);
}

static void put_cname_loop(struct writer *w)
{
    unsigned other = put_alias(w, HEADER, "other.loop.test", 60);

    put_record(w, other, TYPE_CNAME, 60, 2);
    put16(w, 0xc000 | HEADER);
}

static void put_pointer_loop(struct writer *w)
{
    put16(w, 0xc000 | (unsigned)w->at);
    put16(w, TYPE_A);
    put16(w, 1);
    put32(w, 60);
    put16(w, 4);
    put32(w, 0x7f000001);
}

static void set16(struct writer *w, size_t at, unsigned value)
{
    w->buf[at] = (unsigned char)(value >> 8);
    w->buf[at + 1] = (unsigned char)value;
}

static unsigned rcode_of(enum stub_mode mode)
{
    switch (mode) {
    case STUB_NXDOMAIN:
        return 3;
    case STUB_SERVFAIL:
        return 2;
    case STUB_REFUSED:
        return 5;
    case STUB_NOTIMP:
        return 4;
    default:
        return 0;
    }
}

/* What stands behind the question; returns the number of answers. */
static unsigned put_body(struct writer *w, const struct stub_question *q,
                         const struct stub_rule *rule, enum stub_mode mode)
{
    switch (mode) {
    case STUB_CNAME_LOOP:
        put_cname_loop(w);
        return 2;
    case STUB_POINTER_LOOP:
        put_pointer_loop(w);
        return 1;
    case STUB_COUNTS:
        return 65535;
    case STUB_NXDOMAIN:
    case STUB_NODATA:
    case STUB_SERVFAIL:
    case STUB_REFUSED:
    case STUB_NOTIMP:
        return 0;
    default:
        return rule ? put_records(w, q, rule) : 0;
    }
}

size_t stub_reply_write(const struct stub_question *q, const struct stub_rule *rule,
                        enum stub_mode mode, size_t room, unsigned char *reply)
{
    struct writer w = {reply, 0, room, false};
    unsigned answers;

    if (mode == STUB_EMPTY)
        return 0;
    put(&w, q->bytes, q->len);
    if (mode == STUB_ECHO)
        return w.at;
    set16(&w, 2, FLAGS_REPLY | rcode_of(mode));
    set16(&w, 4, 1);
    set16(&w, 8, 0);
    set16(&w, 10, 0);
    answers = put_body(&w, q, rule, mode);
    set16(&w, 6, answers);
    if (answers == 0 && rule && rule->has_soa) {
        put_soa(&w, rule->soa_s);
        set16(&w, 8, 1);
    }
    if (w.full || mode == STUB_TC || mode == STUB_TC_HANG || mode == STUB_TC_CLOSE) {
        w.at = q->len;
        set16(&w, 2, FLAGS_REPLY | FLAG_TC);
        set16(&w, 6, 0);
    }
    if (mode == STUB_WRONG_ID)
        w.buf[0] ^= 0x55;
    if (mode == STUB_WRONG_QUESTION)
        w.buf[HEADER + 1] ^= 0x01;
    return mode == STUB_SHORT ? HEADER / 2 : w.at;
}
