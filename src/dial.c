/* From a text to a connection or a listener: the calls of the other files, put together. */
#include "socket.h"
#include "story.h"
#include "sys.h"
#include "target.h"
#include "tls/tls.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <weir/dial.h>
#include <weir/names.h>

/* How many addresses of a name weir_listen_on looks at. */
#define LISTEN_ADDRESSES 16

/* Options of a caller who was compiled with an older or newer header: what one side does not
 * know is left at its default. `into` holds the defaults. */
static int copy_options(void *into, size_t size, const void *options)
{
    size_t given;

    if (!options)
        return 0;
    memcpy(&given, options, sizeof given);
    if (given < sizeof given)
        return story_tell(-EINVAL, "the options have no size: use the macro that makes them");
    memcpy(into, options, given < size ? given : size);
    return 0;
}

/* Sets an option of a socket that nobody else knows yet and that has no descriptor, without
 * trying it out first as weir_set_option does. */
static int preset(weir_socket *s, int level, int name, int value)
{
    struct setting *o = sys_alloc(sizeof *o + sizeof value);

    if (!o)
        return -ENOMEM;
    o->level = level;
    o->name = name;
    o->length = sizeof value;
    memcpy(o->value, &value, sizeof value);
    o->next = s->settings;
    s->settings = o;
    return 0;
}

/* A fresh socket for the target, of `family` where that is up to the caller. */
static int open_for(weir_socket **ret, const struct target *t, int family)
{
    weir_socket *s;
    int type = t->scheme == SCHEME_UDP ? SOCK_DGRAM : SOCK_STREAM;
    int rc = socket_new(&s, t->scheme == SCHEME_UNIX ? AF_UNIX : family, type, 0);

    if (rc < 0)
        return rc;
    if (t->scheme != SCHEME_UNIX && t->scheme != SCHEME_UDP)
        rc = preset(s, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rc < 0)
        weir_close(s);
    else
        *ret = s;
    return rc;
}

/* Ends a socket that did not come about. Its story becomes the caller's. */
static int give_up(weir_socket *s, int rc, const char *text)
{
    struct story_quote quote;

    pthread_mutex_lock(&s->lock);
    char *story = s->story;
    s->story = NULL;
    pthread_mutex_unlock(&s->lock);
    weir_close(s);
    if (!story)
        return story_tell(rc, "%s: %s", story_quote(&quote, text, strlen(text)), weir_strerror(rc));
    story_give(NULL, story);
    return rc;
}

static int bind_to_text(weir_socket *s, const char *text)
{
    weir_address a;
    int rc = weir_address_parse(text, &a);

    return rc < 0 ? rc : weir_bind_address(s, &a);
}

/* A forgotten scheme must not mean that everything goes in the clear. */
static int check_scheme(const struct target *t, const char *target, bool wants_tls)
{
    struct story_quote q;

    if (t->scheme == SCHEME_TLS || !wants_tls)
        return 0;
    return story_tell(-EINVAL, "TLS was asked for, and %s does not begin with tls://",
                      story_quote(&q, target, strlen(target)));
}

int weir_dial(weir_socket **ret, const char *target, const weir_dial_options *options)
{
    weir_dial_options o = {.size = sizeof o};
    weir_socket *s;
    struct target t;

    if (!ret || !target)
        return -EINVAL;
    int rc = copy_options(&o, sizeof o, options);
    if (rc == 0)
        rc = target_parse(target, &t);
    if (rc == 0 && t.any)
        rc = story_tell(-EINVAL, "there is no host to connect to");
    if (rc == 0)
        rc = check_scheme(&t, target, o.tls || o.tls_name);
    if (rc == 0)
        rc = open_for(&s, &t, AF_UNSPEC);
    if (rc != 0)
        return rc;
    if (t.scheme == SCHEME_TLS && (rc = weir_set_tls(s, o.tls, o.tls_name)) < 0)
        return give_up(s, rc, target);
    (void)weir_set_blocking(s, !o.nonblocking);
    (void)weir_set_timeout(s, o.timeout_ms > 0 ? o.timeout_ms : -1);
    if (o.local && (rc = bind_to_text(s, o.local)) < 0)
        return give_up(s, rc, o.local);
    rc = t.address.family == AF_UNSPEC ? weir_connect(s, t.host, t.port)
                                       : weir_connect_address(s, &t.address);
    if (rc < 0 && rc != -EINPROGRESS)
        return give_up(s, rc, target);
    *ret = s;
    return rc;
}

