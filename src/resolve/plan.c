#include "plan.h"

#include "sys.h"

#include <string.h>

/* More of a file is not read. */
#define FILE_MAX ((size_t)32 << 20)

/* Sockets to name servers; those of a plan's past stay until they are answered. */
struct ports {
    TAILQ_ENTRY(ports) link;
    struct dns *dns;
    bool past;
};

struct dns_questions plan_answered = TAILQ_HEAD_INITIALIZER(plan_answered);
static TAILQ_HEAD(plans, plan) plans = TAILQ_HEAD_INITIALIZER(plans);
static TAILQ_HEAD(all_ports, ports) all_ports = TAILQ_HEAD_INITIALIZER(all_ports);
static struct plan *current;

/* ---- Files ----------------------------------------------------------------------------------- */

/* A regular file's text, or "" with `*ret_len` 0; to be freed. O_NONBLOCK: a FIFO must not hold
 * the thread up. */
static char *read_file(const char *path, size_t *ret_len)
{
    int fd = sys_open(path, O_RDONLY | O_NONBLOCK);
    size_t room = 4096, len = 0;
    char *text = NULL;
    ssize_t n;
    struct stat status;

    if (fd >= 0 && sys_fstat(fd, &status) == 0 && status.st_size > 0)
        room = (size_t)status.st_size < FILE_MAX ? (size_t)status.st_size : FILE_MAX;
    text = sys_alloc(room + 1);
    while (text && fd >= 0 && len < room && (n = sys_read(fd, text + len, room - len)) > 0)
        len += (size_t)n;
    sys_close(fd);
    *ret_len = len;
    return text;
}

static void read_host_name(struct conf *c, const char *path)
{
    size_t len;
    char *text = read_file(path, &len);

    if (text && (len = strcspn(text, "\n")) < sizeof(c->host_name))
        memcpy(c->host_name, text, len);
    free(text);
}

static void read_text(struct conf *c, const char *path,
                      void (*parse)(struct conf *c, const char *text, size_t len))
{
    size_t len;
    char *text = read_file(path, &len);

    if (text)
        parse(c, text, len);
    free(text);
}

static struct hosts *read_hosts(const char *path)
{
    size_t len;
    char *text = read_file(path, &len);
    struct hosts *h = text ? hosts_parse(text, len) : NULL;

    free(text);
    return h;
}

/* ---- Plans ----------------------------------------------------------------------------------- */

static void read_settings(struct plan *p)
{
    const struct settings *s = &resolver.settings;
    struct resolve_paths paths;
    weir_address set[CONF_SERVERS_MAX];
    size_t count;

    pthread_mutex_lock(&resolver.lock);
    const weir_address *servers = settings_servers(s, &count);
    if (servers)
        memcpy(set, servers, count * sizeof(set[0]));
    p->generation = s->generation;
    p->program = s->program;
    p->program_arg = s->program_arg;
    paths = s->paths;
    pthread_mutex_unlock(&resolver.lock);

    conf_init(&p->conf);
    read_text(&p->conf, paths.resolv_conf, conf_read_resolv);
    if (count > 0) {
        memcpy(p->conf.servers, set, count * sizeof(set[0]));
        p->conf.server_count = count;
    } else {
        read_text(&p->conf, paths.nsswitch, conf_read_nsswitch);
    }
    read_host_name(&p->conf, paths.host_name);
    p->hosts = read_hosts(paths.hosts);
}

static void set_past(struct dns *d)
{
    struct ports *ports;

    for (ports = TAILQ_FIRST(&all_ports); ports; ports = TAILQ_NEXT(ports, link))
        if (ports->dns == d)
            ports->past = true;
}

static void plan_free(struct plan *p)
{
    set_past(p->dns);
    hosts_free(p->hosts);
    free(p);
}

static struct plan *load(void)
{
    struct plan *p = sys_alloc(sizeof(*p));

    if (!p)
        return NULL;
    read_settings(p);
    if (!p->hosts) {
        plan_free(p);
        return NULL;
    }
    return p;
}

