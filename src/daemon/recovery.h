/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * After a restart: puts the listeners that are still alive back into the books, from the files they are bound to, and
 * the channels that are still open, from the kernel's list of sockets.
 */

#include "daemon/world.h"

int recovery_run(struct world *world);
/* recovery_channels.c: after the listeners. What cannot be found stays out of the books, as it does no harm there. */
void recovery_channels(struct world *world);
