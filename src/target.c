#include "target.h"

#include "story.h"
#include "sys.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <weir/error.h>

#define LABEL_MAX 63

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    char lower = (char)(c | 0x20);

    if (is_digit(c))
        return c - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* ---- Numeric hosts --------------------------------------------------------------------------- */

/* Four decimal numbers and nothing else: what inet_aton(3) takes besides (octal, fewer parts) has
 * let addresses slip through filters that read them differently. */
static bool read_ipv4(const char *text, size_t len, unsigned char ret[4])
{
    const char *end = text + len;

    for (int i = 0; i < 4; i++) {
        unsigned value = 0;
        const char *start = text;

        while (text < end && is_digit(*text) && text - start < 3)
            value = value * 10 + (unsigned)(*text++ - '0');
        if (text == start || value > 255 || (*start == '0' && text - start > 1))
            return false;
        if (i < 3 && (text == end || *text++ != '.'))
            return false;
        ret[i] = (unsigned char)value;
    }
    return text == end;
}

/* A scope: a number, without leading zeros, or the name of an interface. */
static int read_scope(const char *text, size_t len, uint32_t *ret)
{
    char name[IF_NAMESIZE];
    uint64_t value = 0;
    size_t i = 0;
    int rc;

    while (i < len && i < 10 && is_digit(text[i]))
        value = value * 10 + (uint64_t)(text[i++] - '0');
    if (i == len && value <= UINT32_MAX && (text[0] != '0' || len == 1)) {
        *ret = (uint32_t)value;
        return 0;
    }
    if (len >= sizeof(name))
        return -ENODEV;
    memcpy(name, text, len);
    name[len] = '\0';
    rc = sys_interface(name);
    if (rc < 0)
        return rc;
    *ret = (uint32_t)rc;
    return 0;
}

static int read_ipv6(const char *text, size_t len, struct sockaddr_in6 *ret)
{
    const char *percent = memchr(text, '%', len);
    size_t head = percent ? (size_t)(percent - text) : len;
    char digits[INET6_ADDRSTRLEN];

    if (head >= sizeof(digits) || (percent && head + 1 == len))
        return WEIR_ENONAME;
    memcpy(digits, text, head);
    digits[head] = '\0';
    if (inet_pton(AF_INET6, digits, &ret->sin6_addr) != 1)
        return WEIR_ENONAME;
    return percent ? read_scope(percent + 1, len - head - 1, &ret->sin6_scope_id) : 0;
}

static int read_host(const char *host, size_t len, uint16_t port, weir_address *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int rc;

    if (read_ipv4(host, len, (unsigned char *)&in.sin_addr))
        return weir_address_from_sockaddr(ret, (const struct sockaddr *)&in, sizeof(in));
    if (!memchr(host, ':', len))
        return WEIR_ENONAME;
    rc = read_ipv6(host, len, &in6);
    if (rc < 0)
        return rc;
    return weir_address_from_sockaddr(ret, (const struct sockaddr *)&in6, sizeof(in6));
}

int target_numeric(const char *host, uint16_t port, weir_address *ret)
{
    return read_host(host, strlen(host), port, ret);
}

