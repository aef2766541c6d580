/* Runs the scenarios in one row: scenarios [--model MODEL] --mode MODE --transport TRANSPORT
 * [--eintr] [--seed N] [--only NAME]. */
#include "support/rig.h"
#include "support/watch.h"

#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PASSED, FAILED, SKIPPED, HUNG };

/* A scenario that takes so long is stuck. */
static time_t patience_s(void)
{
    return getenv("WEIR_SLOW") ? 240 : 60;
}

static void remove_directory(const char *path)
{
    DIR *dir = opendir(path);
    for (const struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(path);
}

static _Noreturn void run_child(struct rig *rig, const sigset_t *signals)
{
    sigprocmask(SIG_SETMASK, signals, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rig_run(rig);
    exit(0);
}

/* Waits for the scenario's process; false if it had to be killed. SIGCHLD is blocked. */
static bool wait_for(const struct rig *rig, pid_t pid, int *status)
{
    struct timespec patience = {.tv_sec = patience_s()};
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    while (sigtimedwait(&ended, NULL, &patience) >= 0 || errno == EINTR)
        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
    printf("# %s hangs:\n", rig->scenario->name);
    watch_print_threads(pid);
    kill(pid, SIGKILL);
    waitpid(pid, status, 0);
    return false;
}

static int run_one(struct rig *rig)
{
    const char *base = getenv("TMPDIR");
    sigset_t child, before;
    int status = 0;
    snprintf(rig->dir, sizeof rig->dir, "%.40s/weir-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(rig->dir))
        return perror(rig->dir), FAILED;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        run_child(rig, &before);
    bool ended = pid > 0 && wait_for(rig, pid, &status);
    sigprocmask(SIG_SETMASK, &before, NULL);
    remove_directory(rig->dir);
    if (!ended)
        return HUNG;
    if (WIFSIGNALED(status))
        printf("# %s: %s\n", rig->scenario->name, strsignal(WTERMSIG(status)));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return SKIPPED;
    return WIFEXITED(status) && !WEXITSTATUS(status) ? PASSED : FAILED;
}

static bool fits(const struct rig *rig, const struct scenario *scenario)
{
    unsigned has = rig->transport->has | NAMES;
    if (rig->mode->kind != MODE_NONBLOCKING)
        has |= WAITS;
    if (rig->model->models)
        has |= TASKS;
    return !(scenario->needs & ~has);
}

/* Each scenario draws numbers of its own. */
static uint64_t beginning_of(const char *name)
{
    uint64_t hash = 0;
    while (*name)
        hash = (hash << 5) + hash + (unsigned char)*name++;
    return hash;
}

static int run_row(const struct rig *row, const char *only)
{
    static const char *const words[] = {"ok", "not ok", "skipped", "not ok"};
    int counts[4] = {0}, number = 0;
    for (const struct scenario *s = rig_scenarios(); s && counts[HUNG] < 3; s = s->next) {
        if ((only && strcmp(only, s->name) != 0) || !fits(row, s))
            continue;
        struct rig rig = {.scenario = s,
                          .model = row->model,
                          .mode = row->mode,
                          .transport = row->transport,
                          .eintr = row->eintr,
                          .seed = row->seed,
                          .drawn = beginning_of(s->name)};
        int outcome = run_one(&rig);
        counts[outcome]++;
        printf("%s %d %s\n", words[outcome], ++number, s->name);
    }
    printf("%d passed, %d failed, %d skipped\n", counts[PASSED], counts[FAILED] + counts[HUNG],
           counts[SKIPPED]);
    return counts[FAILED] || counts[HUNG] || !number;
}

static const struct model *find_model(const char *name)
{
    const struct model *m = rig_models;
    while (m->name && strcmp(m->name, name) != 0)
        m++;
    return m;
}

static const struct mode *find_mode(const char *name)
{
    const struct mode *m = rig_modes;
    while (m->name && strcmp(m->name, name) != 0)
        m++;
    return m;
}

static const struct transport *find_transport(const char *name)
{
    const struct transport *t = rig_transports;
    while (t->name && strcmp(t->name, name) != 0)
        t++;
    return t;
}

static int usage(void)
{
    fputs(
        "usage: scenarios [--model MODEL] --mode MODE --transport TRANSPORT [--eintr] [--seed N]\n"
        "                 [--only NAME]\n"
        "       scenarios --list\n"
        "models:",
        stderr);
    for (const struct model *m = rig_models; m->name; m++)
        fprintf(stderr, " %s", m->name);
    fputs("\nmodes:", stderr);
    for (const struct mode *m = rig_modes; m->name; m++)
        fprintf(stderr, " %s", m->name);
    fputs("\ntransports:", stderr);
    for (const struct transport *t = rig_transports; t->name; t++)
        fprintf(stderr, " %s", t->name);
    fputs("\n", stderr);
    return 2;
}

static int list(void)
{
    for (const struct scenario *s = rig_scenarios(); s; s = s->next)
        puts(s->name);
    return 0;
}

static bool family_works(int family)
{
    weir_address loopback;
    socklen_t length;
    if (family == AF_UNIX)
        return true;
    weir_address_from_host(family == AF_INET ? "127.0.0.1" : "::1", 0, &loopback);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *sa = weir_address_sockaddr(&loopback, &length);
    bool works = fd >= 0 && !bind(fd, sa, length);
    if (fd >= 0)
        close(fd);
    return works;
}

/* Asked in a process of its own, which the rows do not inherit anything from. */
static bool model_works(const struct model *model)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = rig_try_model(model);
        if (rc)
            printf("skipped: %s does not work on this machine: %s\n", model->name,
                   weir_strerror(rc));
        fflush(stdout);
        _exit(rc == -ENOSYS || rc == -EPERM);
    }
    waitpid(pid, &status, 0);
    return !status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"model", required_argument, NULL, 'w'},
        {"mode", required_argument, NULL, 'm'},
        {"transport", required_argument, NULL, 't'},
        {"eintr", no_argument, NULL, 'e'},
        {"seed", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},
        {"list", no_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    struct rig row = {
        .model = rig_models, .mode = rig_modes, .transport = rig_transports, .seed = 1};
    const char *only = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'w':
            row.model = find_model(optarg);
            break;
        case 'm':
            row.mode = find_mode(optarg);
            break;
        case 't':
            row.transport = find_transport(optarg);
            break;
        case 'e':
            row.eintr = true;
            break;
        case 's':
            row.seed = strtoul(optarg, NULL, 0);
            break;
        case 'o':
            only = optarg;
            break;
        case 'l':
            return list();
        default:
            return usage();
        }
    }
    if (!row.model->name || !row.mode->name || !row.transport->name || optind < argc)
        return usage();
    unsetenv("WEIR_MODEL");
    unsetenv("WEIR_LOOP");
    unsetenv("WEIR_LOOPS");
    if (!family_works(row.transport->family)) {
        printf("skipped: %s does not work on this machine\n", row.transport->name);
        return 77;
    }
    if (!model_works(row.model))
        return 77;
    int rc = rig_prepare(row.transport);
    if (rc < 0) {
        printf("skipped: %s does not work here: %s\n", row.transport->name, weir_strerror(rc));
        return 77;
    }
    int failed = run_row(&row, only);
    rig_unprepare();
    return failed;
}
