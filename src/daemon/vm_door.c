/* SPDX-License-Identifier: MIT */

/* Doors: see vm_door.h. The working directory is that of the listeners. */

#include "daemon/vm_door.h"

#include "base/fd.h"
#include "base/guid.h"
#include "daemon/lend.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <sys/socket.h>

struct door {
        struct list link;
        struct listener_name name;
        struct sockaddr_un address;
        socklen_t address_length;
        int fd;
};

static struct list doors = LIST_INIT(doors); /* of this process's one world; used last, last */
static unsigned door_count;

static void door_close(struct door *door) {
        (void)unlink(door->address.sun_path);
        watchdog_closep(&door->fd);
        list_unlink(&door->link);
        door_count--;
        free(door);
}

void vm_doors_close(const GUID *vm_id) {
        list_for_each_safe(link, &doors) {
                struct door *door = container_of(link, struct door, link);
                if (!vm_id || guid_equal(&door->name.vm_id, vm_id))
                        door_close(door);
        }
}

static int door_open(const struct listener_name *name, struct door **ret) {
        cleanup(freep) struct door *door = calloc(1, sizeof *door);
        if (!door)
                return -ENOMEM;
        door->name = *name;
        door->address_length = listener_name_encode(name, &door->address);
        cleanup(fd_closep) int fd = socket(AF_UNIX, name->socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || (unlink(door->address.sun_path) < 0 && errno != ENOENT) ||
            bind(fd, (struct sockaddr *)&door->address, door->address_length) < 0 || listen(fd, 1) < 0)
                return -errno;
        if (door_count == VM_DOORS_MAX)
                door_close(container_of(doors.next, struct door, link));
        door->fd = fd_take(fd);
        list_append(&doors, &door->link);
        door_count++;
        *ret = door;
        door = NULL;
        return 0;
}

static struct door *door_find(const struct listener_name *name) {
        list_for_each(link, &doors) {
                struct door *door = container_of(link, struct door, link);
                if (door->name.socket_type == name->socket_type && guid_equal(&door->name.vm_id, &name->vm_id) &&
                    guid_equal(&door->name.service_id, &name->service_id)) {
                        list_unlink(&door->link);
                        list_append(&doors, &door->link);
                        return door;
                }
        }
        return NULL;
}

int vm_door_pass(const GUID *vm_id, const GUID *service_id, int socket_type, int fd, int *ret_end) {
        const struct listener_name name = {
                .partition_id = *vm_id, .vm_id = *vm_id, .service_id = *service_id, .socket_type = socket_type};
        struct door *door = door_find(&name);
        int r = door ? 0 : door_open(&name, &door);
        if (!r)
                r = lend_connect_at_once(fd, &door->address, door->address_length);
        if (r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN) {
                door_close(door);
                return -EIO;
        }
        if (r < 0)
                return r;
        int end = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (end < 0) {
                r = -errno;
                door_close(door); /* or the next one who comes would be given this one's end */
                return r;
        }
        *ret_end = end;
        return 0;
}
