#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *bench_tls_file(const char *name, char buf[static 256])
{
    const char *directory = getenv("BENCH_TLS");

    if (!directory) {
        fprintf(stderr, "BENCH_TLS is not set\n");
        exit(2);
    }
    snprintf(buf, 256, "%s/%s", directory, name);
    return buf;
}

int bench_tls_version(const char *text)
{
    if (strcmp(text, "1.2") == 0)
        return TLS1_2_VERSION;
    if (strcmp(text, "1.3") == 0)
        return TLS1_3_VERSION;
    fprintf(stderr, "\"%s\" is neither 1.2 nor 1.3\n", text);
    exit(2);
}

_Noreturn static void fail(const char *what)
{
    char text[256] = "the peer ended the connection";
    unsigned long code = ERR_get_error();

    if (code)
        ERR_error_string_n(code, text, sizeof text);
    fprintf(stderr, "%s: %s\n", what, text);
    exit(1);
}

int bench_tls_check(const char *what, SSL *ssl, int rc)
{
    (void)ssl;
    if (rc <= 0)
        fail(what);
    return rc;
}

/* ---- contexts -------------------------------------------------------------------------------- */

/* A ticket of TLS 1.3 is good for one connection, a session of TLS 1.2 for any number. */
static SSL_SESSION *sessions[8];
static size_t session_count;

static int keep(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (session_count == BENCH_LENGTH(sessions))
        SSL_SESSION_free(sessions[--session_count]);
    sessions[session_count++] = session;
    return 1;
}

static SSL_CTX *context(const SSL_METHOD *method, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, version ? version : TLS1_2_VERSION) ||
        !SSL_CTX_set_max_proto_version(ctx, version))
        fail("SSL_CTX_new");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    return ctx;
}

SSL_CTX *bench_tls_server(int version)
{
    SSL_CTX *ctx = context(TLS_server_method(), version);
    char path[256];

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"self", 4);
    if (SSL_CTX_use_certificate_chain_file(ctx, bench_tls_file("chain.pem", path)) != 1)
        fail(path);
    if (SSL_CTX_use_PrivateKey_file(ctx, bench_tls_file("key.pem", path), SSL_FILETYPE_PEM) != 1)
        fail(path);
    return ctx;
}

SSL_CTX *bench_tls_client(int version)
{
    SSL_CTX *ctx = context(TLS_client_method(), version);
    char path[256];

    if (SSL_CTX_load_verify_file(ctx, bench_tls_file("ca.pem", path)) != 1)
        fail(path);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep);
    return ctx;
}

weir_tls_config *bench_tls_config(int version, bool server, bool resume)
{
    weir_tls_config *c;
    char chain[256], key[256];

    bench_check("weir_tls_config_open", weir_tls_config_open(&c));
    if (version)
        bench_check("versions", weir_tls_config_versions(c, version, version));
    bench_check("resume", weir_tls_config_resume(c, resume));
    if (server)
        bench_check("certificate",
                    weir_tls_config_certificate_files(c, bench_tls_file("chain.pem", chain),
                                                      bench_tls_file("key.pem", key)));
    else
        bench_check("trust", weir_tls_config_trust_file(c, bench_tls_file("ca.pem", chain)));
    return c;
}

/* ---- connections ----------------------------------------------------------------------------- */

static void take_up_again(SSL *ssl)
{
    if (session_count == 0)
        return;
    SSL_SESSION *session = sessions[session_count - 1];
    SSL_set_session(ssl, session);
    if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
        SSL_SESSION_free(session);
        session_count--;
    }
}

SSL *bench_tls_new(SSL_CTX *ctx, int fd, bool resume)
{
    SSL *ssl = SSL_new(ctx);

    if (!ssl || !SSL_set_fd(ssl, fd))
        fail("SSL_new");
    if (SSL_CTX_get_verify_mode(ctx) == SSL_VERIFY_NONE) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (!SSL_set1_host(ssl, BENCH_TLS_NAME) || !SSL_set_tlsext_host_name(ssl, BENCH_TLS_NAME))
        fail("SSL_set1_host");
    if (resume)
        take_up_again(ssl);
    return ssl;
}

void bench_tls_send(SSL *ssl, const void *buf, size_t len)
{
    bench_tls_check("SSL_write", ssl, SSL_write(ssl, buf, (int)len));
}

void bench_tls_receive(SSL *ssl, void *buf, size_t len)
{
    for (size_t done = 0; done < len;)
        done += (size_t)bench_tls_check("SSL_read", ssl,
                                        SSL_read(ssl, (char *)buf + done, (int)(len - done)));
}

void bench_tls_end(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

/* ---- orders ---------------------------------------------------------------------------------- */

static char bulk[BENCH_BULK];

/* A count, 0 at the end of the connection. */
static size_t receive(SSL *ssl, int fd, void *buf, size_t len)
{
    ssize_t n = ssl ? SSL_read(ssl, buf, (int)len) : recv(fd, buf, len, 0);

    return n > 0 ? (size_t)n : 0;
}

static bool receive_all(SSL *ssl, int fd, void *buf, size_t len)
{
    for (size_t done = 0, n; done < len; done += n) {
        n = receive(ssl, fd, (char *)buf + done, len - done);
        if (n == 0)
            return false;
    }
    return true;
}

static bool send_all(SSL *ssl, int fd, const void *buf, size_t len)
{
    if (ssl)
        return SSL_write(ssl, buf, (int)len) == (int)len;
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)buf + done, len - done, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static size_t least(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

static bool sink(SSL *ssl, int fd, uint64_t bytes)
{
    while (bytes > 0) {
        size_t n = receive(ssl, fd, bulk, least(bytes, sizeof bulk));
        if (n == 0)
            return false;
        bytes -= n;
    }
    return send_all(ssl, fd, bulk, 1);
}

static bool source(SSL *ssl, int fd, uint64_t bytes)
{
    for (size_t n; bytes > 0; bytes -= n) {
        n = least(bytes, sizeof bulk);
        if (!send_all(ssl, fd, bulk, n))
            return false;
    }
    return true;
}

static bool echo(SSL *ssl, int fd, uint64_t bytes, size_t piece)
{
    for (; bytes > 0; bytes -= piece)
        if (!receive_all(ssl, fd, bulk, piece) || !send_all(ssl, fd, bulk, piece))
            return false;
    return true;
}

void bench_tls_serve(SSL *ssl, int fd)
{
    struct bench_order o;
    bool good = true;

    while (good && receive_all(ssl, fd, &o, sizeof o))
        good = o.what == 's'   ? sink(ssl, fd, o.bytes)
               : o.what == 'r' ? source(ssl, fd, o.bytes)
                               : echo(ssl, fd, o.bytes, o.piece);
}
