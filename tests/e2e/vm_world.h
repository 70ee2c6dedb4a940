/* SPDX-License-Identifier: MIT */
#pragma once

/* A world with a VM, `guest`, whose VMM and driver are fake_driver.h's; and a service at a vsock port. */

#include "../vm/fake_driver.h"
#include "world.h"

#define PORT 5000u

extern struct world *world;
extern GUID vm_id, service_id; /* of the VM, and of PORT */

/* Running, with the VM's CID FAKE_CID, and lines more of its and the service's definitions; this process is the host's. */
void vm_world_open(const char *vm_lines, const char *service_lines);
/* The VM's guest has gone: it is seen not to run. */
void vm_world_close(void);

void vm_socket_path(const char *label, char ret_path[PATH_MAX + 16]);
/* A VMM that says nothing yet. */
int vm_connect(const char *label);
/* The driver's guest becomes this VM's, and starts; it runs when this returns. */
void vm_plug(const char *label);
/* Whether `guest` does. */
bool is_running(void);
/* Bytes of what its VMM said that are not read yet. */
int vm_unheard(const struct fake_guest *vmm);

/* A listener of the host for guests at PORT. */
int vm_listen(int type);
/* The guest connects to it from this port. */
int vm_accept(int listener, uint32_t guest_port, int type);

/* Waits for the process that holds what VMs have: the test's child, since who started it ended. */
pid_t vm_holder(void);
