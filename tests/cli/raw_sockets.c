/* SPDX-License-Identifier: MIT */

/*
 * raw_sockets: asks the kernel itself for sockets, as Go's programs do, by each way
 * into the kernel that this machine has. A line of each: the way, call, domain, and
 * what the kernel said.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIGH_BITS 0x500000000 /* the kernel takes a domain as an int */

/* This machine's own vsock is nobody's business here. */
static void need_filter(void) {
        char line[256];
        int mode = 0;
        FILE *status = fopen("/proc/self/status", "re");
        while (status && fgets(line, sizeof line, status))
                sscanf(line, "Seccomp: %d", &mode);
        if (status)
                fclose(status);
        if (mode == 2)
                return;
        fputs("no filter\n", stderr);
        exit(99);
}

static void tell(const char *way, const char *call, uint64_t domain, long r) {
        printf("%s %s %#llx %s\n", way, call, (unsigned long long)domain, r < 0 ? strerrorname_np((int)-r) : "made");
}

static long native(long call, uint64_t domain, int fds[2]) {
        long r = syscall(call, domain, (long)SOCK_STREAM, 0L, fds);
        return r < 0 ? -errno : r;
}

#ifdef __x86_64__

#define X32 0x40000000
#define SOCKET_32 359
#define SOCKETPAIR_32 360
#define SOCKETCALL_32 102

/* i386's door, which any program may use where the kernel has it. */
static long call_32(long call, long first, long second, long third, long fourth) {
        long r = call;
        __asm__ volatile("int $0x80" : "+a"(r) : "b"(first), "c"(second), "d"(third), "S"(fourth)
                         : "memory", "r8", "r9", "r10", "r11");
        return (int)r;
}

static void other_ways(uint32_t domain, int fds[2]) {
        tell("x32", "socket", domain, native(X32 | SYS_socket, domain, fds));
        tell("x32", "socketpair", domain, native(X32 | SYS_socketpair, domain, fds));
        uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (words == MAP_FAILED)
                exit(1);
        words[0] = domain;
        words[1] = SOCK_STREAM;
        words[3] = (uint32_t)(uintptr_t)(words + 8);
        tell("i386", "socket", domain, call_32(SOCKET_32, (int)domain, SOCK_STREAM, 0, 0));
        tell("i386", "socketpair", domain, call_32(SOCKETPAIR_32, (int)domain, SOCK_STREAM, 0, (long)(words + 8)));
        tell("i386", "socketcall-socket", domain, call_32(SOCKETCALL_32, 1, (long)words, 0, 0));
        tell("i386", "socketcall-socketpair", domain, call_32(SOCKETCALL_32, 8, (long)words, 0, 0));
}

#else

static void other_ways(uint32_t domain, int fds[2]) {
        (void)domain, (void)fds;
}

#endif

int main(void) {
        static const uint32_t domains[] = {34, AF_VSOCK};
        int fds[2];
        need_filter();
        setlinebuf(stdout); /* where there is no other way, trying it ends this program */
        for (int i = 0; i < 2; i++)
                for (uint64_t domain = domains[i]; domain <= (HIGH_BITS | domains[i]); domain += HIGH_BITS) {
                        tell("native", "socket", domain, native(SYS_socket, domain, fds));
                        tell("native", "socketpair", domain, native(SYS_socketpair, domain, fds));
                }
        tell("native", "AF_UNIX", AF_UNIX, native(SYS_socket, AF_UNIX, fds));
        tell("native", "AF_INET", AF_INET, native(SYS_socket, AF_INET, fds));
        tell("native", "AF_UNIX-pair", AF_UNIX, native(SYS_socketpair, AF_UNIX, fds));
        tell("native", "io_uring_setup", 0, native(SYS_io_uring_setup, 1, fds));
        for (int i = 0; i < 2; i++)
                other_ways(domains[i], fds);
        return 0;
}
