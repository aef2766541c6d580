#include "support/names_fixture.h"

#include "clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/error.h>

static struct stub_dns *server;
static char directory[64];
static char paths[4][128];
static const char *const files[4] = {"hosts", "resolv.conf", "nsswitch.conf", "hostname"};
static atomic_uint_least64_t turned_ns;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    perror(what);
    abort();
}

static uint64_t turned_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec + turned_ns;
}

static const struct sys_faults clock_only = {.now = turned_clock};

void names_later(int64_t ms)
{
    turned_ns += (uint64_t)ms * NS_PER_MS;
}

/* ---- Files and servers ----------------------------------------------------------------------- */

/* By renaming, as editors do: a reader sees the old file or the new one. */
void names_write(const char *file, const char *text)
{
    char path[256], next[256];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", directory, file);
    snprintf(next, sizeof(next), "%s/next", directory);
    out = fopen(next, "w");
    must(out && fputs(text, out) >= 0 && fclose(out) == 0, next);
    must(rename(next, path) == 0, path);
}

void names_use_files(const char *more)
{
    char text[2048];

    snprintf(text, sizeof(text), "nameserver %s\n%s", stub_dns_servers(server), more);
    names_write("resolv.conf", text);
    weir_set_nameservers(NULL);
}

struct stub_dns *names_server(void)
{
    return server;
}

int names_setup(void **state)
{
    (void)state;
    sys_faults = &clock_only;
    snprintf(directory, sizeof(directory), "/tmp/weir-names-XXXXXX");
    must(mkdtemp(directory) != NULL, "mkdtemp");
    for (int i = 0; i < 4; i++)
        snprintf(paths[i], sizeof(paths[i]), "%s/%s", directory, files[i]);
    resolve_set_paths(&(struct resolve_paths){paths[0], paths[1], paths[2], paths[3]});
    server = stub_dns_open();
    weir_set_nameservers(stub_dns_servers(server));
    return 0;
}

int names_teardown(void **state)
{
    (void)state;
    weir_set_resolver(NULL, NULL);
    weir_set_nameservers(NULL);
    resolve_set_paths(NULL);
    stub_dns_close(server);
    for (int i = 0; i < 4; i++)
        unlink(paths[i]);
    must(rmdir(directory) == 0, directory);
    return 0;
}

void names_leave(bool good)
{
    execlp(good ? "true" : "false", good ? "true" : "false", NULL);
    abort();
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static void tell(atomic_uint *count)
{
    pthread_mutex_lock(&lock);
    ++*count;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void notify(void *arg)
{
    tell(&((struct asker *)arg)->told);
}

static void release(void *arg)
{
    tell(&((struct asker *)arg)->released);
}

int ask_begin(struct asker *a, const char *host, int family)
{
    const struct resolve_client client = {notify, release, a};

    a->request = NULL;
    a->told = a->released = 0;
    return resolve_begin(&a->request, host, family, &client);
}

const struct answer *ask_wait(struct asker *a, int family)
{
    const struct answer *answer;

    pthread_mutex_lock(&lock);
    while (!(answer = resolve_answer(a->request, family)) && !a->released)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return answer;
}

void ask_wait_released(struct asker *a)
{
    pthread_mutex_lock(&lock);
    while (!a->released)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void ask_end(struct asker *a)
{
    resolve_end(a->request);
    ask_wait_released(a);
}

static void print(char *out, size_t size, const struct answer *answer)
{
    char buf[WEIR_ADDRESS_TEXT_MAX];

    snprintf(out, size, "%s", answer->rc ? weir_error_name(answer->rc) : "");
    for (size_t i = 0; i < answer->count; i++) {
        weir_address_format(&answer->list[i].address, buf, sizeof(buf));
        *strrchr(buf, ':') = '\0'; /* the port */
        snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? " " : "", buf);
    }
}

const char *ask(const char *host, int family)
{
    static _Thread_local char out[1024];
    struct asker a;
    int rc = ask_begin(&a, host, family);

    snprintf(out, sizeof(out), "%s", rc < 0 && rc != -EINPROGRESS ? weir_error_name(rc) : "?");
    if (a.request)
        print(out, sizeof(out), ask_wait(&a, family));
    ask_end(&a);
    return out;
}
