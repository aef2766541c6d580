#include "signal_stack.h"

#include "../sys.h"

#include <sys/mman.h>

/* For handlers; the guard, and what the kernel needs for itself, come on top. */
#define ROOM_BYTES ((size_t)65536)

static size_t kernels_part(void)
{
#ifdef _SC_MINSIGSTKSZ
    long size = sysconf(_SC_MINSIGSTKSZ);
    return size > 0 ? (size_t)size : 0;
#else
    return 0;
#endif
}

void signal_stack_begin(struct signal_stack *s)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    stack_t before, mine;

    *s = (struct signal_stack){.pages = NULL};
    s->size = (ROOM_BYTES + kernels_part() + 2 * page - 1) & ~(page - 1);
    if (sys_signal_stack(NULL, &before) < 0 || !(before.ss_flags & SS_DISABLE) ||
        sys_mmap(s->size, &s->pages) < 0)
        return;
    mine = (stack_t){.ss_sp = s->pages, .ss_size = s->size};
    if (sys_mprotect(s->pages, page, PROT_NONE) < 0 || sys_signal_stack(&mine, NULL) < 0) {
        sys_munmap(s->pages, s->size);
        s->pages = NULL;
    }
}

/* The program may have set another by now. */
void signal_stack_end(const struct signal_stack *s)
{
    static const stack_t none = {.ss_flags = SS_DISABLE};
    stack_t now;

    if (!s->pages)
        return;
    if (sys_signal_stack(NULL, &now) == 0 && now.ss_sp == s->pages)
        (void)sys_signal_stack(&none, NULL);
    sys_munmap(s->pages, s->size);
}
