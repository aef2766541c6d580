/* Certificates that must not be accepted: tables of them, which are tried in each way and version,
 * and what is told of each. */
#ifndef TLS_BAD_H
#define TLS_BAD_H

#include "support/tls_trial.h"

/* What can be wrong. Each has its own words in the story, which those of no other have. */
enum bad_cause {
    EXPIRED,
    NOT_YET,
    BAD_DATE,
    OTHER_NAME,
    UNKNOWN_ROOT,
    SELF_SIGNED,
    INCOMPLETE,
    REJECTED,
    REVOKED,
    OLD_LIST,
    EARLY_LIST,
    FORGED_LIST,
    NO_LIST,
    PURPOSE,
    KEY_USAGE,
    NO_AUTHORITY,
    PATH_LENGTH,
    TOO_LONG,
    WEAK_KEY,
    WEAK_HASH,
    SIGNATURE,
    NOT_PERMITTED,
    EXCLUDED,
    CRITICAL,
    MALFORMED,
    NO_STAPLE,
    STAPLE_REVOKED,
    STAPLE_OTHER,
    STAPLE_DATE,
    STAPLE_FORGED,
    STAPLE_UNKNOWN,
    STAPLE_REFUSED,
    STAPLE_GARBAGE,
    OTHER_KEY,
    GARBAGE,
    LENGTHS,
    BAD_CAUSES
};

struct bad {
    const char *what;
    enum bad_cause cause;
    int rc;            /* 0: WEIR_ECERT */
    const char *whose; /* subject of the certificate that is at fault; NULL: not told */
    const char *also;  /* what else is told; NULL: nothing */
    bool servers_only; /* of no meaning in a certificate of a client */
    int version;       /* in which it can be shown; 0: in both */
    struct trial_spec spec;
};

/* Tries each as the certificate of a server, or of a client; prints what is not as it should be,
 * and fails if there is any. */
void bad_try(const struct bad *table, size_t count, bool servers);

#define BAD(table)                                                                                 \
    static void table##_of_servers(void **state)                                                   \
    {                                                                                              \
        (void)state;                                                                               \
        bad_try(table, sizeof table / sizeof *table, true);                                        \
    }

#define BAD_OF_CLIENTS(table)                                                                      \
    static void table##_of_clients(void **state)                                                   \
    {                                                                                              \
        (void)state;                                                                               \
        bad_try(table, sizeof table / sizeof *table, false);                                       \
    }

#endif
