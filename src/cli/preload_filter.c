/* SPDX-License-Identifier: MIT */

/*
 * What gets past libhvsock-preload: system calls that a program makes itself, as Go's do.
 *
 * The kernel takes 32 bits of a family, so the others are not compared. i386's
 * socketcall has its arguments in memory, where no filter can look: there, sockets of
 * all families are refused. io_uring makes sockets behind every filter; EPERM sends
 * programs to what they do without it, as in most containers.
 */

#include "cli/preload.h"

#include <errno.h>
#include <hvsocket.h>
#include <linux/net.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/socket.h>

#define FAMILY_BITS 0xffffffffu

static void filter_free(scmp_filter_ctx *filter) {
        if (*filter)
                seccomp_release(*filter);
}

/* For 32-bit programs, too, where the kernel runs them. */
static int add_architectures(scmp_filter_ctx filter) {
        static const uint32_t others[] = {SCMP_ARCH_X86, SCMP_ARCH_X32};
        int r = 0;
        if (seccomp_arch_native() != SCMP_ARCH_X86_64)
                return 0;
        for (size_t i = 0; !r && i < sizeof others / sizeof *others; i++)
                r = seccomp_arch_add(filter, others[i]);
        return r;
}

static int refuse_families(scmp_filter_ctx filter) {
        static const int families[] = {AF_VSOCK, AF_HYPERV}, calls[] = {SCMP_SYS(socket), SCMP_SYS(socketpair)};
        for (size_t i = 0; i < 2; i++)
                for (size_t j = 0; j < 2; j++) {
                        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), calls[i], 1,
                                                 SCMP_A0(SCMP_CMP_MASKED_EQ, FAMILY_BITS, (scmp_datum_t)families[j]));
                        if (r < 0)
                                return r;
                }
        return 0;
}

static int refuse_what_hides_families(scmp_filter_ctx filter) {
        static const int calls[] = {SYS_SOCKET, SYS_SOCKETPAIR};
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0);
        for (size_t i = 0; !r && seccomp_arch_native() == SCMP_ARCH_X86_64 && i < 2; i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socketcall), 1,
                                     SCMP_A0(SCMP_CMP_MASKED_EQ, FAMILY_BITS, (scmp_datum_t)calls[i]));
        return r;
}

int preload_filter(void) {
        __attribute__((cleanup(filter_free))) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        if (!filter)
                return -ENOMEM;
        int r = add_architectures(filter);
        if (!r)
                r = refuse_families(filter);
        if (!r)
                r = refuse_what_hides_families(filter);
        return r ? r : seccomp_load(filter);
}
