/* resolv.conf(5) and the hosts line of nsswitch.conf(5). */
#ifndef CONF_H
#define CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <weir/address.h>

#define CONF_SERVERS_MAX 8
#define CONF_SEARCH_MAX  16
#define CONF_SOURCES_MAX 16
#define CONF_NAME_MAX    253

enum source_kind {
    SOURCE_FILES,
    SOURCE_DNS,
    SOURCE_MDNS,       /* getaddrinfo(3), for names below .local */
    SOURCE_MYHOSTNAME, /* getaddrinfo(3), for the machine's own name */
    SOURCE_SYSTEM,     /* getaddrinfo(3), for every name */
};

struct source {
    enum source_kind kind;
    bool last; /* [NOTFOUND=return]: what it does not know is not looked for elsewhere */
};

struct conf {
    weir_address servers[CONF_SERVERS_MAX];
    size_t server_count;
    char search[CONF_SEARCH_MAX][CONF_NAME_MAX + 1];
    size_t search_count;
    unsigned ndots;
    unsigned timeout_s;
    unsigned attempts;
    bool rotate;
    struct source sources[CONF_SOURCES_MAX];
    size_t source_count;
    char host_name[CONF_NAME_MAX + 1]; /* the machine's own; "" if not known */
};

/* What holds without any file: files, then the name server of this machine. */
void conf_init(struct conf *c);

/* Reads the text of resolv.conf, or of nsswitch.conf; what is not understood is left out. */
void conf_read_resolv(struct conf *c, const char *text, size_t len);
void conf_read_nsswitch(struct conf *c, const char *text, size_t len);

/* Reads "192.0.2.1,192.0.2.2:5353,[2001:db8::1]:53". Returns their number, or -EINVAL with the
 * story told. */
int conf_read_servers(const char *text, weir_address ret[CONF_SERVERS_MAX]);

/* How many names to ask a name server for, one after the other, until one exists: the name as it
 * is, and with each domain of the search list behind it. */
size_t conf_candidates(const struct conf *c, const char *name);

/* The `index`-th of them; false if it would be too long. */
bool conf_candidate(const struct conf *c, const char *name, size_t index,
                    char ret[CONF_NAME_MAX + 1]);

/* True if the source has to be asked for this name. */
bool conf_applies(const struct conf *c, const struct source *source, const char *name);

#endif
