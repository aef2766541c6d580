#include "support/tls_trial.h"

#include "support/pki_private.h"
#include "task/sanitizer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LIMIT_MS 30000

/* ---- what is shown --------------------------------------------------------------------------- */

static pki_cert *make(struct pki_spec spec, const pki_cert *issuer, const char *subject)
{
    if (!spec.issuer)
        spec.issuer = issuer;
    if (!spec.subject)
        spec.subject = subject;
    if (spec.san && strcmp(spec.san, "NONE") == 0)
        spec.san = NULL;
    return pki_make(&spec);
}

void trial_prepare(struct trial *t, const struct trial_spec *spec, bool server)
{
    struct pki_spec leaf = spec->leaf, middle = spec->middle, root = spec->root;
    middle.ca = root.ca = true;
    if (!leaf.san)
        leaf.san = "DNS:server.test";
    if (!leaf.purpose)
        leaf.purpose = server ? "serverAuth" : "clientAuth";

    *t = (struct trial){.wanted = spec->wanted ? spec->wanted : "server.test"};
    t->root = make(root, NULL, "/CN=Root");
    t->middle = spec->bare ? NULL : make(middle, t->root, "/CN=Middle");
    t->leaf = make(leaf, t->middle ? t->middle : t->root, "/CN=Leaf");
    t->chain = PKI_PEM(t->leaf, t->middle);
    t->key = pki_key_pem(t->leaf);
    t->trust = PKI_PEM(t->root);
    if (spec->arrange)
        spec->arrange(t);
}

/* ---- to whom --------------------------------------------------------------------------------- */

static void show_own(weir_tls_config *c)
{
    const struct pki_standard *own = pki_standard();
    PKI_MUST(weir_tls_config_certificate_memory(c, own->server_pem, strlen(own->server_pem),
                                                own->server_key_pem,
                                                strlen(own->server_key_pem)) == 0);
}

static weir_tls_config *configure(const struct trial *t, bool server)
{
    weir_tls_config *c;
    PKI_MUST(weir_tls_config_open(&c) == 0);
    PKI_MUST(weir_tls_config_trust_memory(c, t->trust, strlen(t->trust)) == 0);
    if (t->crl)
        PKI_MUST(weir_tls_config_revoked_memory(c, t->crl, strlen(t->crl)) == 0);
    if (t->require_staple)
        PKI_MUST(weir_tls_config_require_staple(c) == 0);
    if (t->trust_anyone)
        PKI_MUST(weir_tls_config_trust_anyone_insecurely(c) == 0);
    if (server) {
        show_own(c);
        PKI_MUST(weir_tls_config_ask_client(c, WEIR_TLS_CLIENT_REQUIRED) == 0);
    }
    return c;
}

static struct tls_peer *start_peer(const struct trial *t, int fd, bool client, int version)
{
    struct tls_peer_options o = {
        .client = client,
        .chain = t->chain,
        .key = t->key,
        .staple = t->staple,
        .staple_len = t->staple_len,
        .min = version,
        .max = version,
        .adjust = t->adjust,
        .adjust_arg = (void *)(uintptr_t)t,
        .script = {STEP(PEER_ECHO), STEP(PEER_END)},
    };
    if (t->raw) {
        o.script[0] = (struct peer_step)STEP(PEER_AWAIT);
        o.script[1] = (struct peer_step)STEP(PEER_RAW, .count = t->raw_len, .text = t->raw);
    }
    return tls_peer_start(fd, &o);
}

/* ---- how they meet --------------------------------------------------------------------------- */

static int listener(weir_address *ret)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    PKI_MUST(bind(fd, (struct sockaddr *)&here, size) == 0 && listen(fd, 1) == 0);
    PKI_MUST(getsockname(fd, (struct sockaddr *)&here, &size) == 0);
    PKI_MUST(weir_address_from_sockaddr(ret, (struct sockaddr *)&here, size) == 0);
    return fd;
}

