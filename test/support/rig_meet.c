/* Connecting and accepting at the same time. */
#include "support/rig_private.h"

#include <stdlib.h>

/* Behind the handshake there may be more for the client than the program sends (tickets). A byte,
 * taken by the client, comes after that: then nothing is left to be read. */
void rig_take_greeting(struct rig *rig, void *s)
{
    char byte;
    if (rig->tls)
        EXPECT(rig_recv(rig, s, &byte, 1), 1);
}

void rig_welcome(struct rig *rig, weir_socket *accepted)
{
    if (!rig->tls)
        return;
    EXPECT(RIG_DONE(rig, accepted, WEIR_WRITABLE, weir_handshake(accepted)), 0);
    EXPECT(rig_send(rig, accepted, "!", 1), 1);
}

void rig_admit(struct rig *rig, weir_socket *listener, weir_socket **ret)
{
    EXPECT(rig_accept(rig, listener, ret), 0);
    rig_welcome(rig, *ret);
}

void rig_admit_one(struct rig *rig, void *listener)
{
    weir_socket *accepted;
    rig_admit(rig, listener, &accepted);
}

void rig_arrive(struct rig *rig, weir_socket *s, const weir_address *where)
{
    EXPECT(rig_connect_address(rig, s, where), 0);
    rig_take_greeting(rig, s);
}

void rig_arrive_by_name(struct rig *rig, weir_socket *s, const char *host, uint16_t port)
{
    EXPECT(rig_connect(rig, s, host, port), 0);
    rig_take_greeting(rig, s);
}

/* ---- visitors ------------------------------------------------------------------------------- */

struct visit {
    weir_socket *s;
    weir_address where;
    const char *host; /* instead of the address; NULL: none */
};

static void visit(struct rig *rig, void *arg)
{
    struct visit *v = arg;
    if (v->host)
        rig_arrive_by_name(rig, v->s, v->host, weir_address_port(&v->where));
    else
        rig_arrive(rig, v->s, &v->where);
    free(v);
}

static struct rig_thread *send_visitor(struct rig *rig, const struct visit *v)
{
    struct visit *copy = malloc(sizeof *copy);
    CHECK(copy != NULL);
    *copy = *v;
    if (!rig->tls) {
        visit(rig, copy);
        return NULL;
    }
    struct rig_thread *t = rig_go(rig, visit, copy);
    rig_until_asleep(t);
    return t;
}

struct rig_thread *rig_visit(struct rig *rig, weir_socket *s, const weir_address *where)
{
    struct visit v = {.s = s, .where = *where};
    return send_visitor(rig, &v);
}

void rig_meet(struct rig *rig, weir_socket *s, const weir_address *where, weir_socket *listener,
              weir_socket **ret)
{
    struct rig_thread *t = rig_visit(rig, s, where);
    rig_admit(rig, listener, ret);
    rig_join(t);
}

void rig_meet_by_name(struct rig *rig, weir_socket *s, const char *host, weir_socket *listener,
                      weir_socket **ret)
{
    struct visit v = {.s = s, .where = rig_where(listener), .host = host};
    struct rig_thread *t = send_visitor(rig, &v);
    rig_admit(rig, listener, ret);
    rig_join(t);
}
