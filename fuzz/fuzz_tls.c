/* What a peer says to a socket with TLS: the input is its side of the stream, from the first byte
 * on. Whatever it is, every call ends as the header says, an error stays, a clean end stays, and
 * nothing is received but what came by TLS.
 *
 * The first byte chooses the socket's role and version, how much comes at a time and how it ends.
 * Randomness is the same for each input, and so are the keys: a session that was recorded once goes
 * to its end again. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <errno.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <weir.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- keys for this and nothing else ---------------------------------------------------------- */

static const char ca_pem[] = "-----BEGIN CERTIFICATE-----\n"
                             "MIIBhTCCASugAwIBAgIUfhp72nSdTCp/IUKiZ/9/7SUMRx4wCgYIKoZIzj0EAwIw\n"
                             "DzENMAsGA1UEAwwERnV6ejAgFw0yNjExMjIyMzQzMDJaGA8yMTI1MDYxNjIzNDMw\n"
                             "MlowDzENMAsGA1UEAwwERnV6ejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOIR\n"
                             "JlqVWmXzF+c/VXTlEr2ujEpC0qAcCuqi3IyUrTlpMNfugf2DsM56OPGr4mdcWJDl\n"
                             "VrsTxxqkGQcLgcuS7AejYzBhMB0GA1UdDgQWBBRSFDbxnjfnWT4drevSu5eFqtrV\n"
                             "vTAfBgNVHSMEGDAWgBRSFDbxnjfnWT4drevSu5eFqtrVvTAPBgNVHRMBAf8EBTAD\n"
                             "AQH/MA4GA1UdDwEB/wQEAwICBDAKBggqhkjOPQQDAgNIADBFAiEAyLSVrcWj33lX\n"
                             "53G1ZGTsPQM6Vub/RQe7n5kjwA3WafYCIA5NO8p2+LuGe96VbeBKpy/ONaZ32iQe\n"
                             "8NyBasFACyZ9\n"
                             "-----END CERTIFICATE-----\n";

static const char server_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBlTCCATugAwIBAgIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARGdXp6MCAX\n"
    "DTI2MTEyMjIzNDMwMloYDzIxMjUwNjE1MjM0MzAyWjAWMRQwEgYDVQQDDAtzZXJ2\n"
    "ZXIudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAHIk67I/kVEssY5/MhB\n"
    "kYvdsS3KMuwHoldd57/RJ5uFMQbMZCIBFuLm777C+pYZGN0ikZhtM6klpikHjgqD\n"
    "moqjfzB9MBYGA1UdEQQPMA2CC3NlcnZlci50ZXN0MA4GA1UdDwEB/wQEAwIHgDAT\n"
    "BgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUvJvEhWzBMFUEfHSpgDQ5pLWG\n"
    "bEQwHwYDVR0jBBgwFoAUUhQ28Z4351k+Ha3r0ruXhara1b0wCgYIKoZIzj0EAwID\n"
    "SAAwRQIhAIJ9nWcd2Ugcr7jx56dPV1Kgp2jpTgBGA4RAZBhPDT/3AiAT6dVxm5/c\n"
    "ABixBkITq51eZePXtHfG8N45Xt+13Ru1dQ==\n"
    "-----END CERTIFICATE-----\n";

static const char server_key_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg02reKYQXxuilgIJF\n"
    "oM/6SvI0seK7ev/uSBRXMHL3cQWhRANCAAQByJOuyP5FRLLGOfzIQZGL3bEtyjLs\n"
    "B6JXXee/0SebhTEGzGQiARbi5u++wvqWGRjdIpGYbTOpJaYpB44Kg5qK\n"
    "-----END PRIVATE KEY-----\n";

/* ---- the same randomness, always ------------------------------------------------------------- */

static uint64_t random_state;

static int random_bytes(unsigned char *bytes, int len)
{
    for (int i = 0; i < len; i++) {
        random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes[i] = (unsigned char)(random_state >> 56);
    }
    return 1;
}

static int random_status(void)
{
    return 1;
}

static const RAND_METHOD not_random = {
    .bytes = random_bytes, .pseudorand = random_bytes, .status = random_status};

/* ---- the socket ------------------------------------------------------------------------------ */

#define ROLE_SERVER  1
#define ONLY_1_2     2
#define PIECES(byte) ((byte) >> 2 & 3)
#define VANISHES     16

