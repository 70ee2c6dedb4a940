/* SPDX-License-Identifier: MIT */

/* Binding lent sockets to their listeners' files. */

#include "base/guid.h"
#include "daemon/lend.h"
#include "daemon/probe.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534u /* owns the files of callers whose ids do not map */

socklen_t listener_address(const struct listener *listener, struct sockaddr_un *ret_address) {
        const struct listener_shell *shell = listener->shell;
        if (shell) {
                *ret_address = shell->address;
                return shell->address_length;
        }
        struct listener_name name = {
                .partition_id = listener->partition->vm_id,
                .vm_id = listener->vm_id,
                .service_id = listener->service_id,
                .socket_type = listener->socket_type,
                .pid = listener->pid,
        };
        return listener_name_encode(&name, ret_address);
}

static int get_option(int fd, int option, int *ret_value) {
        socklen_t size = sizeof *ret_value;
        return getsockopt(fd, SOL_SOCKET, option, ret_value, &size) < 0 ? -errno : 0;
}

static int check_bindable(int fd, int socket_type) {
        int domain, type, listening;
        int r = get_option(fd, SO_DOMAIN, &domain);
        if (r < 0)
                return r;
        if (domain != AF_UNIX)
                return -EAFNOSUPPORT;
        r = get_option(fd, SO_TYPE, &type);
        if (r < 0)
                return r;
        if (type != socket_type)
                return -EPROTOTYPE;
        r = get_option(fd, SO_ACCEPTCONN, &listening);
        if (r < 0)
                return r;
        return listening ? -EINVAL : 0;
}

int listener_bind_socket(const struct world *world, const struct listener *listener, int fd) {
        struct sockaddr_un address;
        socklen_t length = listener_address(listener, &address);
        mode_t old_mask = umask(0177);
        int r = bind(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
        if (r == -EADDRINUSE && !listener_is_alive(world, listener) && unlink(address.sun_path) == 0)
                r = bind(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
        umask(old_mask);
        if (r < 0)
                return r;

        /* The file outlives this broker and tells the next what its name has no room for: owner and passthru. */
        uid_t owner = listener->uid == CALLER_UNMAPPED ? NOBODY : listener->uid;
        if (chmod(address.sun_path, listener->passthru ? 0700 : 0600) < 0 ||
            (geteuid() == 0 && owner != 0 && lchown(address.sun_path, owner, (gid_t)-1) < 0)) {
                r = -errno;
                unlink(address.sun_path);
        }
        return r;
}

/* A retried request, whose socket a broker that died before it answered had already bound. */
static struct listener *bound_before(struct client *client, const struct wire_request *request, int fd) {
        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct listener_name name;
        if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
            listener_name_decode(&address, length, &name) < 0 || name.pid != client->caller.pid ||
            !guid_equal(&name.partition_id, &client->caller.partition->vm_id) ||
            !guid_equal(&name.vm_id, &request->vm_id) || !guid_equal(&name.service_id, &request->service_id))
                return NULL;
        struct listener *listener =
                broker_listener_find(client->world->broker, client->caller.partition, &name.vm_id, &name.service_id);
        return listener && listener->pid == name.pid && listener->socket_type == name.socket_type ? listener : NULL;
}

int lend_ask_bind(struct world *world, const struct bind_request *request, struct verdict *ret_verdict,
                  struct listener **ret_listener) {
        for (unsigned tried = 0;; tried++) {
                struct listener *listener = NULL;
                int r = broker_bind(world->broker, request, ret_verdict, &listener);
                if (r < 0)
                        return r;
                if (!ret_verdict->error) {
                        *ret_listener = listener;
                        return 0;
                }
                if (tried >= LISTENERS_TRIED_MAX)
                        return 0;
                if (ret_verdict->error == EADDRINUSE && listener && !listener_is_alive(world, listener))
                        listener_forget(world, listener);
                else if (ret_verdict->error == ENOBUFS && tried == 0)
                        probe_for_room(world);
                else
                        return 0;
        }
}

struct verdict lend_bind(struct client *client, const struct wire_request *request, int fd, struct listener **ret_listener) {
        struct world *world = client->world;
        struct listener *listener;
        struct verdict verdict;
        int r = check_bindable(fd, (int)request->socket_type);
        if (r < 0)
                return lend_failed(r);
        listener = bound_before(client, request, fd);
        if (listener) {
                *ret_listener = listener;
                return (struct verdict){};
        }
        struct bind_request ask = {
                .caller = &client->caller,
                .vm_id = request->vm_id,
                .service_id = request->service_id,
                .socket_type = (int)request->socket_type,
                .passthru = request->flags & WIRE_BIND_PASSTHRU,
                .now_ms = loop_wall_ms(),
        };
        r = lend_ask_bind(world, &ask, &verdict, &listener);
        if (r < 0)
                return lend_failed(r);
        if (verdict.error)
                return verdict;
        r = listener_bind_socket(world, listener, fd);
        if (!r && (r = probe_add_listener(world, listener, client->process)) < 0) {
                struct sockaddr_un address;
                listener_address(listener, &address);
                unlink(address.sun_path);
        }
        if (r < 0) {
                broker_listener_gone(world->broker, listener);
                return lend_failed(r);
        }
        *ret_listener = listener;
        return verdict;
}

struct verdict lend_failed(int error) {
        switch (error) {
        case -ENOTSOCK: case -EBADF: case -EAFNOSUPPORT: case -EPROTOTYPE: case -EINVAL: case -EISCONN: case -EOPNOTSUPP:
                return (struct verdict){.error = -error, .rule = RULE_DESCRIPTOR};
        default:
                return (struct verdict){.error = -error, .rule = RULE_BROKER_FAILED};
        }
}
