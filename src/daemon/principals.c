/* SPDX-License-Identifier: MIT */

/* Users and groups by name. */

#include "daemon/world.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#define ENTRY_SIZE 65536 /* a group's entry lists its members */

int world_principal_lookup(enum principal_kind kind, const char *name, uint32_t *ret_id) {
        static char buffer[ENTRY_SIZE];
        if (kind == PRINCIPAL_USER) {
                struct passwd entry, *found;
                if (getpwnam_r(name, &entry, buffer, sizeof buffer, &found) || !found)
                        return -ENOENT;
                *ret_id = found->pw_uid;
        } else {
                struct group entry, *found;
                if (getgrnam_r(name, &entry, buffer, sizeof buffer, &found) || !found)
                        return -ENOENT;
                *ret_id = found->gr_gid;
        }
        return 0;
}
