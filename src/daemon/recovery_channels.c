/* SPDX-License-Identifier: MIT */

/*
 * Finding the channels that a former broker opened.
 *
 * Theory of operation. A channel is two sockets. The connector's has an abstract
 * name, whose keyed tag proves that a broker of this world gave it, and to which
 * partition. The accepted one bears the name of the file that its listener was
 * bound to, which says the rest: target partition, VmId, ServiceId, process. A
 * socket that waits to be accepted is in no list; its listener tells of it. The
 * kernel says who is connected with whom.
 *
 * A listener's name proves nothing, since anybody may bind that name elsewhere.
 * But only the broker connects to files in the listeners directory. Where the
 * file is still there, the kernel's word that the socket is bound to it proves
 * the channel: these go first, so that a name that was stolen displaces none.
 * Where the listener is gone, the file must have been on the same file system;
 * the channel then is in nobody's account but the connector's.
 *
 * The tag covers the connector's partition, which is in no name. What the
 * acceptor would dial it back at leaves two partitions to try, then those that
 * pass through a VM: PASSING_TRIED_MAX of them for all channels together, so
 * that names made up by strangers cost little.
 */

#include "base/fd.h"
#include "base/log.h"
#include "daemon/connector.h"
#include "daemon/probe.h"
#include "daemon/recovery.h"
#include "daemon/socket_dump.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define CHANNELS_FOUND_MAX (1u << 18) /* ends of either kind that are remembered; later ones are not found */
#define PASSING_TRIED_MAX (1u << 20)
#define LISTS 2 /* from a list that is read in parts, a socket may be missing when another was closed meanwhile */

struct connector {
        uint32_t inode, peer;
        int type;
        struct connector_name name;
};

struct acceptor {
        uint32_t inode; /* 0: not accepted yet */
        uint32_t peer;  /* the connector's inode */
        uint32_t file;
        struct listener_name name;
};

struct findings {
        struct world *world;
        uint32_t device; /* the listeners directory's, as the kernel numbers it */
        struct connector *connectors;
        size_t connector_count;
        struct acceptor *acceptors;
        size_t acceptor_count;
        unsigned passing_left;
        unsigned channels;
};

/* The array with room for one more, or NULL. It doubles. */
static void *room_for_one(void *items, size_t count, size_t size) {
        if (count & (count - 1))
                return items;
        return count < CHANNELS_FOUND_MAX ? reallocarray(items, count ? 2 * count : 1, size) : NULL;
}

static void add_connector(struct findings *findings, const struct connector *connector) {
        struct connector *room = room_for_one(findings->connectors, findings->connector_count, sizeof *room);
        if (!room)
                return;
        room[findings->connector_count++] = *connector;
        findings->connectors = room;
}

static void add_acceptor(struct findings *findings, const struct acceptor *acceptor) {
        struct acceptor *room = room_for_one(findings->acceptors, findings->acceptor_count, sizeof *room);
        if (!room)
                return;
        room[findings->acceptor_count++] = *acceptor;
        findings->acceptors = room;
}

static bool is_of_a_listener(const struct findings *findings, const struct socket_seen *seen, struct listener_name *ret_name) {
        return seen->file && seen->device == findings->device &&
               listener_name_decode(&seen->name, seen->name_length, ret_name) == 0 && seen->type == ret_name->socket_type;
}

static void visit_listening(const struct socket_seen *seen, void *userdata) {
        struct acceptor acceptor = {.file = seen->file};
        if (!seen->waiting_count || !is_of_a_listener(userdata, seen, &acceptor.name))
                return;
        for (unsigned i = 0; i < seen->waiting_count; i++) {
                memcpy(&acceptor.peer, (const char *)seen->waiting + i * sizeof acceptor.peer, sizeof acceptor.peer);
                add_acceptor(userdata, &acceptor);
        }
}

static void visit_connected(const struct socket_seen *seen, void *userdata) {
        struct acceptor acceptor = {.inode = seen->inode, .peer = seen->peer, .file = seen->file};
        struct connector connector = {.inode = seen->inode, .peer = seen->peer, .type = seen->type};
        if (connector_name_decode(&seen->name, seen->name_length, &connector.name) == 0)
                add_connector(userdata, &connector);
        else if (is_of_a_listener(userdata, seen, &acceptor.name))
                add_acceptor(userdata, &acceptor);
}

static void visit_own(const struct socket_seen *seen, void *userdata) {
        struct findings *findings = userdata;
        findings->device = seen->device;
}

/* Asks the kernel, since stat(2) has other numbers for some file systems. In the working directory, which it is. */
static int find_device(struct findings *findings, int dump_fd) {
        static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "recovery"};
        struct stat status;
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || fstat(fd, &status) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
                return -errno;
        (void)unlink(address.sun_path);
        return socket_dump_one(dump_fd, (uint32_t)status.st_ino, visit_own, findings);
}

