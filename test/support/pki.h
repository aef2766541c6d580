/* Certificates for tests: authorities, chains, revocation lists and OCSP responses, good and bad,
 * made on the spot.
 *
 *     const struct pki_standard *pki = pki_standard();
 *     weir_tls_config_trust_memory(config, pki->ca_pem, strlen(pki->ca_pem));
 *
 * or one by one:
 *
 *     pki_cert *ca = PKI_CERT(.ca = true, .subject = "/CN=Root");
 *     pki_cert *old = PKI_CERT(.issuer = ca, .subject = "/CN=old.test", .san = "DNS:old.test",
 *                              .from_days = -10, .to_days = -1);
 *     pki_pem(old, NULL); pki_key_pem(old);
 *
 * Everything that is handed out, texts and files included, stays until pki_end. One thread at a
 * time. What cannot be made ends the program, after telling where. */
#ifndef PKI_H
#define PKI_H

#include <stdbool.h>
#include <stddef.h>

/* OpenSSL's X509 and EVP_PKEY, for those who include it. */
struct x509_st;
struct evp_pkey_st;

typedef struct pki_cert {
    struct x509_st *x509;
    struct evp_pkey_st *key;
    struct pki_cert *next;
} pki_cert;

/* EC keys are fresh for each certificate; of the others, which take long, there is one of each kind
 * in the process. */
enum pki_key { PKI_EC, PKI_RSA_2048, PKI_RSA_1024, PKI_ED25519 };

/* Bytes that may hold zeros; there is a '\0' behind them. */
struct pki_bytes {
    const char *bytes;
    size_t len;
};

/* What is not named has its default. Extensions are in the words of x509v3_config(5ssl), NULL being
 * the default and "" none; "critical," may come first. In subjects and SANs "\\0" stands for a zero
 * byte. */
struct pki_spec {
    const pki_cert *issuer;  /* NULL: itself */
    const pki_cert *signer;  /* whose key signs; NULL: the issuer's */
    const pki_cert *same_as; /* has the key of that one */
    enum pki_key key;
    const char *subject;     /* "/O=Weir/CN=server.test"; NULL or "": empty */
    const char *issuer_name; /* as it is written into the certificate; NULL: the issuer's subject */
    const char *san;         /* "DNS:server.test,IP:127.0.0.1"; "EMPTY" for a list of nothing */
    bool ca;
    const char *basic;       /* basicConstraints; default: "critical,CA:TRUE" if .ca */
    const char *usage;       /* keyUsage; default: "critical,digitalSignature", or for a CA
                                "critical,keyCertSign,cRLSign" */
    const char *purpose;     /* extendedKeyUsage; default: "serverAuth" unless .ca */
    const char *constraints; /* nameConstraints */
    const char *extension;   /* one more, "NAME=VALUE", "1.2.3.4=critical,DER:0500" */
    int from_days, to_days;  /* from now on; 0 and 0: from -1 to 365 */
    const char *digest;      /* "SHA1"; default: what suits the key that signs */
    int version;             /* 1 or 3; 1 has no extensions. Default: 3 */
    const char *serial;      /* hexadecimal, "-" for negative ones; default: random */
    bool broken;             /* a bit of the signature is wrong */
};

pki_cert *pki_make(const struct pki_spec *spec);
#define PKI_CERT(...) pki_make(&(const struct pki_spec){__VA_ARGS__})

/* Every CERTIFICATE up to NULL, PEM, one after the other: PKI_PEM(leaf, intermediate). */
const char *pki_pem(const pki_cert *first, ...) __attribute__((sentinel));
#define PKI_PEM(...) pki_pem(__VA_ARGS__, (const pki_cert *)NULL)

const char *pki_key_pem(const pki_cert *c);
/* The same, encrypted with "secret". */
const char *pki_key_pem_encrypted(const pki_cert *c);
/* A TRUSTED CERTIFICATE, as OpenSSL calls it, marked as rejected for servers and clients. */
const char *pki_pem_rejected(const pki_cert *c);
struct pki_bytes pki_der(const pki_cert *c);

/* ---- revocation ----------------------------------------------------------------------------- */

struct pki_crl_spec {
    const pki_cert *issuer;
    const pki_cert *signer;     /* whose key signs; NULL: the issuer's */
    const pki_cert *revoked[4]; /* up to the first NULL */
    int from_days, to_days;     /* 0 and 0: from -1 to 30 */
    bool broken;
};

/* PEM. */
const char *pki_crl(const struct pki_crl_spec *spec);
#define PKI_CRL(...) pki_crl(&(const struct pki_crl_spec){__VA_ARGS__})

enum pki_status { PKI_GOOD, PKI_REVOKED, PKI_UNKNOWN };

struct pki_ocsp_spec {
    const pki_cert *cert;   /* whom it is about */
    const pki_cert *issuer; /* of `cert` */
    const pki_cert *signer; /* who answers; NULL: the issuer */
    enum pki_status status;
    int from_days, to_days; /* 0 and 0: from -1 to 30 */
    bool broken;
    bool refused; /* no answer but "try later" */
};

/* DER. */
struct pki_bytes pki_ocsp(const struct pki_ocsp_spec *spec);
#define PKI_OCSP(...) pki_ocsp(&(const struct pki_ocsp_spec){__VA_ARGS__})

/* ---- files ---------------------------------------------------------------------------------- */

/* Writes a file of that name in a directory of the process's own, which goes with pki_end; a path.
 * A file that is there already is written anew. */
const char *pki_file(const char *name, const void *content, size_t len);
const char *pki_text_file(const char *name, const char *text);

/* A directory of certificates named by their hashes, in which there is `c` only. */
const char *pki_hashed_directory(const pki_cert *c);

/* ---- what most tests want ------------------------------------------------------------------- */

/* An authority; a server with the names server.test and *.wild.test and the addresses 127.0.0.1 and
 * ::1, signed by an intermediate, which its chain has; a client, signed by the authority. The same
 * in each call, until pki_end. */
struct pki_standard {
    const pki_cert *ca, *intermediate, *server, *client;
    const char *ca_pem, *server_pem, *server_key_pem, *client_pem, *client_key_pem;
    const char *ca_file, *server_file, *server_key_file, *client_file, *client_key_file;
};
const struct pki_standard *pki_standard(void);

/* Frees everything but the keys of which there is one, removes the files. */
void pki_end(void);

#endif
