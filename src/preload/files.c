/* SPDX-License-Identifier: MIT */

/* open(2) and ioctl(2): of all that programs open, /dev/vsock is not what it seems. */

/* What these ask of headers is to call one name by another. Here each is what it is. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "lib/posix.h"
#include "preload/cancel.h"
#include "preload/device.h"
#include "preload/mark.h"
#include "preload/next.h"
#include "preload/vsock_address.h"
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/vm_sockets.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#define EXPORT __attribute__((visibility("default")))

/* <fcntl.h> says that it is never NULL; programs need not know. */
static const char *opened(int directory_fd, const char *path) {
        __asm__("" : "+r"(path));
        return device_is_named(directory_fd, path) ? "/dev/null" : path;
}

static bool has_mode(int flags) {
        return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

#define MODE(flags)                          \
        mode_t mode = 0;                     \
        va_list arguments;                   \
        va_start(arguments, flags);          \
        if (has_mode(flags))                 \
                mode = va_arg(arguments, mode_t); \
        va_end(arguments)

#define OPEN(name)                                                       \
        EXPORT int name(const char *path, int flags, ...) {              \
                MODE(flags);                                             \
                return NEXT(name)(opened(AT_FDCWD, path), flags, mode);  \
        }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                        \
        EXPORT int name(int directory_fd, const char *path, int flags, ...) {               \
                MODE(flags);                                                                \
                return NEXT(name)(directory_fd, opened(directory_fd, path), flags, mode);   \
        }
OPENAT(openat)
OPENAT(openat64)

/* Those that fortified programs call. */
#define OPEN_2(name)                                              \
        int name(const char *path, int flags);                    \
        EXPORT int name(const char *path, int flags) {            \
                return NEXT(name)(opened(AT_FDCWD, path), flags); \
        }
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define OPENAT_2(name)                                                          \
        int name(int directory_fd, const char *path, int flags);                \
        EXPORT int name(int directory_fd, const char *path, int flags) {        \
                return NEXT(name)(directory_fd, opened(directory_fd, path), flags); \
        }
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)

/* What AF_UNIX knows beyond these would show what is underneath. */
static bool is_for_sockets(unsigned long request) {
        switch (request) {
        case FIONBIO:
        case FIOASYNC:
        case FIOCLEX:
        case FIONCLEX:
        case FIOQSIZE:
        case FIOSETOWN:
        case FIOGETOWN:
        case SIOCSPGRP:
        case SIOCGPGRP:
        case FIONREAD:
        case SIOCOUTQ:
                return true;
        default:
                return false;
        }
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
        va_list arguments;
        struct mark mark;
        va_start(arguments, request);
        void *argument = va_arg(arguments, void *);
        va_end(arguments);
        if (request == IOCTL_VM_SOCKETS_GET_LOCAL_CID && device_is_open_at(fd)) {
                if (!argument)
                        return posix_result(-EFAULT);
                NOT_CANCELLED;
                *(uint32_t *)argument = vsock_own_cid(); /* where that is not known, what a kernel without a transport says */
                return 0;
        }
        if (!is_for_sockets(request) && mark_read(fd, &mark))
                return posix_result(-EINVAL);
        return NEXT(ioctl)(fd, request, argument);
}
