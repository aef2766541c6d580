#include "sys.h"

#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifdef WEIR_TEST
const struct sys_faults *_Atomic sys_faults;

int sys_fault(enum sys_call call)
{
    const struct sys_faults *faults = sys_faults;
    return faults && faults->error ? faults->error(call) : 0;
}

size_t sys_amount(enum sys_call call, size_t len)
{
    const struct sys_faults *faults = sys_faults;
    return faults && faults->amount ? faults->amount(call, len) : len;
}

static bool bent_clock(uint64_t *ret)
{
    const struct sys_faults *faults = sys_faults;

    if (!faults || !faults->now)
        return false;
    *ret = faults->now();
    return true;
}

static bool bent_date(int64_t *ret)
{
    const struct sys_faults *faults = sys_faults;

    if (!faults || !faults->date)
        return false;
    *ret = faults->date();
    return true;
}
#else
static inline bool bent_clock(uint64_t *ret)
{
    (void)ret;
    return false;
}
static inline bool bent_date(int64_t *ret)
{
    (void)ret;
    return false;
}
#endif

/* calloc(3) is for large pieces: it does not use the thread's own cache of small ones. (With
 * memset the compiler would make a calloc of the two.) */
void *sys_alloc(size_t size)
{
    if (sys_fault(SYS_ALLOC))
        return NULL;
    if (size > 1024)
        return calloc(1, size);
    void *memory = malloc(size);
    if (memory)
        explicit_bzero(memory, size);
    return memory;
}

void *sys_alloc_unset(size_t size)
{
    return sys_fault(SYS_ALLOC) ? NULL : malloc(size);
}

int sys_socket(int family, int type, int protocol)
{
    int rc = sys_fault(SYS_SOCKET);
    return rc ? rc : sys_result(socket(family, type | SOCK_CLOEXEC, protocol));
}

int sys_socketpair(int family, int type, int protocol, int ret_fds[2])
{
    int rc = sys_fault(SYS_SOCKETPAIR);
    return rc ? rc : sys_result(socketpair(family, type | SOCK_CLOEXEC, protocol, ret_fds));
}

int sys_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    int rc = sys_fault(SYS_BIND);
    return rc ? rc : sys_result(bind(fd, address, length));
}

int sys_listen(int fd, int backlog)
{
    int rc = sys_fault(SYS_LISTEN);
    return rc ? rc : sys_result(listen(fd, backlog));
}

int sys_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int rc = sys_fault(SYS_CONNECT);
    return rc ? rc : sys_result(connect(fd, address, length));
}

int sys_shutdown(int fd, int how)
{
    int rc = sys_fault(SYS_SHUTDOWN);
    return rc ? rc : sys_result(shutdown(fd, how));
}

int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    int rc = sys_fault(SYS_SETSOCKOPT);
    return rc ? rc : sys_result(setsockopt(fd, level, name, value, length));
}

int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    int rc = sys_fault(SYS_GETSOCKOPT);
    return rc ? rc : sys_result(getsockopt(fd, level, name, value, length));
}

int sys_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    int rc = sys_fault(SYS_GETNAME);
    return rc ? rc : sys_result(getsockname(fd, address, length));
}

int sys_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    int rc = sys_fault(SYS_GETNAME);
    return rc ? rc : sys_result(getpeername(fd, address, length));
}

int sys_epoll_create(void)
{
    int rc = sys_fault(SYS_EPOLL_CREATE);
    return rc ? rc : sys_result(epoll_create1(EPOLL_CLOEXEC));
}

int sys_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    int rc = sys_fault(SYS_EPOLL_CTL);
    return rc ? rc : sys_result(epoll_ctl(epoll_fd, op, fd, event));
}

