/* Random choices that can be made again: the seed is printed, and WEIR_SEED asks for one. */
#ifndef CHANCE_H
#define CHANCE_H

#include <stdbool.h>
#include <stdint.h>

/* One for each thread or task that chooses. */
struct chance {
    uint64_t state;
};

/* The choices of the `number`-th of those that choose. The first call prints the seed. */
struct chance chance_of(unsigned number);

uint64_t chance_draw(struct chance *c);
/* 0 … bound - 1 */
uint32_t chance_below(struct chance *c, uint32_t bound);

#endif
