/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the machine can do, whatever is between two processes. It changes from
 * one second to the next where the host moves the cores of a virtual machine
 * about, so it is asked among the runs that it is to be compared with.
 */

#include <stdbool.h>

struct limits {
        double cache_line_us; /* on two cores: a cache line to the other core and back; else 0 */
        double gb_per_second; /* reading 256 KiB that the other core wrote; on one core: copying into them and out */
};

void limits_once(const int cpus[2], bool is_apart, struct limits *ret);
