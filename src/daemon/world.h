/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A world: the broker and what it has outside itself.
 *
 * Owns the directories, the files in them and everything the daemon holds open.
 * The broker (pure) decides; the rooms below do: partitions.c keeps definitions
 * and each partition's control socket, clients.c talks to libraries, lend_*.c
 * bind and connect the descriptors they lend, probe.c finds out who is still
 * alive, recovery.c finds what was open before a restart, vms.c and
 * vm_*.c serve virtual machines, services.c reads drop-ins and watches them, revoke.c ends what a disabled service has
 * open, activation.c starts services on demand, manage.c serves the management
 * interface.
 *
 *   <runtime>/control -> <host guid>/control   what programs on the host find
 *   <runtime>/manage                           management socket, 0660
 *   <runtime>/lock                             held by the one broker of this runtime directory
 *   <runtime>/<guid>/control                   the partition's socket, 0666
 *   <runtime>/<guid>/vhost-user                of a VM: where its VMM comes, 0660
 *   <runtime>/<guid>/vsock                     of a VM: its hybrid socket, 0666
 *   <runtime>/<guid>/revocations               one page: a counter that changes when a service is disabled
 *   <runtime>/listeners/                       0700: the kernel names of listeners (wire/name.h)
 *   <state>/partitions/<guid>.conf             definitions
 *   <state>/key                                16 bytes, 0600: keys the connectors' names and the tables
 *   <services[i]>/<guid>.conf                  drop-ins, highest priority first; the first is written
 *
 * A partition's directory is never removed while the partition exists, not even
 * at exit: a container has it mounted. Each partition has a revocation page of
 * its own, since whoever may write to a page may also truncate it under those
 * who map it; the broker maps none.
 */

#include "broker/broker.h"
#include "daemon/loop.h"
#include "daemon/problem.h"
#include <limits.h>

#define SERVICE_DIRECTORIES_MAX 4

struct world_options {
        char runtime[PATH_MAX];
        char state[PATH_MAX];
        char services[SERVICE_DIRECTORIES_MAX][PATH_MAX];
        unsigned service_directory_count;
        struct owner owner;
        struct quotas quotas;
        char host_label[HV_LABEL_SIZE]; /* for a new world's root: the host name, made a valid label */
        uint64_t descriptor_limit; /* RLIMIT_NOFILE as it was before hvsockd raised it: what services on demand get */
        struct problem *problems;  /* of hvsockd.conf; the world takes them */
        int control_fd; /* a listening socket that systemd gave for the host partition, or -1; the world takes it */
};

struct world {
        struct world_options options;
        struct broker *broker;
        struct loop *loop;
        uint8_t key[16];
        int runtime_fd;    /* O_PATH directory */
        int lock_fd;
        int listeners_fd;  /* O_PATH directory; also the working directory, so that names stay short */
        int64_t started_ms;
        struct problem *problems; /* of files that are read at the start alone */
        struct partitions *partitions;
        struct clients *clients;
        struct penalties *penalties; /* of clients.c */
        struct services *services;
        struct revoke *revoke;
        struct activation *activation;
        struct manage *manage;
        struct probe *probe;
        struct hold *hold;
        struct vms *vms;
};

/* 0 or a negative errno with the reason logged. A second broker on the same runtime directory is -EALREADY. */
int world_open(const struct world_options *options, struct loop *loop, struct world **ret_world);
struct world *world_close(struct world *world);

/* partitions.c: 0 or partition_add()'s / partition_remove()'s errors, or those of the file system. A zero VmId makes a new one. */
int world_add_partition(struct world *world, const struct partition_definition *definition, struct partition **ret);
int world_remove_partition(struct world *world, struct partition *partition);
void world_partition_directory(const struct world *world, const struct partition *partition, char ret_path[PATH_MAX]);

/* services.c: the drop-in in the first directory is written beside, fsync-ed and renamed. A zero ServiceId makes a new
 * one; -EINVAL with *ret_error when what would be written could not be read. Removing a service that a lower directory
 * also defines masks it (a link to /dev/null). */
int world_save_service(struct world *world, const struct service_definition *definition, struct service **ret,
                       struct text_error *ret_error);
int world_remove_service(struct world *world, const GUID *service_id); /* also one that its mistake hides */
/* Disabling ends listeners and tells libraries; counts what ended and what the kernel lets nobody end. */
int world_set_service_enabled(struct world *world, struct service *service, bool enabled, unsigned *ret_listeners_ended,
                              unsigned *ret_channels_remaining, struct text_error *ret_error);

/* principals.c: users and groups by name, a principal_lookup for service_parse(). */
int world_principal_lookup(enum principal_kind kind, const char *name, uint32_t *ret_id);

/* probe.c: forgets every listener and channel that is dead, so that what is listed is true now. */
void world_probe_all(struct world *world);
/* While a monitor watches, closes are looked for every PROBE_WATCH_MS. */
#define PROBE_WATCH_MS 250
void world_watch_closes(struct world *world, bool watch);
