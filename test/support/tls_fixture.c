#include "support/tls_fixture.h"

#include <string.h>

weir_tls_config *config;
pki_cert *root;

int tls_fixture_open(void **state)
{
    (void)state;
    return weir_tls_config_open(&config);
}

int tls_fixture_close(void **state)
{
    (void)state;
    return weir_tls_config_close(config);
}

int add_memory(const char *chain, const char *key)
{
    return weir_tls_config_certificate_memory(config, chain, strlen(chain), key, strlen(key));
}

void check_story(const char *words)
{
    char story[1024];

    weir_error_detail(NULL, story, sizeof story);
    if (!strstr(story, words))
        fail_msg("\"%s\" is not in \"%s\"", words, story);
}

int tls_fixture_make_root(void **state)
{
    (void)state;
    root = PKI_CERT(.ca = true, .subject = "/CN=Root");
    return 0;
}

int tls_fixture_end(void **state)
{
    (void)state;
    pki_end();
    return 0;
}

weir_tls_config *client_of_root(void)
{
    const char *pem = PKI_PEM(root);
    weir_tls_config *c;

    assert_int_equal(weir_tls_config_open(&c), 0);
    assert_int_equal(weir_tls_config_trust_memory(c, pem, strlen(pem)), 0);
    return c;
}
