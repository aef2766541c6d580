#include "support/tls_meeting.h"

#include "support/pki_private.h"

#include <errno.h>
#include <string.h>

static void conclude(struct meeting_side *side)
{
    if (side->rc == 0)
        PKI_MUST(weir_tls_info(side->s, &side->state) == 0);
    else
        weir_error_detail(side->s, side->story, sizeof side->story);
}

static void shake(struct meeting_side *side)
{
    if (side->rc == -EAGAIN)
        side->rc = weir_handshake(side->s);
}

/* Sends and receives until a byte has come from the other side. */
static void exchange(struct meeting_side *from, struct meeting_side *to)
{
    char byte = 'x';
    ssize_t n;

    if (from->rc == 0)
        PKI_MUST(weir_send(from->s, &byte, 1) == 1);
    if (to->rc)
        return;
    n = weir_recv(to->s, &byte, 1);
    to->rc = n == 1 ? 0 : n == 0 ? WEIR_EEND : (int)n;
}

static void give_tls(struct meeting_side *side, weir_tls_config *c, const char *name)
{
    PKI_MUST(weir_set_blocking(side->s, false) == 0);
    PKI_MUST(weir_set_tls(side->s, c, name) == 0);
    side->rc = -EAGAIN;
}

void meeting_hold(struct meeting *m, weir_tls_config *client, weir_tls_config *server,
                  const char *name)
{
    weir_socket *pair[2];

    *m = (struct meeting){.client.rc = 0};
    PKI_MUST(weir_pair(pair, SOCK_STREAM) == 0);
    m->client.s = pair[0];
    m->server.s = pair[1];
    give_tls(&m->client, client, name);
    give_tls(&m->server, server, NULL);
    for (int i = 0; i < 20; i++) {
        shake(&m->client);
        shake(&m->server);
    }
    exchange(&m->server, &m->client);
    exchange(&m->client, &m->server);
    conclude(&m->client);
    conclude(&m->server);
}

void meeting_end(struct meeting *m)
{
    weir_close(m->client.s);
    weir_close(m->server.s);
}

int meet(weir_tls_config *client, weir_tls_config *server, const char *name)
{
    struct meeting m;

    meeting_hold(&m, client, server, name);
    meeting_end(&m);
    return m.client.rc;
}

const char *meeting_chain(const struct meeting *m)
{
    ssize_t len = weir_tls_peer_chain(m->client.s, NULL, 0);

    PKI_MUST(len >= 0);
    char *pem = pki_keep((size_t)len + 1);
    PKI_MUST(weir_tls_peer_chain(m->client.s, pem, (size_t)len + 1) == len);
    return pem;
}

weir_tls_config *meeting_client(void)
{
    const char *ca = pki_standard()->ca_pem;
    weir_tls_config *c;

    PKI_MUST(weir_tls_config_open(&c) == 0);
    PKI_MUST(weir_tls_config_trust_memory(c, ca, strlen(ca)) == 0);
    return c;
}

weir_tls_config *meeting_server(const char *chain_pem, const char *key_pem)
{
    const struct pki_standard *pki = pki_standard();
    weir_tls_config *c;

    if (!chain_pem)
        chain_pem = pki->server_pem, key_pem = pki->server_key_pem;
    PKI_MUST(weir_tls_config_open(&c) == 0);
    PKI_MUST(weir_tls_config_certificate_memory(c, chain_pem, strlen(chain_pem), key_pem,
                                                strlen(key_pem)) == 0);
    return c;
}

void meeting_add(weir_tls_config *server, const pki_cert *leaf, const pki_cert *intermediate)
{
    const char *chain = PKI_PEM(leaf, intermediate), *key = pki_key_pem(leaf);

    PKI_MUST(weir_tls_config_certificate_memory(server, chain, strlen(chain), key, strlen(key)) ==
             0);
}
