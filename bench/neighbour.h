/* SPDX-License-Identifier: MIT */
#pragma once

/* A process that keeps a core busy at normal priority; it dies with the benchmark. */

#include <sched.h>
#include <sys/types.h>

pid_t neighbour_start(int cpu);
void neighbour_end(pid_t pid);
