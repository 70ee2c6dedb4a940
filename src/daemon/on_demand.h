/* SPDX-License-Identifier: MIT */
#pragma once

/* A service on demand, between activation.c, which listens for it, and program.c, which runs its programs. */

#include "daemon/activation.h"
#include "daemon/spawn.h"

/* service->shell. */
struct on_demand {
        struct source source;
        struct world *world;
        struct service *service;
        struct list link;
        int fd;                         /* the listening socket, or -1 while unbound */
        struct partition *partition;    /* where it is bound */
        struct service_definition used; /* as bound: what changes is noticed */
        struct list programs;           /* of program.link */
        unsigned program_count;
        unsigned failures;              /* in a row */
        struct failure last;            /* the last failure, whatever came after */
        struct timer hold;              /* armed: nothing is started until then */
        bool refuses;                   /* held back for so long that connects are refused */
        enum rule unbound;              /* why its address is another's, as last logged */
        bool binding;
};

/* Of command, user and what every program gets, the caller's request says nothing. */
int program_start(struct on_demand *on_demand, struct spawn *request);
/* The programs go on; nobody asks how they end. */
void programs_orphan(struct on_demand *on_demand, struct list *orphans);
void programs_forget(struct list *orphans, struct loop *loop);

/* activation.c: a program could not be started, or ended badly. `is_early`: another would likely end as soon. */
void on_demand_failed(struct on_demand *on_demand, const struct failure *failure, bool is_early);
/* One ended well. */
void on_demand_ended(struct on_demand *on_demand);
