/* What every public header needs: the export mark and the opaque types. */
#ifndef WEIR_BASE_H
#define WEIR_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0
#define WEIR_VERSION       "0.1.0"

#if defined(__GNUC__)
#define WEIR_API __attribute__((visibility("default")))
#else
#define WEIR_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A socket: a TCP, UDP or Unix conversation, a listener, or any adopted descriptor. */
typedef struct weir_socket weir_socket;

/* The version of the library that runs, as "MAJOR.MINOR.PATCH"; compare it with WEIR_VERSION, the
 * version of the headers. */
WEIR_API const char *weir_version(void);

#ifdef __cplusplus
}
#endif

#endif
