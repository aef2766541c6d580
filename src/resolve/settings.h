/* What is asked, and where: name servers and resolvers set by the program, and the files of the
 * system. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "conf.h"
#include "resolve.h"

#include <sys/stat.h>

#define SETTINGS_FILES 3

struct file_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified, changed;
};

struct settings {
    unsigned generation; /* counts the changes; 0 until the first use */
    struct resolve_paths paths;
    struct file_stamp stamps[SETTINGS_FILES];
    weir_address set[CONF_SERVERS_MAX], environment[CONF_SERVERS_MAX];
    size_t set_count, environment_count;
    weir_resolver *program;
    void *program_arg;
};

/* Makes the settings ready for use, and looks at the files if that is a second ago; if one has
 * changed, what is cached is forgotten. Without the lock. */
void settings_check(uint64_t now_ns);

/* The name servers that were set; NULL and 0 if those of resolv.conf hold. */
const weir_address *settings_servers(const struct settings *s, size_t *ret_count);

int settings_set_servers(const char *text);
void settings_set_program(weir_resolver *program, void *arg);

#endif
