/* Texts and system addresses from outside. The first byte chooses; whatever comes out must be
 * within its bounds, printable, and the same again after a round trip through text. */
#include <weir.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_story(void)
{
    char story[8192];
    int len = weir_error_detail(NULL, story, sizeof(story));

    REQUIRE(len > 0 && len < 1024 && strlen(story) == (size_t)len);
    for (int i = 0; i < len; i++) {
        if (strncmp(story + i, "…", 3) == 0)
            i += 2;
        else
            REQUIRE(story[i] >= 0x20 && story[i] < 0x7f);
    }
}

/* Without a text that can be read: no name at all, and the longest path of the kernel. */
static bool is_nameless(const weir_address *a)
{
    const size_t path_at = offsetof(struct sockaddr_un, sun_path);
    socklen_t length;
    const char *name = (const char *)weir_address_sockaddr(a, &length) + path_at;

    if (weir_address_family(a) != AF_UNIX)
        return false;
    if (length <= path_at + 1)
        return true;
    return name[0] != '\0' && length == sizeof(struct sockaddr_un) && name[107] != '\0';
}

static void round_trip(const weir_address *a)
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    int len = weir_address_format(a, text, sizeof(text)), cut;
    weir_address again, copied;
    socklen_t length;
    const struct sockaddr *sockaddr = weir_address_sockaddr(a, &length);

    REQUIRE(len > 0 && len < WEIR_ADDRESS_TEXT_MAX && strlen(text) == (size_t)len);
    for (int i = 0; i < len; i++)
        REQUIRE(text[i] >= 0x20 && text[i] < 0x7f);
    cut = weir_address_format(a, text, (size_t)len);
    REQUIRE(cut == len && strlen(text) == (size_t)len - 1);
    weir_address_format(a, text, sizeof(text));

    REQUIRE(length <= sizeof(a->bytes));
    REQUIRE(weir_address_from_sockaddr(&copied, sockaddr, length) == 0);
    REQUIRE(weir_address_equal(a, &copied));
    if (is_nameless(a))
        return;
    REQUIRE(weir_address_parse(text, &again) == 0);
    REQUIRE(weir_address_equal(a, &again));
    REQUIRE(weir_address_port(a) == weir_address_port(&again));
}

static void from_text(const char *text)
{
    weir_address a;
    int rc = weir_address_parse(text, &a);

    if (rc == 0)
        round_trip(&a);
    else
        require_story();
    rc = weir_address_from_host(text, 80, &a);
    if (rc == 0)
        round_trip(&a);
    else
        require_story();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    weir_address a;
    char *bytes;

    if (size == 0)
        return 0;
    /* Of exactly this size, so that a sanitizer sees a read beyond it. */
    bytes = calloc(1, size);
    REQUIRE(bytes);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] == '!') {
        if (weir_address_from_sockaddr(&a, (const struct sockaddr *)(const void *)bytes,
                                       (socklen_t)size - 1) == 0)
            round_trip(&a);
    } else {
        from_text(bytes);
    }
    free(bytes);
    return 0;
}
