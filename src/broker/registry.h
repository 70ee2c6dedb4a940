/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The registry: services by GUID and by friendly name, and who may use them.
 *
 * Owns every registered service. Pure: services come from text that somebody
 * else read (service_parse) and are replaced as a whole (registry_put), so an
 * edited drop-in keeps its counters. A name that two services share finds
 * neither: ambiguity is an error, never a guess.
 */

#include "base/hash.h"
#include "broker/counters.h"
#include "broker/limits.h"
#include <hvsocket.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TEXT_EXPECTED_SIZE 160 /* of a sentence about what is wrong */

enum principal_kind {
        PRINCIPAL_EVERYONE,   /* "everyone" */
        PRINCIPAL_NOBODY,     /* "nobody": alone, refuses all but root on the host */
        PRINCIPAL_USER,       /* "user:NAME" or "user:1000", on the host */
        PRINCIPAL_GROUP,      /* "group:NAME" or "group:1000", on the host */
        PRINCIPAL_HOST,       /* "host": every process of the host partition */
        PRINCIPAL_CHILDREN,   /* "children": every partition but the host */
        PRINCIPAL_VMS,        /* "vms" */
        PRINCIPAL_CONTAINERS, /* "containers" */
        PRINCIPAL_PARTITION,  /* "partition:GUID" */
};

struct principal {
        enum principal_kind kind;
        uint32_t id;    /* uid or gid */
        GUID partition; /* PRINCIPAL_PARTITION */
        char text[64];  /* as written, for showing */
};

struct access {
        bool is_default; /* DESIGN's default: see access_allows() */
        unsigned count;
        struct principal principals[PRINCIPALS_MAX];
};

struct service_definition {
        GUID service_id;
        char name[SERVICE_NAME_MAX + 1]; /* ElementName */
        bool enabled;        /* default true */
        bool wildcard_binds; /* default true */
        struct access bind, connect;
        char exec[1024];     /* Exec=: absolute path and arguments; "" when none */
        char exec_user[64];  /* User=: who runs it; "" = the broker's own user */
        bool exec_accept;    /* Accept=yes: one process a connection, on standard input and output */
        char exec_partition[256]; /* Partition=: where it listens, a path of labels; "" = the host */
        char source[512];    /* the file it came from; "" if set at run time */
};

struct service {
        struct service_definition definition;
        struct table_link id_link;
        struct counters counters;
        char cannot_start[TEXT_EXPECTED_SIZE]; /* the daemon's: why the program of Exec= cannot be started; "" if it can */
        void *shell; /* the daemon's: activation */
};

/*
 * Who asks: what the daemon read from the kernel about a client, in the daemon's
 * own namespaces. Ids that do not map there are CALLER_UNMAPPED: nobody's.
 */
#define CALLER_UNMAPPED UINT32_MAX

struct caller {
        struct partition *partition; /* whose socket it holds */
        uint32_t pid, uid, gid;
        const uint32_t *groups; /* supplementary; borrowed */
        unsigned group_count;
};

/*
 * The owner of the world's host: root always passes; in a user's own world the
 * world's user does too. `group_hvsock` is CALLER_UNMAPPED when there is none.
 */
struct owner {
        uint32_t uid;          /* 0 for a machine's world */
        uint32_t group_hvsock;
};

/*
 * May `caller` pass `access`? On the host root and the owner always may. The
 * default lets, on the host, the owner and group hvsock; elsewhere everyone.
 */
bool access_allows(const struct access *access, const struct owner *owner, const struct caller *caller);

/* Where a text is wrong. */
struct text_error {
        unsigned line;
        char expected[TEXT_EXPECTED_SIZE]; /* "expected yes or no after WildcardBinds=, not \"maybe\"" */
};
/* What may be a mistake, and is not held to be one: the first of them, in order. */
#define TEXT_NOTES_MAX 8u
struct text_notes {
        unsigned count;
        struct text_error notes[TEXT_NOTES_MAX]; /* "unknown key \"Conect\"; did you mean \"Connect\"?" */
};

/*
 * Parse a drop-in (see hvsock-service(5)); `service_id` comes from its file name.
 * 0, -EINVAL with *ret_error, -E2BIG over SERVICE_FILE_MAX. User and group names
 * are looked up through `lookup` (0 or -ENOENT), which tests replace. *ret_notes is set either way.
 */
typedef int (*principal_lookup)(enum principal_kind kind, const char *name, uint32_t *ret_id);
int service_parse(const GUID *service_id, const char *text, size_t length, principal_lookup lookup,
                  struct service_definition *ret, struct text_error *ret_error, struct text_notes *ret_notes);
/* The text of a definition, `old` (may be NULL) supplying comments and unknown keys to keep. Caller frees. */
int service_format(const struct service_definition *definition, const char *old, char **ret_text);
/* Printable UTF-8, of any length: names reach terminals and logs. */
bool service_name_is_valid(const char *name);
/* "user:alice group:wheel" and back; "" and "default" are the default. */
int access_parse(const char *text, principal_lookup lookup, struct access *ret,
                 char ret_expected[TEXT_EXPECTED_SIZE]);
void access_format(const struct access *access, char *ret_text, size_t size);

struct broker;

/*
 * Adds or replaces: 0, -ENOSPC SERVICES_MAX, -ENOMEM. *ret_service (may be NULL) stays valid until removed. What
 * already listens and talks under the ServiceId is in a new service's counters from then on.
 */
int registry_put(struct broker *broker, const struct service_definition *definition, struct service **ret_service);
void registry_remove(struct broker *broker, struct service *service);
struct service *registry_by_id(const struct broker *broker, const GUID *service_id);
/* By friendly name (exact), GUID text or "vsock:PORT" (registered). -ENOENT, -ENOTUNIQ when two bear the name. */
int registry_by_name(const struct broker *broker, const char *name, struct service **ret_service);
/* In order of name, then GUID. NULL first. */
struct service *registry_next(const struct broker *broker, const struct service *after);

/* Windows .reg text of GuestCommunicationServices, UTF-16LE with BOM or UTF-8. Calls `each` for every service. */
typedef int (*registry_import_each)(const struct service_definition *definition, void *userdata);
int reg_import(const char *text, size_t length, registry_import_each each, void *userdata,
               struct text_error *ret_error);
/* UTF-8 .reg text, "Windows Registry Editor Version 5.00". Caller frees. */
int reg_export(const struct broker *broker, char **ret_text);
