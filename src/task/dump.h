/* Text and JSON, made in parts. */
#ifndef TASK_DUMP_H
#define TASK_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODE_NAME_SIZE 256

struct out {
    int (*write)(void *arg, const char *part, size_t size);
    void *arg;
    int rc;          /* of the first write that failed: then there are no more */
    bool first;      /* of a list or an object of JSON: no comma yet */
    uintptr_t named; /* the function whose name was asked for last, */
    char name[CODE_NAME_SIZE];
    size_t length;
    char part[8192];
};

/* A `write` whose `arg` is a struct kept, zeroed at first: keeps it all. `text` is ended by a zero
 * and has to be freed. */
struct kept {
    char *text;
    size_t length, room;
};
int out_keep(void *arg, const char *part, size_t size);

void out_flush(struct out *o);
void out_text(struct out *o, const char *text, size_t size);
void out_format(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Foreign text: printable ASCII as it is, other bytes as \xHH. */
void out_quoted(struct out *o, const char *text);

/* JSON. `key` is NULL in a list. */
void json_open(struct out *o, const char *key, char bracket);
void json_close(struct out *o, char bracket);
void json_string(struct out *o, const char *key, const char *text);
void json_number(struct out *o, const char *key, uint64_t number);
void json_bool(struct out *o, const char *key, bool yes);
void json_pointer(struct out *o, const char *key, uintptr_t at);

/* The name of a function, or of the one that an address lies in, with the offset, and with the
 * file; without a name the offset in the file. Not for handlers of signals. */
void name_function(uintptr_t at, char name[CODE_NAME_SIZE]);
void name_place(uintptr_t at, char name[CODE_NAME_SIZE]);

/* The same as name_function, and quicker for many of the same; until the next call. */
const char *out_function(struct out *o, uintptr_t at);

#endif
