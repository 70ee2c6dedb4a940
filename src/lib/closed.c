/* SPDX-License-Identifier: MIT */

/* Slots, each passed on by one atomic exchange: a fork in between loses a slot, never locks one. */

#include "lib/closed.h"

#include "lib/control.h"
#include <stdatomic.h>

enum { SLOT_FREE, SLOT_IN_USE, SLOT_FULL };

static struct {
        atomic_int state;
        GUID ephemeral_id;
} slots[WIRE_CLOSED_MAX];

static bool move(unsigned slot, int from, int to) {
        return atomic_load_explicit(&slots[slot].state, memory_order_relaxed) == from &&
               atomic_compare_exchange_strong(&slots[slot].state, &from, to);
}

static bool add(const GUID *ephemeral_id) {
        for (unsigned i = 0; i < WIRE_CLOSED_MAX; i++)
                if (move(i, SLOT_FREE, SLOT_IN_USE)) {
                        slots[i].ephemeral_id = *ephemeral_id;
                        atomic_store(&slots[i].state, SLOT_FULL);
                        return true;
                }
        return false;
}

void closed_add(const GUID *ephemeral_id) {
        if (add(ephemeral_id))
                return;
        struct wire_request request = {.header.type = WIRE_CLOSED};
        closed_take(&request);
        if (request.closed_count)
                control_tell(&request, -1);
        (void)add(ephemeral_id);
}

void closed_take(struct wire_request *request) {
        for (unsigned i = 0; i < WIRE_CLOSED_MAX && request->closed_count < WIRE_CLOSED_MAX; i++)
                if (move(i, SLOT_FULL, SLOT_IN_USE)) {
                        request->closed[request->closed_count++] = slots[i].ephemeral_id;
                        atomic_store(&slots[i].state, SLOT_FREE);
                }
}

void closed_give_back(const struct wire_request *request) {
        for (unsigned i = 0; i < request->closed_count; i++)
                closed_add(&request->closed[i]);
}
