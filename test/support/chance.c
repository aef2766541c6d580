#include "support/chance.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t seed;

static void choose_seed(void)
{
    const char *wanted = getenv("WEIR_SEED");
    seed = wanted ? strtoull(wanted, NULL, 0) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
    printf("# WEIR_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
}

struct chance chance_of(unsigned number)
{
    pthread_once(&once, choose_seed);
    return (struct chance){seed + number * UINT64_C(0xd1342543de82ef95)};
}

uint64_t chance_draw(struct chance *c)
{
    uint64_t z = c->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t chance_below(struct chance *c, uint32_t bound)
{
    return (uint32_t)((chance_draw(c) >> 32) * bound >> 32);
}
