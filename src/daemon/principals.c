/* SPDX-License-Identifier: MIT */

/* Users and groups by name. */

#include "base/fd.h"
#include "daemon/world.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#define ENTRY_SIZE 4096u           /* of most */
#define ENTRY_SIZE_MAX (16u << 20) /* a group's entry lists its members */

/* 0, -ENOENT, or -ERANGE when the entry needs more than `size`. */
static int look_up(enum principal_kind kind, const char *name, char *buffer, size_t size, uint32_t *ret_id) {
        struct passwd user, *found_user = NULL;
        struct group group, *found_group = NULL;
        int error = kind == PRINCIPAL_USER ? getpwnam_r(name, &user, buffer, size, &found_user)
                                           : getgrnam_r(name, &group, buffer, size, &found_group);
        if (error == ERANGE)
                return -ERANGE;
        if (!found_user && !found_group)
                return -ENOENT;
        *ret_id = found_user ? found_user->pw_uid : found_group->gr_gid;
        return 0;
}

int world_principal_lookup(enum principal_kind kind, const char *name, uint32_t *ret_id) {
        int r = -ERANGE;
        for (size_t size = ENTRY_SIZE; r == -ERANGE && size <= ENTRY_SIZE_MAX; size *= 4) {
                cleanup(freep) char *buffer = malloc(size);
                if (!buffer)
                        return -ENOMEM;
                r = look_up(kind, name, buffer, size, ret_id);
        }
        return r;
}
