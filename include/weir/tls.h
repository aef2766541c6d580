/* TLS 1.2 and 1.3 (RFC 5246, RFC 8446) on the same socket.
 *
 *     weir_socket *s;
 *     weir_dial(&s, "tls://example.com:443", NULL);
 *
 * names, every address, the connection, the handshake and the check of the certificate are one
 * operation under one limit; then come the ordinary calls. A server sets its certificate on the
 * listener:
 *
 *     weir_tls_config *config;
 *     weir_tls_config_open(&config);
 *     weir_tls_config_certificate_files(config, "chain.pem", "key.pem");
 *     weir_listen_on(&listener, "tls://[::]:8443", WEIR_LISTEN_OPTIONS(.tls = config));
 *
 * What is safe is the default: a client checks the certificate, its dates, its purpose and the name
 * it asked for, and nothing below TLS 1.2 is spoken. A build without TLS has all of these calls;
 * they return -EPROTONOSUPPORT. */
#ifndef WEIR_TLS_H
#define WEIR_TLS_H

#include <weir/base.h>
#include <weir/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- configurations -------------------------------------------------------------------------
 *
 * A configuration says whom to trust and who one is. It is counted: sockets that use it hold a
 * reference of their own. The calls that change one are for the thread that made it, before it is
 * used; from its first weir_set_tls, weir_dial or weir_listen_on on they return -EBUSY, and it may
 * be used from any number of threads and tasks at once.
 *
 * Besides what they list, the calls that change one return -EINVAL for NULL, -EBUSY and -ENOMEM;
 * what reads files as open(2) and read(2), and -EINVAL for content that is not what it should be:
 * weir_error_detail(NULL, …) names the file and the reason. They read files at once and wait for
 * the disk. Memory and texts are copied. */
typedef struct weir_tls_config weir_tls_config;

/* Makes a configuration with one reference: 0, -ENOMEM, -EPROTONOSUPPORT without TLS. */
WEIR_API int weir_tls_config_open(weir_tls_config **ret);

/* One more reference; returns `c`. */
WEIR_API weir_tls_config *weir_tls_config_ref(weir_tls_config *c);

/* Gives one up; the last frees it and wipes its keys. NULL is fine. Returns 0. */
WEIR_API int weir_tls_config_close(weir_tls_config *c);

/* ---- whom to trust --------------------------------------------------------------------------
 *
 * If none of these is called, a client trusts what the system trusts (SSL_CERT_FILE and
 * SSL_CERT_DIR are looked at as OpenSSL does). Each call adds; the system's are in only if asked
 * for. Whatever is named is trusted by itself: an authority, one that another has signed, or the
 * very certificate of a peer. Between it and the peer's there may be ten others. */

/* What the system trusts. */
WEIR_API int weir_tls_config_trust_system(weir_tls_config *c);

/* The certificates of a PEM file, at least one. */
WEIR_API int weir_tls_config_trust_file(weir_tls_config *c, const char *path);

/* A directory of certificates named by their hashes (openssl-rehash(1ssl)); its files are looked up
 * when they are needed. */
WEIR_API int weir_tls_config_trust_directory(weir_tls_config *c, const char *path);

/* As _trust_file, in memory. */
WEIR_API int weir_tls_config_trust_memory(weir_tls_config *c, const void *pem, size_t len);

/* Certificate revocation lists (RFC 5280), PEM. With any of them a peer's own certificate has to be
 * covered by one that is in date, and no certificate of its chain may be on one. */
WEIR_API int weir_tls_config_revoked_file(weir_tls_config *c, const char *path);
WEIR_API int weir_tls_config_revoked_memory(weir_tls_config *c, const void *pem, size_t len);

/* The server has to staple an OCSP response (RFC 6960, RFC 6066) that says its certificate is good;
 * otherwise WEIR_ECERT. */
WEIR_API int weir_tls_config_require_staple(weir_tls_config *c);

/* Accepts any certificate of anybody: whoever sits in between can read and change everything. For
 * experiments. Whatever else is said about trust is then without effect. */
WEIR_API int weir_tls_config_trust_anyone_insecurely(weir_tls_config *c);

/* ---- who one is -----------------------------------------------------------------------------
 *
 * A server needs a certificate; a client may have one. Each call adds one. A server with several
 * takes those that name what the client asks for (server_name, RFC 6066; names as in RFC 6125), of
 * several kinds of keys the one that suits the client; if none does, the first. */

/* The chain, own certificate first, and its key, both PEM; the files may be one and the same.
 * -EINVAL also if the key belongs to another certificate, is encrypted, or is too weak. */