/* The listening sockets first: one who waits may be accepted meanwhile, but none comes to wait. */
static int find_sockets(struct findings *findings) {
        cleanup(fd_closep) int fd = -1;
        int r = socket_dump_open(&fd);
        if (!r)
                r = find_device(findings, fd);
        if (!r)
                r = socket_dump(fd, SOCKET_LISTENING, visit_listening, findings);
        if (!r)
                r = socket_dump(fd, SOCKET_CONNECTED, visit_connected, findings);
        return r;
}

struct tagged {
        const struct world *world;
        const struct connector_name *name;
};

static bool is_connectors(const struct partition *partition, void *userdata) {
        const struct tagged *tagged = userdata;
        return connector_tag(tagged->name, tagged->world, &partition->vm_id) == tagged->name->tag;
}

/* The one whose file it is: another may have been bound under the same name since. */
static struct listener *listener_of(const struct world *world, struct partition *to, const struct acceptor *acceptor) {
        const struct listener_name *name = &acceptor->name;
        struct listener *listener = broker_listener_find(world->broker, to, &name->vm_id, &name->service_id);
        const struct listener_shell *shell = listener ? listener->shell : NULL;
        return shell && shell->found_file == acceptor->file ? listener : NULL;
}

static int put_back(struct findings *findings, const struct channel *found, const struct connector_name *name) {
        struct world *world = findings->world;
        struct channel *channel;
        struct sockaddr_un address;
        cleanup(freep) struct channel_shell *shell = calloc(1, sizeof *shell);
        struct process *process = shell ? process_get(world, found->from, name->pid) : NULL;
        if (!process)
                return -ENOMEM;
        shell->network = probe_network(world);
        shell->address_length = (uint8_t)connector_name_encode(name, &address);
        memcpy(shell->name, address.sun_path, sizeof shell->name);
        int r = broker_restore_channel(world->broker, found, &channel);
        if (r < 0) {
                process_release(world, process);
                return r;
        }
        probe_add_channel(world, channel, shell, process);
        shell = NULL;
        findings->channels++;
        return 0;
}

static int recover(struct findings *findings, const struct connector *connector, const struct acceptor *acceptor, bool is_proved) {
        struct world *world = findings->world;
        const struct connector_name *name = &connector->name;
        if (broker_channel_find(world->broker, &name->ephemeral_id))
                return 0;
        struct partition *to = partition_by_id(world->broker, &acceptor->name.partition_id);
        struct listener *listener = to ? listener_of(world, to, acceptor) : NULL;
        if (!to || (is_proved && !listener) || name->flags || connector->type != acceptor->name.socket_type ||
            (acceptor->inode && connector->peer != acceptor->inode))
                return 0;
        struct partition *from = address_source(world->broker, to, &name->dial_back_vm_id, &findings->passing_left,
                                                is_connectors, &(struct tagged){world, name});
        if (!from)
                return 0;
        const struct channel found = {
                .ephemeral_id = name->ephemeral_id,
                .from = from,
                .to = to,
                .listener = listener,
                .service_id = acceptor->name.service_id,
                .dialled_vm_id = name->dialled_vm_id,
                .from_pid = name->pid,
                .from_uid = name->uid,
                .to_pid = acceptor->name.pid,
                .to_uid = listener ? listener->uid : 0,
                .socket_type = connector->type,
        };
        return put_back(findings, &found, name);
}

static int compare_inodes(const void *a, const void *b) {
        uint32_t one = ((const struct connector *)a)->inode, other = ((const struct connector *)b)->inode;
        return (one > other) - (one < other);
}

static int put_back_all(struct findings *findings, bool are_proved) {
        int r = 0;
        for (size_t i = 0; i < findings->acceptor_count && r != -ENOMEM; i++) {
                const struct connector key = {.inode = findings->acceptors[i].peer};
                const struct connector *connector =
                        bsearch(&key, findings->connectors, findings->connector_count, sizeof key, compare_inodes);
                if (connector)
                        r = recover(findings, connector, &findings->acceptors[i], are_proved);
        }
        return r;
}

static int find_and_put_back(struct findings *findings) {
        int found = find_sockets(findings), r = 0;
        if (findings->connector_count) {
                qsort(findings->connectors, findings->connector_count, sizeof *findings->connectors, compare_inodes);
                r = put_back_all(findings, true);
                if (r != -ENOMEM)
                        r = put_back_all(findings, false);
        }
        findings->connector_count = findings->acceptor_count = 0;
        return r == -ENOMEM ? r : found;
}

void recovery_channels(struct world *world) {
        struct findings findings = {.world = world, .passing_left = PASSING_TRIED_MAX};
        int r = 0;
        for (unsigned i = 0; i < LISTS && !r; i++)
                r = find_and_put_back(&findings);
        if (r < 0)
                log_write(LOG_LEVEL_NOTICE, "cannot find all channels of a former broker: %s", strerror(-r));
        if (findings.channels)
                log_write(LOG_LEVEL_INFO, "found %u channels of a former broker", findings.channels);
        free(findings.connectors);
        free(findings.acceptors);
}
