/* SPDX-License-Identifier: MIT */

#include "filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
#define SKIP_IF(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (count), 0)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))

#define AF_HYPERV_NUMBER 34

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define DOMAIN args[0] /* of which the kernel takes 32 bits, too */
#endif

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

void filter_install(void) {
#if defined DOMAIN && defined ARCHITECTURE
        struct sock_filter filter[] = {
                LOAD(arch),
                SKIP_IF(ARCHITECTURE, 1),
                RETURN(SECCOMP_RET_KILL_PROCESS),
                LOAD(nr),
                SKIP_IF(SYS_socket, 1),
                SKIP_UNLESS(SYS_socketpair, 4),
                LOAD(DOMAIN),
                SKIP_IF(AF_VSOCK, 1),
                SKIP_UNLESS(AF_HYPERV_NUMBER, 1),
                RETURN(SECCOMP_RET_KILL_PROCESS),
                RETURN(SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
                return;
#endif
        perror("filter");
        exit(125);
}
