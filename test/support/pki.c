#include "support/pki_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kept {
    struct kept *next;
    max_align_t bytes[];
};

struct made_file {
    struct made_file *next;
    bool directory;
    char path[];
};

static struct kept *kept;
static struct made_file *files; /* the last first, so what is in a directory before it */
static const char *directory;
static pid_t owner; /* of the directory */
static pki_cert *certs;
static EVP_PKEY *shared_keys[PKI_ED25519 + 1];
static struct pki_standard *standard;

void pki_give_up(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s (%s)\n", file, line, what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- what stays until the end ---------------------------------------------------------------- */

void *pki_keep(size_t size)
{
    struct kept *k = calloc(1, sizeof *k + size);
    PKI_MUST(k != NULL);
    k->next = kept;
    kept = k;
    return k->bytes;
}

struct pki_bytes pki_keep_bio(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    PKI_MUST(len >= 0);
    char *copy = pki_keep((size_t)len + 1);
    memcpy(copy, data, (size_t)len);
    BIO_free(bio);
    return (struct pki_bytes){copy, (size_t)len};
}

static BIO *memory(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PKI_MUST(bio != NULL);
    return bio;
}

/* A child that was forked leaves the files to its parent. */
static void remove_files(void)
{
    while (files) {
        struct made_file *f = files;
        files = f->next;
        if (owner == getpid())
            f->directory ? rmdir(f->path) : unlink(f->path);
        free(f);
    }
    directory = NULL;
}

/* Also of a test that gives up. */
static void remove_at_exit(void)
{
    static bool arranged;
    if (!arranged)
        PKI_MUST(atexit(remove_files) == 0);
    arranged = true;
    owner = getpid();
}

void pki_end(void)
{
    remove_files();
    while (certs) {
        pki_cert *c = certs;
        certs = c->next;
        X509_free(c->x509);
        EVP_PKEY_free(c->key);
        free(c);
    }
    while (kept) {
        struct kept *k = kept;
        kept = k->next;
        free(k);
    }
    standard = NULL;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static EVP_PKEY *key_new(enum pki_key kind)
{
    EVP_PKEY *key = kind == PKI_EC         ? EVP_EC_gen("P-256")
                    : kind == PKI_RSA_2048 ? EVP_RSA_gen(2048)
                    : kind == PKI_RSA_1024 ? EVP_RSA_gen(1024)
                                           : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    PKI_MUST(key != NULL);
    return key;
}

static EVP_PKEY *key_get(const struct pki_spec *spec)
{
    if (!spec->same_as && spec->key == PKI_EC)
        return key_new(PKI_EC);
    if (!spec->same_as && !shared_keys[spec->key])
        shared_keys[spec->key] = key_new(spec->key);
    EVP_PKEY *key = spec->same_as ? spec->same_as->key : shared_keys[spec->key];
    EVP_PKEY_up_ref(key);
    return key;
}

const EVP_MD *pki_digest(const EVP_PKEY *key, const char *digest)
{
    if (EVP_PKEY_is_a(key, "ED25519"))
        return NULL;
    const EVP_MD *md = EVP_get_digestbyname(digest ? digest : "SHA256");
    PKI_MUST(md != NULL);
    return md;
}

void pki_break(const ASN1_BIT_STRING *signature)
{
    /* The last byte belongs to a number, whatever the kind of the key: the form stays right. */
    unsigned char *bytes = (unsigned char *)(uintptr_t)ASN1_STRING_get0_data(signature);
    bytes[ASN1_STRING_length(signature) - 1] ^= 1;
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* Copies `text` up to `end`; "\0" in it becomes a zero byte. */
static struct pki_bytes unescape(const char *text, const char *end)
{
    char *copy = pki_keep((size_t)(end - text) + 1);
    size_t len = 0;
    while (text < end) {
        bool zero = text[0] == '\\' && text + 1 < end && text[1] == '0';
        copy[len++] = zero ? '\0' : *text;
        text += zero ? 2 : 1;
    }
    return (struct pki_bytes){copy, len};
}

/* "/O=Weir/CN=server.test" */
static void name_fill(X509_NAME *name, const char *text)
{
    while (text && *text) {
        const char *field = text + 1, *value = strchr(field, '=');
        PKI_MUST(*text == '/' && value != NULL);
        const char *end = value + strcspn(value, "/");
        struct pki_bytes type = unescape(field, value), content = unescape(value + 1, end);
        PKI_MUST(X509_NAME_add_entry_by_txt(name, type.bytes, MBSTRING_UTF8,
                                            (const unsigned char *)content.bytes, (int)content.len,
                                            -1, 0));
        text = end;
    }
}

static GENERAL_NAME *general_name(const char *text, const char *end)
{
    static const struct {
        const char *prefix;
        int type;
    } kinds[] = {{"DNS:", GEN_DNS}, {"email:", GEN_EMAIL}, {"URI:", GEN_URI}, {"IP:", GEN_IPADD}};
    size_t kind = 0;
    while (strncmp(text, kinds[kind].prefix, strlen(kinds[kind].prefix)) != 0)
        PKI_MUST(++kind < sizeof kinds / sizeof *kinds);

    struct pki_bytes value = unescape(text + strlen(kinds[kind].prefix), end);
    ASN1_OCTET_STRING *content;
    if (kinds[kind].type == GEN_IPADD) {
        content = a2i_IPADDRESS(value.bytes);
        PKI_MUST(content != NULL);
    } else {
        content = ASN1_STRING_type_new(V_ASN1_IA5STRING);
        PKI_MUST(content && ASN1_STRING_set(content, value.bytes, (int)value.len));
    }
    GENERAL_NAME *name = GENERAL_NAME_new();
    PKI_MUST(name != NULL);
    GENERAL_NAME_set0_value(name, kinds[kind].type, content);
    return name;
}

static void add_san(X509 *x509, const char *text)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    PKI_MUST(names != NULL);
    if (strcmp(text, "EMPTY") == 0)
        text = "";
    while (*text) {
        const char *end = text + strcspn(text, ",");
        PKI_MUST(sk_GENERAL_NAME_push(names, general_name(text, end)) > 0);
        text = *end ? end + 1 : end;
    }
    PKI_MUST(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) == 1);
    GENERAL_NAMES_free(names);
}

static void add_extension(X509 *x509, const pki_cert *issuer, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer->x509, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf(NULL, &ctx, name, value);
    PKI_MUST(extension && X509_add_ext(x509, extension, -1));
    X509_EXTENSION_free(extension);
}

static const char *or_default(const char *text, const char *other)
{
    return text ? text : other;
}

static void add_extensions(X509 *x509, const pki_cert *issuer, const struct pki_spec *spec)
{
    const char *usage = spec->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature";
    add_extension(x509, issuer, "basicConstraints",
                  or_default(spec->basic, spec->ca ? "critical,CA:TRUE" : ""));
    add_extension(x509, issuer, "keyUsage", or_default(spec->usage, usage));
    add_extension(x509, issuer, "extendedKeyUsage",
                  or_default(spec->purpose, spec->ca ? "" : "serverAuth"));
    add_extension(x509, issuer, "nameConstraints", spec->constraints);
    add_extension(x509, issuer, "subjectKeyIdentifier", "hash");
    if (spec->issuer && X509_get0_subject_key_id(issuer->x509))
        add_extension(x509, issuer, "authorityKeyIdentifier", "keyid:always");
    if (spec->san)
        add_san(x509, spec->san);
    if (spec->extension) {
        const char *equals = strchr(spec->extension, '=');
        PKI_MUST(equals != NULL);
        add_extension(x509, issuer, unescape(spec->extension, equals).bytes, equals + 1);
    }
}

static void set_serial(X509 *x509, const char *hex)
{
    BIGNUM *number = NULL;
    if (hex) {
        PKI_MUST(BN_hex2bn(&number, hex) > 0);
    } else {
        number = BN_new();
        PKI_MUST(number && BN_rand(number, 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY));
    }
    PKI_MUST(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != NULL);
    BN_free(number);
}

static void set_dates(X509 *x509, const struct pki_spec *spec)
{
    bool named = spec->from_days || spec->to_days;
    PKI_MUST(X509_time_adj_ex(X509_getm_notBefore(x509), named ? spec->from_days : -1, 0, NULL) &&
             X509_time_adj_ex(X509_getm_notAfter(x509), named ? spec->to_days : 365, 0, NULL));
}

pki_cert *pki_make(const struct pki_spec *spec)
{
    pki_cert *c = calloc(1, sizeof *c);
    PKI_MUST(c != NULL);
    c->next = certs;
    certs = c;
    c->key = key_get(spec);
    c->x509 = X509_new();
    PKI_MUST(c->x509 != NULL);

    const pki_cert *issuer = spec->issuer ? spec->issuer : c;
    const pki_cert *signer = spec->signer ? spec->signer : issuer;
    int version = spec->version ? spec->version : 3;
    PKI_MUST(X509_set_version(c->x509, version - 1) && X509_set_pubkey(c->x509, c->key));
    set_serial(c->x509, spec->serial);
    set_dates(c->x509, spec);
    name_fill(X509_get_subject_name(c->x509), spec->subject);
    if (spec->issuer_name)
        name_fill(X509_get_issuer_name(c->x509), spec->issuer_name);
    else
        PKI_MUST(X509_set_issuer_name(c->x509, X509_get_subject_name(issuer->x509)));
    if (version >= 3)
        add_extensions(c->x509, issuer, spec);

    PKI_MUST(X509_sign(c->x509, signer->key, pki_digest(signer->key, spec->digest)) > 0);
    if (spec->broken) {
        const ASN1_BIT_STRING *signature;
        X509_get0_signature(&signature, NULL, c->x509);
        pki_break(signature);
    }
    return c;
}

/* ---- as texts -------------------------------------------------------------------------------- */

const char *pki_pem(const pki_cert *first, ...)
{
    BIO *bio = memory();
    va_list others;
    va_start(others, first);
    for (const pki_cert *c = first; c; c = va_arg(others, const pki_cert *))
        PKI_MUST(PEM_write_bio_X509(bio, c->x509));
    va_end(others);
    return pki_keep_bio(bio).bytes;
}

const char *pki_key_pem(const pki_cert *c)
{
    BIO *bio = memory();
    PKI_MUST(PEM_write_bio_PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL));
    return pki_keep_bio(bio).bytes;
}