int sys_eventfd(void)
{
    int rc = sys_fault(SYS_EVENTFD);
    return rc ? rc : sys_result(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

int sys_timerfd(void)
{
    int rc = sys_fault(SYS_TIMERFD);
    return rc ? rc : sys_result(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}

int sys_timerfd_set(int fd, uint64_t at_ns)
{
    struct itimerspec when = {0};

    if (at_ns != UINT64_MAX) {
        /* Zero would disarm; the clock is past its first nanosecond anyway. */
        at_ns += at_ns == 0;
        when.it_value.tv_sec = (time_t)(at_ns / 1000000000);
        when.it_value.tv_nsec = (long)(at_ns % 1000000000);
    }
    return sys_result(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL));
}

int sys_signalfd(const sigset_t *set)
{
    int rc = sys_fault(SYS_SIGNALFD);
    return rc ? rc : sys_result(signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC));
}

int sys_signalfd_take(int fd)
{
    struct signalfd_siginfo info;
    ssize_t n = sys_count(read(fd, &info, sizeof info));

    return n < 0 ? (int)n : (int)info.ssi_signo;
}

int sys_open(const char *path, int flags)
{
    int rc = sys_fault(SYS_OPEN);
    return rc ? rc : sys_result(open(path, flags | O_CLOEXEC));
}

int sys_create(const char *path, int flags, mode_t mode)
{
    int rc = sys_fault(SYS_OPEN);
    return rc ? rc : sys_result(open(path, flags | O_CREAT | O_CLOEXEC, mode));
}

int sys_stat(const char *path, struct stat *ret)
{
    int rc = sys_fault(SYS_OPEN);
    return rc ? rc : sys_result(stat(path, ret));
}

int sys_fstat(int fd, struct stat *ret)
{
    return sys_result(fstat(fd, ret));
}

int sys_dup_over(int fd, int target_fd)
{
    int rc = sys_fault(SYS_DUP);
    return rc ? rc : sys_result(dup3(fd, target_fd, O_CLOEXEC));
}

int sys_get_flags(int fd)
{
    return sys_result(fcntl(fd, F_GETFL));
}

int sys_set_flags(int fd, int flags)
{
    return sys_result(fcntl(fd, F_SETFL, flags));
}

struct helper {
    void *(*fn)(void *arg);
    void *arg;
};

/* The lower half is their number, the upper counts its changes. */
static _Atomic uint64_t helpers;
#define HELPERS_CHANGE (UINT64_C(1) << 32)

/* Counted by itself: there are never fewer. */
static void *helper_main(void *arg)
{
    struct helper helper = *(struct helper *)arg;

    free(arg);
    atomic_fetch_add(&helpers, HELPERS_CHANGE + 1);
    void *result = helper.fn(helper.arg);
    atomic_fetch_add(&helpers, HELPERS_CHANGE - 1);
    return result;
}

int sys_helpers(uint64_t *ret_moment)
{
    *ret_moment = atomic_load(&helpers);
    return (int)(uint32_t)*ret_moment;
}

/* In a child after fork: they stay with the parent. */
static void helpers_gone(void)
{
    atomic_store(&helpers, 0);
}

static void helpers_begin(void)
{
    pthread_atfork(NULL, NULL, helpers_gone);
}

void sys_thread_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, helpers_begin);
}

/* The 20th field of proc_pid_stat(5); the second may have spaces in it, and ends the last bracket.
 */
int sys_threads(void)
{
    char text[512];
    int fd = sys_open("/proc/self/stat", O_RDONLY);

    if (fd < 0)
        return fd;
    ssize_t n = sys_read(fd, text, sizeof text - 1);
    sys_close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 20; field++)
        at = strchr(at + 1, ' ');
    return at ? (int)strtol(at, NULL, 10) : -EIO;
}

int sys_signal_stack(const stack_t *stack, stack_t *ret_before)
{
    return sys_result(sigaltstack(stack, ret_before));
}

int sys_thread_signal(pthread_t thread, int signal)
{
    return -pthread_kill(thread, signal);
}

int sys_sigaction(int signal, const struct sigaction *action, struct sigaction *ret_before)
{
    return sys_result(sigaction(signal, action, ret_before));
}

int sys_thread(void *(*fn)(void *), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int rc = sys_fault(SYS_THREAD);

    if (rc < 0)
        return rc;
    struct helper *helper = malloc(sizeof *helper);
    if (!helper)
        return -ENOMEM;
    *helper = (struct helper){fn, arg};
    rc = pthread_attr_init(&attributes);
    if (rc) {
        free(helper);
        return -rc;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits the mask */
    rc = pthread_create(&thread, &attributes, helper_main, helper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc)
        free(helper);
    return -rc;
}

int sys_thread_joinable(pthread_t *ret, size_t stack_size, void *(*fn)(void *), void *arg)
{
    pthread_attr_t attributes;
    int rc = sys_fault(SYS_THREAD);

    if (rc < 0)
        return rc;
    rc = pthread_attr_init(&attributes);
    if (rc)
        return -rc;
    if (stack_size)
        rc = pthread_attr_setstacksize(&attributes, stack_size);
    if (!rc)
        rc = pthread_create(ret, &attributes, fn, arg);
    pthread_attr_destroy(&attributes);
    return -rc;
}

pid_t sys_tid(void)
{
    return gettid();
}

void sys_yield(void)
{
    (void)sched_yield();
}

void sys_exit_child(int status)
{
    _exit(status);
}

int sys_processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int sys_epoll_wait_ns(int epoll_fd, struct epoll_event *events, int max,
                      const struct timespec *timeout)
{
    int rc = sys_fault(SYS_EPOLL_WAIT);
    return rc ? rc : sys_result(epoll_pwait2(epoll_fd, events, max, timeout, NULL));
}

const char *sys_env(const char *name)
{
    return secure_getenv(name);
}

/* Not if_nametoindex(3): without a descriptor glibc's says ENOENT. */
int sys_interface(const char *name)
{
    struct ifreq request = {0};
    size_t len = strlen(name);
    int fd, rc;

    if (len >= sizeof(request.ifr_name))
        return -ENODEV;
    memcpy(request.ifr_name, name, len);
    fd = sys_socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0)
        return fd;
    rc = sys_result(ioctl(fd, SIOCGIFINDEX, &request));
    sys_close(fd);
    return rc < 0 ? rc : request.ifr_ifindex;
}

