/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One drop-in: a ServiceId, the file that counts for it, and the service that
 * was read from that file. services.c says which file counts.
 */

#include "base/hash.h"
#include "daemon/revoke.h"
#include "daemon/world.h"
#include <limits.h>
#include <sys/stat.h>

struct drop_in {
        struct table_link link;
        GUID service_id;
        unsigned directory;       /* index of the directory the file is in */
        char file_name[NAME_MAX + 1];
        struct stat status;       /* as last read, to see whether it changed */
        bool seen;                /* by the reading that goes on */
        struct service *service;  /* NULL while hidden or never right */
        struct problem *problems;
};

const char *drop_in_directory(const struct world *world, unsigned directory);

/*
 * Reads the file, unless it is as it was, and registers its service; one that
 * this disables loses what it has open. Negative with a problem noted when the
 * file cannot be read or has a mistake.
 */
int drop_in_load(struct world *world, struct drop_in *drop_in, int directory_fd, struct revoked *ret_revoked);
/* The service is no longer registered. */
void drop_in_hide(struct world *world, struct drop_in *drop_in);
