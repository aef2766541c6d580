/* What look-ups meet in tests: files of their own, name servers that do as they are told, a clock
 * that can be turned, and somebody who asks and counts how often he is told. */
#ifndef NAMES_FIXTURE_H
#define NAMES_FIXTURE_H

#include "resolve/resolve.h"
#include "support/stub_dns.h"
#include "sys.h"

/* Per test: empty files, one name server, which is set, an empty cache. */
int names_setup(void **state);
int names_teardown(void **state);

/* The name server. */
struct stub_dns *names_server(void);

/* Replaces a file: "hosts", "resolv.conf", "nsswitch.conf", "hostname". It is noticed a second
 * later. */
void names_write(const char *file, const char *text);

/* Has the servers of resolv.conf asked from now on, that is the fixture's one, with `more` lines;
 * and the sources of nsswitch.conf. */
void names_use_files(const char *more);

/* Turns the clock forward. */
void names_later(int64_t ms);

/* Ends a forked child, with exit code 0 if all was good. By exec: what the parent's threads had in
 * hand is lost to a child, and no leak checker shall count it. */
_Noreturn void names_leave(bool good);

/* Somebody who asks. */
struct asker {
    struct resolve_request *request;
    atomic_uint told, released;
};

/* Returns what resolve_begin returned. */
int ask_begin(struct asker *a, const char *host, int family);

/* Waits until the family is answered, or until everything is and nobody will be told any more. */
const struct answer *ask_wait(struct asker *a, int family);
void ask_wait_released(struct asker *a);

/* Ends, and waits until the last is told. */
void ask_end(struct asker *a);

/* Looks up and waits: "ADDRESS ADDRESS", or what weir_error_name says of the failure. */
const char *ask(const char *host, int family);

#endif
