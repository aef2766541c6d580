/* The texts of resolv.conf, nsswitch.conf and WEIR_NAMESERVERS; the first byte says which. */
#include "resolve/conf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct conf *c)
{
    char name[CONF_NAME_MAX + 1];

    if (c->server_count == 0 || c->server_count > CONF_SERVERS_MAX || c->attempts == 0 ||
        c->timeout_s == 0 || c->source_count > CONF_SOURCES_MAX)
        abort();
    for (size_t i = 0; i < conf_candidates(c, "a.b"); i++)
        if (conf_candidate(c, "a.b", i, name) && strlen(name) > CONF_NAME_MAX)
            abort();
    for (size_t i = 0; i < c->source_count; i++)
        conf_applies(c, &c->sources[i], "a.local");
}

static void read_servers(const char *text, size_t size)
{
    weir_address list[CONF_SERVERS_MAX];
    char *copy = calloc(1, size + 1);

    if (!copy)
        return;
    memcpy(copy, text, size);
    if (conf_read_servers(copy, list) > CONF_SERVERS_MAX)
        abort();
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    struct conf c;

    if (size == 0)
        return 0;
    conf_init(&c);
    if (data[0] == 'n')
        conf_read_nsswitch(&c, text, size - 1);
    else if (data[0] == 'r')
        conf_read_resolv(&c, text, size - 1);
    else
        read_servers(text, size - 1);
    check(&c);
    return 0;
}
