/* Certificates and configurations of the rows with TLS. */
#include "support/rig_private.h"

#ifdef HAVE_TLS

#include "support/pki.h"

int rig_prepare(const struct transport *transport)
{
    if (transport->tls_version)
        (void)pki_standard();
    return 0;
}

void rig_unprepare(void)
{
    pki_end();
}

/* One for both ends: who trusts the authority, and has the server's certificate. */
void tls_begin(struct rig *rig)
{
    int version = rig->transport->tls_version;
    if (!version)
        return;
    const struct pki_standard *pki = pki_standard();
    EXPECT(weir_tls_config_open(&rig->tls), 0);
    EXPECT(weir_tls_config_trust_memory(rig->tls, pki->ca_pem, strlen(pki->ca_pem)), 0);
    EXPECT(weir_tls_config_certificate_memory(rig->tls, pki->server_pem, strlen(pki->server_pem),
                                              pki->server_key_pem, strlen(pki->server_key_pem)),
           0);
    EXPECT(weir_tls_config_versions(rig->tls, version, version), 0);
    rig->tls_name = "server.test";
}

#else

int rig_prepare(const struct transport *transport)
{
    return transport->tls_version ? -EPROTONOSUPPORT : 0;
}

void rig_unprepare(void)
{
}

void tls_begin(struct rig *rig)
{
    rig->tls = NULL;
}

#endif

void tls_end(struct rig *rig)
{
    EXPECT(weir_tls_config_close(rig->tls), 0);
}
