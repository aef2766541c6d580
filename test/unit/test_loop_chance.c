/* What every backend of loop.h has to do, in the same way: anything, in any order. */
#include "support/chance.h"
#include "support/loop_rig.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS 6

struct place {
    int fds[2];
    bool open; /* the other end */
    struct home home;
    struct actor reader, writer;
};

/* As every waiter he tries first, and waits only if he has to. */
static void waits_by_chance(struct loop_rig *rig, struct place *p, struct actor *a)
{
    char bytes[4096] = {0};
    bool reads = a == &p->reader;
    ssize_t n = 1;

    if (a->waiting)
        return;
    while (n > 0)
        n = reads ? recv(p->fds[0], bytes, sizeof bytes, 0)
                  : send(p->fds[0], bytes, sizeof bytes, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN)
        actor_waits(rig, a, "", p->fds[0], reads ? POLLIN : POLLOUT, &p->home);
}

static void leaves_by_chance(struct loop_rig *rig, struct actor *a)
{
    if (a->waiting)
        actor_leaves(rig, a);
}

/* Another pair in its place, under the same number. */
static void replace_by_chance(struct loop_rig *rig, struct place *p, bool told)
{
    leaves_by_chance(rig, &p->reader);
    leaves_by_chance(rig, &p->writer);
    if (told)
        loop_forget(rig->loop, p->fds[0], &p->home);
    if (!p->open)
        p->fds[1] = dup(p->fds[0]);
    replace_pair(p->fds);
    p->home = (struct home){0};
    p->open = true;
}

static void step_by_chance(struct loop_rig *rig, struct place *p, uint32_t choice)
{
    if (choice < 4)
        waits_by_chance(rig, p, choice % 2 ? &p->reader : &p->writer);
    else if (choice < 6)
        leaves_by_chance(rig, choice % 2 ? &p->reader : &p->writer);
    else if (choice < 8 && p->open)
        (void)!send(p->fds[1], "x", 1, MSG_NOSIGNAL);
    else if (choice < 10 && p->open)
        take_all(p->fds[1]);
    else if (choice == 10)
        loop_rig_settle(rig);
    else if (choice == 11 && p->open)
        shutdown(p->fds[1], SHUT_WR);
    else if (choice == 12 && p->open)
        p->open = close(p->fds[1]) != 0;
    else if (choice > 12)
        replace_by_chance(rig, p, choice == 13);
}

/* Whoever still waits when the loop has come to rest, waits for what does not hold. */
static void by_chance(struct loop_rig *rig)
{
    struct place places[PAIRS] = {0};
    struct chance chance = chance_of(0);
    int lost = 0;

    for (int i = 0; i < PAIRS; i++) {
        unix_pair(places[i].fds);
        places[i].open = true;
    }
    for (int step = 0; step < 20000; step++) {
        struct place *p = &places[chance_below(&chance, PAIRS)];
        step_by_chance(rig, p, chance_below(&chance, 15));
        if (chance_below(&chance, 3) == 0)
            continue;
        loop_rig_settle(rig);
        for (int i = 0; i < PAIRS; i++) {
            lost += places[i].reader.waiting && actor_could_go_on(&places[i].reader);
            lost += places[i].writer.waiting && actor_could_go_on(&places[i].writer);
        }
    }
    fprintf(rig->trace, "%d lost ", lost);
    for (int i = 0; i < PAIRS; i++) {
        leaves_by_chance(rig, &places[i].reader);
        leaves_by_chance(rig, &places[i].writer);
        loop_forget(rig->loop, places[i].fds[0], &places[i].home);
        close(places[i].fds[0]);
        if (places[i].open)
            close(places[i].fds[1]);
    }
}

static const struct loop_script scripts[] = {
    LOOP_SCRIPT(by_chance, "0 lost "),
};

int main(void)
{
    return loop_rig_play("loop_chance", scripts, sizeof scripts / sizeof *scripts);
}
