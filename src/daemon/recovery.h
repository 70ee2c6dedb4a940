/* SPDX-License-Identifier: MIT */
#pragma once

/* After a restart: puts the listeners that are still alive back into the books, from the files they are bound to. */

#include "daemon/world.h"

int recovery_run(struct world *world);
