/* SPDX-License-Identifier: MIT */

/* Options of a socket, for its holders. */

#include "lib/holders.h"

#include "lib/address.h"
#include "lib/process.h"

#define OWNED_BY_NONE UINT64_MAX /* the kernel's default */
#define OWNED_BY_SEVERAL 1u

bool holders_flag(int fd, int flag) {
        int value;
        return socket_option(fd, flag, &value) == 0 && value;
}

void holders_set_flag(int fd, int flag, int value) {
        (void)setsockopt(fd, SOL_SOCKET, flag, &value, sizeof value);
}

/* No other process's, not a parent's either. */
static uint64_t own_name(void) {
        return (uint64_t)(uint32_t)process_id() << 32 | process_mark();
}

static void set_owner(int fd, uint64_t owner) {
        (void)setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &owner, sizeof owner);
}

void holders_own(int fd) {
        set_owner(fd, own_name());
}

void holders_disown(int fd) {
        set_owner(fd, OWNED_BY_NONE);
}

bool holders_are_one(int fd) {
        uint64_t owner = OWNED_BY_SEVERAL, name = own_name();
        socklen_t size = sizeof owner;
        if (getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &owner, &size) < 0 || size != sizeof owner)
                return false;
        if (owner == name)
                return true;
        if (!holders_is_foreign(owner))
                set_owner(fd, owner == OWNED_BY_NONE ? name : OWNED_BY_SEVERAL);
        return owner == OWNED_BY_NONE;
}
