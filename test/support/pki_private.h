/* What the files of pki share. */
#ifndef PKI_PRIVATE_H
#define PKI_PRIVATE_H

#include "support/pki.h"

#include <openssl/x509.h>
#include <time.h>

/* What has to work. */
#define PKI_MUST(condition) ((condition) ? (void)0 : pki_give_up(__FILE__, __LINE__, #condition))
_Noreturn void pki_give_up(const char *file, int line, const char *what);

/* Room that stays until pki_end, filled with zeros. */
void *pki_keep(size_t size);
/* What is in a memory BIO, kept; frees the BIO. */
struct pki_bytes pki_keep_bio(BIO *bio);

/* What `key` signs with. */
const EVP_MD *pki_digest(const EVP_PKEY *key, const char *digest);
/* Makes a signature wrong. */
void pki_break(const ASN1_BIT_STRING *signature);

#endif
