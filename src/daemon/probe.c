/* SPDX-License-Identifier: MIT */

/* Who is alive: see probe.h for the theory. */

#include "daemon/probe.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/activation.h"
#include "daemon/doubt.h"
#include "daemon/lend.h"
#include "daemon/socket_dump.h"
#include "daemon/vm_ports.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct probe {
        struct world *world;
        int listener_fd;            /* a datagram socket: all its connects fail, and how they do tells */
        int connector_fds[2];       /* unnamed stream and seqpacket sockets, or -1: there while there are channels */
        uint64_t network;           /* cookie of the broker's network namespace, or 0 */
        struct list suspect_channels, suspect_listeners;
        struct list left;           /* of process.left_link */
        struct doubts doubts;
        struct timer suspects_timer, left_timer, watch_timer;
        unsigned channel_count, opened_since_sweep, sweep_after;
        unsigned round; /* of all at once */
        int64_t made_room_ms;
        bool watching;
};

static struct channel_shell *channel_shell_of(struct list *link) {
        return container_of(link, struct channel_shell, suspect_link);
}

static struct listener_shell *listener_shell_of(struct list *link) {
        return container_of(link, struct listener_shell, suspect_link);
}

/* Asking the kernel. */

uint64_t network_of(int fd) {
        uint64_t cookie = 0;
        socklen_t size = sizeof cookie;
        return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0 ? 0 : cookie;
}

uint64_t probe_network(const struct world *world) {
        return world->probe->network;
}

static bool is_seen(const struct probe *probe, const struct channel_shell *shell) {
        return shell->network && shell->network == probe->network;
}

bool listener_answers(const struct world *world, const struct sockaddr_un *address, socklen_t length) {
        return connect(world->probe->listener_fd, (const struct sockaddr *)address, length) == 0 ||
               (errno != ECONNREFUSED && errno != ENOENT);
}

bool listener_is_alive(const struct world *world, const struct listener *listener) {
        struct sockaddr_un address;
        socklen_t length = listener_address(listener, &address);
        return listener_answers(world, &address, length);
}

/* A bind that fails leaves the socket as it was, good for the next; one that succeeds uses it up. */
static bool channel_is_alive(struct probe *probe, const struct channel_shell *shell) {
        if (!shell->address_length) /* of a hybrid socket: its VM's thread tells its end */
                return true;
        if (!is_seen(probe, shell))
                return shell->process->client_count > 0;
        int type = shell->channel->socket_type;
        int *fd = &probe->connector_fds[type == SOCK_SEQPACKET];
        if (*fd < 0)
                *fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        if (*fd < 0)
                return true;
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, shell->name, sizeof shell->name);
        if (bind(*fd, (struct sockaddr *)&address, shell->address_length) < 0)
                return true;
        *fd = fd_close(*fd);
        return false;
}

/* The books' outer half. */

int probe_add_listener(struct world *world, struct listener *listener, struct process *process) {
        struct listener_shell *shell = calloc(1, sizeof *shell);
        if (!shell)
                return -ENOMEM;
        shell->listener = listener;
        shell->process = process;
        shell->address_length = listener_address(listener, &shell->address);
        list_append(&process->listeners, &shell->process_link);
        list_init(&shell->suspect_link);
        listener->shell = shell;
        vm_ports_changed(world);
        return 0;
}

static void listener_shell_free(struct world *world, struct listener *listener) {
        struct listener_shell *shell = listener->shell;
        listener->shell = NULL;
        if (!shell)
                return;
        list_unlink(&shell->process_link);
        list_unlink(&shell->suspect_link);
        process_release(world, shell->process);
        free(shell);
}

void listener_forget(struct world *world, struct listener *listener) {
        struct sockaddr_un address;
        GUID service_id = listener->service_id;
        listener_address(listener, &address);
        (void)unlink(address.sun_path);
        listener_shell_free(world, listener);
        broker_listener_gone(world->broker, listener);
        vm_ports_changed(world);
        activation_address_free(world, &service_id);
}

