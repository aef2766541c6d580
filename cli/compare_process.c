/* The processes of `weir compare`: the server, and one for each round of each model. */
#include "cli.h"
#include "compare.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Forks; the child ends with its parent, however that ends. */
static pid_t fork_child(void)
{
    pid_t parent = getpid(), pid = fork();

    if (pid != 0)
        return pid < 0 ? -errno : pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
    return 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

static int serve(void *listener)
{
    return echo_until_signal(listener, &(struct echo_options){.datagrams = false});
}

/* Its loop is the one that the environment chooses for tasks, whatever is measured. */
static int run_server(weir_socket *listener)
{
    int rc = block_stop_signals();

    return rc < 0 ? rc : weir_run(serve, listener, NULL, NULL);
}

/* The server is a process, so that its CPU time and memory are not taken for the client's. */
int start_server(char *target, size_t size, pid_t *ret)
{
    weir_socket *listener = NULL;
    pid_t pid;
    int rc = weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL);

    if (rc < 0)
        return rc;
    rc = target_of_listener(listener, "tcp://", target, size);
    pid = rc < 0 ? rc : fork_child();
    if (pid == 0)
        _exit(run_server(listener) < 0);
    weir_close(listener);
    if (pid < 0)
        return (int)pid;
    *ret = pid;
    return 0;
}

void stop_server(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* ---- in the child ---------------------------------------------------------------------------- */

struct measurement {
    const struct model *model;
    const struct load *load; /* NULL: only to see whether the model works here */
    struct verdict *verdict;
};

static int run_model(void *measurement)
{
    static struct run run;
    const struct measurement *m = measurement;
    struct verdict *v = m->verdict;
    const char *what = "";
    weir_run_info info;

    if (weir_inspect_run(&info, sizeof(info)) == 0) {
        snprintf(v->loop, sizeof(v->loop), "%s", info.loop);
        snprintf(v->reason, sizeof(v->reason), "%s", info.reason);
    }
    if (!m->load)
        return 0;
    v->rc = run_open(&run, m->load, &what);
    if (v->rc == 0) {
        what = "talk to";
        v->rc = m->model->drive(&run, &v->sample);
    }
    if (v->rc == 0 && v->sample.cpu_us <= 0) {
        what = "any echo in a round from";
        v->rc = WEIR_EDEADLINE;
    }
    snprintf(v->what, sizeof(v->what), "%s", what);
    weir_error_detail(NULL, v->detail, sizeof(v->detail));
    if (v->rc == 0)
        run_close(&run);
    return 0;
}

/* The environment chooses, as it would for any program. */
static void choose_model(const struct model *model)
{
    setenv("WEIR_MODEL", model->model, 1);
    unsetenv("WEIR_LOOPS");
    if (model->loop)
        setenv("WEIR_LOOP", model->loop, 1);
}

static void start_model(struct measurement *m)
{
    int rc;

    if (!m->model->model) {
        run_model(m);
        return;
    }
    choose_model(m->model);
    rc = weir_run(run_model, m, WEIR_RUN_OPTIONS(.models = WEIR_TASKS | WEIR_THREADS), NULL);
    if (rc == 0)
        return;
    m->verdict->rc = rc;
    snprintf(m->verdict->what, sizeof(m->verdict->what), "run tasks to talk to");
    weir_error_detail(NULL, m->verdict->detail, sizeof(m->verdict->detail));
}

int measure(const struct model *model, const struct load *load, struct verdict *v)
{
    ssize_t got;
    int fds[2];
    pid_t pid;

    memset(v, 0, sizeof(*v));
    if (pipe(fds) < 0)
        return -errno;
    pid = fork_child();
    if (pid == 0) {
        start_model(&(struct measurement){model, load, v});
        _exit(write(fds[1], v, sizeof(*v)) != (ssize_t)sizeof(*v));
    }
    close(fds[1]);
    got = pid < 0 ? 0 : read(fds[0], v, sizeof(*v));
    close(fds[0]);
    if (pid < 0)
        return (int)pid;
    waitpid(pid, NULL, 0);
    return got == (ssize_t)sizeof(*v) ? 0 : -EIO;
}