int target_tell_scope(int rc, const char *host, size_t len)
{
    const char *percent = memchr(host, '%', len);
    size_t skip = percent ? (size_t)(percent + 1 - host) : 0;
    struct story_quote q;

    story_quote(&q, host + skip, len - skip);
    if (rc == -ENODEV)
        return story_tell(rc, "no network interface is called \"%s\"", q.text);
    return story_tell(rc, "cannot look for the network interface \"%s\": %s", q.text,
                      weir_strerror(rc));
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* As the URL Standard of WHATWG has it: decimal, or hexadecimal with any number of digits. */
static bool is_number(const char *label, size_t len)
{
    bool hex = len >= 2 && label[0] == '0' && (label[1] | 0x20) == 'x';

    for (size_t i = hex ? 2 : 0; i < len; i++)
        if (hex ? hex_value(label[i]) < 0 : !is_digit(label[i]))
            return false;
    return true;
}

static bool is_name_byte(char c)
{
    char lower = (char)(c | 0x20);
    return is_digit(c) || (lower >= 'a' && lower <= 'z') || c == '-' || c == '_';
}

/* What is wrong with a byte that no name has, in the story's words. */
static const char *byte_fault(const char *name, size_t at)
{
    if ((unsigned char)name[at] >= 0x80)
        return "is not ASCII: write it in its ASCII form, xn--… (RFC 5891)";
    if (name[0] == '[')
        return "is written without brackets where the port is apart";
    if (name[at] == ':')
        return "is neither an IPv6 address nor a host name";
    if (name[at] == '%')
        return "has a scope, which only IPv6 addresses have";
    return "is no host name: letters, digits, \"-\", \"_\" and \".\" are allowed";
}

static const char *label_fault(const char *label, size_t len)
{
    if (len == 0)
        return "is no host name: a part between dots is empty";
    if (len > LABEL_MAX)
        return "is no host name: a part between dots is longer than 63 bytes";
    if (label[0] == '-' || label[len - 1] == '-')
        return "is no host name: a part between dots begins or ends with \"-\"";
    return NULL;
}

static const char *name_fault(const char *name, size_t len)
{
    const char *fault, *label = name, *dot, *end = name + len;

    for (size_t i = 0; i < len; i++)
        if (!is_name_byte(name[i]) && name[i] != '.')
            return byte_fault(name, i);
    while ((dot = memchr(label, '.', (size_t)(end - label)))) {
        fault = label_fault(label, (size_t)(dot - label));
        if (fault)
            return fault;
        label = dot + 1;
    }
    if (label < end && is_number(label, (size_t)(end - label)))
        return "is neither an IPv4 address (four numbers from 0 to 255, no leading zeros) "
               "nor a host name (its last part is a number)";
    return label_fault(label, (size_t)(end - label));
}

static int check_name(const char *name, size_t len)
{
    size_t bare = len > 1 && name[len - 1] == '.' ? len - 1 : len;
    struct story_quote q;
    const char *fault;

    if (len == 0)
        return story_tell(-EINVAL, "the host is empty");
    story_quote(&q, name, len);
    if (bare > HOST_MAX)
        return story_tell(-ENAMETOOLONG, "\"%s\" is longer than a host name can be, %d bytes",
                          q.text, HOST_MAX);
    fault = name_fault(name, bare);
    return fault ? story_tell(-EINVAL, "\"%s\" %s", q.text, fault) : 0;
}

int target_check_name(const char *name)
{
    return check_name(name, strlen(name));
}

/* ---- Unix names ------------------------------------------------------------------------------ */

/* The byte at `*text`, which goes on behind it; -EINVAL for an escape that is none. */
static int next_byte(const char **text)
{
    const char *at = *text;
    int high, low;

    if (at[0] != '\\') {
        *text = at + 1;
        return (unsigned char)at[0];
    }
    if (at[1] == '\\') {
        *text = at + 2;
        return '\\';
    }
    if (at[1] != 'x' || (high = hex_value(at[2])) < 0 || (low = hex_value(at[3])) < 0)
        return -EINVAL;
    *text = at + 4;
    return high << 4 | low;
}

static int read_unix(const char *text, weir_address *ret)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool abstract = *text == '@';
    const size_t begin = abstract ? 1 : 0, max = sizeof(un.sun_path) - 1;
    const char *kind = abstract ? "abstract name" : "path";
    size_t len = 0;
    int byte;

    for (text += begin; *text; un.sun_path[begin + len++] = (char)byte) {
        byte = next_byte(&text);
        if (byte < 0)
            return story_tell(-EINVAL, "in a Unix %s a backslash is written \\\\, a byte \\xHH",
                              kind);
        if (byte == 0 && !abstract)
            return story_tell(-EINVAL, "a Unix path holds no zero byte");
        if (len == max)
            return story_tell(-ENAMETOOLONG, "the Unix %s is longer than %zu bytes", kind, max);
    }
    if (len == 0)
        return story_tell(-EINVAL, "the Unix %s is empty", kind);
    len += offsetof(struct sockaddr_un, sun_path) + 1;
    return weir_address_from_sockaddr(ret, (const struct sockaddr *)&un, (socklen_t)len);
}

/* ---- Host and port --------------------------------------------------------------------------- */

/* A part of a text. */
struct part {
    const char *at;
    size_t len;
};

static bool same_word(struct part p, const char *word)
{
    for (size_t i = 0; i < p.len; i++)
        if (word[i] == '\0' || (p.at[i] | 0x20) != word[i])
            return false;
    return word[p.len] == '\0';
}

static enum scheme find_scheme(struct part p)
{
    if (same_word(p, "tcp"))
        return SCHEME_TCP;
    if (same_word(p, "udp"))
        return SCHEME_UDP;
    if (same_word(p, "tls"))
        return SCHEME_TLS;
    return same_word(p, "unix") ? SCHEME_UNIX : SCHEME_NONE;
}

