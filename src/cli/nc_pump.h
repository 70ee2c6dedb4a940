/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/*
 * Copies standard input to a channel and the channel to standard output until
 * both are done; closes `fd`. The exit code. When the peer has closed its
 * direction, standard output is closed too, unless it is kept for the next.
 */
int nc_pump(int fd, int socket_type, bool keeps_output);
