/* SPDX-License-Identifier: MIT */
#pragma once

/* Copies standard input to a channel and the channel to standard output until both are done; closes `fd`. The exit code. */
int nc_pump(int fd, int socket_type);
