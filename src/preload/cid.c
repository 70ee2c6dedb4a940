/* SPDX-License-Identifier: MIT */

/*
 * CIDs: those that everybody knows, and those that the broker is asked for. A
 * partition never changes its CID, so what it was for a VmId is remembered. What a
 * CID stands for is asked each time: a later partition may get a removed one's.
 */

#include "preload/cid.h"

#include "base/guid.h"
#include "lib/control.h"
#include "lib/lock.h"
#include <errno.h>
#include <hvsock.h>
#include <linux/vm_sockets.h>

#define REMEMBERED 64u  /* VmIds, of which those that collide push each other out */
#define ANSWER_WAIT_MS 200u /* an accept that does not block is held up no longer */

static struct lock lock;
static struct {
        GUID vm_id;
        uint32_t cid;
} remembered[REMEMBERED];

static bool recall(const GUID *vm_id, uint32_t *ret_cid) {
        unsigned place = vm_id->Data1 % REMEMBERED;
        lock_take(&lock);
        uint32_t cid = guid_equal(&remembered[place].vm_id, vm_id) ? remembered[place].cid : 0;
        lock_release(&lock);
        if (cid)
                *ret_cid = cid;
        return cid;
}

static void remember(const GUID *vm_id, uint32_t cid) {
        unsigned place = vm_id->Data1 % REMEMBERED;
        lock_take(&lock);
        remembered[place].cid = 0;
        remembered[place].vm_id = *vm_id;
        remembered[place].cid = cid;
        lock_release(&lock);
}

static int ask(const GUID *vm_id, uint32_t cid, struct wire_reply *ret_reply) {
        struct wire_request request = {.header.type = WIRE_RESOLVE_CID, .vm_id = *vm_id, .cid = cid};
        return control_ask(&request, -1, ANSWER_WAIT_MS, ret_reply);
}

static int ask_for_cid(const GUID *vm_id, uint32_t *ret_cid) {
        struct wire_reply reply;
        if (recall(vm_id, ret_cid))
                return 0;
        int r = ask(vm_id, 0, &reply);
        if (r < 0)
                return r;
        remember(vm_id, reply.cid);
        *ret_cid = reply.cid;
        return 0;
}

int cid_own(uint32_t *ret_cid) {
        return ask_for_cid(&HV_GUID_LOOPBACK, ret_cid);
}

int cid_of_vm(const GUID *vm_id, uint32_t *ret_cid) {
        if (guid_equal(vm_id, &HV_GUID_PARENT) || guid_equal(vm_id, &HV_GUID_SILOHOST))
                *ret_cid = VMADDR_CID_HOST;
        else if (guid_equal(vm_id, &HV_GUID_LOOPBACK))
                *ret_cid = VMADDR_CID_LOCAL;
        else
                return ask_for_cid(vm_id, ret_cid);
        return 0;
}

int cid_to_vm(uint32_t cid, GUID *ret_vm_id) {
        struct wire_reply reply;
        int r = ask(&HV_GUID_ZERO, cid, &reply);
        if (!r)
                *ret_vm_id = reply.vm_id;
        return r;
}
