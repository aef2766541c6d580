/* TLS on the command line: options to a configuration, and what a connection came to. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DETAIL_MAX 4000

/* How long one may take to shake hands with a server. */
#define WELCOME_MS 10000

/* ---- options --------------------------------------------------------------------------------- */

bool tls_take_option(struct tls_options *t, int option, const char *value)
{
    switch (option) {
    case TLS_OPTION_TRUST:
        t->trust = value;
        break;
    case TLS_OPTION_NAME:
        t->name = value;
        break;
    case TLS_OPTION_CERT:
        t->certificate = value;
        break;
    case TLS_OPTION_KEY:
        t->key = value;
        break;
    case TLS_OPTION_ALPN:
        t->alpn = value;
        break;
    case TLS_OPTION_INSECURE:
        t->insecure = true;
        break;
    default:
        return false;
    }
    return true;
}

static bool any(const struct tls_options *t)
{
    return t->trust || t->name || t->certificate || t->key || t->alpn || t->insecure;
}

/* What is wrong with the options for that address; NULL: nothing. */
static const char *fault(const struct tls_options *t, bool tls, bool server)
{
    if (!tls)
        return any(t) ? "options of TLS need an address that begins with tls://" : NULL;
    if (server && !t->certificate)
        return "a server of tls:// needs --cert FILE, and --key FILE unless the key is in there";
    if (t->key && !t->certificate)
        return "--key FILE needs the certificate too: --cert FILE";
    if (t->insecure && (t->trust || t->name))
        return "--insecure checks nothing: --ca and --name make no sense with it";
    return NULL;
}

/* ---- a configuration ------------------------------------------------------------------------- */

static int refused(int rc, const char *option, const char *value)
{
    char detail[DETAIL_MAX];

    if (weir_error_detail(NULL, detail, sizeof(detail)) <= 0)
        snprintf(detail, sizeof(detail), "%s: %s", value, weir_strerror(rc));
    say("%s: %s", option, detail);
    return EXIT_FAILED;
}

static int set_trust(weir_tls_config *c, const struct tls_options *t, bool server)
{
    int rc = 0;

    if (t->insecure)
        rc = weir_tls_config_trust_anyone_insecurely(c);
    if (rc == 0 && t->trust)
        rc = weir_tls_config_trust_file(c, t->trust);
    if (rc == 0 && t->trust && server)
        rc = weir_tls_config_ask_client(c, WEIR_TLS_CLIENT_REQUIRED);
    return rc;
}

/* Returns an exit status. */
static int fill(weir_tls_config *c, const struct tls_options *t, bool server)
{
    const char *key = t->key ? t->key : t->certificate;
    int rc = set_trust(c, t, server);

    if (rc < 0)
        return refused(rc, server ? "--client-ca" : "--ca", t->trust);
    rc = key ? weir_tls_config_certificate_files(c, t->certificate, key) : 0;
    if (rc < 0)
        return refused(rc, t->key ? "--cert, --key" : "--cert", t->certificate);
    rc = t->alpn ? weir_tls_config_alpn(c, t->alpn) : 0;
    return rc < 0 ? refused(rc, "--alpn", t->alpn) : EXIT_SUCCESS;
}

int tls_configure(const char *command, const char *target, const struct tls_options *t, bool server,
                  weir_tls_config **ret)
{
    bool tls = target_is_tls(target);
    const char *wrong = fault(t, tls, server);

    if (wrong)
        return wrong_use(command, "%s", wrong);
    if (!tls)
        return EXIT_SUCCESS;
    int rc = weir_tls_config_open(ret);
    if (rc == -EPROTONOSUPPORT) {
        say("%s: this weir was built without TLS", target);
        return EXIT_FAILED;
    }
    return rc < 0 ? failed(NULL, rc, "prepare for TLS") : fill(*ret, t, server);
}

/* ---- connections ----------------------------------------------------------------------------- */

static const char *date(int64_t seconds, char *buf, size_t size)
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(buf, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(buf, size, "an unreadable date");
    return buf;
}

static void describe_peer(const weir_tls_state *state, char *buf, size_t size)
{
    char until[64];

    if (state->not_after == 0) {
        snprintf(buf, size, "no certificate shown");
        return;
    }
    snprintf(buf, size, "certificate %s, issued by %s, good until %s%s", state->subject,
             state->issuer, date(state->not_after, until, sizeof(until)),
             state->peer_verified ? "" : ", not checked");
}

int tls_failed(weir_socket *s, int rc, const char *whom)
{
    char detail[DETAIL_MAX] = "";

    weir_error_detail(s, detail, sizeof(detail));
    say("handshake with %s: %s%s%s%s%s", whom, weir_strerror(rc), detail[0] ? " (" : "", detail,
        detail[0] ? ")" : "", rc == WEIR_ECERT ? "; --client-ca FILE says whom to trust" : "");
    return EXIT_FAILED;
}

void tls_say(weir_socket *s, const char *whom)
{
    weir_tls_state state;
    char peer[1000];

    if (weir_tls_info(s, &state) < 0)
        return;
    describe_peer(&state, peer, sizeof(peer));
    say("%s: TLS %s, %s%s%s; %s", whom, state.version == WEIR_TLS_1_3 ? "1.3" : "1.2", state.cipher,
        state.alpn[0] ? ", protocol " : "", state.alpn, peer);
}

static int shake_hands(weir_socket *s)
{
    WEIR_WITHIN_MS(WELCOME_MS);
    return weir_handshake(s);
}

/* Who cannot shake hands is no reason to stop, but whoever runs the server may want to know. */
int tls_welcome(weir_socket *s, bool verbose)
{
    char who[WEIR_ADDRESS_TEXT_MAX];
    int rc = shake_hands(s);

    if (!verbose || rc == -ECANCELED)
        return rc;
    if (rc < 0)
        tls_failed(s, rc, peer_text(s, who));
    else
        tls_say(s, peer_text(s, who));
    return rc;
}
