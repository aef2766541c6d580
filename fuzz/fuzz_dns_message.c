/* Replies of name servers. */
#include "clock.h"
#include "resolve/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as(const uint8_t *data, size_t size, int family)
{
    struct answer *a = NULL;
    enum reply reply = message_read(data, size, family, NS_PER_S, &a);

    if ((reply == REPLY_FAILED) != (a == NULL) || reply == REPLY_NONE)
        abort();
    if (reply == REPLY_ADDRESSES && (a->count == 0 || a->rc != 0))
        abort();
    answer_unref(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(data, size, AF_INET);
    read_as(data, size, AF_INET6);
    return 0;
}
