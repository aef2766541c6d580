#include "support/address_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

const char *last_story(void)
{
    static char text[8192];

    weir_error_detail(NULL, text, sizeof(text));
    return text;
}

const char *formatted(const weir_address *a)
{
    static char text[WEIR_ADDRESS_TEXT_MAX];

    assert_in_range(weir_address_format(a, text, sizeof(text)), 1, sizeof(text) - 1);
    return text;
}

weir_address parsed(const char *text)
{
    weir_address a;

    if (weir_address_parse(text, &a) != 0)
        fail_msg("%s: %s", text, last_story());
    return a;
}
