#include "context.h"
#include "socket.h"

#include <errno.h>
#include <stdio.h>

struct error_text {
    const char *name, *text;
};

#define ERROR(name, text) [name] = {#name, text}

static const struct error_text system_errors[] = {
    ERROR(EPERM, "operation not permitted"),
    ERROR(ENOENT, "no such file or directory"),
    ERROR(ESRCH, "no such process"),
    ERROR(EINTR, "interrupted system call"),
    ERROR(EIO, "input/output error"),
    ERROR(ENXIO, "no such device or address"),
    ERROR(E2BIG, "argument list too long"),
    ERROR(ENOEXEC, "exec format error"),
    ERROR(EBADF, "bad file descriptor"),
    ERROR(ECHILD, "no child processes"),
    ERROR(EAGAIN, "resource temporarily unavailable"),
    ERROR(ENOMEM, "cannot allocate memory"),
    ERROR(EACCES, "permission denied"),
    ERROR(EFAULT, "bad address"),
    ERROR(ENOTBLK, "block device required"),
    ERROR(EBUSY, "device or resource busy"),
    ERROR(EEXIST, "exists already"),
    ERROR(EXDEV, "invalid cross-device link"),
    ERROR(ENODEV, "no such device"),
    ERROR(ENOTDIR, "not a directory"),
    ERROR(EISDIR, "is a directory"),
    ERROR(EINVAL, "invalid argument"),
    ERROR(ENFILE, "too many open files in system"),
    ERROR(EMFILE, "too many open files"),
    ERROR(ENOTTY, "inappropriate ioctl for device"),
    ERROR(ETXTBSY, "text file busy"),
    ERROR(EFBIG, "file too large"),
    ERROR(ENOSPC, "no space left"),
    ERROR(ESPIPE, "illegal seek"),
    ERROR(EROFS, "read-only file system"),
    ERROR(EMLINK, "too many links"),
    ERROR(EPIPE, "broken pipe"),
    ERROR(EDOM, "numerical argument out of domain"),
    ERROR(ERANGE, "numerical result out of range"),
    ERROR(EDEADLK, "resource deadlock avoided"),
    ERROR(ENAMETOOLONG, "name too long"),
    ERROR(ENOLCK, "no locks available"),
    ERROR(ENOSYS, "function not implemented"),
    ERROR(ENOTEMPTY, "directory not empty"),
    ERROR(ELOOP, "too many levels of symbolic links"),
    ERROR(ENOMSG, "no message of desired type"),
    ERROR(EIDRM, "identifier removed"),
    ERROR(ECHRNG, "channel number out of range"),
    ERROR(EL2NSYNC, "level 2 not synchronized"),
    ERROR(EL3HLT, "level 3 halted"),
    ERROR(EL3RST, "level 3 reset"),
    ERROR(ELNRNG, "link number out of range"),
    ERROR(EUNATCH, "protocol driver not attached"),
    ERROR(ENOCSI, "no csi structure available"),
    ERROR(EL2HLT, "level 2 halted"),
    ERROR(EBADE, "invalid exchange"),
    ERROR(EBADR, "invalid request descriptor"),
    ERROR(EXFULL, "exchange full"),
    ERROR(ENOANO, "no anode"),
    ERROR(EBADRQC, "invalid request code"),
    ERROR(EBADSLT, "invalid slot"),
    ERROR(EBFONT, "bad font file format"),
    ERROR(ENOSTR, "device not a stream"),
    ERROR(ENODATA, "no data available"),
    ERROR(ETIME, "timer expired"),
    ERROR(ENOSR, "out of streams resources"),
    ERROR(ENONET, "machine is not on the network"),
    ERROR(ENOPKG, "package not installed"),
    ERROR(EREMOTE, "object is remote"),
    ERROR(ENOLINK, "link has been severed"),
    ERROR(EADV, "advertise error"),
    ERROR(ESRMNT, "mounted elsewhere"),
    ERROR(ECOMM, "communication error on send"),
    ERROR(EPROTO, "protocol error"),
    ERROR(EMULTIHOP, "multihop attempted"),
    ERROR(EDOTDOT, "rfs specific error"),
    ERROR(EBADMSG, "bad message"),
    ERROR(EOVERFLOW, "value too large for defined data type"),
    ERROR(ENOTUNIQ, "name not unique on the network"),
    ERROR(EBADFD, "file descriptor in bad state"),
    ERROR(EREMCHG, "remote address changed"),
    ERROR(ELIBACC, "cannot access a needed shared library"),
    ERROR(ELIBBAD, "accessing a corrupted shared library"),
    ERROR(ELIBSCN, ".lib section in a.out corrupted"),
    ERROR(ELIBMAX, "attempting to link in too many shared libraries"),
    ERROR(ELIBEXEC, "cannot exec a shared library directly"),
    ERROR(EILSEQ, "invalid or incomplete multibyte or wide character"),
    ERROR(ERESTART, "interrupted system call should be restarted"),
    ERROR(ESTRPIPE, "streams pipe error"),
    ERROR(EUSERS, "too many users"),
    ERROR(ENOTSOCK, "not a socket"),
    ERROR(EDESTADDRREQ, "destination address required"),
    ERROR(EMSGSIZE, "message too long"),
    ERROR(EPROTOTYPE, "protocol of the wrong type for the socket"),
    ERROR(ENOPROTOOPT, "protocol not available"),
    ERROR(EPROTONOSUPPORT, "protocol not supported"),
    ERROR(ESOCKTNOSUPPORT, "socket type not supported"),
    ERROR(EOPNOTSUPP, "operation not supported"),
    ERROR(EPFNOSUPPORT, "protocol family not supported"),
    ERROR(EAFNOSUPPORT, "address family not supported"),
    ERROR(EADDRINUSE, "address already in use"),
    ERROR(EADDRNOTAVAIL, "address not available here"),
    ERROR(ENETDOWN, "network is down"),
    ERROR(ENETUNREACH, "network unreachable"),
    ERROR(ENETRESET, "connection reset by the network"),
    ERROR(ECONNABORTED, "connection aborted"),
    ERROR(ECONNRESET, "connection reset by peer"),
    ERROR(ENOBUFS, "no buffer space available"),
    ERROR(EISCONN, "already connected"),
    ERROR(ENOTCONN, "not connected"),
    ERROR(ESHUTDOWN, "cannot send after shutdown"),
    ERROR(ETOOMANYREFS, "too many references"),
    ERROR(ETIMEDOUT, "connection timed out"),
    ERROR(ECONNREFUSED, "connection refused"),
    ERROR(EHOSTDOWN, "host is down"),
    ERROR(EHOSTUNREACH, "no route to host"),
    ERROR(EALREADY, "operation already in progress"),
    ERROR(EINPROGRESS, "operation in progress"),
    ERROR(ESTALE, "stale file handle"),
    ERROR(EUCLEAN, "structure needs cleaning"),
    ERROR(ENOTNAM, "not a xenix named type file"),
    ERROR(ENAVAIL, "no xenix semaphores available"),
    ERROR(EISNAM, "is a named type file"),
    ERROR(EREMOTEIO, "remote input/output error"),
    ERROR(EDQUOT, "disk quota exceeded"),
    ERROR(ENOMEDIUM, "no medium found"),
    ERROR(EMEDIUMTYPE, "wrong medium type"),
    ERROR(ECANCELED, "cancelled"),
    ERROR(ENOKEY, "required key not available"),
    ERROR(EKEYEXPIRED, "key has expired"),
    ERROR(EKEYREVOKED, "key has been revoked"),
    ERROR(EKEYREJECTED, "key was rejected by service"),
    ERROR(EOWNERDEAD, "owner died"),
    ERROR(ENOTRECOVERABLE, "state not recoverable"),
    ERROR(ERFKILL, "operation not possible due to a radio switch"),
    ERROR(EHWPOISON, "memory page has hardware error"),
};

