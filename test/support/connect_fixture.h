/* What connects meet in tests: on loopback a place that listens, one that refuses, one that
 * never answers; names that lead to them; a clock that can be turned; system calls that fail. */
#ifndef CONNECT_FIXTURE_H
#define CONNECT_FIXTURE_H

#include "sys.h"
#include "wait.h"

#include <pthread.h>
#include <weir.h>

/* Per test: begins with nothing, ends with everything closed and no descriptor left open that
 * was not open at the start. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* Plain descriptors, closed at the end. `host` as weir_address_from_host, or "unix:@name"; port
 * 0 is a free one. */
int fixture_listen(const char *host, uint16_t port, weir_address *ret);
/* A port that is taken and where nobody listens. */
void fixture_refuse(const char *host, uint16_t port, weir_address *ret);
/* A listener whose queue is full. Accepting from it makes room. */
int fixture_full(const char *host, uint16_t port, weir_address *ret);
int fixture_accept(int listener);
/* Accepts, says `text` and resets the connection. */
void fixture_accept_and_reset(int listener, const char *text);
/* True if nobody is waiting to be accepted. */
bool fixture_is_lonely(int listener);

/* The name of an abstract Unix socket of this process. */
void fixture_place(char *text, size_t size, const char *what);

/* Places of this process alone, all to be used at one port. */
extern const char *const fixture_places[8];
/* Those that never answer, `count` of them, and one that listens after them: the addresses of
 * `name`. Returns the port. */
uint16_t fixture_full_then_good(const char *name, int count, int *ret_listener);

/* Sockets, closed at the end. */
weir_socket *fixture_socket(int family, int type);
weir_socket *fixture_nonblocking(int family, int type);
void fixture_close(weir_socket *s);
/* The host of its peer; valid until the next call. */
const char *fixture_peer(weir_socket *s);

/* Names, answered by a resolver of the program's own. A name that is held is not answered until
 * it is let go. */
void fixture_name(const char *name, const char *host);
void fixture_name_fails(const char *name, int family, int rc);
void fixture_name_hold(const char *name);
void fixture_name_let_go(const char *name);
/* How often addresses of the family were asked for. */
unsigned fixture_asked(const char *name, int family);

/* Turns the clock forward. */
void fixture_later(int64_t ms);

/* How many calls of a kind there were in this test. */
int fixture_calls(enum sys_call call);

/* The next `times` calls of a kind fail with `rc`, after `skip` that do not. */
void fixture_fail(enum sys_call call, int rc, int skip, int times);
/* Called in the place of the next connect(2), whose result it gives. */
void fixture_instead_of_connect(int (*fn)(void));

/* What the socket watches while it connects. */
void fixture_interest(weir_socket *s, struct interest *ret);
/* Drives a connect until so many attempts are watched, or it has ended. Returns
 * weir_connect_status. */
int fixture_drive(weir_socket *s, unsigned attempts);

/* Somebody who watches a socket as a poller does, and who checks that no descriptor is closed
 * before he was told to let go of it. Ends with the test. */
struct fixture_watcher {
    struct waiter waiter;
    weir_socket *s;
    struct interest in; /* as he was last told */
    bool cheated;       /* a descriptor was closed under his eyes */
};
struct fixture_watcher *fixture_watch(weir_socket *s);
struct interest fixture_watched(struct fixture_watcher *w);
/* True if what he watches is what is to be watched, and he was never cheated. */
bool fixture_watcher_is_right(struct fixture_watcher *w);

int fixture_open_fds(void);
/* A thread that calls weir_connect or, with no host, weir_connect_address, and gives back the
 * result. */
struct fixture_caller {
    pthread_t thread;
    _Atomic pid_t tid;
    weir_socket *s;
    const char *host;
    uint16_t port;
    weir_address address;
    int64_t limit_ms; /* 0: none */
    int rc;
};
void fixture_call(struct fixture_caller *c);
void fixture_until_asleep(struct fixture_caller *c);
int fixture_join(struct fixture_caller *c);

bool fixture_story_has(const weir_socket *s, const char *part);
#endif
