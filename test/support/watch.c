#include "support/watch.h"

#include "task/sanitizer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static ssize_t read_file(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n;
    do
        n = read(fd, buf, size - 1);
    while (n < 0 && errno == EINTR);
    close(fd);
    buf[n > 0 ? n : 0] = '\0';
    return n;
}

/* As proc(5) has it; 0 if there is no such thread. */
static char thread_state(pid_t tid)
{
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    if (read_file(path, stat, sizeof stat) <= 0)
        return 0;
    const char *end_of_name = strrchr(stat, ')');
    return end_of_name && end_of_name[1] ? end_of_name[2] : 0;
}

void watch_until_asleep(pid_t tid)
{
    /* One look could hit a short sleep on the way, such as a lock that is taken. */
    for (int asleep = 0; asleep < 3; sched_yield()) {
        char state = thread_state(tid);
        if (!state || state == 'Z' || state == 'X')
            return;
        asleep = state == 'S' ? asleep + 1 : 0;
    }
}

int watch_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = 0;
    for (const struct dirent *e; dir && (e = readdir(dir));)
        count += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

long watch_memory_kib(void)
{
    char statm[128];
    long pages = 0;
    if (getenv("WEIR_SLOW") || SANITIZER_ADDRESS || SANITIZER_THREAD || RUNNING_ON_VALGRIND)
        return 0;
    if (read_file("/proc/self/statm", statm, sizeof statm) > 0)
        sscanf(statm, "%*d %ld", &pages);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

void watch_fds(struct open_fds *ret)
{
    memset(ret, 0, sizeof *ret);
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    for (const struct dirent *e; (e = readdir(dir));) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fd != dirfd(dir) && fd < WATCH_FDS)
            ret->open[fd] = true;
    }
    closedir(dir);
}

int watch_fd_count(void)
{
    struct open_fds now;
    int count = 0;
    watch_fds(&now);
    for (int fd = 0; fd < WATCH_FDS; fd++)
        count += now.open[fd];
    return count;
}

static void describe_fd(int fd, char *what, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, what, size - 1);
    what[n > 0 ? n : 0] = '\0';
}

/* Besides its own wake and poll descriptors the resolver keeps sockets to name servers. */
static bool may_be_resolvers(int fd, const char *what)
{
    int type = 0;
    socklen_t length = sizeof type;
    if (!strncmp(what, "anon_inode:", 11))
        return true;
    return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_DGRAM;
}

int watch_new_fd(const struct open_fds *before, bool resolver, char *what, size_t size)
{
    struct open_fds now;
    watch_fds(&now);
    for (int fd = 0; fd < WATCH_FDS; fd++) {
        if (!now.open[fd] || before->open[fd])
            continue;
        describe_fd(fd, what, size);
        if (!resolver || !may_be_resolvers(fd, what))
            return fd;
    }
    return -1;
}

static __thread timer_t storm;
static __thread bool storming;

static void on_storm(int signal)
{
    (void)signal;
}

void watch_storm_start(void)
{
    struct sigaction action = {.sa_handler = on_storm};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    struct itimerspec every = {.it_value.tv_nsec = 1000000, .it_interval.tv_nsec = 1000000};
    sigset_t signals;
    if (storming)
        return;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    event.sigev_notify_thread_id = gettid();
    storming = !sigaction(SIGUSR1, &action, NULL) &&
               !timer_create(CLOCK_MONOTONIC, &event, &storm) &&
               !timer_settime(storm, 0, &every, NULL);
}

void watch_storm_stop(void)
{
    if (storming)
        timer_delete(storm);
    storming = false;
}

void watch_storm_restart(void)
{
    storming = false;
    watch_storm_start();
}

void watch_print_threads(pid_t pid)
{
    static const char *const files[] = {"comm", "wchan", "syscall", "stack"};
    char path[128], text[2048];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        printf("# thread %s\n", e->d_name);
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            snprintf(path, sizeof path, "/proc/%d/task/%.16s/%s", pid, e->d_name, files[i]);
            if (read_file(path, text, sizeof text) <= 0)
                continue;
            text[strcspn(text, "\n")] = '\0';
            printf("#   %s: %s\n", files[i], text);
        }
    }
    if (dir)
        closedir(dir);
}
