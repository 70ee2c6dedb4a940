/* SPDX-License-Identifier: MIT */

/*
 * Lent descriptors.
 *
 * A connector's socket is named before it is connected, since whoever may bind a
 * connected socket could change the peer address that the acceptor sees. A
 * socket is named once, for good: one whose connect failed keeps its name, and
 * may be lent again to dial the same VmId, its name being recognised by its tag.
 * To dial another it must be a new socket, which is what POSIX leaves to do
 * after a failed connect.
 */

#include "daemon/lend.h"
#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/activation.h"
#include "daemon/probe.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define LISTENERS_TRIED_MAX 16 /* dead ones found in the way of one request */
#define NOBODY 65534u          /* owns the files of callers whose ids do not map */

static struct verdict kernel_says(int error) {
        return (struct verdict){.error = error < 0 ? -error : error, .rule = RULE_ALLOWED};
}

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

/* Bind. */

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
                return kernel_says(r);
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
                return kernel_says(r);
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
                return kernel_says(r);
        }
        *ret_listener = listener;
        return verdict;
}

/* Connect. */

static int ephemeral_id(GUID *ret) {
        static GUID pool[256];
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

int connect_at_once(int fd, const struct sockaddr_un *address, socklen_t length) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
                return -errno;
        watchdog_guard();
        int r = connect(fd, (const struct sockaddr *)address, length) < 0 ? -errno : 0;
        if (!(flags & O_NONBLOCK)) {
                (void)fcntl(fd, F_SETFL, flags);
        } else if (!r) {
                /* A connect wakes nobody: an edge-triggered waiter gets its edge from a send buffer that "grew". */
                int size;
                if (get_option(fd, SO_SNDBUF, &size) == 0) {
                        size /= 2; /* the kernel doubles what it is told */
                        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
                }
        }
        if (r == -EINTR) {
                log_stranger(LOG_LEVEL_WARNING, "interrupted a connect whose socket was made to wait");
                return -EAGAIN;
        }
        return r;
}

/* Everything but which channel it is. */
static bool is_same_but_channel(const struct connector_name *a, const struct connector_name *b) {
        return a->flags == b->flags && a->pid == b->pid && a->uid == b->uid && a->gid == b->gid &&
               guid_equal(&a->dialled_vm_id, &b->dialled_vm_id) && guid_equal(&a->dial_back_vm_id, &b->dial_back_vm_id);
}

/* The name of a socket that a broker named before: as authentic as a new one, and good for the same address only. */
static int adopt_name(struct client *client, int fd, struct connector_name *name) {
        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct connector_name old;
        const GUID *partition_id = &client->caller.partition->vm_id;
        if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                return -errno;
        if (connector_name_decode(&address, length, &old) < 0 ||
            old.tag != connector_tag(&old, client->world, partition_id) || !is_same_but_channel(&old, name))
                return -EINVAL;
        if (broker_channel_find(client->world->broker, &old.ephemeral_id))
                return -EISCONN;
        *name = old;
        return 0;
}

static int bind_name(int fd, const struct channel_shell *shell) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, shell->name, sizeof shell->name);
        return bind(fd, (struct sockaddr *)&address, shell->address_length) < 0 ? -errno : 0;
}

static void keep_name(struct channel_shell *shell, const struct connector_name *name) {
        struct sockaddr_un address;
        shell->address_length = (uint8_t)connector_name_encode(name, &address);
        memcpy(shell->name, address.sun_path, sizeof shell->name);
}

/* Gives the name of a closed channel again, which proves that channel gone. Whether it did. */
static bool name_again(struct client *client, int fd, struct connector_name *name, struct channel_shell *shell) {
        struct channel_shell *rested = probe_rested(client->process);
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct connector_name old;
        if (!rested || rested->network != shell->network)
                return false;
        memcpy(address.sun_path, rested->name, sizeof rested->name);
        if (connector_name_decode(&address, rested->address_length, &old) < 0 || !is_same_but_channel(&old, name))
                return false;
        int r = bind_name(fd, rested);
        if (r == -EADDRINUSE)
                probe_still_open(rested);
        if (r < 0)
                return false;
        *name = old;
        channel_forget(client->world, rested->channel);
        return true;
}

