/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Drop-ins: reads services from their directories, and again when these change.
 *
 * The file of a ServiceId in the first directory that has one counts; an empty
 * file, or a link to /dev/null, hides the service. A file with a mistake in it is
 * a problem that is listed; a service that was read before from the same
 * drop-in stays as it was until the mistake is mended. A directory that is there
 * and cannot be read leaves its services as they were.
 */

#include "daemon/world.h"

#define SERVICES_DEBOUNCE_MS 20 /* a directory that changes is read again this much later */
#define SERVICES_RETRY_MS 1000  /* and one that there were no descriptors or no memory for */

int services_open(struct world *world);
void services_close(struct world *world);
/* Reads every directory again now. */
void services_reload(struct world *world);
/* What is wrong with the drop-ins of a service; NULL: with all. */
void services_problems(const struct world *world, const GUID *service_id, problem_each each, void *userdata);
