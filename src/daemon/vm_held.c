/* SPDX-License-Identifier: MIT */

/*
 * What of a VM outlives hvsockd. While a VM has a front-end, a file says so in its
 * directory, so that a successor who finds nothing held knows that something was lost.
 */

#include "daemon/vms.h"

#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/discard.h"
#include "daemon/hold.h"
#include <fcntl.h>
#include <string.h>

#define MARK_SIZE (HV_GUID_TEXT_SIZE + sizeof VM_FRONT_END_MARK)

/* In the runtime directory. */
static void name_mark(const struct vm *vm, char ret_name[MARK_SIZE]) {
        guid_format(&vm->partition->vm_id, ret_name);
        strcat(ret_name, "/" VM_FRONT_END_MARK);
}

void vm_front_end_came(struct vm *vm) {
        char name[MARK_SIZE];
        name_mark(vm, name);
        hold_expect_vm(vm->world, &vm->partition->vm_id);
        fd_close(openat(vm->world->runtime_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

void vm_front_end_left(struct vm *vm) {
        char name[MARK_SIZE];
        name_mark(vm, name);
        if (vm->problem != VHOST_USER_LOST) /* nor is it found by who comes next */
                (void)unlinkat(vm->world->runtime_fd, name, 0);
        hold_forget_vm(vm->world, &vm->partition->vm_id);
}

/* A VMM may say other descriptors as often as it likes: if their closes pile up, it is not served on. */
void vm_hold(struct vm *vm, struct vm_held *held) {
        bool is_clogged = discard_is_clogged(&vm->stranger);
        if (vm->partition && !is_clogged) {
                hold_vm(vm->world, &vm->partition->vm_id, held);
                return;
        }
        hold_discard(&vm->stranger.vm_id, held);
        if (vm->partition && is_clogged) {
                log_stranger(LOG_LEVEL_WARNING, "VM %s: the VMM's descriptors take too long to close: let it go",
                             vm->partition->label);
                (void)vm_worker_tell(vm->worker, &(struct vm_message){.kind = VM_STOP, .fd = -1});
        }
}

void vms_say_held(struct world *world) {
        list_for_each(link, &world->vms->all) {
                struct vm *vm = container_of(link, struct vm, link);
                if (vm->worker)
                        (void)vm_worker_tell(vm->worker, &(struct vm_message){.kind = VM_SAY_HELD, .fd = -1});
        }
}

void vm_serve_on(struct vm *vm) {
        char name[MARK_SIZE];
        struct vm_held *held = hold_take(vm->world, &vm->partition->vm_id);
        name_mark(vm, name);
        if (!held && faccessat(vm->world->runtime_fd, name, F_OK, 0) < 0)
                return;
        vm->problem = VHOST_USER_LOST;
        if (held && vm_start_thread(vm, -1, held) == 0) {
                vm->problem = VHOST_USER_FINE;
                return;
        }
        vm_front_end_left(vm);
        log_write(LOG_LEVEL_WARNING, "VM %s: %s", vm->partition->label, vhost_user_problem_text(vm->problem));
}
