/* SPDX-License-Identifier: MIT */

/*
 * Partitions as files. A definition is written before the partition's socket
 * appears and removed before it goes, so that what a restart finds is never
 * more than what was promised.
 */

#include "daemon/partitions.h"
#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/activation.h"
#include "daemon/clients.h"
#include "daemon/definitions.h"
#include "daemon/place.h"
#include "daemon/vms.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define REVOCATION_PAGE_SIZE 4096

/* partition->shell: where its clients come in. */
struct door {
        struct source source;
        struct world *world;
        struct partition *partition;
        int fd;
        struct list link;
};

struct partitions {
        int definitions_fd; /* O_PATH directory */
        struct list doors;
        struct timer pause;
        struct world *world;
        struct door given; /* the host's other door: the socket that systemd listens on */
};

static struct door *door_of(struct list *link) {
        return container_of(link, struct door, link);
}

void world_partition_directory(const struct world *world, const struct partition *partition, char ret_path[PATH_MAX]) {
        char guid[HV_GUID_TEXT_SIZE];
        guid_format(&partition->vm_id, guid);
        snprintf(ret_path, PATH_MAX, "%.*s/%s", PATH_MAX - HV_GUID_TEXT_SIZE - 1, world->options.runtime, guid);
}

static int open_directory(struct world *world, const struct partition *partition, int *ret_fd) {
        char guid[HV_GUID_TEXT_SIZE];
        guid_format(&partition->vm_id, guid);
        int fd = openat(world->runtime_fd, guid, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int partition_revocations(struct world *world, const struct partition *partition, int *ret_fd) {
        cleanup(fd_closep) int directory_fd = -1;
        int r = open_directory(world, partition, &directory_fd);
        if (r < 0)
                return r;
        int fd = openat(directory_fd, "revocations", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/* The page may be missing, or cut short by who holds it. */
static int change_page(int directory_fd) {
        uint64_t counter = 0;
        cleanup(fd_closep) int fd = openat(directory_fd, "revocations", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 || pread(fd, &counter, sizeof counter, 0) < 0)
                return -errno;
        counter++;
        if (ftruncate(fd, REVOCATION_PAGE_SIZE) < 0 || pwrite(fd, &counter, sizeof counter, 0) < 0)
                return -errno;
        return 0;
}

void partitions_revoke(struct world *world) {
        list_for_each(link, &world->partitions->doors) {
                cleanup(fd_closep) int directory_fd = -1;
                int r = open_directory(world, door_of(link)->partition, &directory_fd);
                if (!r)
                        r = change_page(directory_fd);
                if (r < 0)
                        log_write(LOG_LEVEL_ERROR, "cannot tell partition %s of a revocation: %s",
                                  door_of(link)->partition->label, strerror(-r));
        }
}

static int door_dispatch(struct source *source, uint32_t events) {
        struct door *door = container_of(source, struct door, source);
        client_accept(door->world, door->partition, door->fd);
        return 0;
}

/* Accepted sockets inherit SO_PASSCRED: a client's first message already bears its sender's credentials. */
static int door_watch(struct door *door) {
        int on = 1;
        if (setsockopt(door->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
                return -errno;
        return loop_add(door->world->loop, &door->source, door->fd, EPOLLIN);
}

static int door_open(struct world *world, struct partition *partition) {
        struct door *door = calloc(1, sizeof *door);
        if (!door)
                return -ENOMEM;
        *door = (struct door){
                .source = {.dispatch = door_dispatch, .fd = -1}, .world = world, .partition = partition, .fd = -1};
        list_init(&door->link);

        char path[PATH_MAX];
        cleanup(fd_closep) int directory_fd = -1;
        world_partition_directory(world, partition, path);
        int r = place_directory(path, 0755, &directory_fd);
        if (!r)
                r = change_page(directory_fd); /* a service may have been disabled while no broker ran */
        if (!r)
                r = place_socket(directory_fd, "control", SOCK_SEQPACKET, 0666, world->listeners_fd, &door->fd);
        if (!r)
                r = door_watch(door);
        if (r < 0) {
                fd_close(door->fd);
                free(door);
                return r;
        }
        list_append(&world->partitions->doors, &door->link);
        partition->shell = door;
        return 0;
}

static void door_close(struct door *door) {
        loop_remove(door->world->loop, &door->source);
        watchdog_closep(&door->fd);
        list_unlink(&door->link);
        door->partition->shell = NULL;
        free(door);
}

/* What comes in from a VM's guest comes through its front-end: it has no other socket. */
static int vm_open(struct world *world, struct partition *partition) {
        char path[PATH_MAX];
        cleanup(fd_closep) int directory_fd = -1;
        world_partition_directory(world, partition, path);
        int r = place_directory(path, 0755, &directory_fd);
        return r < 0 ? r : vm_attach(world, partition, directory_fd);
}

static int way_in_open(struct world *world, struct partition *partition) {
        return partition->reach == REACH_VM ? vm_open(world, partition) : door_open(world, partition);
}

static void remove_directory(struct world *world, const char *guid) {
        cleanup(fd_closep) int fd = openat(world->runtime_fd, guid, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
                (void)unlinkat(fd, "control", 0);
                (void)unlinkat(fd, "revocations", 0);
                (void)unlinkat(fd, "vhost-user", 0);
                (void)unlinkat(fd, VM_FRONT_END_MARK, 0);
                (void)unlinkat(fd, "vsock", 0);
        }
        if (unlinkat(world->runtime_fd, guid, AT_REMOVEDIR) < 0 && errno != ENOENT)
                log_write(LOG_LEVEL_WARNING, "cannot remove %s/%s: %s", world->options.runtime, guid, strerror(errno));
}

int world_add_partition(struct world *world, const struct partition_definition *definition, struct partition **ret) {
        struct partition_definition complete = *definition;
        struct partition *partition;
        int r = guid_is_zero(&complete.vm_id) ? guid_new(&complete.vm_id) : 0;
        if (!r)
                r = partition_add(world->broker, &complete, &partition);
        if (r < 0)
                return r;
        complete.cid = partition->parent ? partition->cid : 0;
        r = definition_save(world->partitions->definitions_fd, &complete);
        if (!r)
                r = way_in_open(world, partition);
        if (r < 0) {
                (void)definition_remove(world->partitions->definitions_fd, &complete.vm_id);
                (void)partition_remove(world->broker, partition);
                return r;
        }
        if (ret)
                *ret = partition;
        return 0;
}

int world_remove_partition(struct world *world, struct partition *partition) {
        activation_leave(world, partition);
        world_probe_all(world);
        if (!list_is_empty(&partition->children))
                return -ENOTEMPTY;
        /* That a VMM with a socket of its own has ended shows at the next connect only. */
        bool guest_runs = partition->reach == REACH_VM && partition->running && !*partition->hybrid;
        if (!partition->parent || !list_is_empty(&partition->listeners) || partition->client_count ||
            partition->channel_count || guest_runs)
                return -EBUSY;
        int r = definition_remove(world->partitions->definitions_fd, &partition->vm_id);
        if (r < 0)
                return r;
        char guid[HV_GUID_TEXT_SIZE];
        guid_format(&partition->vm_id, guid);
        if (partition->reach == REACH_VM)
                vm_detach(world, partition);
        else
                door_close(partition->shell);
        remove_directory(world, guid);
        return partition_remove(world->broker, partition);
}

static int pause_over(struct timer *timer) {
        struct partitions *partitions = container_of(timer, struct partitions, pause);
        list_for_each(link, &partitions->doors)
                (void)loop_modify(partitions->world->loop, &door_of(link)->source, EPOLLIN);
        if (partitions->given.fd >= 0)
                (void)loop_modify(partitions->world->loop, &partitions->given.source, EPOLLIN);
        return 0;
}

void partitions_pause(struct world *world) {
        struct partitions *partitions = world->partitions;
        if (partitions->pause.deadline_ms)
                return;
        log_stranger(LOG_LEVEL_WARNING, "out of descriptors: new clients wait");
        list_for_each(link, &partitions->doors)
                (void)loop_modify(world->loop, &door_of(link)->source, 0);
        if (partitions->given.fd >= 0)
                (void)loop_modify(world->loop, &partitions->given.source, 0);
        loop_arm(world->loop, &partitions->pause, ACCEPT_PAUSE_MS);
}

static void definition_refused(struct world *world, const char *path, const GUID *vm_id, const char *expected) {
        char name[HV_GUID_TEXT_SIZE + 8];
        struct text_error error = {};
        guid_format(vm_id, name);
        strcat(name, ".conf");
        snprintf(error.expected, sizeof error.expected, "%s", expected);
        problem_add(&world->problems, NULL, true, path, name, &error);
}

static bool cid_is_found(const struct found *found, size_t count, uint64_t cid) {
        for (size_t i = 0; i < count; i++)
                if (found[i].definition.cid == cid)
                        return true;
        return false;
}

/* Those whose file is older than their having one. */
static void give_cids(struct world *world, struct found *found, size_t count) {
        uint64_t cid = CID_FIRST;
        for (size_t i = 0; i < count; i++) {
                if (found[i].definition.cid || found[i].definition.kind == HV_PARTITION_HOST)
                        continue;
                while (cid_is_found(found, count, cid))
                        cid++;
                found[i].definition.cid = cid;
                int r = definition_add_cid(world->partitions->definitions_fd, &found[i].definition);
                if (r < 0)
                        log_write(LOG_LEVEL_WARNING, "the CID of %s may be another one after a restart: %s",
                                  found[i].definition.label, strerror(-r));
        }
}

/* Parents before children, whatever the order of the files: as many passes as the tree is deep. */
static int definitions_add(struct world *world, const char *path, struct found *found, size_t count) {
        for (bool progress = true; progress;) {
                progress = false;
                for (size_t i = 0; i < count; i++) {
                        struct partition *partition;
                        if (found[i].added)
                                continue;
                        int r = partition_add(world->broker, &found[i].definition, &partition);
                        if (r == -ENOENT)
                                continue;
                        progress = found[i].added = true;
                        if (r == -ENOMEM)
                                return r;
                        if (!r) {
                                r = way_in_open(world, partition);
                                if (r < 0)
                                        (void)partition_remove(world->broker, partition);
                        }
                        if (r < 0)
                                definition_refused(world, path, &found[i].definition.vm_id, strerror(-r));
                }
        }
        for (size_t i = 0; i < count; i++)
                if (!found[i].added)
                        definition_refused(world, path, &found[i].definition.vm_id, "expected Parent= to name a partition");
        return 0;
}

static int make_host(struct world *world, const struct found *found, size_t count, size_t wrong) {
        unsigned hosts = 0;
        for (size_t i = 0; i < count; i++)
                hosts += found[i].definition.kind == HV_PARTITION_HOST;
        if (hosts > 1)
                log_write(LOG_LEVEL_ERROR, "%u definitions of a host; not choosing one, since all others hang on it", hosts);
        if (hosts)
                return hosts > 1 ? -EINVAL : 0;
        if (wrong) {
                log_write(LOG_LEVEL_ERROR, "no definition of a host; not making one, since it may be one with a mistake in it");
                return -EINVAL;
        }
        struct partition_definition host = {.kind = HV_PARTITION_HOST, .reach = REACH_LOCAL};
        strcpy(host.label, world->options.host_label);
        return world_add_partition(world, &host, NULL);
}

/* <runtime>/control, unless systemd listens there. */
static int link_host(struct world *world) {
        char guid[HV_GUID_TEXT_SIZE], target[HV_GUID_TEXT_SIZE + 8];
        guid_format(&broker_root(world->broker)->vm_id, guid);
        snprintf(target, sizeof target, "%s/control", guid);
        (void)unlinkat(world->runtime_fd, ".control.new", 0);
        if (symlinkat(target, world->runtime_fd, ".control.new") < 0 ||
            renameat(world->runtime_fd, ".control.new", world->runtime_fd, "control") < 0)
                return -errno;
        return 0;
}

static int given_open(struct world *world) {
        struct door *given = &world->partitions->given;
        given->partition = broker_root(world->broker);
        given->fd = fd_take(world->options.control_fd);
        return door_watch(given);
}

int partitions_open(struct world *world) {
        struct partitions *partitions = calloc(1, sizeof *partitions);
        if (!partitions)
                return -ENOMEM;
        *partitions = (struct partitions){
                .definitions_fd = -1,
                .doors = LIST_INIT(partitions->doors),
                .pause = {.expire = pause_over},
                .world = world,
                .given = {.source = {.dispatch = door_dispatch, .fd = -1}, .world = world, .fd = -1},
        };
        world->partitions = partitions;

        char path[PATH_MAX];
        cleanup(freep) struct found *found = NULL;
        size_t count = 0, wrong = 0;
        snprintf(path, sizeof path, "%.*s/partitions", PATH_MAX - 12, world->options.state);
        int r = place_directory(path, 0755, &partitions->definitions_fd);
        if (!r)
                r = definitions_read(partitions->definitions_fd, path, &world->problems, &found, &count, &wrong);
        if (!r)
                r = make_host(world, found, count, wrong);
        if (!r)
                give_cids(world, found, count);
        if (!r)
                r = definitions_add(world, path, found, count);
        if (!r && !broker_root(world->broker)) {
                log_write(LOG_LEVEL_ERROR, "%s: no definition of the host can be used", path);
                return -EINVAL;
        }
        if (!r)
                r = world->options.control_fd >= 0 ? given_open(world) : link_host(world);
        if (r < 0)
                log_write(LOG_LEVEL_ERROR, "%s: %s", path, strerror(-r));
        return r;
}

void partitions_close(struct world *world) {
        struct partitions *partitions = world->partitions;
        if (!partitions)
                return;
        loop_disarm(world->loop, &partitions->pause);
        list_for_each_safe(link, &partitions->doors)
                door_close(door_of(link));
        loop_remove(world->loop, &partitions->given.source);
        fd_close(partitions->given.fd);
        fd_close(partitions->definitions_fd);
        free(partitions);
        world->partitions = NULL;
}