struct plan *plan_current(unsigned generation)
{
    struct plan *p;

    if (current && current->generation == generation)
        return current;
    p = load();
    if (p) {
        TAILQ_INSERT_TAIL(&plans, p, link);
        current = p;
    }
    return p;
}

void plan_leave(struct plan *p)
{
    if (p)
        atomic_fetch_sub_explicit(&p->flights, 1, memory_order_release);
}

/* ---- Sockets --------------------------------------------------------------------------------- */

static int open_ports(struct plan *p)
{
    struct ports *ports = sys_alloc(sizeof(*ports));
    int rc;

    if (!ports)
        return -ENOMEM;
    rc = dns_open(&ports->dns, p->conf.servers, p->conf.server_count, p->conf.timeout_s * 1000,
                  resolver.epoll_fd, &plan_answered);
    if (rc < 0) {
        free(ports);
        return rc;
    }
    TAILQ_INSERT_TAIL(&all_ports, ports, link);
    p->dns = ports->dns;
    return 0;
}

struct dns *plan_dns(struct plan *p)
{
    if (p->dns && !dns_worn(p->dns, sys_now()))
        return p->dns;
    set_past(p->dns);
    p->dns = NULL;
    if (!p->conf.rotate)
        p->first_server = 0;
    return open_ports(p) < 0 ? NULL : p->dns;
}

void plan_ready(int fd, uint32_t events)
{
    struct ports *ports;

    for (ports = TAILQ_FIRST(&all_ports); ports; ports = TAILQ_NEXT(ports, link))
        dns_ready(ports->dns, fd, events);
}

void plan_expire(void)
{
    struct ports *ports;

    for (ports = TAILQ_FIRST(&all_ports); ports; ports = TAILQ_NEXT(ports, link))
        dns_expire(ports->dns);
}

int plan_timeout_ms(void)
{
    struct ports *ports;
    int least_ms = -1;

    for (ports = TAILQ_FIRST(&all_ports); ports; ports = TAILQ_NEXT(ports, link)) {
        int ms = dns_timeout_ms(ports->dns);

        if (ms >= 0 && (least_ms < 0 || ms < least_ms))
            least_ms = ms;
    }
    return least_ms;
}

static void close_ports(struct ports *ports)
{
    TAILQ_REMOVE(&all_ports, ports, link);
    dns_close(ports->dns);
    free(ports);
}

void plan_give_up(void)
{
    struct ports *ports = TAILQ_FIRST(&all_ports);
    struct plan *p;

    if (!ports)
        return;
    for (p = TAILQ_FIRST(&plans); p; p = TAILQ_NEXT(p, link))
        if (p->dns == ports->dns)
            p->dns = NULL;
    close_ports(ports);
}

void plan_sweep(void)
{
    struct plan *p, *next_plan;
    struct ports *ports, *next_ports;

    for (p = TAILQ_FIRST(&plans); p; p = next_plan) {
        next_plan = TAILQ_NEXT(p, link);
        if (p == current || atomic_load_explicit(&p->flights, memory_order_acquire) > 0)
            continue;
        TAILQ_REMOVE(&plans, p, link);
        plan_free(p);
    }
    for (ports = TAILQ_FIRST(&all_ports); ports; ports = next_ports) {
        next_ports = TAILQ_NEXT(ports, link);
        if (ports->past && dns_idle(ports->dns))
            close_ports(ports);
    }
}

void plan_forget(void)
{
    struct plan *p;
    struct ports *ports;

    while ((ports = TAILQ_FIRST(&all_ports))) {
        dns_forget_epoll(ports->dns);
        close_ports(ports);
    }
    while ((p = TAILQ_FIRST(&plans))) {
        TAILQ_REMOVE(&plans, p, link);
        hosts_free(p->hosts);
        free(p);
    }
    TAILQ_INIT(&plan_answered); /* what was closed came there */
    current = NULL;
}
