/* Looking inside a running program. */
#ifndef WEIR_INSPECT_H
#define WEIR_INSPECT_H

#include <weir/base.h>
#include <weir/task.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the caller runs. */
typedef struct weir_run_info {
    int model;          /* WEIR_TASKS or WEIR_THREADS; a plain thread: 0 */
    const char *loop;   /* "epoll", "io_uring", "poll"; "" where there is none. Static text */
    unsigned loops;     /* how many, 0 without */
    const char *reason; /* why this loop: "asked for", "the default", or what kept a better one from
                           being used; "" where there is none. Valid until weir_run returns */
    uint64_t tasks;     /* that live on the caller's loop; 0 without */
    uint64_t switches;  /* of tasks that this loop has made so far */
} weir_run_info;

/* Tells how the calling task or thread runs. `size` is sizeof(weir_run_info): later versions add to
 * the end.
 *
 * Returns 0, or -EINVAL if `ret` is NULL or `size` is unknown. */
WEIR_API int weir_inspect_run(weir_run_info *ret, size_t size);

#ifdef __cplusplus
}
#endif

#endif