/* *name comes with all but its ephemeral ServiceId and tag. */
static int name_connector(struct client *client, int fd, struct connector_name *name, struct channel_shell *shell) {
        int r = 0;
        if (!name_again(client, fd, name, shell)) {
                r = connector_name_seal(name, client->world, &client->caller.partition->vm_id);
                if (r < 0)
                        return r;
                keep_name(shell, name);
                r = bind_name(fd, shell);
                if (r == -EINVAL)
                        r = adopt_name(client, fd, name);
        }
        keep_name(shell, name);
        return r;
}

static struct verdict ask_route(struct world *world, const struct connect_request *request, struct route *ret_route) {
        activation_refresh(world, &request->service_id);
        struct verdict verdict = broker_route(world->broker, request, ret_route);
        if (verdict.error == ENOBUFS) {
                probe_for_room(world);
                verdict = broker_route(world->broker, request, ret_route);
        }
        return verdict;
}

/*
 * Connects a named descriptor. A listener that the kernel says is gone leaves
 * the books, and the broker is asked again; one that is bound but does not
 * listen refuses, and does not pass the connect on to a less specific one.
 */
static struct verdict connect_named(struct client *client, const struct connect_request *ask, int fd, struct route *route) {
        struct world *world = client->world;
        for (unsigned tried = 0; tried < LISTENERS_TRIED_MAX; tried++) {
                struct sockaddr_un address;
                const GUID dial_back_vm_id = route->resolution.dial_back_vm_id;
                socklen_t length = listener_address(route->listener, &address);
                int r = connect_at_once(fd, &address, length);
                if (!r)
                        return (struct verdict){};
                if (r == -EAGAIN)
                        return (struct verdict){.error = ECONNREFUSED, .rule = RULE_BACKLOG_FULL};
                if (r != -ECONNREFUSED && r != -ENOENT)
                        return kernel_says(r);
                if (r == -ECONNREFUSED && listener_is_alive(world, route->listener))
                        break;
                listener_forget(world, route->listener);
                struct verdict verdict = ask_route(world, ask, route);
                if (verdict.error)
                        return verdict;
                if (!guid_equal(&dial_back_vm_id, &route->resolution.dial_back_vm_id))
                        return kernel_says(EINVAL);
        }
        return (struct verdict){.error = ECONNREFUSED, .rule = RULE_NO_LISTENER};
}

struct verdict lend_connect(struct client *client, const struct wire_request *request, int fd, GUID *ret_ephemeral_id) {
        struct world *world = client->world;
        struct connect_request ask = {
                .caller = &client->caller,
                .vm_id = request->vm_id,
                .service_id = request->service_id,
                .socket_type = (int)request->socket_type,
                .passthru = request->flags & WIRE_CONNECT_PASSTHRU,
        };
        struct route route;
        struct verdict verdict = ask_route(world, &ask, &route);
        if (verdict.error)
                return verdict;

        cleanup(freep) struct channel_shell *shell = calloc(1, sizeof *shell);
        if (!shell)
                return kernel_says(ENOMEM);
        shell->network = client->network;
        struct connector_name name = {
                .dial_back_vm_id = route.resolution.dial_back_vm_id,
                .dialled_vm_id = request->vm_id,
                .pid = client->caller.pid,
                .uid = client->caller.uid,
                .gid = client->caller.gid,
        };
        int r = name_connector(client, fd, &name, shell);
        if (r < 0)
                return kernel_says(r);
        verdict = connect_named(client, &ask, fd, &route);
        if (verdict.error)
                return verdict;

        struct channel *channel;
        r = broker_opened(world->broker, &ask, &route, &name.ephemeral_id, loop_wall_ms(), &channel);
        if (r < 0) {
                (void)shutdown(fd, SHUT_RDWR); /* a channel that is in no book must not be */
                return kernel_says(r);
        }
        probe_add_channel(world, channel, shell, client->process);
        shell = NULL;
        *ret_ephemeral_id = name.ephemeral_id;
        return verdict;
}