#undef ERROR

/* By the distance from the first. */
#define ERROR(name, text) [WEIR_EDEADLINE - (name)] = {#name, text}

static const struct error_text own_errors[] = {
    ERROR(WEIR_EDEADLINE, "time limit passed"),
    ERROR(WEIR_ECLOSED, "closed here"),
    ERROR(WEIR_EEND, "stream ended too early"),
    ERROR(WEIR_ENONAME, "no such host name"),
    ERROR(WEIR_ENAMEAGAIN, "name servers cannot tell right now"),
    ERROR(WEIR_ENAMESERVER, "no name server answers"),
    ERROR(WEIR_ETLS, "TLS failed"),
    ERROR(WEIR_ECERT, "certificate not accepted"),
    ERROR(WEIR_ETRUNCATED, "TLS stream cut off"),
};

#undef ERROR

/* What would be a negative index is a giant one. */
static const struct error_text *find(const struct error_text *table, size_t count, uint64_t at)
{
    return at < count && table[at].name ? &table[at] : NULL;
}

static const struct error_text *error_find(int rc)
{
    const size_t system_count = sizeof(system_errors) / sizeof(*system_errors);
    const size_t own_count = sizeof(own_errors) / sizeof(*own_errors);
    const struct error_text *found = find(system_errors, system_count, (uint64_t) - (int64_t)rc);

    return found ? found : find(own_errors, own_count, (uint64_t)(WEIR_EDEADLINE - (int64_t)rc));
}

const char *weir_strerror(int rc)
{
    const struct error_text *found = error_find(rc);

    if (rc >= 0)
        return "success";
    return found ? found->text : "unknown error";
}

const char *weir_error_name(int rc)
{
    const struct error_text *found = error_find(rc);
    return found ? found->name : NULL;
}

bool weir_in_progress(ssize_t rc)
{
    return rc == -EAGAIN || rc == -EINPROGRESS || rc == -EALREADY;
}

static const char *last_error(weir_socket *s)
{
    int rc = s->error ? s->error : s->connect_error;
    return rc < 0 ? weir_strerror(rc) : "";
}

int weir_error_detail(const weir_socket *s, char *buf, size_t size)
{
    /* A question leaves the socket as it is, but for the lock. */
    weir_socket *locked = (weir_socket *)(uintptr_t)s;
    const char *story;
    int len;

    if (!buf && size)
        return -EINVAL;
    if (!s) {
        story = context_current()->story;
        return snprintf(buf, size, "%s", story ? story : "");
    }
    if (socket_inherited(s))
        return snprintf(buf, size, "the connection is the parent process's");
    pthread_mutex_lock(&locked->lock);
    len = snprintf(buf, size, "%s", s->story ? s->story : last_error(locked));
    pthread_mutex_unlock(&locked->lock);
    return len;
}
