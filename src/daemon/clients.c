/* SPDX-License-Identifier: MIT */

/* The libraries' connections: accepting, credentials, receiving, closing. */

#include "daemon/clients.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/discard.h"
#include "daemon/partitions.h"
#include "daemon/penalty.h"
#include "daemon/probe.h"
#include "daemon/receive.h"
#include "daemon/watchdog.h"
#include "daemon/vm_connect.h"
#include "daemon/vm_parked.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define CLOGGED_LOOK_MS 20
#define CLOGGED_LOOKS_MAX 500u
#define OVERFLOW_ID 65534u /* what the kernel shows for an id that does not map */

struct clients {
        struct table processes; /* by partition and pid */
        struct list all;        /* of client.link */
        struct penalties penalties;
        unsigned refused_count; /* of those, how many are over their quota */
        bool unmapped_ids;      /* this user namespace leaves ids out */
};

struct process_key {
        const struct partition *partition;
        uint64_t pid;
};

static struct process *process_of(struct table_link *link) {
        return link ? container_of(link, struct process, link) : NULL;
}

struct process *process_get(struct world *world, struct partition *partition, uint32_t pid) {
        struct table *processes = &world->clients->processes;
        struct process_key key = {.partition = partition, .pid = pid};
        uint64_t hash = table_hash(processes, &key, sizeof key);
        for (struct table_link *link = NULL; pid && (link = table_find(processes, hash, link));) {
                struct process *process = process_of(link);
                if (process->partition == partition && process->pid == pid)
                        return process;
        }
        struct process *process = calloc(1, sizeof *process);
        if (!process)
                return NULL;
        process->partition = partition;
        process->pid = pid;
        list_init(&process->channels);
        list_init(&process->closed);
        list_init(&process->listeners);
        list_init(&process->left_link);
        if (table_insert(processes, &process->link, hash) < 0) {
                free(process);
                return NULL;
        }
        return process;
}

void process_release(struct world *world, struct process *process) {
        if (process->client_count || !list_is_empty(&process->channels) || !list_is_empty(&process->listeners))
                return;
        table_remove(&world->clients->processes, &process->link);
        list_unlink(&process->left_link);
        free(process);
}

struct client *client_beside(const struct client *client) {
        list_for_each(link, &client->world->clients->all) {
                struct client *other = container_of(link, struct client, link);
                if (other != client && other->process == client->process && other->caller.uid == client->caller.uid &&
                    other->caller.gid == client->caller.gid)
                        return other;
        }
        return NULL;
}

/* A connection that is `drained`, and whose peer sends no more, has nothing queued and closes at once. */
static void client_close(struct client *client, bool drained) {
        struct world *world = client->world;
        int fd = client->source.fd;
        if (client->parked)
                vm_connect_abandon(client->parked);
        vm_parked_leave(client);
        loop_disarm(world->loop, &client->look);
        loop_remove(world->loop, &client->source);
        if (drained)
                fd_close(fd);
        else
                discard(fd, &client->stranger);
        list_unlink(&client->link);
        if (client->refusal.error) {
                world->clients->refused_count--;
        } else {
                broker_client_closed(world->broker, &client->caller);
                client->process->client_count--;
                probe_process_left(world, client->process);
                process_release(world, client->process);
        }
        free(client);
}

/* A descriptor inherited over fork, or passed on, would speak in another's name. */
static bool client_is_same(struct client *client, const struct packet_credentials *credentials) {
        if (!client->heard) {
                client->heard = true;
                client->heard_uid = credentials->uid;
                client->heard_gid = credentials->gid;
        }
        return credentials->pid == client->caller.pid && credentials->uid == client->heard_uid &&
               credentials->gid == client->heard_gid;
}

