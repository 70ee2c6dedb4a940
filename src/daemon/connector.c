/* SPDX-License-Identifier: MIT */

/* The names of connectors' sockets: see connector.h. */

#include "daemon/connector.h"
#include "base/guid.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

static int ephemeral_id(GUID *ret) {
        static GUID pool[16]; /* 256 bytes are the most that no signal cuts short */
        static unsigned left;
        if (!left) {
                if (getrandom(pool, sizeof pool, 0) != sizeof pool)
                        return -errno;
                left = sizeof pool / sizeof pool[0];
        }
        GUID id = pool[--left];
        id.Data3 = (id.Data3 & 0x0fff) | 0x4000; /* RFC 4122, version 4: no well-known GUID, no vsock port */
        id.Data4[0] = (id.Data4[0] & 0x3f) | 0x80;
        *ret = id;
        return 0;
}

uint64_t connector_tag(const struct connector_name *name, const struct world *world, const GUID *partition_id) {
        uint8_t bytes[CONNECTOR_TAGGED_SIZE];
        connector_name_tagged_bytes(name, partition_id, bytes);
        return siphash(world->key, bytes, sizeof bytes);
}

int connector_name_seal(struct connector_name *name, const struct world *world, const GUID *partition_id) {
        int r = ephemeral_id(&name->ephemeral_id);
        if (r < 0)
                return r;
        name->tag = connector_tag(name, world, partition_id);
        return 0;
}

/* Everything but which channel it is. */
static bool is_same_but_channel(const struct connector_name *a, const struct connector_name *b) {
        return a->flags == b->flags && a->pid == b->pid && a->uid == b->uid && a->gid == b->gid &&
               guid_equal(&a->dialled_vm_id, &b->dialled_vm_id) && guid_equal(&a->dial_back_vm_id, &b->dial_back_vm_id);
}

/* A shell keeps the address as bind(2) wants it, without the room that this name never needs. */
static socklen_t shell_address(const struct channel_shell *shell, struct sockaddr_un *ret_address) {
        *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
        memcpy(ret_address->sun_path, shell->name, sizeof shell->name);
        return shell->address_length;
}

static void shell_keep(struct channel_shell *shell, const struct connector_name *name) {
        struct sockaddr_un address;
        shell->address_length = (uint8_t)connector_name_encode(name, &address);
        memcpy(shell->name, address.sun_path, sizeof shell->name);
}

static int bind_as(int fd, const struct channel_shell *shell) {
        struct sockaddr_un address;
        socklen_t length = shell_address(shell, &address);
        watchdog_guard();
        return bind(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
}

/* Gives the name of a closed channel again, which proves that channel gone. -ENOENT when none would do. */
static int give_rested(struct client *client, int fd, struct connector_name *name, const struct channel_shell *shell) {
        struct channel_shell *rested = probe_rested(client->process);
        struct sockaddr_un address;
        struct connector_name old;
        if (!rested || rested->network != shell->network)
                return -ENOENT;
        socklen_t length = shell_address(rested, &address);
        if (connector_name_decode(&address, length, &old) < 0 || !is_same_but_channel(&old, name))
                return -ENOENT;
        int r = bind_as(fd, rested);
        if (r == -EADDRINUSE) {
                probe_still_held(client->world, rested);
                return -ENOENT;
        }
        if (r < 0)
                return r;
        *name = old;
        channel_forget(client->world, rested->channel);
        return 0;
}

int connector_name_make(const struct world *world, const struct partition *partition, int fd,
                        struct connector_name *name, struct channel_shell *shell) {
        int r = connector_name_seal(name, world, &partition->vm_id);
        if (r < 0)
                return r;
        shell_keep(shell, name);
        return bind_as(fd, shell);
}

/* The name that a broker gave the socket before: as authentic as a new one, and good for the same address only. */
static int recognise(struct client *client, int fd, struct connector_name *name) {
        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct connector_name old;
        if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                return -errno;
        if (connector_name_decode(&address, length, &old) < 0 ||
            old.tag != connector_tag(&old, client->world, &client->caller.partition->vm_id))
                return -EINVAL;
        if (!is_same_but_channel(&old, name))
                return -EADDRNOTAVAIL;
        if (broker_channel_find(client->world->broker, &old.ephemeral_id))
                return -EISCONN;
        *name = old;
        return 0;
}

int connector_name_give(struct client *client, int fd, struct connector_name *name, struct channel_shell *shell) {
        int r = give_rested(client, fd, name, shell);
        if (r == -ENOENT)
                r = connector_name_make(client->world, client->caller.partition, fd, name, shell);
        if (r == -EINVAL) /* bind(2): it has a name */
                r = recognise(client, fd, name);
        if (!r)
                shell_keep(shell, name);
        return r;
}
