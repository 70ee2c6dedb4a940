/* SPDX-License-Identifier: MIT */

/* Starting the holder process, and reaching it. */

#include "base/fd.h"
#include "daemon/hold.h"
#include "daemon/place.h"
#include "vm/holder.h"
#include "vm/holder_packet.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#define HOLDER_PATH "../" HOLDER_SOCKET /* from the working directory */

extern char **environ;

/*
 * Only what is safe after fork, in a child of a child, so that it is nobody's to wait for. Nothing of this process stays
 * in it: not its directory, session, or terminal. Both children close strangers' descriptors, which may take long.
 */
__attribute__((noreturn))
static void become_holder(int listen_fd) {
        static char name[] = "hvsockd", option[] = "--hold";
        static char *const arguments[] = {name, option, NULL};
        sigset_t none;
        pid_t pid = fork();
        if (pid)
                _exit(pid > 0 ? EXIT_SUCCESS : EXIT_FAILURE);
        sigemptyset(&none);
        for (int number = 1; number < NSIG; number++)
                signal(number, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
        listen_fd = fcntl(listen_fd, F_DUPFD, HOLDER_LISTEN_FD + 1);
        int null_fd = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < HOLDER_LISTEN_FD; fd++)
                dup2(null_fd, fd);
        if (listen_fd < 0 || dup2(listen_fd, HOLDER_LISTEN_FD) < 0)
                _exit(EXIT_FAILURE);
        close_range(HOLDER_LISTEN_FD + 1, ~0u, 0);
        setsid();
        if (chdir("/") == 0)
                execve("/proc/self/exe", arguments, environ);
        _exit(EXIT_FAILURE);
}

int hold_start(struct world *world, pid_t *ret_starter) {
        cleanup(fd_closep) int listen_fd = -1;
        int r = place_socket(world->runtime_fd, HOLDER_SOCKET, SOCK_SEQPACKET, 0600, world->listeners_fd, &listen_fd);
        if (r < 0)
                return r;
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                become_holder(listen_fd);
        *ret_starter = pid;
        return 0;
}

int hold_connect(int *ret_fd) {
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = HOLDER_PATH};
        struct ucred peer;
        socklen_t length = sizeof peer;
        struct holder_packet hello = {.kind = HOLDER_HELLO, .generation = HOLDER_VERSION};
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
                return -errno;
        if (peer.uid != geteuid())
                return -EPERM;
        int r = holder_send(fd, &hello, NULL, 0, MSG_DONTWAIT);
        if (!r)
                *ret_fd = fd_take(fd);
        return r;
}
