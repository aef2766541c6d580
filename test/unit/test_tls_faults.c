/* When something runs out or breaks in the middle of a session, at each call to the system and at
 * each allocation of OpenSSL's: an error comes out, nothing is left behind, nothing is delivered
 * that was not sent, and nobody is trusted by mistake.
 *
 * WEIR_SEED chooses which allocations fail; it is printed. */
#include "support/chance.h"
#include "support/ground.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"
#include "sys.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what fails
 * ------------------------------------------------------------------------------------ */

static bool armed;              /* in a call of weir's */
static unsigned calls, fail_at; /* from 1; 0: nothing fails */
static enum sys_call fail_call; /* SYS_CALLS: allocations of OpenSSL's */
static int fail_rc;

static bool fails(enum sys_call call)
{
    return armed && call == fail_call && ++calls == fail_at;
}

static int error(enum sys_call call)
{
    return fails(call) ? fail_rc : 0;
}

static const struct sys_faults faults = {.error = error};

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails(SYS_CALLS) ? NULL : malloc(size);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return fails(SYS_CALLS) ? NULL : realloc(old, size);
}

static void openssl_free(void *old, const char *file, int line)
{
    (void)file, (void)line;
    free(old);
}

#define WEIR(call)                                                                                 \
    __extension__({                                                                                \
        armed = true;                                                                              \
        __typeof__(call) rc_ = (call);                                                             \
        armed = false;                                                                             \
        rc_;                                                                                       \
    })

/* ---- a session
 * --------------------------------------------------------------------------------------- */

struct session {
    const struct puppet_row *row;
    const char *name; /* that a client asks for */
    weir_socket *s;
    struct puppet *p;
    unsigned char bytes[300];
    size_t sent, received;
};

static int shake(struct session *t)
{
    int rc;
    for (int idle = 0; (rc = WEIR(weir_handshake(t->s))) == -EAGAIN; idle++) {
        if (puppet_turn(t->p))
            idle = 0;
        else if (t->p->failed)
            puppet_cut(t->p);
        CHECK(idle < 10); /* it waits for nothing that could come */
    }
    while (puppet_turn(t->p))
        ;
    return rc;
}

