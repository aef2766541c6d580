#include "conf.h"

#include "story.h"
#include "sys.h"
#include "target.h"

#include <string.h>
#include <strings.h>
#include <weir/error.h>

#define DNS_PORT 53

/* What resolv.conf(5) says of them. */
#define NDOTS_MAX    15
#define TIMEOUT_MAX  30
#define ATTEMPTS_MAX 5

void conf_init(struct conf *c)
{
    *c = (struct conf){
        .ndots = 1,
        .timeout_s = 5,
        .attempts = 2,
        .server_count = 1,
        .sources = {{.kind = SOURCE_FILES}, {.kind = SOURCE_DNS}},
        .source_count = 2,
    };
    target_numeric("127.0.0.1", DNS_PORT, &c->servers[0]);
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* A part of a text that is not terminated. */
struct span {
    const char *at;
    size_t len;
};

static struct span next_line(struct span *text)
{
    const char *newline = memchr(text->at, '\n', text->len);
    struct span line = {text->at, newline ? (size_t)(newline - text->at) : text->len};
    size_t used = line.len + (newline != NULL);

    text->at += used;
    text->len -= used;
    return line;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\0';
}

static struct span next_word(struct span *line)
{
    struct span word;

    while (line->len > 0 && is_blank(*line->at))
        line->at++, line->len--;
    word.at = line->at;
    while (line->len > 0 && !is_blank(*line->at))
        line->at++, line->len--;
    word.len = (size_t)(line->at - word.at);
    return word;
}

static bool word_is(struct span word, const char *text)
{
    return word.len == strlen(text) && strncasecmp(word.at, text, word.len) == 0;
}

static bool word_starts(struct span word, const char *text)
{
    return word.len >= strlen(text) && strncasecmp(word.at, text, strlen(text)) == 0;
}

/* The word as a string, or false if it does not fit. */
static bool copy_word(struct span word, char *ret, size_t size)
{
    if (word.len >= size || memchr(word.at, '\0', word.len))
        return false;
    memcpy(ret, word.at, word.len);
    ret[word.len] = '\0';
    return true;
}

/* The number behind `name` in a word such as "ndots:2"; `*value` stays if it is none. */
static void read_number(struct span word, const char *name, unsigned min, unsigned max,
                        unsigned *value)
{
    size_t i = strlen(name);
    unsigned number = 0;

    if (!word_starts(word, name) || i == word.len)
        return;
    for (; i < word.len; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return;
        number = number > max ? number : number * 10 + (unsigned)(word.at[i] - '0');
    }
    *value = number < min ? min : number > max ? max : number;
}

/* ---- Name servers ---------------------------------------------------------------------------- */

/* HOST, HOST:PORT or [HOST]:PORT. */
static bool read_server(struct span entry, weir_address *ret)
{
    char text[128];
    char *host = text, *port = NULL;
    unsigned number = DNS_PORT;

    if (!copy_word(entry, text, sizeof(text)))
        return false;
    if (text[0] == '[') {
        char *close = strchr(text, ']');

        if (!close || (close[1] && close[1] != ':'))
            return false;
        port = close[1] ? close + 2 : NULL;
        *close = '\0';
        host = text + 1;
        if (!strchr(host, ':'))
            return false;
    } else if (strchr(text, ':') == strrchr(text, ':') && strchr(text, ':')) {
        port = strchr(text, ':') + 1;
        port[-1] = '\0';
    }
    if (port) {
        number = 0;
        read_number((struct span){port, strlen(port)}, "", 0, UINT16_MAX + 1, &number);
    }
    return number >= 1 && number <= UINT16_MAX && target_numeric(host, (uint16_t)number, ret) == 0;
}

int conf_read_servers(const char *text, weir_address ret[CONF_SERVERS_MAX])
{
    int count = 0;

    for (const char *at = text;; at++) {
        struct span entry = {at, strcspn(at, ",")}, word = next_word(&entry);
        struct story_quote q;

        at += strcspn(at, ",");
        if (count == CONF_SERVERS_MAX)
            return story_tell(-EINVAL, "more than %d name servers", CONF_SERVERS_MAX);
        if (next_word(&entry).len > 0 || !read_server(word, &ret[count]))
            return story_tell(-EINVAL, "\"%s\" is no address of a name server",
                              story_quote(&q, word.at, word.len));
        count++;
        if (*at == '\0')
            return count;
    }
}

/* ---- resolv.conf ----------------------------------------------------------------------------- */

/* A port is taken too, though other libraries know none there. */
static void read_nameserver(struct conf *c, struct span line, size_t *count)
{
    weir_address address;

    if (*count < CONF_SERVERS_MAX && read_server(next_word(&line), &address))
        c->servers[(*count)++] = address;
}

static void read_search(struct conf *c, struct span line, size_t max)
{
    struct span word;

    c->search_count = 0;
    while (c->search_count < max && (word = next_word(&line)).len > 0) {
        char *domain = c->search[c->search_count];

        if (word.len > 1 && word.at[word.len - 1] == '.')
            word.len--;
        if (copy_word(word, domain, sizeof(c->search[0])) && strcmp(domain, ".") != 0 &&
            domain[0] != '.')
            c->search_count++;
    }
}

static void read_options(struct conf *c, struct span line)
{
    struct span word;

    while ((word = next_word(&line)).len > 0) {
        read_number(word, "ndots:", 0, NDOTS_MAX, &c->ndots);
        read_number(word, "timeout:", 1, TIMEOUT_MAX, &c->timeout_s);
        read_number(word, "attempts:", 1, ATTEMPTS_MAX, &c->attempts);
        if (word_is(word, "rotate"))
            c->rotate = true;
    }
}

void conf_read_resolv(struct conf *c, const char *text, size_t len)
{
    struct span rest = {text, len};
    size_t servers = 0;

    while (rest.len > 0) {
        struct span line = next_line(&rest);
        struct span key =
            line.len > 0 && is_blank(*line.at) ? (struct span){line.at, 0} : next_word(&line);

        if (word_is(key, "nameserver"))
            read_nameserver(c, line, &servers);
        else if (word_is(key, "search"))
            read_search(c, line, CONF_SEARCH_MAX);
        else if (word_is(key, "domain"))
            read_search(c, line, 1);
        else if (word_is(key, "options"))
            read_options(c, line);
    }
    if (servers > 0)
        c->server_count = servers;
}

/* ---- nsswitch.conf --------------------------------------------------------------------------- */

static enum source_kind source_kind(struct span word)
{
    if (word_is(word, "files"))
        return SOURCE_FILES;
    if (word_is(word, "dns") || word_is(word, "resolve"))
        return SOURCE_DNS;
    if (word_starts(word, "mdns"))
        return SOURCE_MDNS;
    return word_is(word, "myhostname") ? SOURCE_MYHOSTNAME : SOURCE_SYSTEM;
}

/* One word of "[!UNAVAIL=return SUCCESS=continue]", as far as it is about a name that was not
 * found. */
static void read_action(struct span word, struct source *source)
{
    bool other = word.len > 0 && *word.at == '!';
    const char *equals = memchr(word.at, '=', word.len);
    struct span status = {word.at + other, 0}, action;

    if (!equals)
        return;
    status.len = (size_t)(equals - status.at);
    action = (struct span){equals + 1, word.len - (size_t)(equals + 1 - word.at)};
    if (word_is(status, "notfound") == other)
        return;
    if (word_is(action, "return"))
        source->last = true;
    if (word_is(action, "continue"))
        source->last = false;
}

/* The words between the brackets that `line` begins with. */
static void read_actions(struct span *line, struct source *source)
{
    const char *close = memchr(line->at, ']', line->len);
    struct span inner = {line->at + 1, (close ? (size_t)(close - line->at) : line->len) - 1};
    size_t used = inner.len + 1 + (close != NULL);
    struct span word;

    while ((word = next_word(&inner)).len > 0)
        if (source)
            read_action(word, source);
    line->at += used;
    line->len -= used;
}

static void read_sources(struct conf *c, struct span line)
{
    c->source_count = 0;
    for (;;) {
        struct source *last = c->source_count ? &c->sources[c->source_count - 1] : NULL;
        struct span word;
        const char *bracket;

        while (line.len > 0 && is_blank(*line.at))
            line.at++, line.len--;
        if (line.len == 0)
            return;
        if (*line.at == '[') {
            read_actions(&line, last);
            continue;
        }
        word = next_word(&line);
        bracket = memchr(word.at, '[', word.len);
        if (bracket) {
            line.len += (size_t)(line.at - bracket);
            line.at = bracket;
            word.len = (size_t)(bracket - word.at);
        }
        if (c->source_count < CONF_SOURCES_MAX)
            c->sources[c->source_count++] = (struct source){.kind = source_kind(word)};
    }
}

void conf_read_nsswitch(struct conf *c, const char *text, size_t len)
{
    struct span rest = {text, len};

    while (rest.len > 0) {
        struct span line = next_line(&rest);
        const char *comment = memchr(line.at, '#', line.len), *colon;
        struct span key;

        if (comment)
            line.len = (size_t)(comment - line.at);
        colon = memchr(line.at, ':', line.len);
        if (!colon)
            continue;
        key = (struct span){line.at, (size_t)(colon - line.at)};
        line.len -= key.len + 1;
        line.at = colon + 1;
        if (word_is(next_word(&key), "hosts"))
            read_sources(c, line);
    }
}

bool conf_applies(const struct conf *c, const struct source *source, const char *name)
{
    size_t len = strlen(name);

    len -= len > 1 && name[len - 1] == '.';
    if (source->kind == SOURCE_MDNS)
        return len > 6 && strncasecmp(name + len - 6, ".local", 6) == 0;
    if (source->kind != SOURCE_MYHOSTNAME)
        return true;
    return (len == strlen(c->host_name) && strncasecmp(name, c->host_name, len) == 0) ||
           (len == 8 && strncasecmp(name, "_gateway", len) == 0) ||
           (len == 9 && strncasecmp(name, "_outbound", len) == 0);
}

/* ---- The search list ------------------------------------------------------------------------- */

static bool is_complete(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && name[len - 1] == '.';
}

size_t conf_candidates(const struct conf *c, const char *name)
{
    return 1 + (is_complete(name) ? 0 : c->search_count);
}

bool conf_candidate(const struct conf *c, const char *name, size_t index,
                    char ret[CONF_NAME_MAX + 1])
{
    size_t len = strlen(name), domain_len, dots = 0;
    const char *domain;

    len -= is_complete(name) && len > 1;
    if (len > CONF_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        dots += name[i] == '.';
    memcpy(ret, name, len);
    ret[len] = '\0';
    /* As it is: the first of them if it has dots enough, otherwise the last. */
    if (is_complete(name) || index == (dots >= c->ndots ? 0 : c->search_count))
        return true;
    domain = c->search[dots >= c->ndots ? index - 1 : index];
    domain_len = strlen(domain);
    if (len + 1 + domain_len > CONF_NAME_MAX)
        return false;
    ret[len] = '.';
    memcpy(&ret[len + 1], domain, domain_len + 1);
    return true;
}
