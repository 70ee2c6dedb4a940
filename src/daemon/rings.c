/* SPDX-License-Identifier: MIT */

/* Rings, as the broker sees them. */

#include "daemon/rings.h"

#include "daemon/probe.h"
#include "daemon/vms.h"
#include "ring/memory.h"
#include <sys/stat.h>

static unsigned observed_count; /* of all channels of this process's one world */

static struct observed_ring *rings_of(const struct channel *channel) {
        struct channel_shell *shell = channel->shell;
        return shell ? shell->rings : NULL;
}

static void count(struct channel *channel, enum direction direction) {
        const struct observed_ring *ring = &rings_of(channel)[direction];
        if (!ring->header)
                return;
        uint64_t payload = atomic_load_explicit(&ring->header->words.payload, memory_order_relaxed);
        broker_counted(channel, direction, payload > UINT64_MAX - ring->before ? UINT64_MAX : ring->before + payload);
}

void rings_count(struct channel *channel) {
        if (!rings_of(channel))
                return;
        const struct channel_shell *shell = channel->shell;
        for (enum direction end = FROM_CONNECTOR; end <= FROM_ACCEPTOR; end++) {
                count(channel, end);
                if (shell->vm_channels[end])
                        vm_channel_count(shell->vm_channels[end], end);
        }
}

void rings_count_all(const struct world *world) {
        for (struct channel *channel = NULL; (channel = broker_channel_next(world->broker, channel));)
                rings_count(channel);
}

static void unobserve(struct observed_ring *ring) {
        if (ring->header) {
                ring_unobserve(ring->header);
                observed_count--;
        }
        *ring = (struct observed_ring){};
}

void rings_forget(struct channel *channel) {
        struct observed_ring *rings = rings_of(channel);
        if (!rings)
                return;
        rings_count(channel);
        unobserve(&rings[FROM_CONNECTOR]);
        unobserve(&rings[FROM_ACCEPTOR]);
}

/* Within a partition, whoever connected, or bound the listener: both may have handed it on, to processes of their user. */
bool channel_has_part(const struct client *client, const struct channel *channel, enum direction end) {
        const struct caller *caller = &client->caller;
        if (caller->partition != (end == FROM_CONNECTOR ? channel->from : channel->to))
                return false;
        return caller->uid == 0 || caller->uid == (end == FROM_CONNECTOR ? channel->from_uid : channel->to_uid);
}

void ring_told(struct client *client, const struct wire_request *request, int fd) {
        enum direction direction = request->flags & WIRE_RING_FROM_ACCEPTOR ? FROM_ACCEPTOR : FROM_CONNECTOR;
        struct channel *channel = broker_channel_find(client->world->broker, &request->service_id);
        const struct ring_header *header;
        struct stat status;
        if (!channel || !rings_of(channel) || channel->socket_type != (int)request->socket_type ||
            !channel_has_part(client, channel, direction))
                return;
        struct observed_ring *ring = &rings_of(channel)[direction];
        if (ring_observe(fd, &header) < 0)
                return;
        if (fstat(fd, &status) < 0 || (ring->header && ring->inode == status.st_ino)) { /* told again */
                ring_unobserve(header);
                return;
        }
        count(channel, direction);
        unobserve(ring);
        if (observed_count >= RINGS_OBSERVED_MAX) {
                ring_unobserve(header);
                ring->is_unseen = true;
                return;
        }
        *ring = (struct observed_ring){.header = header, .before = channel->bytes[direction], .inode = status.st_ino};
        observed_count++;
}

static bool is_in_use(const struct observed_ring *ring) {
        const struct ring_header *header = ring->header;
        return header && atomic_load(&header->words.is_begun) && !atomic_load(&header->words.is_ended) &&
               atomic_load(&header->leaving) != RING_LEFT;
}

/* What an end sends goes through a ring: it, or the broker's own end of a guest's channel, says so. */
static bool is_in_ring(const struct channel *channel, enum direction from) {
        const struct channel_shell *shell = channel->shell;
        enum direction to = from == FROM_CONNECTOR ? FROM_ACCEPTOR : FROM_CONNECTOR;
        if (!shell)
                return false;
        const struct vm_channel *sender = shell->vm_channels[from], *receiver = shell->vm_channels[to];
        return is_in_use(&shell->rings[from]) || (sender && atomic_load(&sender->traffic.is_ring_from_guest)) ||
               (receiver && atomic_load(&receiver->traffic.is_ring_to_guest));
}

const char *channel_carrier(const struct channel *channel) {
        const struct observed_ring *rings = rings_of(channel);
        bool connectors = is_in_ring(channel, FROM_CONNECTOR), acceptors = is_in_ring(channel, FROM_ACCEPTOR);
        bool is_unknown = !channel->since_ms || /* it is older than this broker, which was not told then */
                          (rings && (rings[FROM_CONNECTOR].is_unseen || rings[FROM_ACCEPTOR].is_unseen));
        return connectors && acceptors ? "shm" : is_unknown ? "-" : connectors ? "shm>" : acceptors ? "<shm" : "unix";
}