/* Serves one request. -EAGAIN when there is none; any other negative errno closes the client. */
static int client_serve(struct client *client) {
        struct stranger_packet packet;
        struct wire_request request;
        watchdog_guard(); /* without a free descriptor the kernel closes what came within this call */
        int r = stranger_receive(client->source.fd, &packet);
        if (!r && !client_is_same(client, &packet.credentials))
                r = -EPERM;
        if (!r)
                r = wire_decode_request(packet.bytes, packet.length, &request);
        if (!r)
                return request_serve(client, &request, packet.fd_count ? packet.fds[0] : -1);
        for (unsigned i = 0; i < packet.fd_count; i++)
                discard(packet.fds[i], &client->stranger);
        return r == -ENOSYS ? request_unknown(client, &request.header) : r;
}

/* Whoever sends descriptors faster than they are closed waits for that, and not for ever. */
static int client_pause(struct client *client) {
        struct loop *loop = client->world->loop;
        if (client->looks++ >= CLOGGED_LOOKS_MAX)
                return -EBUSY;
        loop_arm(loop, &client->look, CLOGGED_LOOK_MS);
        return loop_modify(loop, &client->source, 0);
}

static int client_look(struct timer *timer) {
        struct client *client = container_of(timer, struct client, look);
        int r;
        if (discard_is_clogged(&client->stranger)) {
                r = client_pause(client);
        } else {
                client->looks = 0;
                r = loop_modify(client->world->loop, &client->source, EPOLLIN);
        }
        if (r < 0)
                client_close(client, false);
        return 0;
}

static int client_dispatch(struct source *source, uint32_t events) {
        struct client *client = container_of(source, struct client, source);
        if (client->parked || client->looks) {
                if (events & (EPOLLHUP | EPOLLERR))
                        client_close(client, false);
                return 0;
        }
        if (discard_is_clogged(&client->stranger)) {
                if (client_pause(client) < 0)
                        client_close(client, false);
                return 0;
        }
        int r = client_serve(client);
        if (client->parked)
                return loop_modify(client->world->loop, source, 0);
        if (r == 0 || r == -EAGAIN || r == -EINTR)
                return 0;
        if (r == -EPROTO || r == -EPROTONOSUPPORT || r == -EPERM)
                log_stranger(LOG_LEVEL_NOTICE, "closed the connection of process %u in partition %s: %s", client->caller.pid,
                             client->caller.partition->label, strerror(-r));
        client_close(client, r == -ESHUTDOWN);
        return 0;
}

void client_answer_connect(struct client *client, const struct wire_request *request, int fd,
                           const struct verdict *verdict, const GUID *ephemeral_id) {
        int r = request_answer_connect(client, request, fd, verdict, ephemeral_id);
        if (!r)
                r = loop_modify(client->world->loop, &client->source, EPOLLIN);
        if (r < 0)
                client_close(client, false);
}

static uint32_t mapped(const struct world *world, uint32_t id) {
        return id == OVERFLOW_ID && world->clients->unmapped_ids ? CALLER_UNMAPPED : id;
}

/* Supplementary groups, at most `room`; a process may have up to 65536. */
static int peer_groups(int fd, uint32_t *groups, socklen_t *size) {
        return getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, size) < 0 ? -errno : 0;
}

static struct ucred peer_of(int fd) {
        struct ucred peer = {.uid = OVERFLOW_ID, .gid = OVERFLOW_ID};
        socklen_t size = sizeof peer;
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
        return peer;
}

int client_new(struct world *world, struct partition *partition, int fd, struct client **ret) {
        const struct ucred peer = peer_of(fd);
        socklen_t groups_size = 0;
        int r = peer_groups(fd, NULL, &groups_size);
        if (r < 0 && r != -ERANGE)
                return r;
        cleanup(freep) struct client *client = calloc(1, sizeof *client + groups_size);
        if (!client)
                return -ENOMEM;
        if (groups_size && (r = peer_groups(fd, client->groups, &groups_size)) < 0)
                return r;

        client->source = (struct source){.dispatch = client_dispatch, .fd = -1};
        client->look = (struct timer){.expire = client_look};
        client->world = world;
        client->caller = (struct caller){
                .partition = partition,
                .pid = (uint32_t)peer.pid,
                .uid = mapped(world, peer.uid),
                .gid = mapped(world, peer.gid),
                .groups = client->groups,
                .group_count = groups_size / sizeof client->groups[0],
        };
        for (unsigned i = 0; i < client->caller.group_count; i++)
                client->groups[i] = mapped(world, client->groups[i]);
        client->stranger = stranger_of(partition, client->caller.uid);
        client->network = network_of(fd);
        *ret = client;
        client = NULL;
        return 0;
}