/* ---- listening ----------------------------------------------------------------------------- */

/* What a listener needs before it is bound. */
static int prepare(weir_socket *s, const struct target *t, const weir_address *a, bool reuse_port)
{
    int rc = 0;

    if (t->scheme == SCHEME_UNIX)
        return 0;
    if (s->type == SOCK_STREAM)
        rc = preset(s, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && reuse_port)
        rc = preset(s, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0 && t->any && a->family == AF_INET6)
        rc = preset(s, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    return rc;
}

static int listen_at(weir_socket **ret, const struct target *t, const weir_address *a,
                     const weir_listen_options *o)
{
    weir_socket *s;
    int rc = open_for(&s, t, a->family);

    if (rc < 0)
        return rc;
    rc = prepare(s, t, a, o->reuse_port);
    if (rc == 0 && t->scheme == SCHEME_TLS)
        rc = weir_set_tls(s, o->tls, NULL);
    if (rc == 0)
        rc = weir_bind_address(s, a);
    if (rc == 0 && s->type == SOCK_STREAM)
        rc = weir_listen(s, o->backlog);
    if (rc < 0) {
        weir_close(s);
        return rc;
    }
    (void)weir_set_blocking(s, !o->nonblocking);
    *ret = s;
    return 0;
}

/* The addresses that the target may mean: the first on which it works is taken. */
static int candidates(const struct target *t, weir_address *list)
{
    list[0] = t->address;
    if (t->any)
        return weir_address_from_host("0.0.0.0", t->port, &list[1]) < 0 ? 1 : 2;
    if (t->address.family != AF_UNSPEC)
        return 1;
    int count = weir_resolve(t->host, t->port, AF_UNSPEC, list, LISTEN_ADDRESSES, NULL);
    if (count < 0)
        return story_tell(count, "%s: %s", t->host, weir_strerror(count));
    return count > LISTEN_ADDRESSES ? LISTEN_ADDRESSES : count;
}

static bool is_elsewhere(int rc)
{
    return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL;
}

/* Listens on the first of the candidates that is an address of this machine. */
static int listen_on_first(weir_socket **ret, const struct target *t, const weir_address *list,
                           int count, const weir_listen_options *o)
{
    char text[WEIR_ADDRESS_TEXT_MAX], *story = NULL;
    int rc = -EADDRNOTAVAIL;

    for (int i = 0; i < count && is_elsewhere(rc); i++) {
        rc = listen_at(ret, t, &list[i], o);
        if (rc == 0)
            break;
        (void)weir_address_format(&list[i], text, sizeof text);
        story_append(&story, "%s: %s", text, weir_strerror(rc));
    }
    if (rc == 0)
        free(story);
    else
        story_give(NULL, story);
    return rc;
}

int weir_listen_on(weir_socket **ret, const char *target, const weir_listen_options *options)
{
    weir_listen_options o = {.size = sizeof o};
    weir_address list[LISTEN_ADDRESSES];
    struct target t;

    if (!ret || !target)
        return -EINVAL;
    int rc = copy_options(&o, sizeof o, options);
    if (rc == 0)
        rc = target_parse(target, &t);
    if (rc == 0)
        rc = check_scheme(&t, target, o.tls);
    if (rc == 0 && t.scheme == SCHEME_TLS)
        rc = tls_check_server(o.tls);
    if (rc != 0)
        return rc;
    int count = candidates(&t, list);
    return count < 0 ? count : listen_on_first(ret, &t, list, count, &o);
}
