/* What gcc 12's AddressSanitizer does not do: keep the locks of its allocator free while another
 * thread forks. A child that finds one taken, by a thread that it does not have, waits for ever.
 * Here nobody is in the allocator at the moment of a fork. */
#include <execinfo.h>
#include <pthread.h>
#include <sanitizer/lsan_interface.h>
#include <stddef.h>

static pthread_rwlock_t calm = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

#define PASSED_ON(type, name, parameters, arguments)                                               \
    type name parameters;                                                                          \
    type __interceptor_##name parameters;                                                          \
    type name parameters                                                                           \
    {                                                                                              \
        pthread_rwlock_rdlock(&calm);                                                              \
        type result = __interceptor_##name arguments;                                              \
        pthread_rwlock_unlock(&calm);                                                              \
        return result;                                                                             \
    }

PASSED_ON(void *, malloc, (size_t size), (size))
PASSED_ON(void *, calloc, (size_t count, size_t size), (count, size))
PASSED_ON(void *, realloc, (void *p, size_t size), (p, size))
PASSED_ON(void *, memalign, (size_t alignment, size_t size), (alignment, size))
PASSED_ON(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
PASSED_ON(int, posix_memalign, (void **ret, size_t alignment, size_t size), (ret, alignment, size))
PASSED_ON(char *, strdup, (const char *text), (text))
PASSED_ON(char *, strndup, (const char *text, size_t most), (text, most))

void free(void *p);
void __interceptor_free(void *p);
void free(void *p)
{
    pthread_rwlock_rdlock(&calm);
    __interceptor_free(p);
    pthread_rwlock_unlock(&calm);
}

static void before_fork(void)
{
    pthread_rwlock_wrlock(&calm);
}

static void after_fork_here(void)
{
    pthread_rwlock_unlock(&calm);
}

/* Another thread than the one that took it, as far as the lock can tell. */
static void after_fork_in_child(void)
{
    calm = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
}

/* First of all: what others do before a fork comes before, since they may want memory for it.
 *
 * backtrace(3) loads a library, and what the loader takes for that is known to be no leak only
 * where nobody stands between it and the sanitizer. */
__attribute__((constructor(101))) static void begin(void)
{
    void *frame;

    pthread_atfork(before_fork, after_fork_here, after_fork_in_child);
    __lsan_disable();
    (void)backtrace(&frame, 1);
    __lsan_enable();
}
