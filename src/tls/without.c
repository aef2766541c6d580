/* A build without TLS: the calls are there and say so. */
#include "../socket.h"
#include "../story.h"
#include "tls.h"

static int without(void)
{
    return story_tell(-EPROTONOSUPPORT, "weir was built without TLS");
}

#define WITHOUT(name, ...)                                                                         \
    int name(__VA_ARGS__)                                                                          \
    {                                                                                              \
        return without();                                                                          \
    }

/* NOLINTBEGIN(misc-unused-parameters): all of them */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
WITHOUT(weir_tls_config_open, weir_tls_config **ret)
WITHOUT(weir_tls_config_trust_system, weir_tls_config *c)
WITHOUT(weir_tls_config_trust_file, weir_tls_config *c, const char *path)
WITHOUT(weir_tls_config_trust_directory, weir_tls_config *c, const char *path)
WITHOUT(weir_tls_config_trust_memory, weir_tls_config *c, const void *pem, size_t len)
WITHOUT(weir_tls_config_revoked_file, weir_tls_config *c, const char *path)
WITHOUT(weir_tls_config_revoked_memory, weir_tls_config *c, const void *pem, size_t len)
WITHOUT(weir_tls_config_require_staple, weir_tls_config *c)
WITHOUT(weir_tls_config_trust_anyone_insecurely, weir_tls_config *c)
WITHOUT(weir_tls_config_certificate_files, weir_tls_config *c, const char *chain, const char *key)
WITHOUT(weir_tls_config_certificate_memory, weir_tls_config *c, const void *chain, size_t chain_len,
        const void *key, size_t key_len)
WITHOUT(weir_tls_config_certificate_choose, weir_tls_config *c, weir_tls_choose *choose, void *arg)
WITHOUT(weir_tls_config_staple_file, weir_tls_config *c, const char *path)
WITHOUT(weir_tls_config_staple_memory, weir_tls_config *c, const void *der, size_t len)
WITHOUT(weir_tls_config_ask_client, weir_tls_config *c, weir_tls_client what)
WITHOUT(weir_tls_config_versions, weir_tls_config *c, int min, int max)
WITHOUT(weir_tls_config_ciphers, weir_tls_config *c, const char *ciphers)
WITHOUT(weir_tls_config_alpn, weir_tls_config *c, const char *protocols)
WITHOUT(weir_tls_config_resume, weir_tls_config *c, bool on)
WITHOUT(weir_tls_config_log_keys, weir_tls_config *c, const char *path)
WITHOUT(weir_set_tls, weir_socket *s, weir_tls_config *c, const char *name)
WITHOUT(weir_handshake, weir_socket *s)
WITHOUT(weir_tls_info, weir_socket *s, weir_tls_state *ret)
WITHOUT(tls_check_server, weir_tls_config *c)
WITHOUT(tls_listen, weir_socket *s)
WITHOUT(tls_accepted, weir_socket *s, const weir_socket *listener)
WITHOUT(tls_aim, weir_socket *s, const char *host, const weir_address *to)
WITHOUT(tls_handshake, weir_socket *s)

weir_tls_config *weir_tls_config_ref(weir_tls_config *c)
{
    return c;
}

int weir_tls_config_close(weir_tls_config *c)
{
    return 0;
}

ssize_t weir_tls_peer_chain(weir_socket *s, char *buf, size_t size)
{
    return without();
}

void tls_free(struct tls *t)
{
}

char *tls_take_story(struct tls *t)
{
    return NULL;
}

void tls_reset(struct tls *t)
{
}

void tls_silence(struct tls *t)
{
}

void tls_release(struct tls *t)
{
}

void tls_goodbye(weir_socket *s)
{
}

bool tls_inherited(const struct tls *t)
{
    return false;
}
#pragma GCC diagnostic pop
/* NOLINTEND(misc-unused-parameters) */

/* No socket ever gets it. */
const struct layer_ops layer_tls = {.recv = NULL};
