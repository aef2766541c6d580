#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool starts_with(const char *text, const char *start)
{
    return strncasecmp(text, start, strlen(start)) == 0;
}

bool target_is_datagram(const char *target)
{
    return starts_with(target, "udp://");
}

bool target_is_tls(const char *target)
{
    return starts_with(target, "tls://");
}

int target_of_listener(weir_socket *s, const char *target, char *buf, size_t size)
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    const char *scheme = target_is_datagram(target) ? "udp://"
                         : target_is_tls(target)    ? "tls://"
                                                    : "tcp://";
    weir_address address;
    int rc = weir_local_address(s, &address);

    if (rc < 0)
        return rc;
    weir_address_format(&address, text, sizeof(text));
    if (weir_address_family(&address) == AF_UNIX)
        scheme = "";
    snprintf(buf, size, "%s%s", scheme, text);
    return 0;
}

const char *peer_text(weir_socket *s, char buf[static WEIR_ADDRESS_TEXT_MAX])
{
    weir_address address;

    if (weir_peer_address(s, &address) < 0 || weir_address_family(&address) == AF_UNIX)
        return "a peer";
    weir_address_format(&address, buf, WEIR_ADDRESS_TEXT_MAX);
    return buf;
}

int target_failed(const char *verb, const char *target, int rc)
{
    int status = failed(NULL, rc, "%s %s", verb, target);

    if (rc == -EINVAL || rc == -EPROTONOSUPPORT)
        say("addresses look like tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix:/PATH, "
            "unix:@NAME");
    return status;
}

void target_unlink(const char *target)
{
    if (starts_with(target, "unix:") && target[5] != '@')
        unlink(target + 5);
}
