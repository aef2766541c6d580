/* make_pki DIRECTORY: writes certificates for the scripts that test TLS into a directory that is
 * there: NAME.pem, the chain, and NAME.key for each of
 *
 *     ca            the authority that signs all but the last
 *     server        for server.test, localhost, *.wild.test, 127.0.0.1 and ::1
 *     client        for clients
 *     expired       as server, of last week
 *     wrong-name    as server, for other.test
 *     unknown       as server, by an authority that nobody knows
 *     revoked       as server; crl.pem says that it is revoked
 */
#include "support/pki.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES "DNS:server.test,DNS:localhost,DNS:*.wild.test,IP:127.0.0.1,IP:::1"

static const char *directory;

static void write_text(const char *name, const char *suffix, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", directory, name, suffix);
    mode_t mode = strcmp(suffix, "key") == 0 ? 0600 : 0644;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    size_t len = strlen(text);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len || close(fd) != 0) {
        perror(path);
        exit(1);
    }
}

/* `above` is what the chain has above `c`; NULL: nothing. */
static void write_chain(const char *name, const pki_cert *c, const pki_cert *above)
{
    write_text(name, "pem", PKI_PEM(c, above));
    write_text(name, "key", pki_key_pem(c));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_pki DIRECTORY\n");
        return 2;
    }
    directory = argv[1];

    pki_cert *root = PKI_CERT(.ca = true, .subject = "/O=Weir/CN=Test Root");
    pki_cert *other = PKI_CERT(.ca = true, .subject = "/O=Weir/CN=Unknown Root");
    pki_cert *middle =
        PKI_CERT(.issuer = root, .ca = true, .subject = "/O=Weir/CN=Test Intermediate");
    pki_cert *revoked = PKI_CERT(.issuer = middle, .subject = "/CN=server.test", .san = NAMES);
    write_chain("ca", root, NULL);
    write_chain("server", PKI_CERT(.issuer = middle, .subject = "/CN=server.test", .san = NAMES),
                middle);
    write_chain("client",
                PKI_CERT(.issuer = root, .subject = "/CN=client.test", .purpose = "clientAuth"),
                NULL);
    write_chain("expired",
                PKI_CERT(.issuer = middle, .subject = "/CN=server.test", .san = NAMES,
                         .from_days = -14, .to_days = -7),
                middle);
    write_chain("wrong-name",
                PKI_CERT(.issuer = middle, .subject = "/CN=other.test", .san = "DNS:other.test"),
                middle);
    write_chain("unknown", PKI_CERT(.issuer = other, .subject = "/CN=server.test", .san = NAMES),
                NULL);
    write_chain("revoked", revoked, middle);
    write_text("crl", "pem", PKI_CRL(.issuer = middle, .revoked = {revoked}));
    pki_end();
    return 0;
}
