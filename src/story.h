/* The story of a failure, told by weir_error_detail. */
#ifndef STORY_H
#define STORY_H

#include <stddef.h>
#include <weir/base.h>

/* Where a story is cut; "; …" then follows. */
#define STORY_MAX 4096

/* Sets the story of the calling context; errno is kept. Without memory there is no story. Returns
 * `rc`, so that a failure is told and returned in one line:
 *
 *     return story_tell(-EINVAL, "port %u is taken", port);
 */
#define story_tell(rc, ...) (story_write(__VA_ARGS__), (rc))
void story_write(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Appends to a story that is owned by the caller ("; " between the parts); `*story` is NULL at
 * first, to be freed. */
void story_append(char **story, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the calling context was told last becomes the story of the socket. The socket's lock is
 * held. */
void story_move(weir_socket *s);

/* Foreign text as a story may show it: printable ASCII as it is, other bytes as \xHH, cut with "…"
 * when it is long. It lives in `*q`, and is returned. */
struct story_quote {
    char text[160];
};
const char *story_quote(struct story_quote *q, const char *text, size_t len);

/* Makes `story` (owned, may be NULL) the story of the socket, or of the calling context if `s` is
 * NULL. The socket's lock is held. */
void story_give(weir_socket *s, char *story);

#endif
