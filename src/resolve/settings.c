#include "settings.h"

#include "clock.h"
#include "flight.h"
#include "sys.h"

#include <string.h>

#define CHECK_EVERY_NS NS_PER_S

static const struct resolve_paths system_paths = {
    .hosts = "/etc/hosts",
    .resolv_conf = "/etc/resolv.conf",
    .nsswitch = "/etc/nsswitch.conf",
    .host_name = "/proc/sys/kernel/hostname",
};

static atomic_bool ready;
static atomic_uint_least64_t next_check_ns;

/* All zero for a file that is not there. */
static struct file_stamp stamp_of(const char *path)
{
    struct file_stamp stamp;
    struct stat status;

    memset(&stamp, 0, sizeof(stamp));
    if (sys_stat(path, &status) == 0) {
        stamp.dev = status.st_dev;
        stamp.ino = status.st_ino;
        stamp.size = status.st_size;
        stamp.modified = status.st_mtim;
        stamp.changed = status.st_ctim;
    }
    return stamp;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_stamp(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

static void take_stamps(const struct resolve_paths *paths, struct file_stamp ret[SETTINGS_FILES])
{
    ret[0] = stamp_of(paths->hosts);
    ret[1] = stamp_of(paths->resolv_conf);
    ret[2] = stamp_of(paths->nsswitch);
}

/* Everything cached is another's answer now; so will be what is in flight. The thread frees the
 * cache, where it delays nobody. (lock) */
static void forget(void)
{
    resolver.settings.generation++;
    if (!resolver.cache)
        return;
    cache_chain(resolver.cache, resolver.garbage);
    resolver.garbage = resolver.cache;
    resolver.cache = NULL;
}

static void get_ready(void)
{
    struct settings *s = &resolver.settings;
    const char *text;
    int count;

    flight_handle_fork();
    pthread_mutex_lock(&resolver.lock);
    if (s->generation == 0) {
        for (int i = 0; i < STAGES; i++)
            TAILQ_INIT(&resolver.stages[i]);
        if (!s->paths.hosts)
            s->paths = system_paths;
        text = sys_env("WEIR_NAMESERVERS");
        count = text ? conf_read_servers(text, s->environment) : 0;
        s->environment_count = count > 0 ? (size_t)count : 0;
        take_stamps(&s->paths, s->stamps);
        s->generation = 1;
    }
    atomic_store_explicit(&ready, true, memory_order_release);
    pthread_mutex_unlock(&resolver.lock);
}

/* One caller a second looks, the others go on with what is known. */
void settings_check(uint64_t now_ns)
{
    uint_least64_t due_ns = atomic_load_explicit(&next_check_ns, memory_order_relaxed);
    struct file_stamp stamps[SETTINGS_FILES];
    struct resolve_paths paths;
    bool changed = false;

    if (!atomic_load_explicit(&ready, memory_order_acquire))
        get_ready();
    if (now_ns < due_ns ||
        !atomic_compare_exchange_strong(&next_check_ns, &due_ns, now_ns + CHECK_EVERY_NS))
        return;
    pthread_mutex_lock(&resolver.lock);
    paths = resolver.settings.paths;
    pthread_mutex_unlock(&resolver.lock);
    take_stamps(&paths, stamps);
    pthread_mutex_lock(&resolver.lock);
    for (int i = 0; i < SETTINGS_FILES; i++)
        changed |= !same_stamp(&stamps[i], &resolver.settings.stamps[i]);
    if (changed) {
        memcpy(resolver.settings.stamps, stamps, sizeof(stamps));
        forget();
    }
    pthread_mutex_unlock(&resolver.lock);
}

const weir_address *settings_servers(const struct settings *s, size_t *ret_count)
{
    *ret_count = s->set_count ? s->set_count : s->environment_count;
    return s->set_count ? s->set : s->environment_count ? s->environment : NULL;
}

int settings_set_servers(const char *text)
{
    struct settings *s = &resolver.settings;
    weir_address servers[CONF_SERVERS_MAX];
    int count = text ? conf_read_servers(text, servers) : 0;

    if (count < 0)
        return count;
    get_ready();
    pthread_mutex_lock(&resolver.lock);
    memcpy(s->set, servers, (size_t)count * sizeof(servers[0]));
    s->set_count = (size_t)count;
    forget();
    pthread_mutex_unlock(&resolver.lock);
    return 0;
}

void settings_set_program(weir_resolver *program, void *arg)
{
    get_ready();
    pthread_mutex_lock(&resolver.lock);
    resolver.settings.program = program;
    resolver.settings.program_arg = arg;
    forget();
    pthread_mutex_unlock(&resolver.lock);
}

void resolve_set_paths(const struct resolve_paths *paths)
{
    struct settings *s = &resolver.settings;

    get_ready();
    pthread_mutex_lock(&resolver.lock);
    s->paths = paths ? *paths : system_paths;
    take_stamps(&s->paths, s->stamps);
    forget();
    pthread_mutex_unlock(&resolver.lock);
    atomic_store_explicit(&next_check_ns, 0, memory_order_relaxed);
}