WEIR_API int weir_tls_config_certificate_files(weir_tls_config *c, const char *chain,
                                               const char *key);
WEIR_API int weir_tls_config_certificate_memory(weir_tls_config *c, const void *chain,
                                                size_t chain_len, const void *key, size_t key_len);

/* Asks `choose` in each handshake of a server, before the certificates of `c` are looked at. `name`
 * is what the client asks for, NULL if nothing. It returns a configuration whose certificates serve
 * this connection, with a reference that it gives away (weir_tls_config_ref), or NULL to go on with
 * those of `c`. It is called in the middle of a handshake, from any thread, in no task, and must
 * not wait; weir_run inside it is -EBUSY where tasks share the thread. A session that is resumed
 * needs no certificate, and it is not asked; for a client that has to begin anew (RFC 8446 4.1.4)
 * it is asked twice, and the second answer counts. */
typedef weir_tls_config *weir_tls_choose(void *arg, const char *name);
WEIR_API int weir_tls_config_certificate_choose(weir_tls_config *c, weir_tls_choose *choose,
                                                void *arg);

/* The OCSP response (DER) to staple to the certificate added last. -ENOENT if there is none. */
WEIR_API int weir_tls_config_staple_file(weir_tls_config *c, const char *path);
WEIR_API int weir_tls_config_staple_memory(weir_tls_config *c, const void *der, size_t len);

/* What a server asks of its clients. Theirs are checked against the trust of the server's
 * configuration, in which nothing is trusted by default. */
typedef enum weir_tls_client {
    WEIR_TLS_CLIENT_NONE,     /* no certificate (default) */
    WEIR_TLS_CLIENT_OPTIONAL, /* a good one or none */
    WEIR_TLS_CLIENT_REQUIRED, /* a good one */
} weir_tls_client;
WEIR_API int weir_tls_config_ask_client(weir_tls_config *c, weir_tls_client what);

/* ---- what is spoken ------------------------------------------------------------------------- */

#define WEIR_TLS_1_2 0x0303
#define WEIR_TLS_1_3 0x0304

/* Between which versions; the default is from 1.2 to the newest. -EINVAL for others. */
WEIR_API int weir_tls_config_versions(weir_tls_config *c, int min, int max);

/* In OpenSSL's words (openssl-ciphers(1ssl)), separated by ":"; those of TLS 1.3 begin with "TLS_".
 * A version of which none is named keeps its defaults. -EINVAL if nothing is left. */
WEIR_API int weir_tls_config_ciphers(weir_tls_config *c, const char *ciphers);

/* Application protocols (ALPN, RFC 7301), the best first, separated by ",": "h2,http/1.1". A server
 * refuses clients that offer some and none of these. */
WEIR_API int weir_tls_config_alpn(weir_tls_config *c, const char *protocols);

/* Whether sessions are resumed (RFC 8446 2.2, RFC 5077): tickets of a server, whose keys live as
 * long as the configuration, and a cache of a client, in the configuration, by host and port.
 * Default: true. A resumed session is not older than its certificate was checked for. */
WEIR_API int weir_tls_config_resume(weir_tls_config *c, bool on);

/* Appends the secrets of every session to a file, for tools that decode what was recorded
 * (SSLKEYLOGFILE). Whoever has the file reads everything. Created with mode 0600. */
WEIR_API int weir_tls_config_log_keys(weir_tls_config *c, const char *path);

/* ---- sockets -------------------------------------------------------------------------------- */

/* TLS on a stream socket (TCP, Unix). It only configures and never waits. The socket holds a
 * reference to `c`.
 *
 *     before connect       the handshake is part of weir_connect. `name` is what the certificate
 *                          has to be for; NULL: the host, or address, that is connected to. Unix
 *                          sockets need one, unless anybody is trusted.
 *     on a listener        what is accepted has TLS from the start; `name` is NULL. The handshake
 *                          is part of the first send, recv or weir_handshake on what was accepted,
 *                          and not of weir_accept.
 *     on a connection      from now on (STARTTLS): a client with `name`, a server with NULL,
 *                          whoever has connected: without a name nobody is verified. The handshake
 *                          is part of the next call.
 *
 * `c` NULL: what a client needs, with the system's trust.
 *
 * TCP sends small messages at once from then on (TCP_NODELAY, tcp(7)), as after weir_dial.
 *
 * A name is a host name in ASCII, or a numeric address, for which the certificate has to list the
 * address.
 *
 * Returns 0, or
 *   -EINVAL       a bad name; a server without a certificate
 *   -EALREADY     it has TLS already
 *   -EBUSY        a connect, or a call of somebody else on a connected socket, goes on
 *   -EOPNOTSUPP   not a stream socket
 *   WEIR_ETLS     a client's connection has bytes waiting, which came before TLS and could be
 *                 anybody's
 *   WEIR_ECLOSED, -ENOMEM, -EPROTONOSUPPORT (a build without TLS) */
