#include "support/stack_fixture.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct stack_arena arena;

int arena_open(void **state)
{
    (void)state;
    stack_arena_init(&arena, STACK_DEFAULT, STACK_RECORD);
    return 0;
}

int arena_close(void **state)
{
    (void)state;
    sys_faults = NULL;
    stack_arena_fini(&arena);
    return 0;
}

bool stack_tests_are_slow(void)
{
    return getenv("WEIR_SLOW") || SANITIZER_ADDRESS || SANITIZER_THREAD;
}

int stack_in_child(void (*fn)(void *arg), void *arg)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL); /* also where a sanitizer has put its own */
        fn(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status);
    assert_int_equal(WEXITSTATUS(status), 0);
    return 0;
}

static void write_there(void *at)
{
    *(volatile char *)at = 1;
}

void stack_look_into(const struct stack *s)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(s, STACK_RECORD);
    (void)VALGRIND_MAKE_MEM_DEFINED(s->low, 64);
}

void stack_check_guard(const struct stack *s)
{
    stack_look_into(s);
    assert_true(sys_readable(s->low));
    assert_false(sys_readable(s->low - 1));
    assert_false(sys_readable(s->low - arena.page_size));
    if (getenv("WEIR_SLOW")) /* Valgrind has much to say about a child that crashes */
        return;
    assert_int_equal(stack_in_child(write_there, s->low), 0);
    assert_int_equal(stack_in_child(write_there, s->low - 1), SIGSEGV);
    assert_int_equal(stack_in_child(write_there, s->low - arena.page_size), SIGSEGV);
}

void stack_faults(int (*error)(enum sys_call call))
{
    static struct sys_faults faults;

    faults.error = error;
    sys_faults = error ? &faults : NULL;
}