static int talk(struct session *t)
{
    ssize_t n = 0;
    for (size_t i = 0; i < sizeof t->bytes; i++)
        t->bytes[i] = tls_peer_byte(i);
    for (int i = 0; i < 10 && n >= 0; i++) {
        n = WEIR(weir_send(t->s, t->bytes + t->sent, sizeof t->bytes - t->sent));
        t->sent += n > 0 ? (size_t)n : 0;
        if (t->sent == sizeof t->bytes)
            break;
    }
    if (puppet_say(t->p, sizeof t->bytes) && puppet_update_keys(t->p, true))
        CHECK(puppet_say_end(t->p));
    else
        puppet_cut(t->p);
    while (puppet_turn(t->p))
        ;
    while (n >= 0 && (n = WEIR(weir_recv(t->s, t->bytes, 100))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            CHECK(t->bytes[i] == tls_peer_byte(t->received + (size_t)i));
        t->received += (size_t)n;
    }
    CHECK(n < 0 || t->received == sizeof t->bytes);
    return n < 0 ? (int)n : WEIR(weir_shutdown(t->s, SHUT_WR));
}

static int run(struct session *t)
{
    weir_tls_state state;
    int rc = WEIR(weir_set_tls(t->s, puppet_config(t->row->server), t->name));
    if (rc == 0)
        rc = shake(t);
    if (rc == 0)
        rc = WEIR(weir_tls_info(t->s, &state));
    if (rc == 0 && !t->row->server)
        CHECK(state.peer_verified && !strcmp(t->name, "server.test"));
    return rc == 0 ? talk(t) : rc;
}

/* How it ended: 0, or the first error. */
static int run_one(const struct puppet_row *row, const char *name)
{
    weir_socket *pair[2];
    stream_pair(pair);
    struct session t = {.row = row, .name = row->server ? NULL : name, .s = pair[0]};
    t.p = puppet_open(pair[1], row->server, row->version);
    EXPECT(weir_set_blocking(t.s, false), 0);
    calls = 0;
    int rc = run(&t);
    /* What was counted has gone, as far as anything could go. */
    CHECK(t.p->heard <= t.sent && !t.p->differs);
    CHECK(rc != 0 || t.p->heard == sizeof t.bytes);
    armed = true;
    weir_close(t.s);
    armed = false;
    puppet_close(t.p);
    return rc;
}

/* Fails the first such call, the second, …, until there is none any more. */
static unsigned fail_each(const struct puppet_row *row, enum sys_call call, int with,
                          bool (*right)(int rc, int with))
{
    /* There are thousands of allocations: one in a few, and others each time. */
    static struct chance chance;
    if (!chance.state)
        chance = chance_of(1);
    unsigned stride = call < SYS_CALLS ? 1 : ground_is_slow() ? 10 : 5, count = 0;
    int rc;
    fail_call = call;
    fail_rc = with;
    sys_faults = &faults;
    for (fail_at = 1 + chance_below(&chance, stride);; fail_at += stride, count++) {
        rc = run_one(row, "server.test");
        if (calls < fail_at)
            break;
        if (!right(rc, with)) {
            printf("%s, call %u failed with %d: %d\n", row->name, fail_at, with, rc);
            CHECK(right(rc, with));
        }
    }
    sys_faults = NULL;
    EXPECT(rc, 0);
    fail_at = 0;
    return count;
}

static bool says_so(int rc, int with)
{
    return rc == with || rc == WEIR_ETLS || rc == WEIR_ETRUNCATED;
}

static bool says_so_or_goes_on(int rc, int with)
{
    return rc == 0 || says_so(rc, with);
}

static void streams_that_break(void)
{
    static const int receives[] = {-ECONNRESET, -ETIMEDOUT, -EHOSTUNREACH};
    static const int sends[] = {-ECONNRESET, -EPIPE, -ETIMEDOUT};
    EACH_ROW(row)
    for (int i = 0; i < 3; i++) {
        CHECK(fail_each(row, SYS_RECV, receives[i], says_so_or_goes_on) >= 3);
        CHECK(fail_each(row, SYS_SEND, sends[i], says_so_or_goes_on) >= 3);
    }
}

static void no_memory_of_the_systems(void)
{
    EACH_ROW(row)
    {
        CHECK(fail_each(row, SYS_RECV, -ENOMEM, says_so_or_goes_on) >= 3);
        CHECK(fail_each(row, SYS_SEND, -ENOBUFS, says_so_or_goes_on) >= 3);
        CHECK(fail_each(row, SYS_ALLOC, -ENOMEM, says_so_or_goes_on) >= 1);
        CHECK(fail_each(row, SYS_SHUTDOWN, -ENOBUFS, says_so) >= 1);
        (void)fail_each(row, SYS_GETNAME, -ENOBUFS, says_so_or_goes_on);
    }
}

static bool is_no_memory(int rc, int with)
{
    (void)with;
    return rc == 0 || rc == -ENOMEM || rc == WEIR_ETLS || rc == WEIR_ECERT;
}

static void no_memory_of_openssls(void)
{
    EACH_ROW(row)
    {
        unsigned count = fail_each(row, SYS_CALLS, -ENOMEM, is_no_memory);
        CHECK(count > 20);
    }
}

/* A certificate for somebody else is refused, whatever fails on the way. */
static void nobody_is_trusted_by_mistake(void)
{
    static const enum sys_call kinds[] = {SYS_CALLS, SYS_ALLOC};
    struct chance chance = chance_of(2);
    for (size_t i = 0; i < 4; i++) {
        const struct puppet_row *row = &puppet_rows[2 * (i % 2)];
        fail_call = kinds[i / 2];
        fail_rc = -ENOMEM;
        sys_faults = &faults;
        int rc;
        for (fail_at = 1 + chance_below(&chance, 3);; fail_at += ground_is_slow() ? 29 : 3) {
            rc = run_one(row, "other.test");
            CHECK(rc == WEIR_ECERT || rc == WEIR_ETLS || rc == -ENOMEM);
            if (calls < fail_at)
                break;
        }
        EXPECT(rc, WEIR_ECERT);
        sys_faults = NULL;
        fail_at = 0;
    }
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(ONCE, streams_that_break),
        GROUND_TEST(ONCE, no_memory_of_the_systems),
        GROUND_TEST(ONCE, no_memory_of_openssls),
        GROUND_TEST(ONCE, nobody_is_trusted_by_mistake),
    };
    if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free))
        return 1;
    (void)puppet_config(false);
    (void)puppet_config(true);
    int failed = ground_main(argc, argv, "tls_faults", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
