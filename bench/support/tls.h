/* Plain OpenSSL, for the other side of what is measured and for what weir is compared with.
 * Blocking descriptors; failure ends the program.
 *
 * Certificates are files in the directory BENCH_TLS (environment): ca.pem, chain.pem and key.pem,
 * for the name below. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include "bench.h"

#include <openssl/ssl.h>
#include <weir.h>

#define BENCH_TLS_NAME "bench.test"

/* Writes the path of one of those files. */
const char *bench_tls_file(const char *name, char buf[static 256]);

/* TLS1_2_VERSION or TLS1_3_VERSION, by name: "1.2", "1.3". Anything else ends the program. */
int bench_tls_version(const char *text);

/* Of that version alone; 0: any. Settings are those that weir has, or faster ones where there is a
 * choice. A client verifies the server. */
SSL_CTX *bench_tls_server(int version);
SSL_CTX *bench_tls_client(int version);

/* The same for weir. `resume`: whether sessions are taken up again. */
weir_tls_config *bench_tls_config(int version, bool server, bool resume);

/* An object for a connection that is there, which is closed with it. The session of the connection
 * before is taken up again if `resume`. */
SSL *bench_tls_new(SSL_CTX *ctx, int fd, bool resume);

/* Returns `rc` of a call on `ssl`, or ends the program if it is not positive. */
int bench_tls_check(const char *what, SSL *ssl, int rc);

void bench_tls_send(SSL *ssl, const void *buf, size_t len);
void bench_tls_receive(SSL *ssl, void *buf, size_t len);

/* Says close_notify and closes. */
void bench_tls_end(SSL *ssl);

/* ---- what goes on over a connection ---------------------------------------------------------- */

/* What a client asks of a server, again and again. */
struct bench_order {
    char what; /* 's': it takes `bytes` and answers with one; 'r': it sends `bytes`; 'e': it
                          sends `bytes` back in pieces of `piece` */
    uint32_t piece;
    uint64_t bytes;
};

/* Serves orders on a connection until it ends; plainly if `ssl` is NULL. */
void bench_tls_serve(SSL *ssl, int fd);

/* How much the one who serves moves in one call. */
#define BENCH_BULK 65536

#endif
