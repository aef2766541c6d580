#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_MAX 1000
#define DETAIL_MAX  4000

static const struct {
    int rc;
    const char *text;
} remedies[] = {
    {-ECONNREFUSED,
     "is anything listening there? try `weir listen ADDRESS` or `weir echo ADDRESS`"},
    {-ENOENT, "there is no such socket file: is its server running?"},
    {-EADDRINUSE, "another program has it, or, if it is a Unix socket, the file was left over and "
                  "can be removed; with TCP and UDP, port 0 picks a free port"},
    {-EADDRNOTAVAIL, "it is no address of this machine; `*` means all of them"},
    {-EACCES, "you may not; ports below 1024 are for root"},
    {-EMFILE, "raise the limit of open files: ulimit -n"},
    {WEIR_ENONAME, "is the name spelled right?"},
    {WEIR_ENAMEAGAIN, "try again later, or ask another name server: WEIR_NAMESERVERS=ADDRESS"},
    {WEIR_ENAMESERVER,
     "see /etc/resolv.conf, or ask another name server: WEIR_NAMESERVERS=ADDRESS"},
    {WEIR_EDEADLINE, "allow more with --timeout SECONDS"},
    {WEIR_ECERT, "if that is as it should be, --ca FILE trusts another authority, --name NAME "
                 "expects another name"},
    {WEIR_ETLS, "if it speaks no TLS, use tcp://; if it wants a certificate or a protocol, --cert "
                "FILE or --alpn LIST"},
    {WEIR_ETRUNCATED,
     "the peer ended without saying so: some of what it had to say may be missing"},
};

static const char *remedy(int rc)
{
    for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
        if (remedies[i].rc == rc)
            return remedies[i].text;
    return NULL;
}

/* True if the story says no more than what is said anyway: "127.0.0.1:80: connection refused" of
 * "connect tcp://127.0.0.1:80". */
static bool is_known(const char *detail, const char *message, const char *text)
{
    size_t length = strlen(detail), tail = strlen(text);
    char subject[MESSAGE_MAX];

    if (length < tail || strcmp(detail + length - tail, text) != 0)
        return false;
    length -= tail;
    if (length >= 2 && length < sizeof(subject) && strncmp(detail + length - 2, ": ", 2) == 0)
        length -= 2;
    snprintf(subject, sizeof(subject), "%.*s", (int)length, detail);
    return strstr(message, subject) != NULL;
}

int failed(const weir_socket *s, int rc, const char *format, ...)
{
    const char *text = weir_strerror(rc), *todo = remedy(rc);
    char message[MESSAGE_MAX], detail[DETAIL_MAX];
    bool tells;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    tells = weir_error_detail(s, detail, sizeof(detail)) > 0 && !is_known(detail, message, text);
    say("%s: %s%s%s%s%s%s", message, text, tells ? " (" : "", tells ? detail : "", tells ? ")" : "",
        todo ? "; " : "", todo ? todo : "");
    return EXIT_FAILED;
}

void say(const char *format, ...)
{
    char message[2 * MESSAGE_MAX + DETAIL_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    fprintf(stderr, "weir: %s\n", message); /* at once: others may say something too */
}

int wrong_use(const char *command, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s: ", command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "; see `%s --help`\n", command);
    return EXIT_WRONG_USE;
}
