/* The stack that handlers of signals get which ask for one (sigaltstack(2)): what interrupts a task
 * may find nothing left of the task's. */
#ifndef TASK_SIGNAL_STACK_H
#define TASK_SIGNAL_STACK_H

#include <stddef.h>

struct signal_stack {
    void *pages; /* NULL: none */
    size_t size;
};

/* For the calling thread, if it has none and there is memory. */
void signal_stack_begin(struct signal_stack *s);
void signal_stack_end(const struct signal_stack *s);

#endif
