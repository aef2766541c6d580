/* The only door to the kernel, the clock and the heap.
 *
 * Every call returns what the system call returns, or -errno. In builds for tests (WEIR_TEST) each
 * first asks the test whether it shall fail, see struct sys_faults. */
#ifndef SYS_H
#define SYS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum sys_call {
    SYS_ALLOC,
    SYS_SOCKET,
    SYS_SOCKETPAIR,
    SYS_BIND,
    SYS_LISTEN,
    SYS_CONNECT,
    SYS_ACCEPT,
    SYS_RECV,
    SYS_SEND,
    SYS_SHUTDOWN,
    SYS_SETSOCKOPT,
    SYS_GETSOCKOPT,
    SYS_GETNAME,
    SYS_POLL,
    SYS_EPOLL_CREATE,
    SYS_EPOLL_CTL,
    SYS_EPOLL_WAIT,
    SYS_RING_SETUP,
    SYS_RING_ENTER,
    SYS_EVENTFD,
    SYS_TIMERFD,
    SYS_SIGNALFD,
    SYS_OPEN,
    SYS_DUP,
    SYS_THREAD,
    SYS_MMAP,
    SYS_MADVISE,
    SYS_MPROTECT,
    SYS_GUARD,
    SYS_PIPE,
    SYS_SPLICE,
    SYS_CALLS /* their number */
};

#ifdef WEIR_TEST
/* What a test may bend. All may be NULL. */
struct sys_faults {
    /* 0, or the -errno to fail with. */
    int (*error)(enum sys_call call);
    /* How many bytes a send or receive may move. */
    size_t (*amount)(enum sys_call call, size_t len);
    /* The clock. */
    uint64_t (*now)(void);
    /* The date. */
    int64_t (*date)(void);
};
extern const struct sys_faults *_Atomic sys_faults;

int sys_fault(enum sys_call call);
size_t sys_amount(enum sys_call call, size_t len);
#else
static inline int sys_fault(enum sys_call call)
{
    (void)call;
    return 0;
}
static inline size_t sys_amount(enum sys_call call, size_t len)
{
    (void)call;
    return len;
}
#endif

static inline int sys_result(int rc)
{
    return rc < 0 ? -errno : rc;
}

static inline ssize_t sys_count(ssize_t n)
{
    return n < 0 ? -errno : n;
}

/* Zeroed memory, to be given back with free(3), or NULL. */
void *sys_alloc(size_t size);
/* The same with anything in it. */
void *sys_alloc_unset(size_t size);

/* What a short count means depends on how much was asked for: the caller asks sys_amount. */
static inline ssize_t sys_recv(int fd, void *buf, size_t len, int flags)
{
    int rc = sys_fault(SYS_RECV);
    return rc ? rc : sys_count(recv(fd, buf, len, flags));
}

static inline ssize_t sys_send(int fd, const void *buf, size_t len, int flags)
{
    int rc = sys_fault(SYS_SEND);
    return rc ? rc : sys_count(send(fd, buf, sys_amount(SYS_SEND, len), flags));
}

static inline ssize_t sys_recvmsg(int fd, struct msghdr *message, int flags)
{
    int rc = sys_fault(SYS_RECV);
    return rc ? rc : sys_count(recvmsg(fd, message, flags));
}

static inline ssize_t sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
    int rc = sys_fault(SYS_SEND);
    return rc ? rc : sys_count(sendmsg(fd, message, flags));
}

static inline int sys_poll(struct pollfd *fds, nfds_t count, const struct timespec *timeout)
{
    int rc = sys_fault(SYS_POLL);
    return rc ? rc : sys_result(ppoll(fds, count, timeout, NULL));
}

static inline int sys_accept(int fd, struct sockaddr *peer, socklen_t *length, int flags)
{
    int rc = sys_fault(SYS_ACCEPT);
    return rc ? rc : sys_result(accept4(fd, peer, length, flags));
}

static inline int sys_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
    int rc = sys_fault(SYS_EPOLL_WAIT);
    return rc ? rc : sys_result(epoll_wait(epoll_fd, events, max, timeout_ms));
}

/* The same with nanoseconds; -ENOSYS where there is no epoll_pwait2. */
int sys_epoll_wait_ns(int epoll_fd, struct epoll_event *events, int max,
                      const struct timespec *timeout);

/* Eventfds: add one, take all. */
static inline void sys_eventfd_raise(int fd)
{
    (void)eventfd_write(fd, 1);
}

static inline void sys_eventfd_drain(int fd)
{
    eventfd_t count;
    (void)eventfd_read(fd, &count);
}

