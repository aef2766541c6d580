#include "support/dumped.h"

#include "support/ground.h"
#include "support/json.h"

#include <stdlib.h>

struct text {
    char *at;
    size_t size;
};

static int keep(void *arg, const char *part, size_t size)
{
    struct text *t = arg;
    t->at = realloc(t->at, t->size + size + 1);
    CHECK(t->at != NULL);
    memcpy(t->at + t->size, part, size);
    t->size += size;
    t->at[t->size] = '\0';
    return 0;
}

char *dumped_json(void)
{
    struct text t = {NULL, 0};
    EXPECT(weir_inspect_dump(WEIR_INSPECT_JSON, keep, &t), 0);
    CHECK(json_is_valid(t.at));
    return t.at;
}

unsigned dumped_times_in(const char *json, const char *part)
{
    unsigned count = 0;
    while ((json = strstr(json, part))) {
        json++;
        count++;
    }
    return count;
}

unsigned dumped_times(const char *part)
{
    char *json = dumped_json();
    unsigned count = dumped_times_in(json, part);
    free(json);
    return count;
}
