/* The text of /etc/hosts. */
#include "resolve/hosts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void find(const struct hosts *h, const char *name, int family)
{
    struct answer *a = NULL;
    bool known;

    if (hosts_find(h, name, family, &a, &known) == 0 && (!known || a->count == 0))
        abort();
    answer_unref(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hosts *h = hosts_parse((const char *)data, size);
    static const char *const names[] = {"a", "b.test", "localhost", "", "."};

    if (!h)
        return 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        find(h, names[i], AF_INET);
        find(h, names[i], AF_INET6);
    }
    hosts_free(h);
    return 0;
}
