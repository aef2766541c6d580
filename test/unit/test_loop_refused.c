/* Where a loop is not to be had: by name that is an error, and automatically the next best runs,
 * and tells why. */
#include "support/loop_rig.h"
#include "sys.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <weir.h>

#include <cmocka.h>

#define REFUSED 100 /* how a child ends that cannot be refused what it should be */

/* What came of the runs; shared with the child that made them. */
struct outcome {
    int named, automatic;
    char loop[16], reason[160], story[256];
};
static struct outcome *seen;

/* ---- a program ----------------------------------------------------------------------------- */

static int answers(weir_socket *s, void *arg)
{
    char byte;
    ssize_t n = weir_recv(s, &byte, 1);

    (void)arg;
    return n == 1 ? (int)weir_send(s, &byte, 1) : (int)n;
}

static int talks(void *arg)
{
    weir_run_info info;
    weir_socket *pair[2];
    weir_group *g;
    char byte = 0;

    (void)arg;
    weir_inspect_run(&info, sizeof info);
    snprintf(seen->loop, sizeof seen->loop, "%s", info.loop);
    snprintf(seen->reason, sizeof seen->reason, "%s", info.reason);
    if (weir_group_open(&g, NULL) < 0 || weir_pair(pair, SOCK_STREAM) < 0)
        return -1;
    int rc = weir_go_socket(g, answers, pair[1], NULL);
    if (rc == 0 && weir_send(pair[0], "y", 1) == 1 && weir_recv(pair[0], &byte, 1) != 1)
        rc = -1;
    weir_group_close(g);
    weir_close(pair[0]);
    return rc == 0 && byte == 'y' ? 0 : -1;
}

static int run(int loop)
{
    int result = -1, rc = weir_run(talks, NULL, WEIR_RUN_OPTIONS(.loop = loop), &result);

    return rc < 0 ? rc : result;
}

static void run_both(int named)
{
    *seen = (struct outcome){.named = run(named)};
    weir_error_detail(NULL, seen->story, sizeof seen->story);
    seen->automatic = run(WEIR_LOOP_AUTO);
}

/* ---- refusals ------------------------------------------------------------------------------ */

struct refusal {
    const char *step; /* as the story names it */
    long call;
    int error;
};

static bool forbid(const struct refusal *r)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)r->call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)r->error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/* Runs in a child after `refuse(arg)`; false if that cannot be had. */
static bool run_in_child(bool (*refuse)(const struct refusal *), const struct refusal *r, int named)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        alarm(60);
        if (!refuse(r))
            _exit(REFUSED);
        run_both(named);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) != REFUSED;
}

static bool refuse_nothing(const struct refusal *r)
{
    (void)r;
    return true;
}

/* The loop that is taken where nothing is in the way. */
static void usual_loop(char *ret, size_t size)
{
    assert_true(run_in_child(refuse_nothing, NULL, WEIR_LOOP_POLL));
    assert_int_equal(seen->named, 0);
    assert_int_equal(seen->automatic, 0);
    snprintf(ret, size, "%s", seen->loop);
}

/* It runs on another loop than usual, and tells what is in the way, if that was the one. */
static void check_automatic(const char *refused, const char *step, const char *usual)
{
    assert_int_equal(seen->automatic, 0);
    if (strcmp(usual, refused) != 0) {
        assert_string_equal(seen->loop, usual);
        return;
    }
    assert_string_not_equal(seen->loop, refused);
    assert_non_null(strstr(seen->reason, refused));
    assert_non_null(strstr(seen->reason, step));
}

static void forbidden_by_a_filter(void **state)
{
    static const struct refusal refusals[] = {
        {"io_uring_setup", __NR_io_uring_setup, EPERM},
        {"io_uring_setup", __NR_io_uring_setup, ENOSYS},
        {"io_uring_setup", __NR_io_uring_setup, EACCES},
        {"io_uring_enter", __NR_io_uring_enter, EPERM},
        {"io_uring_enter", __NR_io_uring_enter, ENOSYS},
        {"io_uring_register", __NR_io_uring_register, EPERM},
    };
    char usual[16];

    (void)state;
    usual_loop(usual, sizeof usual);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        if (!run_in_child(forbid, r, WEIR_LOOP_IO_URING)) {
            printf("skipped: no filter can be installed here\n");
            skip();
        }
        check_automatic("io_uring", r->step, usual);
        if (loop_find(WEIR_LOOP_IO_URING)) {
            assert_int_equal(seen->named, -r->error);
            assert_non_null(strstr(seen->story, r->step));
        } else {
            assert_int_equal(seen->named, -ENOSYS);
        }
    }
}

