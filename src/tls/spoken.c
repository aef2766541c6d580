/* What a configuration speaks: versions, ciphers, protocols; and the log of its secrets. */
#include "../story.h"
#include "../sys.h"
#include "private.h"

#include <stdio.h>
#include <string.h>
#include <weir/error.h>

static bool is_version(int version)
{
    return version == WEIR_TLS_1_2 || version == WEIR_TLS_1_3;
}

int weir_tls_config_versions(weir_tls_config *c, int min, int max)
{
    int rc = config_changeable(c);

    if (rc < 0)
        return rc;
    if (!is_version(min) || !is_version(max) || min > max)
        return story_tell(-EINVAL,
                          "from 0x%04x to 0x%04x: versions are WEIR_TLS_1_2 and "
                          "WEIR_TLS_1_3",
                          (unsigned)min, (unsigned)max);
    if (SSL_CTX_set_min_proto_version(c->ctx, min) && SSL_CTX_set_max_proto_version(c->ctx, max))
        return 0;
    return tell_failure("the versions of TLS");
}

/* ---- ciphers --------------------------------------------------------------------------------- */

/* Whatever is named, nobody goes without authentication or encryption. */
#define NEVER ":!aNULL:!eNULL"

/* Those of TLS 1.3 (they begin with "TLS_"), or the others, ":" between them. */
static void pick(const char *ciphers, bool tls13, char *into)
{
    char *at = into;

    for (size_t len; *ciphers; ciphers += len + (ciphers[len] == ':')) {
        len = strcspn(ciphers, ":");
        if (len == 0 || (strncmp(ciphers, "TLS_", 4) == 0) != tls13)
            continue;
        if (at > into)
            *at++ = ':';
        memcpy(at, ciphers, len);
        at += len;
    }
    *at = '\0';
}

/* "@SECLEVEL=0" among the ciphers would do away with the strength of certificates, too. */
static int set_ciphers(SSL_CTX *ctx, char *older, const char *newer)
{
    int level = SSL_CTX_get_security_level(ctx), rc = 0;

    ERR_clear_error();
    if (*older)
        memcpy(older + strlen(older), NEVER, sizeof NEVER);
    if (*older && !SSL_CTX_set_cipher_list(ctx, older))
        rc = tell_failure("the ciphers of TLS 1.2");
    if (SSL_CTX_get_security_level(ctx) < level)
        SSL_CTX_set_security_level(ctx, level);
    if (rc == 0 && *newer && !SSL_CTX_set_ciphersuites(ctx, newer))
        rc = tell_failure("the ciphers of TLS 1.3");
    return rc;
}

int weir_tls_config_ciphers(weir_tls_config *c, const char *ciphers)
{
    int rc = ciphers ? config_changeable(c) : -EINVAL;

    if (rc < 0)
        return rc;
    size_t size = strlen(ciphers) + sizeof NEVER;
    char *older = sys_alloc(size), *newer = sys_alloc(size);
    rc = -ENOMEM;
    if (older && newer) {
        pick(ciphers, false, older);
        pick(ciphers, true, newer);
        rc = *older || *newer ? set_ciphers(c->ctx, older, newer)
                              : story_tell(-EINVAL, "no cipher is named");
    }
    free(older);
    free(newer);
    return rc;
}

/* ---- application protocols ------------------------------------------------------------------- */

/* Fills in what is on the wire: 0 or -EINVAL. */
static int write_protocols(const char *protocols, unsigned char *into)
{
    for (size_t len;; protocols += len + 1) {
        len = strcspn(protocols, ",");
        if (len == 0 || len > 255)
            return story_tell(-EINVAL, "an application protocol has a name of 1 to 255 bytes");
        *into++ = (unsigned char)len;
        memcpy(into, protocols, len);
        into += len;
        if (!protocols[len])
            return 0;
    }
}

/* A server takes what it likes best. */
static int select_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                           const unsigned char *offered, unsigned offered_len, void *unused)
{
    const struct blob *ours = &tls_of(ssl)->config->alpn;
    unsigned char *found;

    (void)unused;
    if (SSL_select_next_proto(&found, ret_len, ours->bytes, (unsigned)ours->len, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = found;
    return SSL_TLSEXT_ERR_OK;
}

#define PROTOCOLS_MAX 65535

int weir_tls_config_alpn(weir_tls_config *c, const char *protocols)
{
    int rc = protocols ? config_changeable(c) : -EINVAL;
    struct blob alpn = {.len = protocols ? strlen(protocols) + 1 : 0};

    if (rc < 0)
        return rc;
    if (alpn.len > PROTOCOLS_MAX)
        return story_tell(-EINVAL, "application protocols of %zu bytes are too many", alpn.len);
    alpn.bytes = sys_alloc(alpn.len);
    if (!alpn.bytes)
        return -ENOMEM;
    rc = write_protocols(protocols, alpn.bytes);
    if (rc == 0 && SSL_CTX_set_alpn_protos(c->ctx, alpn.bytes, (unsigned)alpn.len) != 0)
        rc = -ENOMEM;
    if (rc < 0) {
        blob_wipe(&alpn);
        return rc;
    }
    blob_wipe(&c->alpn);
    c->alpn = alpn;
    SSL_CTX_set_alpn_select_cb(c->ctx, select_protocol, NULL);
    return 0;
}

/* ---- secrets --------------------------------------------------------------------------------- */

#define SECRET_LINE_MAX 512

/* One write(2) per line, so that those of several processes do not mix. */
static void log_secret(const SSL *ssl, const char *line)
{
    char text[SECRET_LINE_MAX];
    int len = snprintf(text, sizeof text, "%s\n", line);

    if (len > 0 && (size_t)len < sizeof text)
        (void)sys_write(tls_of(ssl)->config->keys_fd, text, (size_t)len);
    OPENSSL_cleanse(text, sizeof text);
}

int weir_tls_config_log_keys(weir_tls_config *c, const char *path)
{
    char name[FILE_NAME_MAX];
    int fd, rc = path ? config_changeable(c) : -EINVAL;

    if (rc < 0)
        return rc;
    fd = sys_create(path, O_WRONLY | O_APPEND | O_NOCTTY, 0600);
    if (fd < 0)
        return story_tell(fd, "cannot open %s: %s", pem_name(path, name), weir_strerror(fd));
    sys_close(c->keys_fd);
    c->keys_fd = fd;
    SSL_CTX_set_keylog_callback(c->ctx, log_secret);
    return 0;
}