int sys_socket(int family, int type, int protocol);                     /* close-on-exec */
int sys_socketpair(int family, int type, int protocol, int ret_fds[2]); /* close-on-exec */
int sys_bind(int fd, const struct sockaddr *address, socklen_t length);
int sys_listen(int fd, int backlog);
int sys_connect(int fd, const struct sockaddr *address, socklen_t length);
int sys_shutdown(int fd, int how);
int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int sys_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int sys_getpeername(int fd, struct sockaddr *address, socklen_t *length);
int sys_epoll_create(void);
int sys_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int sys_eventfd(void);                       /* non-blocking, close-on-exec */
int sys_timerfd(void);                       /* CLOCK_MONOTONIC, non-blocking, close-on-exec */
int sys_timerfd_set(int fd, uint64_t at_ns); /* absolute; UINT64_MAX disarms */
int sys_signalfd(const sigset_t *set);       /* non-blocking, close-on-exec */
int sys_signalfd_take(int fd);               /* the number of a signal that has come, or -EAGAIN */
int sys_open(const char *path, int flags);   /* close-on-exec */
int sys_create(const char *path, int flags, mode_t mode); /* O_CREAT, close-on-exec */
int sys_stat(const char *path, struct stat *ret);
int sys_fstat(int fd, struct stat *ret);
int sys_dup_over(int fd, int target_fd); /* dup3, close-on-exec */
int sys_get_flags(int fd);
int sys_set_flags(int fd, int flags);
/* Before the first sys_thread, and under no lock that is taken before a fork. */
void sys_thread_prepare(void);
int sys_thread(void *(*fn)(void *), void *arg); /* detached, all signals blocked */
/* How many of these there are now, at least; and what never is the same again once that changes. */
int sys_helpers(uint64_t *ret_moment);
int sys_threads(void); /* of the process, -errno if it cannot be told */
int sys_thread_signal(pthread_t thread, int signal);
int sys_signal_stack(const stack_t *stack, stack_t *ret_before); /* sigaltstack(2) */
int sys_sigaction(int signal, const struct sigaction *action, struct sigaction *ret_before);
/* To be joined, signals as the caller has them; stack_size 0: the system's default. */
int sys_thread_joinable(pthread_t *ret, size_t stack_size, void *(*fn)(void *), void *arg);
pid_t sys_tid(void);                       /* gettid(2) */
void sys_yield(void);                      /* sched_yield(2) */
_Noreturn void sys_exit_child(int status); /* _exit(2) */
int sys_processors(void);                  /* that the calling thread may run on; 1 at least */
const char *sys_env(const char *name);     /* secure_getenv(3) */
int sys_interface(const char *name);       /* the index of a network interface, or -ENODEV */

/* As getaddrinfo(3): 0 or an EAI_ code. Waits. */
struct addrinfo;
int sys_getaddrinfo(const char *host, const struct addrinfo *hints, struct addrinfo **ret);

/* read(2) and write(2), without SIGPIPE, whatever the descriptor is. */
ssize_t sys_read(int fd, void *buf, size_t len);
ssize_t sys_write(int fd, const void *buf, size_t len);

/* Non-blocking, close-on-exec: [0] is for reading. */
int sys_pipe(int ret_fds[2]);
/* Asks for room for so many bytes. Returns how many there is room for. */
int sys_pipe_size(int fd, size_t size);
/* Between a pipe and a socket, without SIGPIPE. Waits unless the socket is O_NONBLOCK. */
ssize_t sys_splice(int from_fd, int to_fd, size_t len);

/* Zeroed pages that cost nothing until they are touched. */
int sys_mmap(size_t size, void **ret);
void sys_munmap(void *pages, size_t size);
int sys_madvise(void *pages, size_t size, int advice);
int sys_mprotect(void *pages, size_t size, int protection);

/* Which of the pages have memory: mincore(2). */
int sys_resident(void *pages, size_t size, unsigned char *ret);

/* Turns pages into guards, on which any access is a SIGSEGV; that is no mapping of its own, and
 * madvise(MADV_DONTNEED) leaves it. -EINVAL before Linux 6.13. */
int sys_guard(void *pages, size_t size);

/* False if the kernel cannot read what lies there. */
bool sys_readable(const void *address);

/* No byte is moved; but ThreadSanitizer, which looks on, takes what follows a read for later than
 * what has come before a write at the other end. */
void sys_read_nothing(int fd);
void sys_write_nothing(int fd);

/* Closes, once, whatever it says; -1 is allowed. errno is kept. */
void sys_close(int fd);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t sys_now(void);

/* The same, cheaply: some milliseconds old at most. */
uint64_t sys_now_coarse(void);

/* The date, in seconds since 1970: for certificates and the like. No wait depends on it. */
int64_t sys_date(void);

#endif
