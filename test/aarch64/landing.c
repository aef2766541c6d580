/* Switches with branch target identification on: the processor stops a program that jumps to where
 * nobody is expected to land. With an argument it does so on purpose, and must not come to its end.
 *
 * The C library is not made for that, so nothing of it is called from then on that would jump. */
#include "task/fiber.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

extern char __executable_start, etext;

static struct fiber home, fiber;
static _Alignas(64) char stack[64 * 1024];

static void come_back(void *arg)
{
    (void)arg;
    for (;;)
        fiber_switch(&fiber, &home);
}

int main(int argc, char **argv)
{
    uintptr_t low = (uintptr_t)&__executable_start & ~(uintptr_t)4095;
    uintptr_t high = ((uintptr_t)&etext + 4095) & ~(uintptr_t)4095;

    (void)argv;
    fiber_adopt(&home);
    fiber_init(&fiber, stack, stack + sizeof stack, come_back, NULL);
    if (mprotect((void *)low, high - low, PROT_READ | PROT_EXEC | 0x10 /* PROT_BTI */) < 0)
        return 77;
    for (int i = 0; i < 3; i++)
        fiber_switch(&home, &fiber);
    if (argc > 1)
        __asm__ volatile("adr x9, 1f\n\tbr x9\n1:\tnop" : : : "x9");
    _exit(0);
}