const char *pki_key_pem_encrypted(const pki_cert *c)
{
    BIO *bio = memory();
    char secret[] = "secret";
    PKI_MUST(PEM_write_bio_PKCS8PrivateKey(bio, c->key, EVP_aes_128_cbc(), secret,
                                           (int)strlen(secret), NULL, NULL));
    return pki_keep_bio(bio).bytes;
}

const char *pki_pem_rejected(const pki_cert *c)
{
    BIO *bio = memory();
    X509 *copy = X509_dup(c->x509);
    PKI_MUST(copy && X509_add1_reject_object(copy, OBJ_nid2obj(NID_server_auth)) &&
             X509_add1_reject_object(copy, OBJ_nid2obj(NID_client_auth)) &&
             PEM_write_bio_X509_AUX(bio, copy));
    X509_free(copy);
    return pki_keep_bio(bio).bytes;
}

struct pki_bytes pki_der(const pki_cert *c)
{
    BIO *bio = memory();
    PKI_MUST(i2d_X509_bio(bio, c->x509));
    return pki_keep_bio(bio);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Notes what is to be removed, once; a path that stays. */
static const char *note_file(const char *path, bool is_directory)
{
    for (struct made_file *f = files; f; f = f->next) {
        if (strcmp(f->path, path) == 0)
            return f->path;
    }
    struct made_file *f = calloc(1, sizeof *f + strlen(path) + 1);
    PKI_MUST(f != NULL);
    memcpy(f->path, path, strlen(path) + 1);
    f->directory = is_directory;
    f->next = files;
    files = f;
    return f->path;
}

/* DIRECTORY/NAME, kept. */
static const char *path_of(const char *parent, const char *name)
{
    size_t size = strlen(parent) + strlen(name) + 2;
    char *path = pki_keep(size);
    snprintf(path, size, "%s/%s", parent, name);
    return path;
}

static const char *own_directory(void)
{
    if (!directory) {
        const char *parent = getenv("TMPDIR");
        char *path = pki_keep(4096);
        snprintf(path, 4096, "%s/weir-pki-XXXXXX", parent && *parent ? parent : "/tmp");
        PKI_MUST(mkdtemp(path) != NULL);
        remove_at_exit();
        directory = note_file(path, true);
    }
    return directory;
}

static const char *write_file(const char *path, const void *content, size_t len)
{
    FILE *f = fopen(path, "we");
    PKI_MUST(f != NULL);
    PKI_MUST(fwrite(content, 1, len, f) == len);
    PKI_MUST(fclose(f) == 0);
    return note_file(path, false);
}

const char *pki_file(const char *name, const void *content, size_t len)
{
    return write_file(path_of(own_directory(), name), content, len);
}

const char *pki_text_file(const char *name, const char *text)
{
    return pki_file(name, text, strlen(text));
}

const char *pki_hashed_directory(const pki_cert *c)
{
    char name[32];
    snprintf(name, sizeof name, "hashed-%08lx",
             X509_NAME_hash_ex(X509_get_subject_name(c->x509), NULL, NULL, NULL));
    const char *path = path_of(own_directory(), name), *pem = PKI_PEM(c);
    PKI_MUST(mkdir(path, 0700) == 0 || errno == EEXIST);
    path = note_file(path, true);
    snprintf(name, sizeof name, "%s.0", strrchr(path, '-') + 1);
    write_file(path_of(path, name), pem, strlen(pem));
    return path;
}

/* ---- what most tests want -------------------------------------------------------------------- */

static void standard_certs(struct pki_standard *s)
{
    s->ca = PKI_CERT(.ca = true, .subject = "/O=Weir/CN=Test Root");
    s->intermediate = PKI_CERT(.issuer = s->ca, .ca = true, .basic = "critical,CA:TRUE,pathlen:0",
                               .subject = "/O=Weir/CN=Test Intermediate");
    s->server = PKI_CERT(.issuer = s->intermediate, .subject = "/O=Weir/CN=server.test",
                         .san = "DNS:server.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1");
    s->client = PKI_CERT(.issuer = s->ca, .subject = "/O=Weir/CN=client.test",
                         .san = "DNS:client.test", .purpose = "clientAuth");
}

const struct pki_standard *pki_standard(void)
{
    if (standard)
        return standard;
    struct pki_standard *s = standard = pki_keep(sizeof *s);
    standard_certs(s);
    s->ca_pem = PKI_PEM(s->ca);
    s->server_pem = PKI_PEM(s->server, s->intermediate);
    s->server_key_pem = pki_key_pem(s->server);
    s->client_pem = PKI_PEM(s->client);
    s->client_key_pem = pki_key_pem(s->client);
    s->ca_file = pki_text_file("ca.pem", s->ca_pem);
    s->server_file = pki_text_file("server.pem", s->server_pem);
    s->server_key_file = pki_text_file("server.key", s->server_key_pem);
    s->client_file = pki_text_file("client.pem", s->client_pem);
    s->client_key_file = pki_text_file("client.key", s->client_key_pem);
    return s;
}
