/* weir_signal_wait. */
#include "support/elsewhere.h"
#include "sys.h"

#include <signal.h>

static sigset_t set_of(int first, int second)
{
    sigset_t set;

    sigemptyset(&set);
    if (first)
        sigaddset(&set, first);
    if (second)
        sigaddset(&set, second);
    return set;
}

static void raise_here(int signal)
{
    EXPECT(kill(getpid(), signal), 0);
}

/* ---- alone ----------------------------------------------------------------------------------- */

static void a_signal_that_has_come_is_taken(void)
{
    sigset_t both = set_of(SIGUSR1, SIGUSR2), first = set_of(SIGUSR1, 0);
    WEIR_WITHIN_MS(LONG_MS);

    raise_here(SIGUSR2);
    EXPECT(weir_signal_wait(&both), SIGUSR2);
    raise_here(SIGUSR2);
    raise_here(SIGUSR1);
    EXPECT(weir_signal_wait(&first), SIGUSR1);
    EXPECT(weir_signal_wait(&both), SIGUSR2);
    WEIR_WITHIN_MS(MOMENT_MS);
    EXPECT(weir_signal_wait(&both), WEIR_EDEADLINE);
}

static void what_could_not_be_seen_is_refused(void)
{
    sigset_t empty = set_of(0, 0), uncatchable = set_of(SIGKILL, SIGSTOP);
    sigset_t blocked = set_of(SIGUSR1, 0), open = set_of(SIGUSR1, SIGWINCH);
    char text[80];
    WEIR_WITHIN_MS(0);

    EXPECT(weir_signal_wait(NULL), -EINVAL);
    EXPECT(weir_signal_wait(&empty), -EINVAL);
    EXPECT(weir_signal_wait(&uncatchable), -EINVAL);
    EXPECT(weir_signal_wait(&open), -EINVAL);
    CHECK(weir_error_detail(NULL, text, sizeof text) > 0);
    CHECK(strstr(text, "not blocked") != NULL);
    EXPECT(weir_signal_wait(&blocked), WEIR_EDEADLINE);
}

static int no_descriptor(enum sys_call call)
{
    return call == SYS_SIGNALFD ? -EMFILE : 0;
}

static void without_a_descriptor_nothing_is_lost(void)
{
    static const struct sys_faults faults = {.error = no_descriptor};
    sigset_t set = set_of(SIGUSR1, 0);

    raise_here(SIGUSR1);
    sys_faults = &faults;
    EXPECT(weir_signal_wait(&set), -EMFILE);
    sys_faults = NULL;
    EXPECT(weir_signal_wait(&set), SIGUSR1);
}

/* ---- somebody who waits ---------------------------------------------------------------------- */

static int wait_for_signal(void *arg)
{
    return weir_signal_wait(arg);
}

static void a_signal_ends_the_wait(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);

    for (enum place place = 0; place < PLACES; place++) {
        struct elsewhere e;
        elsewhere_go(&e, place, wait_for_signal, &set);
        elsewhere_until_asleep(&e);
        raise_here(SIGUSR1);
        EXPECT(elsewhere_end(&e), SIGUSR1);
    }
}

static void a_cancel_ends_the_wait(void)
{
    sigset_t set = set_of(SIGUSR1, 0);
    struct elsewhere e;

    elsewhere_go(&e, BESIDE, wait_for_signal, &set);
    elsewhere_until_asleep(&e);
    elsewhere_cancel(&e);
    EXPECT(elsewhere_end(&e), -ECANCELED);
    raise_here(SIGUSR1);
    EXPECT(weir_signal_wait(&set), SIGUSR1);
}

struct count {
    sigset_t set;
    atomic_uint taken;
};

static int count_signal(void *arg)
{
    struct count *c = arg;
    int rc = weir_signal_wait(&c->set);

    atomic_fetch_add(&c->taken, 1);
    return rc;
}

/* A signal is taken once, however many wait for it; the others go on waiting. */
static void each_signal_goes_to_one(void)
{
    struct count c = {.set = set_of(SIGUSR1, 0)};
    struct elsewhere crowd[2 * PLACES];

    for (unsigned i = 0; i < 2 * PLACES; i++) {
        elsewhere_go(&crowd[i], i % PLACES, count_signal, &c);
        elsewhere_until_asleep(&crowd[i]);
    }
    for (unsigned i = 0; i < 2 * PLACES; i++) {
        EXPECT(atomic_load(&c.taken), i);
        raise_here(SIGUSR1);
        while (atomic_load(&c.taken) == i)
            give_way();
    }
    for (unsigned i = 0; i < 2 * PLACES; i++)
        EXPECT(elsewhere_end(&crowd[i]), SIGUSR1);
}

int main(int argc, char **argv)
{
    const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, a_signal_that_has_come_is_taken),
        GROUND_TEST(EVERYWHERE, what_could_not_be_seen_is_refused),
        GROUND_TEST(EVERYWHERE, without_a_descriptor_nothing_is_lost),
        GROUND_TEST(EVERYWHERE, a_signal_ends_the_wait),
        GROUND_TEST(EVERYWHERE, a_cancel_ends_the_wait),
        GROUND_TEST(EVERYWHERE, each_signal_goes_to_one),
    };
    sigset_t set = set_of(SIGUSR1, SIGUSR2);

    /* In every thread that is yet to come too. */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return ground_main(argc, argv, "signal", tests, sizeof tests / sizeof *tests);
}
