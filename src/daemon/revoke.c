/* SPDX-License-Identifier: MIT */

/* Ending what a disabled service has open. */

#include "daemon/revoke.h"
#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/connector.h"
#include "daemon/lend.h"
#include "daemon/partitions.h"
#include "daemon/probe.h"
#include "daemon/socket_dump.h"
#include "daemon/vms.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define ENDED_PREFIX "ended."
#define ENDED_NAME_SIZE 48 /* "ended.s" and 32 hexadecimal digits */

/* A listener that has not been told yet. */
struct ended {
        struct list link;
        char file_name[ENDED_NAME_SIZE];
};

struct revoke {
        struct world *world;
        struct list ended;
        struct timer retry;
};

/* 0 when the listener was told, or is dead; -EAGAIN while its backlog is full. */
static int tell(const struct world *world, const char *file_name) {
        int type = file_name[strlen(ENDED_PREFIX)] == 'q' ? SOCK_SEQPACKET : SOCK_STREAM;
        cleanup(fd_closep) int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -EAGAIN;
        struct connector_name name = {.flags = CONNECTOR_ENDED, .pid = (uint32_t)getpid(), .uid = geteuid(), .gid = getegid()};
        struct sockaddr_un address;
        int r = connector_name_seal(&name, world, &broker_root(world->broker)->vm_id);
        if (r < 0)
                return -EAGAIN;
        socklen_t length = connector_name_encode(&name, &address);
        if (bind(fd, (struct sockaddr *)&address, length) < 0)
                return -EAGAIN;
        address = (struct sockaddr_un){.sun_family = AF_UNIX};
        strcpy(address.sun_path, file_name);
        r = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
        return r == -EAGAIN ? r : 0;
}

static int retry(struct timer *timer) {
        struct revoke *revoke = container_of(timer, struct revoke, retry);
        list_for_each_safe(link, &revoke->ended) {
                struct ended *ended = container_of(link, struct ended, link);
                if (tell(revoke->world, ended->file_name) == -EAGAIN)
                        continue;
                (void)unlink(ended->file_name);
                list_unlink(link);
                free(ended);
        }
        if (!list_is_empty(&revoke->ended))
                loop_arm(revoke->world->loop, timer, REVOKE_RETRY_MS);
        return 0;
}

static void end_file(struct world *world, const char *file_name) {
        struct revoke *revoke = world->revoke;
        if (tell(world, file_name) == 0) {
                (void)unlink(file_name);
                return;
        }
        struct ended *ended = calloc(1, sizeof *ended);
        if (!ended) {
                log_write(LOG_LEVEL_ERROR, "out of memory: a listener of a disabled service was not told");
                (void)unlink(file_name);
                return;
        }
        strcpy(ended->file_name, file_name);
        list_append(&revoke->ended, &ended->link);
        if (!revoke->retry.deadline_ms)
                loop_arm(world->loop, &revoke->retry, REVOKE_RETRY_MS);
}

bool revoke_resume(struct world *world, const char *file_name) {
        size_t length = strlen(file_name);
        if (strncmp(file_name, ENDED_PREFIX, strlen(ENDED_PREFIX)) || length <= strlen(ENDED_PREFIX) ||
            length >= ENDED_NAME_SIZE)
                return false;
        end_file(world, file_name);
        return true;
}

static void end_listener(struct world *world, struct listener *listener) {
        char unique[GUID_HEX_SIZE], file_name[ENDED_NAME_SIZE];
        struct sockaddr_un address;
        GUID guid;
        listener_address(listener, &address);
        bool renamed = guid_new(&guid) == 0;
        if (renamed) {
                guid_format_hex(&guid, unique);
                snprintf(file_name, sizeof file_name, ENDED_PREFIX "%c%s", listener->socket_type == SOCK_SEQPACKET ? 'q' : 's',
                         unique);
                renamed = rename(address.sun_path, file_name) == 0;
        }
        listener_forget(world, listener);
        if (renamed)
                end_file(world, file_name);
}

/* Of the sockets with one abstract name in one network namespace there is but one. */
static void visit_connected(const struct socket_seen *seen, void *userdata) {
        const struct world *world = userdata;
        struct connector_name name;
        if (!seen->is_shut_down || connector_name_decode(&seen->name, seen->name_length, &name) < 0)
                return;
        struct channel *channel = broker_channel_find(world->broker, &name.ephemeral_id);
        const struct channel_shell *shell = channel ? channel->shell : NULL;
        if (shell && shell->network == probe_network(world) && !memcmp(shell->name, seen->name.sun_path, sizeof shell->name))
                channel->ended = true;
}

void revoke_find_ended(struct world *world) {
        cleanup(fd_closep) int fd = -1;
        int r = socket_dump_open(&fd);
        if (!r)
                r = socket_dump(fd, SOCKET_CONNECTED, visit_connected, world);
        if (r < 0)
                log_stranger(LOG_LEVEL_DEBUG, "cannot see which channels were shut down: %s", strerror(-r));
}

struct revoked revoke_service(struct world *world, const GUID *service_id) {
        const struct broker *broker = world->broker;
        struct revoked revoked = {};
        world_probe_all(world);
        partitions_revoke(world);
        for (struct listener *listener = broker_listener_next(broker, NULL), *next; listener; listener = next) {
                next = broker_listener_next(broker, listener);
                if (!guid_equal(&listener->service_id, service_id))
                        continue;
                end_listener(world, listener);
                revoked.listeners_ended++;
        }
        vms_reset_service(world, service_id);
        revoke_find_ended(world);
        for (const struct channel *channel = NULL; (channel = broker_channel_next(broker, channel));)
                revoked.channels_remaining += !channel->ended && guid_equal(&channel->service_id, service_id);
        return revoked;
}

int revoke_open(struct world *world) {
        struct revoke *revoke = calloc(1, sizeof *revoke);
        if (!revoke)
                return -ENOMEM;
        *revoke = (struct revoke){.world = world, .ended = LIST_INIT(revoke->ended), .retry = {.expire = retry}};
        world->revoke = revoke;
        return 0;
}

void revoke_close(struct world *world) {
        struct revoke *revoke = world->revoke;
        if (!revoke)
                return;
        loop_disarm(world->loop, &revoke->retry);
        list_for_each_safe(link, &revoke->ended) {
                list_unlink(link);
                free(container_of(link, struct ended, link));
        }
        free(revoke);
        world->revoke = NULL;
}