struct channel_shell *probe_rested(const struct process *process) {
        return process->closed_count > PROBE_RESTED ? container_of(process->closed.next, struct channel_shell, closed_link) : NULL;
}

static void not_closed(struct channel_shell *shell) {
        if (list_is_empty(&shell->closed_link))
                return;
        list_unlink(&shell->closed_link);
        shell->process->closed_count--;
}

static void channel_shell_free(struct world *world, struct channel *channel) {
        struct channel_shell *shell = channel->shell;
        if (!shell)
                return;
        rings_forget(channel);
        for (enum direction end = FROM_CONNECTOR; end <= FROM_ACCEPTOR; end++)
                if (shell->vm_channels[end])
                        shell->vm_channels[end]->channel = NULL;
        channel->shell = NULL;
        not_closed(shell);
        doubt_end(&world->probe->doubts, shell);
        list_unlink(&shell->process_link);
        list_unlink(&shell->suspect_link);
        process_release(world, shell->process);
        free(shell);
}

static void close_connectors(struct probe *probe) {
        for (unsigned i = 0; i < 2; i++)
                probe->connector_fds[i] = fd_close(probe->connector_fds[i]);
}

void channel_forget(struct world *world, struct channel *channel) {
        if (--world->probe->channel_count == 0)
                close_connectors(world->probe);
        channel_shell_free(world, channel);
        broker_closed(world->broker, channel);
}

void probe_still_held(struct world *world, struct channel_shell *shell) {
        bool is_gone = shell->process->is_gone && !shell->process->client_count;
        bool was_closed = !list_is_empty(&shell->closed_link);
        not_closed(shell);
        struct channel_shell *out = is_gone || was_closed ? doubt(&world->probe->doubts, shell) : NULL;
        if (out)
                channel_forget(world, out->channel);
}

/* Suspects. */

static void suspect_soon(struct probe *probe, int64_t delay_ms) {
        int64_t due = loop_now_ms() + delay_ms;
        if (!probe->suspects_timer.deadline_ms || probe->suspects_timer.deadline_ms > due)
                loop_arm(probe->world->loop, &probe->suspects_timer, delay_ms);
}

static void suspect_channel(struct probe *probe, struct channel_shell *shell) {
        if (list_is_empty(&shell->suspect_link))
                list_append(&probe->suspect_channels, &shell->suspect_link);
}

/* At most `budget` of them. Returns whether any are left. */
static bool probe_suspects(struct probe *probe, unsigned budget) {
        for (; budget && !list_is_empty(&probe->suspect_listeners); budget--) {
                struct listener_shell *shell = listener_shell_of(probe->suspect_listeners.next);
                list_unlink(&shell->suspect_link);
                if (!listener_is_alive(probe->world, shell->listener))
                        listener_forget(probe->world, shell->listener);
        }
        for (; budget && !list_is_empty(&probe->suspect_channels); budget--) {
                struct channel_shell *shell = channel_shell_of(probe->suspect_channels.next);
                list_unlink(&shell->suspect_link);
                if (channel_is_alive(probe, shell))
                        probe_still_held(probe->world, shell);
                else
                        channel_forget(probe->world, shell->channel);
        }
        return !list_is_empty(&probe->suspect_listeners) || !list_is_empty(&probe->suspect_channels);
}

static int suspects_due(struct timer *timer) {
        struct probe *probe = container_of(timer, struct probe, suspects_timer);
        if (probe_suspects(probe, PROBES_PER_TURN))
                suspect_soon(probe, 0);
        return 0;
}

static void sweep(struct probe *probe) {
        const struct broker *broker = probe->world->broker;
        for (struct channel *channel = NULL; (channel = broker_channel_next(broker, channel));)
                suspect_channel(probe, channel->shell);
        probe->opened_since_sweep = 0;
        probe->sweep_after = probe->channel_count > PROBE_SWEEP_MIN ? probe->channel_count : PROBE_SWEEP_MIN;
        suspect_soon(probe, 0);
}

