/* weir_serve over everything that listens, in every model. */
#include "support/rig.h"

#define GUESTS 6

struct serving {
    struct rig *rig;
    weir_socket *listener;
    atomic_int arrived, begun, ended, told;
    int rc;
};

/* The word that a guest says, back to him. The socket is the server's: it always waits. */
static int says_it_again(weir_socket *s, void *arg)
{
    struct serving *sv = arg;
    char word[4];
    size_t done = 0;
    atomic_fetch_add(&sv->begun, 1);
    EXPECT(weir_recv_exact(s, word, sizeof word, &done), 0);
    done = 0;
    EXPECT(weir_send_all(s, word, sizeof word, &done), 0);
    EXPECT(weir_finish(s), 0);
    atomic_fetch_add(&sv->ended, 1);
    return 0;
}

static int waits_for_ever(weir_socket *s, void *arg)
{
    struct serving *sv = arg;
    char byte;
    atomic_fetch_add(&sv->begun, 1);
    int rc = (int)weir_recv(s, &byte, 1);
    CHECK(rc < 0);
    atomic_fetch_add(&sv->ended, 1);
    return rc;
}

static void hears(void *arg, weir_socket *s, int rc)
{
    struct serving *sv = arg;
    CHECK(s != NULL && rc < 0);
    atomic_fetch_add(&sv->told, 1);
}

static void serve(struct rig *rig, void *arg)
{
    struct serving *sv = arg;
    (void)rig;
    sv->rc = weir_serve(sv->listener, says_it_again, sv,
                        WEIR_SERVE_OPTIONS(.max_connections = 3, .drain_ms = RIG_LONG_MS,
                                           .idle_ms = RIG_LONG_MS, .failed = hears));
}

static void serve_for_ever(struct rig *rig, void *arg)
{
    struct serving *sv = arg;
    (void)rig;
    sv->rc = weir_serve(sv->listener, waits_for_ever, sv, WEIR_SERVE_OPTIONS(.failed = hears));
}

struct guest {
    struct serving *sv;
    weir_socket *s;
    weir_address where;
    char word[4];
};

static void visit(struct rig *rig, void *arg)
{
    const struct guest *g = arg;
    char word[4];
    size_t done = 0;
    EXPECT(rig_connect_address(rig, g->s, &g->where), 0);
    EXPECT(rig_send_all(rig, g->s, g->word, sizeof g->word, &done), 0);
    done = 0;
    EXPECT(rig_recv_exact(rig, g->s, word, sizeof word, &done), 0);
    CHECK(!memcmp(word, g->word, sizeof word));
    EXPECT(rig_recv(rig, g->s, word, 1), 0);
    EXPECT(rig_finish(rig, g->s), 0);
}

/* In more tasks than may be inside; in all modes of the clients and of the listener. */
SCENARIO_FOR(serve_answers_everybody, LISTENER | STREAM)
{
    struct serving sv = {.rig = rig, .listener = rig_listener(rig)};
    struct guest guests[GUESTS];
    struct rig_thread *t[GUESTS];
    struct rig_thread *server = rig_go(rig, serve, &sv);
    for (int i = 0; i < GUESTS; i++) {
        guests[i] = (struct guest){&sv, rig_open(rig), rig_where(sv.listener), "wor0"};
        guests[i].word[3] = (char)('0' + i);
        t[i] = rig_go(rig, visit, &guests[i]);
    }
    for (int i = 0; i < GUESTS; i++)
        rig_join(t[i]);
    while (atomic_load(&sv.ended) < GUESTS)
        rig_give_way();
    EXPECT(weir_abort(sv.listener), 0);
    rig_join(server);
    EXPECT(sv.rc, WEIR_ECLOSED);
    EXPECT(atomic_load(&sv.begun), GUESTS);
    EXPECT(atomic_load(&sv.told), 0);
}

static void arrive(struct rig *rig, void *arg)
{
    const struct guest *g = arg;
    char byte;
    EXPECT(rig_connect_address(rig, g->s, &g->where), 0);
    atomic_fetch_add(&g->sv->arrived, 1);
    ssize_t n = rig_recv(rig, g->s, &byte, 1);
    CHECK(n == 0 || n == -ECONNRESET || n == rig->transport->end_of_abort);
}

SCENARIO_FOR(serve_ends_with_everybody_inside, LISTENER)
{
    struct serving sv = {.rig = rig, .listener = rig_listener(rig)};
    struct guest guests[GUESTS];
    struct rig_thread *t[GUESTS];
    struct rig_thread *server = rig_go(rig, serve_for_ever, &sv);
    for (int i = 0; i < GUESTS; i++) {
        guests[i] = (struct guest){&sv, rig_open(rig), rig_where(sv.listener), ""};
        t[i] = rig_go(rig, arrive, &guests[i]);
    }
    while (atomic_load(&sv.begun) < GUESTS || atomic_load(&sv.arrived) < GUESTS)
        rig_give_way();
    EXPECT(weir_abort(sv.listener), 0);
    rig_join(server);
    for (int i = 0; i < GUESTS; i++)
        rig_join(t[i]);
    EXPECT(sv.rc, WEIR_ECLOSED);
    EXPECT(atomic_load(&sv.told), GUESTS);
}
