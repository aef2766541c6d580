/* A reader: input that has come and was not asked for, output that was gathered. It has no lock:
 * one task or thread uses it at a time. */
#ifndef READER_H
#define READER_H

#include "clock.h"

#include <stdbool.h>
#include <weir/limit.h>
#include <weir/reader.h>

#define DELIMITER_MAX 16

struct buffer {
    char *data; /* in the heap, or the reader's `first`; of the input with a byte more than room */
    size_t start, end, room;
};

static inline size_t buffer_used(const struct buffer *b)
{
    return b->end - b->start;
}

/* Moves what is used to the front of `data`, which has `room` and may be where it is already. */
void buffer_move(struct buffer *b, char *data, size_t room);

/* What a buffer begins with, and is doubled from. */
#define BUFFER_FIRST ((size_t)4096)

struct weir_reader {
    weir_socket *socket;
    size_t max, gather;
    struct buffer in, out;
    /* The first bytes of the input have been looked through for this delimiter. */
    size_t looked, delimiter_len;
    char delimiter[DELIMITER_MAX];
    unsigned wants;
    int flush_error; /* of the last flush, other than -EAGAIN */
    char first[];    /* BUFFER_FIRST bytes and one more, of the input */
};

/* One call, for which the socket's time-out holds as a whole: the first thing it does on the socket
 * begins under that time-out itself, what follows has the rest of it. */
struct effort {
    bool begun, scoped;
    uint64_t deadline_ns;
    weir_scope scope;
};

/* Before each call on the socket, and after the last. */
void effort_go_on(struct effort *e, const weir_socket *s);
static inline void effort_end(const struct effort *e)
{
    if (e->scoped)
        weir_scope_end(e->scope);
}

/* Sends what has been gathered: 0, or as weir_send_all. */
int reader_flush(weir_reader *r, struct effort *e);

#endif
