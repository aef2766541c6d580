/* The texts of weir_dial: taken apart within their bounds, with a story when they are refused, and
 * of one mind with weir_address_parse. */
#include "target.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_refused(int rc)
{
    REQUIRE(rc == -EINVAL || rc == -EPROTONOSUPPORT || rc == -ENAMETOOLONG || rc == -ENODEV);
    REQUIRE(weir_error_detail(NULL, NULL, 0) > 0);
}

static void require_sound(const struct target *t)
{
    size_t len = strnlen(t->host, sizeof(t->host));
    weir_address a;

    REQUIRE(len < sizeof(t->host));
    if (t->scheme == SCHEME_UNIX) {
        REQUIRE(weir_address_family(&t->address) == AF_UNIX && len == 0 && !t->any);
        return;
    }
    REQUIRE(t->any == (len == 0));
    if (weir_address_family(&t->address) == AF_UNSPEC) {
        REQUIRE(!t->any && len <= HOST_MAX + 1 && target_check_name(t->host) == 0);
        REQUIRE(target_numeric(t->host, t->port, &a) == WEIR_ENONAME);
        return;
    }
    REQUIRE(target_numeric(t->any ? "::" : t->host, t->port, &a) == 0);
    REQUIRE(weir_address_equal(&a, &t->address) && weir_address_port(&a) == t->port);
    /* No text is both. */
    REQUIRE(t->any || target_check_name(t->host) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    weir_address a;
    struct target t;
    int rc, address_rc;

    REQUIRE(text);
    if (size > 0)
        memcpy(text, data, size);
    rc = target_parse(text, &t);
    if (rc == 0)
        require_sound(&t);
    else
        require_refused(rc);

    address_rc = weir_address_parse(text, &a);
    if (rc == 0 && weir_address_family(&t.address) != AF_UNSPEC)
        REQUIRE(address_rc == 0 && weir_address_equal(&a, &t.address));
    else
        REQUIRE(address_rc == (rc == 0 ? WEIR_ENONAME : rc == -EPROTONOSUPPORT ? -EINVAL : rc));
    free(text);
    return 0;
}
