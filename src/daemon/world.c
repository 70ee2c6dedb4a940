/* SPDX-License-Identifier: MIT */

/*
 * Opening and closing a world: its directories, its lock, its key, and its
 * rooms, in the order in which they need each other.
 */

#include "daemon/hold.h"
#include "daemon/world.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/activation.h"
#include "daemon/clients.h"
#include "daemon/hold.h"
#include "daemon/partitions.h"
#include "daemon/place.h"
#include "daemon/probe.h"
#include "daemon/recovery.h"
#include "daemon/revoke.h"
#include "daemon/services.h"
#include "daemon/watchdog.h"
#include "daemon/vms.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static int complain(const char *path, int error) {
        log_write(LOG_LEVEL_ERROR, "%s: %s", path, strerror(-error));
        return error;
}

static int make_directory(const char *parent, const char *name, mode_t mode, int *ret_fd) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s%s", parent, name) >= (int)sizeof path)
                return complain(parent, -ENAMETOOLONG);
        int r = place_directory(path, mode, ret_fd);
        return r < 0 ? complain(path, r) : 0;
}

/* The lock is this process's alone: its children, which have its descriptors for a while, do not keep it when it is killed. */
static int take_lock(struct world *world) {
        world->lock_fd = openat(world->runtime_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (world->lock_fd < 0)
                return complain(world->options.runtime, -errno);
        if (fcntl(world->lock_fd, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}) == 0)
                return 0;
        if (errno != EAGAIN && errno != EACCES)
                return complain(world->options.runtime, -errno);
        log_write(LOG_LEVEL_ERROR, "%s: another hvsockd governs this world", world->options.runtime);
        return -EALREADY;
}

static int load_key(struct world *world, int state_fd) {
        cleanup(freep) char *bytes = NULL;
        size_t length = 0;
        int r = file_read(state_fd, "key", sizeof world->key, &bytes, &length);
        if (!r && length == sizeof world->key) {
                memcpy(world->key, bytes, sizeof world->key);
                return 0;
        }
        if (r != -ENOENT)
                log_write(LOG_LEVEL_WARNING, "%s/key: expected %zu bytes; making a new key", world->options.state,
                          sizeof world->key);
        if (getrandom(world->key, sizeof world->key, 0) != sizeof world->key)
                return -errno;
        r = file_replace(state_fd, "key", world->key, sizeof world->key, 0600);
        return r < 0 ? complain(world->options.state, r) : 0;
}

static int open_broker(struct world *world) {
        uint8_t hash_key[16];
        if (getrandom(hash_key, sizeof hash_key, 0) != sizeof hash_key)
                return -errno;
        return broker_new(hash_key, &world->options.owner, &world->options.quotas, &world->broker);
}

static int open_directories(struct world *world) {
        const struct world_options *options = &world->options;
        mode_t mode = options->owner.uid == 0 ? 0755 : 0700;
        cleanup(fd_closep) int state_fd = -1;
        int r = make_directory(options->runtime, "", mode, &world->runtime_fd);
        if (!r)
                r = take_lock(world);
        if (!r)
                r = make_directory(options->runtime, "/listeners", 0700, &world->listeners_fd);
        if (!r)
                r = make_directory(options->state, "", mode, &state_fd);
        if (!r)
                r = load_key(world, state_fd);
        if (!r && fchdir(world->listeners_fd) < 0)
                r = complain(options->runtime, -errno);
        return r;
}

static int open_rooms(struct world *world) {
        static int (*const rooms[])(struct world *) = {probe_open,      clients_open,    hold_open,   vms_open,      revoke_open,
                                                       activation_open, partitions_open, hold_settle, services_open, recovery_run};
        for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
                int r = rooms[i](world);
                if (r < 0)
                        return r;
        }
        return 0;
}

int world_open(const struct world_options *options, struct loop *loop, struct world **ret_world) {
        struct world *world = calloc(1, sizeof *world);
        if (!world)
                return -ENOMEM;
        world->options = *options;
        world->problems = options->problems;
        world->loop = loop;
        world->runtime_fd = world->lock_fd = world->listeners_fd = -1;
        world->started_ms = loop_wall_ms();
        int r = watchdog_open();
        if (!r)
                r = open_directories(world);
        if (!r)
                r = open_broker(world);
        if (!r)
                r = open_rooms(world);
        if (r < 0) {
                world_close(world);
                return r;
        }
        *ret_world = world;
        return 0;
}

struct world *world_close(struct world *world) {
        if (!world)
                return NULL;
        activation_close(world);
        vms_close(world);
        hold_close(world);
        probe_close(world);
        clients_close(world);
        revoke_close(world);
        services_close(world);
        partitions_close(world);
        world->broker = broker_free(world->broker);
        watchdog_close();
        problems_free(world->problems);
        fd_close(world->options.control_fd);
        fd_close(world->listeners_fd);
        fd_close(world->lock_fd);
        fd_close(world->runtime_fd);
        free(world);
        return NULL;
}
