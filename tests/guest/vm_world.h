/* SPDX-License-Identifier: MIT */
#pragma once

/* Guests whose VMs were added to a world, as a user adds them. */

#include "../e2e/world.h"
#include "guest.h"

#define VM_PORT 5000u
#define VM_LIMIT 1500 /* seconds; TCG, a sanitizer and a busy machine at once, and each fault 50 times */

/* How often, where time is no matter ($HVSOCK_LONG): 50 times. */
unsigned vm_times(unsigned usually);

/* Before anything else in a test, since it may skip it. */
void vm_require(void);
/* That, a world with the service of VM_PORT, running, and a VM in it; its VmId. */
GUID vm_begin(struct world **ret_world, const char *name);

/* `hvsock vm VERB NAME OPTION`, which must succeed. */
void vm_tell(struct world *world, const char *verb, const char *name, const char *option);
/* Boots a VM that was added: the words of `hvsock vm args`, and then `more`. */
struct guest *vm_boot(struct world *world, const char *name, const char *const more[]);

/* examples/echo_server on the host; returns when it listens. */
pid_t vm_serve(struct world *world, const GUID *service_id);
void vm_end_server(pid_t server);
/* From the host to the guest's echo server, and back. */
void talk_to(const GUID *vm_id, const GUID *service_id);

/* What most tests have: a VM whose guest is ready, and an echo server on the host, of which this process is, too. */
struct vm_session {
        struct world *world;
        GUID vm_id, service_id; /* of VM_PORT */
        pid_t server;
        struct guest *guest;
};
struct vm_session vm_session_begin(void);
void vm_session_end(const struct vm_session *session);
