/* A library for LD_PRELOAD that simulates a failing disk: the n-th call that changes a file below a folder returns an
   error, and with `lasting` so do all later ones. Standard streams and other folders are not affected. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long *calls;        /* in memory shared with the parent process */
static long fail_at = -1;  /* 0: count only */
static int error_number, fail_on;
static char below[PATH_MAX];

static int replaceable; /* whether kptool can do without the current call */

void fault_arm(long *counter, long at, int error, int lasting, const char *folder) {
    calls = counter;
    fail_at = at;
    error_number = error;
    fail_on = lasting;
    strncpy(below, folder, sizeof below - 1);
}

static int fails(const char *path) {
    char absolute[2 * PATH_MAX], here[PATH_MAX];
    if (fail_at < 0 || path == NULL) return 0;
    if (path[0] != '/' && getcwd(here, sizeof here) != NULL) {
        snprintf(absolute, sizeof absolute, "%s/%s", here, path);
        path = absolute;
    }
    if (strncmp(path, below, strlen(below)) != 0) return 0;
    long number = __atomic_add_fetch(calls, 1, __ATOMIC_SEQ_CST);
    if (fail_at == 0 || number < fail_at || (number > fail_at && !fail_on)) return 0;
    calls[1] = replaceable;
    errno = error_number;
    return 1;
}

static int fails_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (fail_at < 0 || fd <= 2) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return fails(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define BY_FD(type, name, parameters, arguments) \
    type name parameters {                       \
        if (fails_fd(fd)) return -1;             \
        return NEXT(name) arguments;             \
    }
#define BY_PATH(type, name, parameters, arguments) \
    type name parameters {                         \
        if (fails(path)) return -1;                \
        return NEXT(name) arguments;               \
    }

BY_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
BY_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
BY_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
BY_FD(int, fsync, (int fd), (fd))
BY_FD(int, fdatasync, (int fd), (fd))
BY_FD(int, ftruncate, (int fd, off_t size), (fd, size))
BY_FD(int, ftruncate64, (int fd, off64_t size), (fd, size))
BY_PATH(int, rename, (const char *path, const char *to), (path, to))

int mkdir(const char *path, mode_t mode) {
    if (access(path, F_OK) != 0 && fails(path)) return -1; /* an existing one changes nothing */
    return NEXT(mkdir)(path, mode);
}

int renameat2(int from, const char *path, int to, const char *other, unsigned int flags) {
    replaceable = 1;
    int failed = fails(path);
    replaceable = 0;
    if (failed) return -1;
    return NEXT(renameat2)(from, path, to, other, flags);
}

#define OPENS(name)                                     \
    int name(const char *path, int flags, ...) {        \
        va_list more;                                   \
        va_start(more, flags);                          \
        mode_t mode = va_arg(more, mode_t);             \
        va_end(more);                                   \
        if ((flags & O_CREAT) && fails(path)) return -1; \
        return NEXT(name)(path, flags, mode);           \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                    \
    int name(int at, const char *path, int flags, ...) {  \
        va_list more;                                     \
        va_start(more, flags);                            \
        mode_t mode = va_arg(more, mode_t);               \
        va_end(more);                                     \
        if ((flags & O_CREAT) && fails(path)) return -1;  \
        return NEXT(name)(at, path, flags, mode);         \
    }
OPENS_AT(openat)
OPENS_AT(openat64)
