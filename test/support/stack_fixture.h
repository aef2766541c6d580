/* Stacks of an arena, and what tests of them look at. */
#ifndef STACK_FIXTURE_H
#define STACK_FIXTURE_H

#include "sys.h"
#include "task/sanitizer.h"
#include "task/stack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define STACK_RECORD 400

/* Of the test that runs. */
extern struct stack_arena arena;

int arena_open(void **state);
int arena_close(void **state);

#define IN_ARENA(test) cmocka_unit_test_setup_teardown(test, arena_open, arena_close)

/* True where things are slow: sanitizers, Valgrind. */
bool stack_tests_are_slow(void);

/* Calls `fn(arg)` in a child; returns the signal that ends it, 0 if it ends by itself. */
int stack_in_child(void (*fn)(void *arg), void *arg);

/* Lets a test look at what is in a stack: to Valgrind nothing is. */
void stack_look_into(const struct stack *s);

/* The guard ends whoever writes there; what is next to it does not. */
void stack_check_guard(const struct stack *s);

/* Lets calls to the system fail, until the end of the test; NULL: no more. */
void stack_faults(int (*error)(enum sys_call call));

#endif