void probe_add_channel(struct world *world, struct channel *channel, struct channel_shell *shell, struct process *process) {
        struct probe *probe = world->probe;
        shell->channel = channel;
        shell->process = process;
        list_append(&process->channels, &shell->process_link);
        list_init(&shell->suspect_link);
        list_init(&shell->closed_link);
        list_init(&shell->doubtful_link);
        channel->shell = shell;
        probe->channel_count++;
        if (++probe->opened_since_sweep >= probe->sweep_after)
                sweep(probe);
}

void probe_closed(struct client *client, const GUID *ephemeral_ids, unsigned count) {
        struct world *world = client->world;
        for (unsigned i = 0; i < count; i++) {
                struct channel *channel = broker_channel_find(world->broker, &ephemeral_ids[i]);
                struct channel_shell *shell = channel ? channel->shell : NULL;
                if (!shell || shell->process->partition != client->caller.partition)
                        continue;
                if (is_seen(world->probe, shell)) {
                        suspect_channel(world->probe, shell);
                        suspect_soon(world->probe, PROBE_CLOSED_MS);
                        if (shell->process == client->process && list_is_empty(&shell->closed_link)) {
                                list_append(&client->process->closed, &shell->closed_link);
                                client->process->closed_count++;
                        }
                } else if (shell->process == client->process) {
                        channel_forget(world, channel);
                }
        }
}

/* Processes that lost a connection. */

static void suspect_process(struct probe *probe, struct process *process) {
        list_for_each(link, &process->channels)
                suspect_channel(probe, container_of(link, struct channel_shell, process_link));
        list_for_each(link, &process->listeners) {
                struct listener_shell *shell = container_of(link, struct listener_shell, process_link);
                if (list_is_empty(&shell->suspect_link))
                        list_append(&probe->suspect_listeners, &shell->suspect_link);
        }
        suspect_soon(probe, 0);
}

void probe_process_left(struct world *world, struct process *process) {
        struct probe *probe = world->probe;
        if (!probe || (list_is_empty(&process->channels) && list_is_empty(&process->listeners)))
                return;
        process->left_delay_ms = PROBE_LEFT_MIN_MS;
        process->left_due_ms = loop_now_ms() + PROBE_LEFT_MIN_MS;
        list_unlink(&process->left_link);
        list_append(&probe->left, &process->left_link);
        if (!probe->left_timer.deadline_ms)
                loop_arm(world->loop, &probe->left_timer, PROBE_LEFT_MIN_MS);
}

static int left_due(struct timer *timer) {
        struct probe *probe = container_of(timer, struct probe, left_timer);
        int64_t now = loop_now_ms();
        list_for_each_safe(link, &probe->left) {
                struct process *process = container_of(link, struct process, left_link);
                if (process->left_due_ms > now)
                        continue;
                process->left_delay_ms *= 2;
                process->left_due_ms = now + process->left_delay_ms;
                if (process->left_delay_ms > PROBE_LEFT_MAX_MS) {
                        process->is_gone = !process->client_count;
                        list_unlink(link);
                }
                suspect_process(probe, process);
        }
        if (!list_is_empty(&probe->left))
                loop_arm(probe->world->loop, timer, PROBE_LEFT_MIN_MS);
        return 0;
}

/* All at once. */

static void visit_connected(const struct socket_seen *seen, void *userdata) {
        const struct probe *probe = userdata;
        struct connector_name name;
        if (connector_name_decode(&seen->name, seen->name_length, &name) < 0)
                return;
        const struct channel *channel = broker_channel_find(probe->world->broker, &name.ephemeral_id);
        struct channel_shell *shell = channel ? channel->shell : NULL;
        if (shell && is_seen(probe, shell) && seen->type == channel->socket_type &&
            !memcmp(shell->name, seen->name.sun_path, sizeof shell->name))
                shell->round = probe->round;
}

