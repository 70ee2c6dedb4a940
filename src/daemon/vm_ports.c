/* SPDX-License-Identifier: MIT */

/* The ports that hybrid VMs' threads listen at: see vm_ports.h. */

#include "daemon/vm_ports.h"

#include "base/guid.h"
#include "vm/hybrid_thread.h"
#include <stdlib.h>
#include <string.h>

static bool takes_from(const struct listener *listener, const struct partition *guest) {
        return listener->partition == guest->parent &&
               (guid_is_zero(&listener->vm_id) || guid_equal(&listener->vm_id, &HV_GUID_CHILDREN) ||
                guid_equal(&listener->vm_id, &guest->vm_id));
}

static int by_number(const void *a, const void *b) {
        uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
        return first < second ? -1 : first > second;
}

/* In order, each once; HYBRID_LISTENERS_MAX at most. */
static unsigned find_ports(const struct vm *vm, uint32_t ports[HYBRID_LISTENERS_MAX]) {
        unsigned count = 0, distinct = 0;
        const struct listener *listener = NULL;
        while (count < HYBRID_LISTENERS_MAX && (listener = broker_listener_next(vm->world->broker, listener)))
                if (takes_from(listener, vm->partition) && guid_port(&listener->service_id, &ports[count]) == 0)
                        count++;
        qsort(ports, count, sizeof ports[0], by_number);
        for (unsigned i = 0; i < count; i++)
                if (!distinct || ports[distinct - 1] != ports[i])
                        ports[distinct++] = ports[i];
        return distinct;
}

static void tell(struct vm *vm, enum vm_message_kind kind, uint32_t port) {
        (void)vm_worker_tell(vm->worker, &(struct vm_message){.kind = kind, .port = port, .fd = -1});
}

void vm_ports_update(struct vm *vm) {
        uint32_t wanted[HYBRID_LISTENERS_MAX];
        if (!vm->partition || !vm->worker || !*vm->partition->hybrid)
                return;
        unsigned count = find_ports(vm, wanted), old = 0, new = 0;
        uint32_t *kept = malloc((count ? count : 1) * sizeof wanted[0]);
        if (!kept)
                return;
        memcpy(kept, wanted, count * sizeof wanted[0]);
        while (old < vm->port_count || new < count) {
                bool is_gone = new == count || (old < vm->port_count && vm->ports[old] < wanted[new]);
                bool is_new = old == vm->port_count || (new < count && wanted[new] < vm->ports[old]);
                if (is_gone)
                        tell(vm, VM_UNLISTEN, vm->ports[old]);
                else if (is_new)
                        tell(vm, VM_LISTEN, wanted[new]);
                old += !is_new;
                new += !is_gone;
        }
        free(vm->ports);
        vm->ports = kept;
        vm->port_count = count;
}
