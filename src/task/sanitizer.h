/* Which tools the library is built for; and what is said to Valgrind, which need not be told when
 * the library is built: nothing, where its header is not there. */
#ifndef TASK_SANITIZER_H
#define TASK_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZER_ADDRESS 1
#endif
#endif
#ifndef SANITIZER_ADDRESS
#define SANITIZER_ADDRESS 0
#endif

#if defined(__SANITIZE_THREAD__)
#define SANITIZER_THREAD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZER_THREAD 1
#endif
#endif
#ifndef SANITIZER_THREAD
#define SANITIZER_THREAD 0
#endif

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND                                0
#define VALGRIND_STACK_REGISTER(low, high)                 0
#define VALGRIND_STACK_DEREGISTER(id)                      ((void)(id))
#define VALGRIND_MAKE_MEM_NOACCESS(at, size)               ((void)(at), (void)(size))
#define VALGRIND_MAKE_MEM_UNDEFINED(at, size)              ((void)(at), (void)(size))
#define VALGRIND_MAKE_MEM_DEFINED(at, size)                ((void)(at), (void)(size))
#define VALGRIND_MAKE_MEM_DEFINED_IF_ADDRESSABLE(at, size) ((void)(at), (void)(size))
#define VALGRIND_CHECK_MEM_IS_ADDRESSABLE(at, size)        ((void)(at), (void)(size), 0)
#define VALGRIND_CHECK_MEM_IS_DEFINED(at, size)            ((void)(at), (void)(size), 0)
#define VALGRIND_GET_VBITS(at, bits, size)                 ((void)(at), (void)(bits), 0)
#endif

#endif