static weir_tls_config *config_of(bool server, bool only_1_2)
{
    weir_tls_config *c;

    random_state = 2;
    REQUIRE(weir_tls_config_open(&c) == 0);
    REQUIRE(weir_tls_config_resume(c, server) == 0);
    if (server)
        REQUIRE(weir_tls_config_certificate_memory(c, server_pem, strlen(server_pem),
                                                   server_key_pem, strlen(server_key_pem)) == 0);
    else
        REQUIRE(weir_tls_config_trust_memory(c, ca_pem, strlen(ca_pem)) == 0);
    if (only_1_2)
        REQUIRE(weir_tls_config_versions(c, WEIR_TLS_1_2, WEIR_TLS_1_2) == 0);
    return c;
}

struct socket_state {
    weir_socket *s;
    int shaken;    /* as weir_handshake said last */
    ssize_t ended; /* as weir_recv said last; 1: not yet */
    size_t received, sent;
};

static bool is_error(ssize_t rc)
{
    return rc == WEIR_ETLS || rc == WEIR_ECERT || rc == WEIR_ETRUNCATED || rc == -ECONNRESET ||
           rc == -EPIPE;
}

static void shake(struct socket_state *t)
{
    int rc = weir_handshake(t->s);

    REQUIRE(rc == 0 || rc == -EAGAIN || is_error(rc));
    REQUIRE(t->shaken == -EAGAIN || t->shaken == rc);
    t->shaken = rc;
    REQUIRE(!is_error(rc) || weir_error_detail(t->s, NULL, 0) > 0);
}

static void receive(struct socket_state *t)
{
    char bytes[300];
    ssize_t n;

    do {
        n = weir_recv(t->s, bytes, sizeof bytes);
        REQUIRE(n <= (ssize_t)sizeof bytes && (n >= 0 || n == -EAGAIN || is_error(n)));
        REQUIRE(n <= 0 || t->ended == 1);
        t->received += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    REQUIRE(t->ended == 1 || t->ended == n);
    if (n != -EAGAIN)
        t->ended = n;
}

/* What a program does that gets on with what it has. */
static void use(struct socket_state *t)
{
    weir_tls_state state;
    ssize_t n;

    shake(t);
    REQUIRE(weir_tls_info(t->s, &state) == t->shaken);
    if (t->shaken == 0 && t->sent < 1000) {
        n = weir_send(t->s, "hello", 5);
        REQUIRE(n == 5 || n == -EAGAIN || is_error(n));
        t->sent += 5;
    }
    receive(t);
    REQUIRE(t->shaken == 0 || t->received == 0);
}

/* ---- the peer -------------------------------------------------------------------------------- */

static void take_answers(int fd)
{
    char bytes[20000];

    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

static void feed(struct socket_state *t, weir_socket *line, const uint8_t *data, size_t size,
                 unsigned pieces)
{
    static const size_t lengths[] = {SIZE_MAX, 1, 7, 100};
    size_t piece = size > 3000 ? SIZE_MAX : lengths[pieces];
    int fd = weir_fd(line);

    use(t);
    while (size > 0) {
        ssize_t n = send(fd, data, size < piece ? size : piece, MSG_DONTWAIT | MSG_NOSIGNAL);
        use(t);
        take_answers(fd);
        if (n <= 0)
            break;
        data += n;
        size -= (size_t)n;
    }
}

static void finish(struct socket_state *t, weir_socket *line, bool vanishes)
{
    if (vanishes)
        weir_close(line);
    else
        shutdown(weir_fd(line), SHUT_WR);
    use(t);
    REQUIRE(t->ended <= 0);
    REQUIRE(t->ended == 0 || is_error(weir_send(t->s, "x", 1)));
    use(t);
    (void)weir_shutdown(t->s, SHUT_WR);
    use(t);
    if (!vanishes)
        weir_close(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static weir_tls_config *configs[4];
    struct socket_state t = {.shaken = -EAGAIN, .ended = 1};
    weir_socket *pair[2];

    if (size == 0)
        return 0;
    unsigned kind = data[0] & 3;
    RAND_set_rand_method(&not_random);
    if (!configs[kind])
        configs[kind] = config_of(kind & ROLE_SERVER, kind & ONLY_1_2);
    random_state = 1;
    REQUIRE(weir_pair(pair, SOCK_STREAM | SOCK_NONBLOCK) == 0);
    t.s = pair[0];
    REQUIRE(weir_set_tls(t.s, configs[kind], kind & ROLE_SERVER ? NULL : "server.test") == 0);
    feed(&t, pair[1], data + 1, size - 1, PIECES(data[0]));
    finish(&t, pair[1], data[0] & VANISHES);
    weir_close(t.s);
    return 0;
}