static void no_epoll_either(void **state)
{
    static const struct refusal refusal = {"epoll_create1", __NR_epoll_create1, EPERM};
    char usual[16];

    (void)state;
    usual_loop(usual, sizeof usual);
    if (!run_in_child(forbid, &refusal, WEIR_LOOP_EPOLL)) {
        printf("skipped: no filter can be installed here\n");
        skip();
    }
    assert_int_equal(seen->named, -EPERM);
    assert_non_null(strstr(seen->story, "epoll_create1"));
    check_automatic("epoll", "epoll_create1", usual);
}

static bool lock_no_memory(const struct refusal *r)
{
    static const struct rlimit none = {0, 0};

    (void)r;
    return setrlimit(RLIMIT_MEMLOCK, &none) == 0 &&
           (geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
}

/* Kernels since 5.12 do not count rings as locked memory: then there is nothing to refuse. */
static void without_locked_memory(void **state)
{
    (void)state;
    if (!run_in_child(lock_no_memory, NULL, WEIR_LOOP_IO_URING)) {
        printf("skipped: the limit cannot be set here\n");
        skip();
    }
    printf("# by name without locked memory: %d\n", seen->named);
    assert_true(seen->named <= 0);
    assert_int_equal(seen->automatic, 0);
}

/* ---- the administrator's switch ------------------------------------------------------------ */

#define SWITCH "/proc/sys/kernel/io_uring_disabled"

static bool set_switch(char value)
{
    int fd = open(SWITCH, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, &value, 1) == 1;

    if (fd >= 0)
        close(fd);
    return good;
}

/* It is the whole machine's: only for those who ask for it. */
static void switched_off(void **state)
{
    char before = '0', usual[16];
    FILE *file = fopen(SWITCH, "re");

    (void)state;
    if (file) {
        before = (char)fgetc(file);
        fclose(file);
    }
    if (!getenv("WEIR_TEST_SYSCTL") || !file) {
        printf("skipped: changes " SWITCH " of the machine, unless WEIR_TEST_SYSCTL is set\n");
        skip();
    }
    usual_loop(usual, sizeof usual);
    if (!set_switch('2')) {
        printf("skipped: " SWITCH " cannot be written\n");
        skip();
    }
    bool ran = run_in_child(refuse_nothing, NULL, WEIR_LOOP_IO_URING);
    set_switch(before);
    assert_true(ran);
    assert_int_equal(seen->named, loop_find(WEIR_LOOP_IO_URING) ? -EPERM : -ENOSYS);
    check_automatic("io_uring", "io_uring_setup", usual);
}

/* ---- faults -------------------------------------------------------------------------------- */

static int calls, fail_at, fail_with;

static int fail_one(enum sys_call call)
{
    (void)call;
    return ++calls == fail_at ? -fail_with : 0;
}

static const struct sys_faults one_fault = {.error = fail_one};

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Whatever fails while a loop is opened: the error comes out, with the step, and nothing is left
 * behind. */
static void each_step_may_fail(void **state)
{
    int before = open_descriptors();
    struct run run_of_none = {.model = WEIR_TASKS};
    struct loop *l;

    (void)state;
    fail_with = ENFILE;
    for (int i = 0; i < LOOP_KINDS; i++) {
        const struct loop_ops *ops = loop_find(loop_kinds[i]);
        if (!ops)
            continue;
        for (fail_at = 1;; fail_at++) {
            const char *step = NULL;
            calls = 0;
            sys_faults = &one_fault;
            int rc = loop_open(&l, ops, &run_of_none, &step);
            sys_faults = NULL;
            if (rc == 0)
                loop_close(l);
            assert_int_equal(open_descriptors(), before);
            if (rc == 0 && calls < fail_at)
                break;
            if (rc != 0) {
                assert_true(rc == -ENFILE || rc == -ENOMEM);
                assert_non_null(step);
            }
        }
        assert_true(fail_at > 2);
    }
}

/* ---- the environment ----------------------------------------------------------------------- */

static bool forbid_and_ask(const struct refusal *r)
{
    setenv("WEIR_LOOP", "io_uring", 1);
    return forbid(r);
}

/* Asked for by name is asked for by name, also in the environment. */
static void asked_for_in_the_environment(void **state)
{
    static const struct refusal refusal = {"io_uring_setup", __NR_io_uring_setup, EPERM};

    (void)state;
    if (!run_in_child(forbid_and_ask, &refusal, WEIR_LOOP_AUTO)) {
        printf("skipped: no filter can be installed here\n");
        skip();
    }
    assert_int_equal(seen->automatic, loop_find(WEIR_LOOP_IO_URING) ? -EPERM : -ENOSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forbidden_by_a_filter), cmocka_unit_test(no_epoll_either),
        cmocka_unit_test(without_locked_memory), cmocka_unit_test(switched_off),
        cmocka_unit_test(each_step_may_fail),    cmocka_unit_test(asked_for_in_the_environment),
    };

    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