int sys_getaddrinfo(const char *host, const struct addrinfo *hints, struct addrinfo **ret)
{
    return sys_fault(SYS_OPEN) < 0 ? EAI_SYSTEM : getaddrinfo(host, NULL, hints, ret);
}

ssize_t sys_read(int fd, void *buf, size_t len)
{
    int rc = sys_fault(SYS_RECV);
    return rc ? rc : sys_count(read(fd, buf, sys_amount(SYS_RECV, len)));
}

struct sigpipe {
    sigset_t before, pending;
};

static void sigpipe_only(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGPIPE);
}

static void sigpipe_hold(struct sigpipe *held)
{
    sigset_t only;

    sigpipe_only(&only);
    sigemptyset(&held->pending);
    pthread_sigmask(SIG_BLOCK, &only, &held->before);
    if (sigismember(&held->before, SIGPIPE))
        sigpending(&held->pending);
}

/* A SIGPIPE that was pending before belongs to the program and stays; only one that the call, which
 * was to move `len` bytes, has raised is taken away. It may have moved some before that happened.
 * The kernel raises it for the calling thread, so nobody else can get it. */
static void sigpipe_release(const struct sigpipe *held, ssize_t n, size_t len)
{
    static const struct timespec at_once = {0};
    sigset_t only;

    sigpipe_only(&only);
    if ((n == -EPIPE || (n > 0 && (size_t)n < len)) && !sigismember(&held->pending, SIGPIPE))
        while (sigtimedwait(&only, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

ssize_t sys_write(int fd, const void *buf, size_t len)
{
    struct sigpipe held;
    ssize_t n = sys_fault(SYS_SEND);

    if (n < 0)
        return n;
    sigpipe_hold(&held);
    n = sys_count(write(fd, buf, sys_amount(SYS_SEND, len)));
    sigpipe_release(&held, n, len);
    return n;
}

int sys_pipe(int ret_fds[2])
{
    int rc = sys_fault(SYS_PIPE);
    return rc ? rc : sys_result(pipe2(ret_fds, O_CLOEXEC | O_NONBLOCK));
}

int sys_pipe_size(int fd, size_t size)
{
    int rc = sys_result(fcntl(fd, F_SETPIPE_SZ, (int)size));
    return rc < 0 ? sys_result(fcntl(fd, F_GETPIPE_SZ)) : rc;
}

ssize_t sys_splice(int from_fd, int to_fd, size_t len)
{
    static const unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    struct sigpipe held;
    ssize_t n = sys_fault(SYS_SPLICE);

    if (n < 0)
        return n;
    sigpipe_hold(&held);
    n = sys_count(splice(from_fd, NULL, to_fd, NULL, sys_amount(SYS_SPLICE, len), flags));
    sigpipe_release(&held, n, len);
    return n;
}

int sys_mmap(size_t size, void **ret)
{
    int rc = sys_fault(SYS_MMAP);

    if (rc < 0)
        return rc;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (pages == MAP_FAILED)
        return -errno;
    *ret = pages;
    return 0;
}

void sys_munmap(void *pages, size_t size)
{
    (void)munmap(pages, size);
}

int sys_madvise(void *pages, size_t size, int advice)
{
    int rc = sys_fault(SYS_MADVISE);
    return rc ? rc : sys_result(madvise(pages, size, advice));
}

int sys_resident(void *pages, size_t size, unsigned char *ret)
{
    return sys_result(mincore(pages, size, ret));
}

int sys_mprotect(void *pages, size_t size, int protection)
{
    int rc = sys_fault(SYS_MPROTECT);
    return rc ? rc : sys_result(mprotect(pages, size, protection));
}

int sys_guard(void *pages, size_t size)
{
    int rc = sys_fault(SYS_GUARD);
    return rc ? rc : sys_result(madvise(pages, size, 102 /* MADV_GUARD_INSTALL */));
}

/* A time of nothing is waited for, or is not even found. Not through the C library, which would
 * look at it first. */
bool sys_readable(const void *address)
{
    return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, address, NULL) == 0 || errno != EFAULT;
}

void sys_read_nothing(int fd)
{
    (void)!readv(fd, NULL, 0);
}

/* A write, or a send, of no bytes could raise SIGPIPE. */
void sys_write_nothing(int fd)
{
    (void)!writev(fd, NULL, 0);
}

void sys_close(int fd)
{
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
}

uint64_t sys_now(void)
{
    struct timespec now;
    uint64_t bent_ns;

    if (bent_clock(&bent_ns))
        return bent_ns;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t sys_now_coarse(void)
{
    struct timespec now;
    uint64_t bent_ns;

    if (bent_clock(&bent_ns))
        return bent_ns;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int64_t sys_date(void)
{
    struct timespec now;
    int64_t date_s;

    if (bent_date(&date_s))
        return date_s;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}
