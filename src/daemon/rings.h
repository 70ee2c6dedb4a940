/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The rings that channels' data went into: whether it still does, and how many
 * bytes did. A library tells of each ring that it offers its peer; of its memory
 * the broker maps the header alone, to read. What stands there its two ends can
 * write at any time: it is counted, within bounds, and decides nothing.
 */

#include "daemon/clients.h"

#define RINGS_OBSERVED_MAX 16384u /* the kernel maps 65530 pieces for a process; what is beyond is not counted */

struct observed_ring {
        const struct ring_header *header; /* NULL: none */
        uint64_t inode;                   /* of its file */
        bool is_unseen;                   /* there was one, but RINGS_OBSERVED_MAX of others */
        uint64_t before;                  /* bytes that went through this channel's earlier rings, the same way */
};

/* WIRE_RING. The descriptor stays the caller's. Who has no part in the channel is not heard. */
void ring_told(struct client *client, const struct wire_request *request, int fd);

/* Whether a client may say something for this end of the channel. */
bool channel_has_part(const struct client *client, const struct channel *channel, enum direction end);

/* Brings a channel's counters up to date, or all. */
void rings_count(struct channel *channel);
void rings_count_all(const struct world *world);
/* Counts for the last time. */
void rings_forget(struct channel *channel);

/* "unix", "shm", "shm>" (what the connector sends goes through shared memory), "<shm", or "-": not known. */
const char *channel_carrier(const struct channel *channel);