static weir_socket *one_end(int *ret_other)
{
    int fds[2];
    weir_socket *s;
    PKI_MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    PKI_MUST(weir_from_fd(&s, fds[0]) == 0);
    *ret_other = fds[1];
    return s;
}

static weir_socket *connect_here(const weir_address *a)
{
    weir_socket *s;
    PKI_MUST(weir_socket_open(&s, a->family, SOCK_STREAM, 0) == 0);
    PKI_MUST(weir_connect_address(s, a) == 0);
    return s;
}

/* What a listener with TLS accepts; the other end is a descriptor. */
static weir_socket *accept_one(weir_tls_config *c, int *ret_other)
{
    weir_socket *l, *s, *other;
    weir_address a;
    PKI_MUST(weir_listen_on(&l, "tcp://127.0.0.1:0", NULL) == 0);
    PKI_MUST(weir_set_tls(l, c, NULL) == 0);
    PKI_MUST(weir_local_address(l, &a) == 0);
    other = connect_here(&a);
    PKI_MUST(weir_accept(l, &s) == 0);
    weir_close(l);
    *ret_other = weir_detach(other);
    PKI_MUST(*ret_other >= 0 && fcntl(*ret_other, F_SETFL, 0) == 0);
    return s;
}

/* ---- what comes of it ------------------------------------------------------------------------ */

/* A byte goes there and comes back. */
static bool talks(weir_socket *s)
{
    unsigned char there = tls_peer_byte(0), back = 0;
    return weir_send(s, &there, 1) == 1 && weir_recv(s, &back, 1) == 1 && back == there;
}

static bool stays_silent(weir_socket *s, enum trial_way way, int rc)
{
    char byte = 'x';
    if (way != TRIAL_CONNECT && weir_handshake(s) != rc)
        return false;
    return weir_send(s, &byte, 1) < 0 && weir_recv(s, &byte, 1) < 0;
}

static void conclude(weir_socket *s, enum trial_way way, struct trial_result *r)
{
    if (r->rc == 0) {
        weir_tls_state state;
        r->alike = talks(s) && weir_handshake(s) == 0;
        r->verified = weir_tls_info(s, &state) == 0 && state.peer_verified;
    } else {
        weir_error_detail(s, r->detail, sizeof r->detail);
        r->alike = stays_silent(s, way, r->rc);
    }
}

void trial_run(const struct trial *t, enum trial_way way, int version, struct trial_result *ret)
{
    bool server = trial_is_server(way);
    weir_tls_config *c = configure(t, server);
    weir_socket *s = NULL;
    weir_address a;
    int fd;
    *ret = (struct trial_result){0};

    if (way == TRIAL_ACCEPT) {
        s = accept_one(c, &fd);
    } else if (way == TRIAL_CONNECT) {
        fd = listener(&a);
        PKI_MUST(weir_socket_open(&s, AF_INET, SOCK_STREAM, 0) == 0);
    } else {
        s = one_end(&fd);
    }
    weir_set_timeout(s, LIMIT_MS);
    if (way != TRIAL_ACCEPT)
        PKI_MUST(weir_set_tls(s, c, server ? NULL : t->wanted) == 0);
    struct tls_peer *peer = start_peer(t, fd, server, version);
    ret->rc = way == TRIAL_CONNECT ? weir_connect_address(s, &a) : weir_handshake(s);
    conclude(s, way, ret);
    /* A peer that still speaks when the socket is closed does not hear why. */
    if (ret->rc == 0)
        weir_close(s);
    tls_peer_join(peer, &ret->peer);
    if (ret->rc != 0)
        weir_close(s);
    weir_tls_config_close(c);
}

bool trial_matters(enum trial_way way, int version)
{
    static unsigned count;

    if (!getenv("WEIR_SLOW"))
        return true;
    return ((int)way + version) % 2 == 0 && (!RUNNING_ON_VALGRIND || count++ % 5 == 0);
}