static int client_add(struct world *world, struct partition *partition, int fd) {
        cleanup(freep) struct client *client = NULL;
        int r = client_new(world, partition, fd, &client);
        if (r < 0)
                return r;
        if (discard_is_clogged(&client->stranger))
                return -EBUSY;
        client->refusal = broker_client_opened(world->broker, &client->caller);
        if (client->refusal.error) {
                if (world->clients->refused_count >= REFUSED_CLIENTS_MAX)
                        return -ENOBUFS;
                r = loop_add(world->loop, &client->source, fd, EPOLLIN);
                if (r < 0)
                        return r;
                world->clients->refused_count++;
        } else {
                client->process = process_get(world, partition, client->caller.pid);
                r = client->process ? loop_add(world->loop, &client->source, fd, EPOLLIN) : -ENOMEM;
                if (r < 0) {
                        broker_client_closed(world->broker, &client->caller);
                        if (client->process)
                                process_release(world, client->process);
                        return r;
                }
                client->process->client_count++;
        }
        list_append(&world->clients->all, &client->link);
        client = NULL;
        return 0;
}

/* The kernel gives the lowest free number. */
bool client_leaves_room(int fd) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return true;
        rlim_t half = limit.rlim_cur / 2, reserved = half < DESCRIPTORS_RESERVED ? half : DESCRIPTORS_RESERVED;
        return (rlim_t)fd + reserved < limit.rlim_cur;
}

void client_discard(const struct world *world, const struct partition *partition, int fd) {
        struct stranger stranger = stranger_of(partition, mapped(world, peer_of(fd).uid));
        discard(fd, &stranger);
}

void client_accept(struct world *world, struct partition *partition, int listen_fd) {
        for (unsigned accepted = 0; accepted < CLIENTS_PER_WAKE_UP; accepted++) {
                int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                                partitions_pause(world);
                        return;
                }
                bool fits = client_leaves_room(fd);
                if (!fits || client_add(world, partition, fd) < 0)
                        client_discard(world, partition, fd);
                if (!fits) {
                        partitions_pause(world);
                        return;
                }
        }
}

static bool all_ids_are_mapped(const char *path) {
        unsigned inside, outside, count;
        FILE *file = fopen(path, "re");
        bool all = file && fscanf(file, "%u %u %u", &inside, &outside, &count) == 3 && count == UINT32_MAX;
        if (file)
                fclose(file);
        return all;
}

int clients_open(struct world *world) {
        uint8_t key[16];
        struct clients *clients = calloc(1, sizeof *clients);
        if (!clients)
                return -ENOMEM;
        int r = getrandom(key, sizeof key, 0) == sizeof key ? table_init(&clients->processes, key) : -errno;
        if (r < 0) {
                free(clients);
                return r;
        }
        list_init(&clients->all);
        clients->unmapped_ids = !all_ids_are_mapped("/proc/self/uid_map") || !all_ids_are_mapped("/proc/self/gid_map");
        world->clients = clients;
        world->penalties = &clients->penalties;
        return 0;
}

void clients_close(struct world *world) {
        struct clients *clients = world->clients;
        if (!clients)
                return;
        list_for_each_safe(link, &clients->all)
                client_close(container_of(link, struct client, link), false);
        for (struct table_link *link; (link = table_next(&clients->processes, NULL));) {
                table_remove(&clients->processes, link);
                free(process_of(link));
        }
        table_deinit(&clients->processes);
        free(clients);
        world->clients = NULL;
        world->penalties = NULL;
}
