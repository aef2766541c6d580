/* Dumps as JSON, which whatever is in them has to be. */
#ifndef DUMPED_H
#define DUMPED_H

/* To be freed. */
char *dumped_json(void);

/* How often a part is in there, and in a dump that is made for it. */
unsigned dumped_times_in(const char *json, const char *part);
unsigned dumped_times(const char *part);

#endif
