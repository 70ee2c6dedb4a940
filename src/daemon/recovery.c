/* SPDX-License-Identifier: MIT */

/*
 * Reading the listeners directory. A file's name says which partition listens
 * at which address and by which process; its owner is the user who bound it,
 * its mode says whether it passes through, its time is when it was bound.
 */

#include "daemon/recovery.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/probe.h"
#include "daemon/revoke.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define NOBODY 65534u /* lend_bind.c gives the files of unmapped callers to it */

static int restore(struct world *world, struct partition *partition, const struct listener_name *name,
                   const struct stat *status) {
        struct caller caller = {
                .partition = partition,
                .pid = name->pid,
                .uid = status->st_uid == NOBODY && geteuid() != NOBODY ? CALLER_UNMAPPED : status->st_uid,
                .gid = CALLER_UNMAPPED,
        };
        struct bind_request request = {
                .caller = &caller,
                .vm_id = name->vm_id,
                .service_id = name->service_id,
                .socket_type = name->socket_type,
                .passthru = status->st_mode & S_IXUSR,
                .now_ms = (int64_t)status->st_mtim.tv_sec * 1000 + status->st_mtim.tv_nsec / 1000000,
        };
        struct process *process = process_get(world, partition, name->pid);
        if (!process)
                return -ENOMEM;
        struct listener *listener;
        int r = broker_restore_listener(world->broker, &request, &listener);
        if (!r && (r = probe_add_listener(world, listener, process)) < 0)
                broker_listener_gone(world->broker, listener);
        if (r < 0)
                process_release(world, process);
        else
                ((struct listener_shell *)listener->shell)->found_file = (uint32_t)status->st_ino;
        return r;
}

/*
 * Whether the file stays. One of a partition that is not defined does: only a
 * mistake in a definition parts a partition from those who listen in it.
 */
static bool recover(struct world *world, const char *file_name) {
        struct listener_name name;
        struct sockaddr_un address;
        struct stat status;
        if (revoke_resume(world, file_name))
                return true;
        if (listener_name_parse(file_name, &name) < 0 || lstat(file_name, &status) < 0 || !S_ISSOCK(status.st_mode)) {
                log_write(LOG_LEVEL_WARNING, "removed %s/listeners/%s: no listener's name", world->options.runtime, file_name);
                return false;
        }
        if (!listener_answers(world, &address, listener_name_encode(&name, &address)))
                return false;
        struct partition *partition = partition_by_id(world->broker, &name.partition_id);
        if (!partition) {
                log_write(LOG_LEVEL_WARNING, "a listener of process %u waits for its partition to be defined again", name.pid);
                return true;
        }
        int r = restore(world, partition, &name, &status);
        if (r < 0)
                log_write(LOG_LEVEL_ERROR, "dropped a listener of process %u in partition %s: %s", name.pid, partition->label,
                          strerror(-r));
        return r == 0;
}

/* What is open of services that were disabled while no broker ran. */
static void end_disabled(struct world *world) {
        for (struct service *service = NULL; (service = registry_next(world->broker, service));)
                if (!service->definition.enabled &&
                    (service->counters.listeners_now || service->counters.channels_now))
                        (void)revoke_service(world, &service->definition.service_id);
}

int recovery_run(struct world *world) {
        unsigned found = 0;
        int fd = openat(world->listeners_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);
        if (!directory) {
                int r = -errno;
                fd_close(fd);
                log_write(LOG_LEVEL_ERROR, "%s/listeners: %s", world->options.runtime, strerror(-r));
                return r;
        }
        for (struct dirent *entry; (entry = readdir(directory));) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                        continue;
                if (recover(world, entry->d_name))
                        found++;
                else if (unlink(entry->d_name) < 0)
                        log_write(LOG_LEVEL_WARNING, "cannot remove %s/listeners/%s: %s", world->options.runtime,
                                  entry->d_name, strerror(errno));
        }
        closedir(directory);
        if (found)
                log_write(LOG_LEVEL_INFO, "found %u listeners of a former broker", found);
        recovery_channels(world);
        end_disabled(world);
        return 0;
}
