/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Who is alive.
 *
 * Theory of operation. The broker keeps no descriptor of either end, so nobody
 * tells it of a death. It asks the kernel instead: connecting a datagram socket
 * to a listener's file gives EPROTOTYPE while the listener lives and
 * ECONNREFUSED after; binding a socket to a connector's abstract name gives
 * EADDRINUSE while the connector lives. An abstract name is seen only within its
 * network namespace; elsewhere the library's word, and the life of the
 * process's control connections, decide. A name that is held does not prove that
 * its channel is open: see doubt.h.
 *
 * Asking after a channel that was closed costs a socket, since the bind succeeds
 * and uses it up. Mostly that is saved: the next socket that the process connects
 * to the same VmId is bound to the closed channel's name, which it needs anyway,
 * and the kernel's consent proves that the channel is gone. A name rests until
 * PROBE_RESTED more were closed, so that an acceptor seldom sees it twice.
 *
 * A bind looks through a part of all the names that there are, so binding to all
 * of many would cost by their square. The kernel's list of sockets has them all
 * at once.
 *
 * What may have died is put among the suspects, which are asked after a few at
 * each turn of the loop: a channel that its library says it closed, and all of a
 * process one of whose connections went away (several times, ever less often: a
 * process that dies closes its descriptors one by one). As many channels as were
 * alive at the last sweep may be opened before the next, so that books full of
 * the dead are never larger than a constant times those of the living.
 */

#include "daemon/rings.h"
#include "wire/name.h"

#define PROBES_PER_TURN 16      /* between two turns of the loop */
#define PROBE_CLOSED_MS 100     /* a channel that its library closed is asked after by then */
#define PROBE_RESTED 32u        /* as many channels of a process are closed before the name of the first is given again */
#define PROBE_LEFT_MIN_MS 20    /* after a connection went away: this soon, then twice as long each time */
#define PROBE_LEFT_MAX_MS 2000  /* and not after this */
#define PROBE_SWEEP_MIN 256u /* channels opened between two sweeps, at least */
#define PROBE_LIST_MIN 1024u    /* where all of so many channels are asked after, the kernel's list of sockets comes first */
#define PROBE_QUOTA_MS 1000     /* a quota that was reached causes a sweep at most this often */

/* listener->shell. */
struct listener_shell {
        struct listener *listener;
        struct process *process;
        struct list process_link, suspect_link;
        struct sockaddr_un address; /* its file: every connect needs it */
        socklen_t address_length;
        uint32_t found_file; /* inode of that file, when recovery.c found it there; 0: bound since */
};

struct doubtful_user;
struct vm_channel;

/* channel->shell. */
struct channel_shell {
        struct channel *channel;
        struct process *process;
        struct list process_link, suspect_link, closed_link, doubtful_link;
        struct doubtful_user *doubtful_user; /* NULL until there is doubt */
        unsigned round;           /* of probing them all in which it was last in the kernel's list */
        uint64_t network;         /* cookie of the connector's network namespace */
        struct observed_ring rings[2]; /* by enum direction; rings.c's */
        struct vm_channel *vm_channels[2]; /* by enum direction; ends that are in VMs' guests. vms.c's */
        uint8_t address_length;   /* 0: it has no name */
        char name[1 + CONNECTOR_NAME_SIZE]; /* the connector's sun_path */
};

int probe_open(struct world *world);
void probe_close(struct world *world);

/* Cookie of the network namespace of a socket, which for a client is that of who connected; 0 when there is none. */
uint64_t network_of(int fd);

/* That of the broker itself, where it sees abstract names. */
uint64_t probe_network(const struct world *world);

/* Puts a new listener in the care of this room. -ENOMEM. */
int probe_add_listener(struct world *world, struct listener *listener, struct process *process);
bool listener_is_alive(const struct world *world, const struct listener *listener);
/* The same of a file in the listeners directory. */
bool listener_answers(const struct world *world, const struct sockaddr_un *address, socklen_t length);
/* Out of the books, its file removed; a service on demand takes its place if it can. */
void listener_forget(struct world *world, struct listener *listener);

/* Takes the shell, which the caller made while it could still refuse. */
void probe_add_channel(struct world *world, struct channel *channel, struct channel_shell *shell, struct process *process);
void channel_forget(struct world *world, struct channel *channel);

/* A closed channel of this process whose name has rested, or NULL. */
struct channel_shell *probe_rested(const struct process *process);
/* The kernel says that its name is held all the same. May free it. */
void probe_still_held(struct world *world, struct channel_shell *shell);
/* A library says that it closed these channels. */
void probe_closed(struct client *client, const GUID *ephemeral_ids, unsigned count);
/* One of the process's control connections went away. */
void probe_process_left(struct world *world, struct process *process);
/* A quota was reached: looks for the dead, unless that was done just now. */
void probe_for_room(struct world *world);