/* Those found in the kernel's list are alive; what is not, or if there is none, is asked after one by one. */
static void find_living(struct probe *probe) {
        cleanup(fd_closep) int fd = -1;
        if (socket_dump_open(&fd) == 0)
                (void)socket_dump(fd, SOCKET_CONNECTED, visit_connected, probe);
}

static void probe_channels(struct probe *probe) {
        const struct broker *broker = probe->world->broker;
        probe->round++;
        if (probe->channel_count >= PROBE_LIST_MIN)
                find_living(probe);
        for (struct channel *channel = broker_channel_next(broker, NULL), *next; channel; channel = next) {
                next = broker_channel_next(broker, channel);
                const struct channel_shell *shell = channel->shell;
                if (shell->round != probe->round && !channel_is_alive(probe, shell))
                        channel_forget(probe->world, channel);
        }
}

void world_probe_all(struct world *world) {
        const struct broker *broker = world->broker;
        for (struct listener *listener = broker_listener_next(broker, NULL), *next; listener; listener = next) {
                next = broker_listener_next(broker, listener);
                if (!listener_is_alive(world, listener))
                        listener_forget(world, listener);
        }
        probe_channels(world->probe);
}

void probe_for_room(struct world *world) {
        struct probe *probe = world->probe;
        int64_t now = loop_now_ms();
        (void)probe_suspects(probe, UINT32_MAX);
        if (now - probe->made_room_ms < PROBE_QUOTA_MS)
                return;
        probe->made_room_ms = now;
        world_probe_all(world);
}

static int watch_due(struct timer *timer) {
        struct probe *probe = container_of(timer, struct probe, watch_timer);
        sweep(probe);
        if (probe->watching)
                loop_arm(probe->world->loop, timer, PROBE_WATCH_MS);
        return 0;
}

void world_watch_closes(struct world *world, bool watch) {
        struct probe *probe = world->probe;
        probe->watching = watch;
        if (watch && !probe->watch_timer.deadline_ms)
                loop_arm(world->loop, &probe->watch_timer, PROBE_WATCH_MS);
        if (!watch)
                loop_disarm(world->loop, &probe->watch_timer);
}

int probe_open(struct world *world) {
        struct probe *probe = calloc(1, sizeof *probe);
        if (!probe)
                return -ENOMEM;
        *probe = (struct probe){
                .world = world,
                .listener_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                .connector_fds = {-1, -1},
                .suspect_channels = LIST_INIT(probe->suspect_channels),
                .suspect_listeners = LIST_INIT(probe->suspect_listeners),
                .left = LIST_INIT(probe->left),
                .suspects_timer = {.expire = suspects_due},
                .left_timer = {.expire = left_due},
                .watch_timer = {.expire = watch_due},
                .sweep_after = PROBE_SWEEP_MIN,
        };
        if (probe->listener_fd < 0) {
                int r = -errno;
                free(probe);
                return r;
        }
        int r = doubts_open(&probe->doubts, world->key);
        if (r < 0) {
                fd_close(probe->listener_fd);
                free(probe);
                return r;
        }
        probe->network = network_of(probe->listener_fd);
        world->probe = probe;
        return 0;
}

void probe_close(struct world *world) {
        struct probe *probe = world->probe;
        if (!probe)
                return;
        for (struct channel *channel = NULL; (channel = broker_channel_next(world->broker, channel));)
                channel_shell_free(world, channel);
        for (struct listener *listener = NULL; (listener = broker_listener_next(world->broker, listener));)
                listener_shell_free(world, listener);
        list_for_each_safe(link, &probe->left)
                list_unlink(link); /* the processes outlive this list */
        loop_disarm(world->loop, &probe->suspects_timer);
        loop_disarm(world->loop, &probe->left_timer);
        loop_disarm(world->loop, &probe->watch_timer);
        fd_close(probe->listener_fd);
        close_connectors(probe);
        doubts_close(&probe->doubts);
        free(probe);
        world->probe = NULL;
}
