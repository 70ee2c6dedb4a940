/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The ports at which a hybrid VM's guest finds listeners: for each its thread keeps a
 * file PATH_<port>, to which the VMM connects. They are those of the host's listeners
 * that take connections from this VM; whether the guest may connect, too, is asked when
 * it does. They follow the listeners within a turn of the loop.
 */

#include "daemon/vms.h"

/* Listeners came or went. */
void vm_ports_changed(struct world *world);
/* Tells the thread what is wanted now, and was not before, and what is wanted no more. */
void vm_ports_update(struct vm *vm);
