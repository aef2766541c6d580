/* Names to addresses, without ever waiting.
 *
 * An answer is immutable and counted, shared by the cache and the requests. A request asks for one
 * family or both; the two are answered one by one. Numeric hosts and cached names are answered
 * before resolve_begin returns; everything else by the resolver's threads, which then call
 * `notify` once per family that is answered.
 *
 * Locks: resolve_begin, resolve_answer and resolve_end may be called with the socket's lock held;
 * those of the resolver are taken inside and never while `notify` or `release` is called by its
 * threads. */
#ifndef RESOLVE_H
#define RESOLVE_H

#include "order.h"

#include <stdatomic.h>
#include <weir/names.h>

struct answer {
    atomic_uint references;
    int rc; /* 0, WEIR_ENONAME, WEIR_ENAMEAGAIN, WEIR_ENAMESERVER, -ENOMEM … */
    enum weir_name_source source;
    uint64_t expires_ns;  /* when the cache forgets it; 0: it is not cached */
    size_t count;         /* > 0 if rc is 0 */
    struct ranked list[]; /* of one family, best first */
};

void answer_unref(struct answer *a); /* NULL is allowed */

struct resolve_request;

/* Who asked: told by a thread of the resolver, without any of its locks held, that an answer has
 * come. `release` is called exactly once, when `notify` will not be called any more (all answered,
 * or ended); until then `arg` must live. It may be called from inside resolve_begin,
 * resolve_answer and resolve_end, under the locks of their caller, who therefore has a reference
 * of his own: this cannot be the last. */
struct resolve_client {
    void (*notify)(void *arg);
    void (*release)(void *arg);
    void *arg;
};

/* Begins. `family` is AF_UNSPEC, AF_INET, AF_INET6. Returns 0 if all is answered already,
 * -EINPROGRESS, or -EINVAL, -ENAMETOOLONG (the name is no host name; no request then, the story is
 * told), -ENODEV (a scope without interface), -ENOMEM, -EAGAIN (no thread). On failure `release`
 * has been called. With 0 too. */
int resolve_begin(struct resolve_request **ret, const char *host, int family,
                  const struct resolve_client *client);

/* The answer for AF_INET or AF_INET6, as soon as it is there; NULL while it is not (or was not
 * asked for). Borrowed: it lives as long as the request. After fork(2), in the child, a request
 * that was in flight is begun anew by this call. */
const struct answer *resolve_answer(struct resolve_request *r, int family);

/* Cancels what is in flight and frees the request; NULL is allowed. Never waits. `notify` may be
 * running right now in another thread, or about to; it is not called after `release`. */
void resolve_end(struct resolve_request *r);

/* What is known without asking, each answer with a reference of the caller's, [0] for IPv4, [1] for
 * IPv6: 0 if all that `family` wants is there, -EAGAIN if it has to be asked for. No story. */
int resolve_cached(const char *host, int family, struct answer *ret[2]);

/* The files that are read, for tests. Everything cached is forgotten. The texts are borrowed. */
struct resolve_paths {
    const char *hosts, *resolv_conf, *nsswitch, *host_name;
};
void resolve_set_paths(const struct resolve_paths *paths); /* NULL: the system's */

#endif
