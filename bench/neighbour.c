/* SPDX-License-Identifier: MIT */
#include "neighbour.h"
#include "transport.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t neighbour_start(int cpu) {
        pid_t pid = fork();

        if (pid < 0)
                die("cannot fork: %s", strerror(errno));
        if (!pid) {
                cpu_set_t set;
                CPU_ZERO(&set);
                CPU_SET((size_t)cpu, &set);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                sched_setaffinity(0, sizeof set, &set);
                for (;;)
                        ;
        }
        return pid;
}

void neighbour_end(pid_t pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}
