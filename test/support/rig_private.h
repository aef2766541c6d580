/* What the files of the rig share. */
#ifndef RIG_PRIVATE_H
#define RIG_PRIVATE_H

#include "support/rig.h"
#include "support/watch.h"

#include <pthread.h>

#define ESTATE_MAX 8192

/* What a scenario has open, and who runs in it. */
struct estate {
    pthread_mutex_t lock;
    struct rig_thread *threads;
    weir_socket *sockets[ESTATE_MAX];
    int fds[ESTATE_MAX]; /* -1 for none */
    int exhausted[WATCH_FDS], exhausted_count;
    struct open_fds before;
    int threads_before;
};

/* rig_tls.c: the configuration of a row with TLS. */
void tls_begin(struct rig *rig);
void tls_end(struct rig *rig);

_Noreturn void rig_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
