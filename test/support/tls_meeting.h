/* Meetings: a client and a server with TLS, the two ends of a pair, in one thread.
 *
 *     struct meeting m;
 *     meeting_hold(&m, client, server, "server.test");
 *     assert_int_equal(m.client.rc, 0);
 *     meeting_end(&m);
 */
#ifndef TLS_MEETING_H
#define TLS_MEETING_H

#include "support/pki.h"

#include <weir.h>
#include <weir/tls.h>

struct meeting_side {
    weir_socket *s;
    int rc;               /* how the handshake ended, or the first byte after it; 0: well */
    char story[1024];     /* if it did not end well */
    weir_tls_state state; /* if it did */
};

struct meeting {
    struct meeting_side client, server;
};

/* Takes the handshakes to their end, and then one byte there and one back, so that everything has
 * arrived that belongs to the handshake. */
void meeting_hold(struct meeting *m, weir_tls_config *client, weir_tls_config *server,
                  const char *name);
void meeting_end(struct meeting *m);

/* A whole meeting: how it ended for the client. */
int meet(weir_tls_config *client, weir_tls_config *server, const char *name);

/* The PEM of what the server has shown, kept until pki_end. */
const char *meeting_chain(const struct meeting *m);

/* Configurations, with what most tests want; those who get them may change and have to close them.
 * A client that trusts pki_standard()'s authority; a server with that certificate and key, NULL for
 * those of pki_standard(). */
weir_tls_config *meeting_client(void);
weir_tls_config *meeting_server(const char *chain_pem, const char *key_pem);

/* One more certificate for a server. */
void meeting_add(weir_tls_config *server, const pki_cert *leaf, const pki_cert *intermediate);

#endif