/* Takes the scheme off the front, if there is one. */
static int take_scheme(const char **text, enum scheme *ret)
{
    struct part p = {*text, strcspn(*text, ":")};
    const char *rest = p.at + p.len;
    struct story_quote q;

    *ret = SCHEME_NONE;
    if (*rest == '\0')
        return 0;
    if (strncmp(rest, "://", 3) == 0) {
        *ret = find_scheme(p);
        *text = rest + 3;
    }
    if (find_scheme(p) == SCHEME_UNIX) {
        *ret = SCHEME_UNIX;
        *text = rest + 1;
    }
    if (*text == p.at || *ret != SCHEME_NONE)
        return 0;
    return story_tell(-EPROTONOSUPPORT,
                      "unknown scheme \"%s\": there are tcp://, udp://, tls:// and unix:",
                      story_quote(&q, p.at, p.len));
}

static int read_port(const char *text, uint16_t *ret)
{
    struct story_quote q;
    uint32_t value = 0;
    const char *at;

    for (at = text; is_digit(*at) && value <= UINT16_MAX; at++)
        value = value * 10 + (uint32_t)(*at - '0');
    if (at > text && *at == '\0' && value <= UINT16_MAX) {
        *ret = (uint16_t)value;
        return 0;
    }
    if (*text == '\0')
        return story_tell(-EINVAL, "there is no port after the colon");
    return story_tell(-EINVAL, "\"%s\" is no port: a decimal number from 0 to 65535 is wanted",
                      story_quote(&q, text, strlen(text)));
}

/* [HOST]:PORT */
static int split_brackets(const char *text, struct part *ret_host, const char **ret_port)
{
    const char *close = strchr(text, ']');

    if (!close)
        return story_tell(-EINVAL, "the bracket around the host is not closed");
    if (close[1] != ':')
        return story_tell(-EINVAL, "a colon and the port are wanted after the bracket");
    *ret_host = (struct part){text + 1, (size_t)(close - text - 1)};
    *ret_port = close + 2;
    return 0;
}

/* HOST:PORT */
static int split_colon(const char *text, struct part *ret_host, const char **ret_port)
{
    const char *colon = strchr(text, ':');
    struct story_quote q;

    if (!colon)
        return story_tell(-EINVAL, "\"%s\" has no port: HOST:PORT is wanted",
                          story_quote(&q, text, strlen(text)));
    if (strchr(colon + 1, ':'))
        return story_tell(-EINVAL,
                          "\"%s\" has several colons: write an IPv6 address in brackets, [::1]:80",
                          story_quote(&q, text, strlen(text)));
    *ret_host = (struct part){text, (size_t)(colon - text)};
    *ret_port = colon + 1;
    return 0;
}

static int read_any_host(struct part host, bool bracketed, struct target *t)
{
    struct story_quote q;
    int rc;

    t->any = !bracketed && (host.len == 0 || (host.len == 1 && host.at[0] == '*'));
    if (t->any)
        return read_host("::", 2, t->port, &t->address);
    rc = read_host(host.at, host.len, t->port, &t->address);
    if (bracketed && (rc == WEIR_ENONAME || t->address.family == AF_INET))
        return story_tell(-EINVAL, "\"%s\" is no IPv6 address, only those are put in brackets",
                          story_quote(&q, host.at, host.len));
    if (rc == WEIR_ENONAME)
        rc = check_name(host.at, host.len);
    else if (rc < 0)
        rc = target_tell_scope(rc, host.at, host.len);
    if (rc < 0)
        return rc;
    memcpy(t->host, host.at, host.len);
    t->host[host.len] = '\0';
    return 0;
}

int target_parse(const char *text, struct target *ret)
{
    int rc = take_scheme(&text, &ret->scheme);
    struct part host = {text, 0};
    const char *port = text;
    bool bracketed;

    if (rc < 0)
        return rc;
    ret->any = false;
    ret->port = 0;
    ret->host[0] = '\0';
    ret->address = (weir_address){0};
    if (ret->scheme == SCHEME_UNIX)
        return read_unix(text, &ret->address);
    bracketed = *text == '[';
    rc = bracketed ? split_brackets(text, &host, &port) : split_colon(text, &host, &port);
    if (rc == 0)
        rc = read_port(port, &ret->port);
    return rc < 0 ? rc : read_any_host(host, bracketed, ret);
}
