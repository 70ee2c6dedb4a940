/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the broker answers: an errno and the rule that decided.
 *
 * Owns the list of rules. Their numbers are part of the wire protocol: append,
 * never reorder.
 */

#include <hvsocket.h>

enum rule {
        RULE_ALLOWED = 0,
        RULE_NOT_REGISTERED = 1,      /* EACCES */
        RULE_DISABLED = 2,            /* EINVAL */
        RULE_BIND_DENIED = 3,         /* EACCES */
        RULE_CONNECT_DENIED = 4,      /* EACCES */
        RULE_LISTENERS_ONLY = 5,      /* EADDRNOTAVAIL: WILDCARD, CHILDREN, BROADCAST dialled */
        RULE_NO_PARENT = 6,           /* EADDRNOTAVAIL: PARENT on the root */
        RULE_NO_SILO_HOST = 7,        /* EADDRNOTAVAIL: SILOHOST outside a container */
        RULE_UNKNOWN_PARTITION = 8,   /* EADDRNOTAVAIL: unknown VmId or one the caller cannot address */
        RULE_NOT_BINDABLE = 9,        /* EADDRNOTAVAIL: BROADCAST */
        RULE_NOT_RUNNING = 10,        /* EHOSTUNREACH */
        RULE_NO_LISTENER = 11,        /* ECONNREFUSED */
        RULE_LISTENER_EXCLUDES = 12,  /* ECONNREFUSED: listeners there, none accepts from the caller */
        RULE_WILDCARD_FORBIDDEN = 13, /* ECONNREFUSED */
        RULE_BACKLOG_FULL = 14,       /* ECONNREFUSED */
        RULE_ADDRESS_IN_USE = 15,     /* EADDRINUSE: the same {VmId, ServiceId} twice in a partition */
        RULE_ANOTHER_USERS = 16,      /* EADDRINUSE: within a partition one ServiceId belongs to one user at a time */
        RULE_SOCKET_TYPE = 17,        /* EPROTOTYPE: stream meets seqpacket */
        RULE_QUOTA = 18,              /* ENOBUFS */
        RULE_PASSTHRU_DENIED = 19,    /* EACCES: container not added with --passthru */
        RULE_BAD_ADDRESS = 20,        /* EINVAL: a ServiceId of zero where one is needed */
        RULE_EXEC_FAILED = 21,        /* ECONNREFUSED: a service on demand whose program cannot be started */
        RULE_HELD_UP = 22,            /* ENOBUFS: the caller made the broker wait */
        RULE_DESCRIPTOR = 23,         /* what was lent is no socket that can be bound or connected so; as the kernel says */
        RULE_ALREADY_NAMED = 24,      /* EINVAL: the socket dialled another VmId before */
        RULE_BROKER_FAILED = 25,      /* no memory, no room on the disk: as the kernel says */
        RULE_NOT_A_PORT = 26,         /* EADDRNOTAVAIL: a VM's guest is dialled at ServiceIds of vsock ports only */
        RULE_COUNT,
};

struct verdict {
        int error; /* 0 or a positive errno, which has a rule */
        enum rule rule;
};

/* "not-registered", …: stable words for logs, counters and --json. NULL past the end. */
const char *rule_name(enum rule rule);
/* One sentence for people. */
const char *rule_sentence(enum rule rule);
/* The next command to type about the service, on the host; "" where there is none. */
#define RULE_ADVICE_SIZE 128
void rule_advice(enum rule rule, const GUID *service_id, char ret_text[RULE_ADVICE_SIZE]);
