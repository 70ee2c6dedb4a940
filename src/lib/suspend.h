/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * HVSOCKET_CONNECTED_SUSPEND: whether a channel survives that the VM at its other end
 * is paused. The broker, which resets those that do not, is told when a socket that
 * has the option becomes a channel, and when a channel's option changes. It answers,
 * so that a pause that comes after this is one that was told of. One that is too old
 * to know knows of no VM either.
 */

#include <stdbool.h>

/* Connected or accepted, it says so if the option is set. Keeps errno. */
void suspend_channel_begins(int fd);
/* An accepted socket has its listener's option. */
void suspend_accepted(int listener_fd, int fd);
/* The option was set; nothing is told of what is no channel yet. */
void suspend_changed(int fd, bool survives);