WEIR_API int weir_set_tls(weir_socket *s, weir_tls_config *c, const char *name);

/* Carries the handshake to its end; the other calls do so by themselves. After that it returns how
 * it ended, again and again.
 *
 * Returns 0, or
 *   WEIR_ECERT    the certificate of the peer is not good; weir_error_detail names it, the reason
 *                 and the name that was wanted
 *   WEIR_ETLS     no handshake came about, or the peer refuses; the detail has the reason
 *   -EAGAIN       non-blocking: not yet (weir_wait, or a poller, for either direction)
 *   -EINVAL       the socket has no TLS
 * or as weir_recv (WEIR_EDEADLINE, -ECANCELED, WEIR_ECLOSED, -ENOTCONN, -ECONNRESET, …). In a
 * client of TLS 1.3 it can succeed although the server then refuses the client's certificate: the
 * first weir_recv tells. */
WEIR_API int weir_handshake(weir_socket *s);

/* What is different on a socket with TLS:
 *
 *   weir_send        counts what has been encrypted. In blocking mode it has been handed to the
 *                    kernel too, unless the call was cut short by a limit or cancel; in
 *                    non-blocking mode what the kernel does not take stays with the socket, at
 *                    most 64 KiB, and goes with the next call or a poller that watches the socket
 *   weir_recv        0 after the peer's close_notify only; WEIR_ETRUNCATED if the stream ends
 *                    without it, and from then on in every call
 *   weir_sendmsg, weir_recvmsg   no control data, no address, no flags but MSG_DONTWAIT,
 *                    MSG_NOSIGNAL, MSG_MORE (ignored) and, to receive, MSG_PEEK: -EOPNOTSUPP
 *   weir_shutdown    SHUT_WR sends close_notify and then ends the TCP direction; the other goes on.
 *                    It may have to wait for the kernel to take what was sent: -EAGAIN, call again
 *   weir_finish      close_notify, then reads until the peer's
 *   weir_close       says close_notify if the kernel takes it at once; weir_abort says nothing. As
 *                    with TCP, what the peer sends afterwards can cost what it has not read yet:
 *                    weir_finish waits for its end
 *   weir_drop        says nothing; in a forked child it is the only call of use: those that
 *                    connect, move bytes or carry the handshake on return -EPERM
 *   weir_detach      -EOPNOTSUPP
 *
 * Any call can give WEIR_ETLS, WEIR_ECERT. A send may wait for the peer to send and a receive for
 * the peer to read; the modes, limits and pollers take that into account. One task or thread may
 * receive while another sends. */

/* What is known of a connection with TLS. */
typedef struct weir_tls_state {
    int version;          /* WEIR_TLS_1_2, … */
    bool resumed;         /* an earlier session was taken up again */
    bool peer_verified;   /* the peer has shown a good certificate, now or in the session resumed */
    unsigned chain_count; /* certificates that the peer sent, its own included; 0: none */
    char cipher[64];      /* "TLS_AES_128_GCM_SHA256" */
    char alpn[256];       /* what was agreed on; "" if nothing */
    char name[256];       /* a client: whom it wanted; a server: the name that it was asked for, ""
                           * if none, as by a client of an address */
    char subject[256];    /* of the peer's certificate, one line (RFC 2253), cut if need be; "" */
    char issuer[256];
    unsigned char sha256[32];      /* fingerprint of the peer's certificate */
    int64_t not_before, not_after; /* its dates, seconds since 1970 */
} weir_tls_state;

/* Never waits: what weir_accept returns has had no handshake yet, and weir_handshake is the call
 * for that. Returns 0, -EAGAIN before the handshake is over, -EINVAL without TLS, or as
 * weir_handshake. */
WEIR_API int weir_tls_info(weir_socket *s, weir_tls_state *ret);

/* The certificates that the peer sent, its own first, as PEM with a '\0' at the end. Returns the
 * length without the '\0', whatever `size` is (as snprintf(3): cut at size - 1), 0 if there are
 * none; or as weir_tls_info. `buf` may be NULL if `size` is 0. */
WEIR_API ssize_t weir_tls_peer_chain(weir_socket *s, char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
