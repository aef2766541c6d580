#include "support/tls_bad.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const words[BAD_CAUSES] = {
    [EXPIRED] = "expired on",
    [NOT_YET] = "is not valid before",
    [BAD_DATE] = "ends on a date that cannot be read",
    [OTHER_NAME] = ", not for ",
    [UNKNOWN_ROOT] = "that is not trusted: ",
    [SELF_SIGNED] = "is signed by itself and not trusted",
    [INCOMPLETE] = "or the chain is incomplete",
    [REJECTED] = "that is distrusted: ",
    [REVOKED] = ", was revoked on",
    [OLD_LIST] = "the revocation list ended on",
    [EARLY_LIST] = "the revocation list begins on",
    [FORGED_LIST] = "the revocation list is not signed by its issuer",
    [NO_LIST] = "is covered by no revocation list",
    [PURPOSE] = "(its extended key usage)",
    [KEY_USAGE] = "its key usage forbids it",
    [NO_AUTHORITY] = "but is not that of an authority",
    [PATH_LENGTH] = "its path length",
    [TOO_LONG] = "a chain that is too long",
    [WEAK_KEY] = "has a key that is too weak",
    [WEAK_HASH] = "is signed with a hash that is too weak",
    [SIGNATURE] = "the signature is wrong",
    [NOT_PERMITTED] = "(name constraints, permitted)",
    [EXCLUDED] = "(name constraints, excluded)",
    [CRITICAL] = "has a critical extension that is not known",
    [MALFORMED] = "has an extension that cannot be read or contradicts others",
    [NO_STAPLE] = "staples no OCSP response",
    [STAPLE_REVOKED] = ": was revoked on",
    [STAPLE_OTHER] = "staples is for another certificate",
    [STAPLE_DATE] = "staples is out of date, or not valid yet",
    [STAPLE_FORGED] = "staples is not signed by whoever may do so",
    [STAPLE_UNKNOWN] = "is not known to those who answer for it",
    [STAPLE_REFUSED] = "staples says nothing",
    [STAPLE_GARBAGE] = "staples cannot be read",
    [OTHER_KEY] = "the peer does not have the key of its certificate",
    [GARBAGE] = "bad object header",
    [LENGTHS] = "length mismatch",
};

static unsigned failures;

static void complain(const struct bad *b, enum trial_way way, int version, const char *what,
                     const struct trial_result *r)
{
    static const char *const ways[] = {"connect", "later", "accept", "server"};
    print_error("%s (%s, %x): %s: %d, %s\n", b->what, ways[way], version, what, r->rc, r->detail);
    failures++;
}

/* The words of its own cause, and of no other. */
static bool tells_the_cause(const struct bad *b, const char *detail)
{
    for (int i = 0; i < BAD_CAUSES; i++) {
        if ((strstr(detail, words[i]) != NULL) != (i == (int)b->cause))
            return false;
    }
    return true;
}

static bool tells(const char *detail, const char *before, const char *what, const char *after)
{
    char part[512];
    snprintf(part, sizeof part, "%s%s%s", before, what ? what : "", after);
    return !what || strstr(detail, part) != NULL;
}

/* A connect that has failed closes, which a peer that still speaks hears before all else. */
static bool hears_why(const struct trial *t, enum trial_way way, const struct trial_result *r)
{
    return t->raw || way == TRIAL_CONNECT || r->peer.alert >= 0;
}

static void try_one(const struct bad *b, const struct trial *t, enum trial_way way, int version)
{
    struct trial_result r;
    trial_run(t, way, version, &r);
    if (r.rc != (b->rc ? b->rc : WEIR_ECERT))
        complain(b, way, version, "not refused as it should be", &r);
    else if (!r.alike)
        complain(b, way, version, "usable afterwards, or another result", &r);
    else if (!tells_the_cause(b, r.detail))
        complain(b, way, version, "the cause is not told, or another", &r);
    else if (!tells(r.detail, "the certificate ", b->whose, ", issued by ") ||
             !tells(r.detail, "", b->also, ""))
        complain(b, way, version, "the certificate is not named", &r);
    else if (strstr(r.detail, "unreadable date"))
        complain(b, way, version, "what is told is not known", &r);
    else if (!trial_is_server(way) && !b->rc && !tells(r.detail, "", t->wanted, ""))
        complain(b, way, version, "the wanted name is not told", &r);
    else if (r.peer.received > 0 || !hears_why(t, way, &r))
        complain(b, way, version, "the peer got bytes, or no alert", &r);
}

static void try_way(const struct bad *b, enum trial_way way)
{
    struct trial t = {.leaf = NULL};
    for (int version = WEIR_TLS_1_2; version <= WEIR_TLS_1_3; version++) {
        if (b->version ? version != b->version : !trial_matters(way, version))
            continue;
        if (!t.leaf)
            trial_prepare(&t, &b->spec, !trial_is_server(way));
        try_one(b, &t, way, version);
    }
    pki_end();
}

void bad_try(const struct bad *table, size_t count, bool servers)
{
    enum trial_way first = servers ? TRIAL_CONNECT : TRIAL_ACCEPT;
    failures = 0;
    for (size_t i = 0; i < count; i++) {
        if (!servers && table[i].servers_only)
            continue;
        try_way(table + i, first);
        try_way(table + i, first + 1);
    }
    assert_int_equal(failures, 0);
}
