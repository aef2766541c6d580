/* A connect that several have to do with: who waits for it, who ends it, a child that has it
 * too. */
#include "support/connect_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#define HERE "127.0.0.1"

/* ---- several at once ----------------------------------------------------------------------- */

static void abort_ends_a_connect_that_waits(void **state)
{
    (void)state;
    struct fixture_caller c = {.s = fixture_socket(AF_INET, SOCK_STREAM)};
    fixture_full(HERE, 0, &c.address);
    int open = fixture_open_fds();

    fixture_call(&c);
    fixture_until_asleep(&c);
    weir_abort(c.s);
    assert_int_equal(fixture_join(&c), WEIR_ECLOSED);
    assert_int_equal(fixture_open_fds(), open);
    assert_int_equal(weir_connect_address(c.s, &c.address), WEIR_ECLOSED);
}

static void close_while_connecting_leaks_nothing(void **state)
{
    (void)state;
    weir_address full;
    fixture_full(HERE, 0, &full);
    int open = fixture_open_fds();
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    fixture_close(s);
    assert_int_equal(fixture_open_fds(), open);
}

static void all_who_wait_for_a_connect_get_its_result(void **state)
{
    (void)state;
    char text[64];
    fixture_place(text, sizeof text, "all");
    struct fixture_caller c[3] = {{.s = fixture_socket(AF_UNIX, SOCK_STREAM)}};
    int listener = fixture_full(text, 0, &c[0].address);

    c[1] = c[2] = c[0];
    for (int i = 0; i < 3; i++) {
        fixture_call(&c[i]);
        fixture_until_asleep(&c[i]);
    }
    fixture_accept(listener);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_join(&c[i]), 0);
    assert_int_equal(weir_connect_address(c[0].s, &c[0].address), -EISCONN);
}

/* The limit of a call that merely joined does not end what another call still waits for. */
static void limit_of_one_waiter_leaves_the_connect_to_its_owner(void **state)
{
    (void)state;
    char text[64];
    fixture_place(text, sizeof text, "owner");
    struct fixture_caller owner = {.s = fixture_socket(AF_UNIX, SOCK_STREAM)};
    int listener = fixture_full(text, 0, &owner.address);
    struct fixture_caller guest = owner;

    guest.limit_ms = 5;
    fixture_call(&owner);
    fixture_until_asleep(&owner);
    fixture_call(&guest);
    assert_int_equal(fixture_join(&guest), WEIR_EDEADLINE);
    fixture_accept(listener);
    assert_int_equal(fixture_join(&owner), 0);
}

/* What goes on in the background belongs to nobody: whoever waits for it, his limit ends it. */
static void limit_ends_a_connect_of_the_background(void **state)
{
    (void)state;
    weir_address full;
    fixture_full(HERE, 0, &full);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    weir_set_blocking(s, true);
    weir_scope scope = weir_deadline_start(5);
    assert_int_equal(weir_connect_address(s, &full), WEIR_EDEADLINE);
    weir_scope_end(scope);
    assert_int_equal(weir_connect_status(s), WEIR_EDEADLINE);
}

static void child_goes_on_with_a_connect_of_its_parent(void **state)
{
    (void)state;
    weir_address a;
    int status;
    fixture_listen(HERE, 0, &a);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &a), -EINPROGRESS);
    pid_t child = fork();
    if (child == 0)
        _exit(weir_wait(s, WEIR_WRITABLE) == WEIR_WRITABLE && weir_connect_status(s) == 0 ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_status(s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(abort_ends_a_connect_that_waits),
        FIXTURE_TEST(close_while_connecting_leaks_nothing),
        FIXTURE_TEST(all_who_wait_for_a_connect_get_its_result),
        FIXTURE_TEST(limit_of_one_waiter_leaves_the_connect_to_its_owner),
        FIXTURE_TEST(limit_ends_a_connect_of_the_background),
        FIXTURE_TEST(child_goes_on_with_a_connect_of_its_parent),
    };

    return cmocka_run_group_tests_name("connect_shared", tests, NULL, NULL);
}
