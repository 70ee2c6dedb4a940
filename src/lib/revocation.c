/* SPDX-License-Identifier: MIT */

/* The revocation page, and going through descriptors when it changes. */

#include "lib/revocation.h"

#include "base/guid.h"
#include "lib/address.h"
#include "lib/control.h"
#include "lib/descriptors.h"
#include "lib/lock.h"
#include "lib/state.h"
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_SIZE 4096

const _Atomic uint64_t *_Atomic revocation_page;
_Atomic uint64_t revocation_seen;

static const _Atomic uint64_t no_page;
static struct lock lock;
static _Atomic uint64_t mapped_device, mapped_inode;

void revocation_map(int fd) {
        struct stat status;
        if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size < PAGE_SIZE ||
            (mapped_device == status.st_dev && mapped_inode == status.st_ino))
                return;
        const _Atomic uint64_t *old = atomic_load(&revocation_page);
        bool replaces = old && old != &no_page;
        /* A new page takes the old one's place in one step: other threads may be reading it. */
        void *page = mmap(replaces ? (void *)old : NULL, PAGE_SIZE, PROT_READ, MAP_SHARED | (replaces ? MAP_FIXED : 0), fd, 0);
        if (page == MAP_FAILED)
                return;
        mapped_device = status.st_dev;
        mapped_inode = status.st_ino;
        if (replaces)
                return;
        atomic_store(&revocation_seen, *(const _Atomic uint64_t *)page);
        if (!atomic_compare_exchange_strong(&revocation_page, &old, page))
                munmap(page, PAGE_SIZE); /* another thread's first connection was quicker */
}

/* What is asked once for all channels of a service, as long as they come one after the other. */
struct answer {
        GUID vm_id, service_id;
        bool must_end;
};

static void end_if_revoked(int fd, void *argument) {
        struct answer *answer = argument;
        struct endpoint endpoint;
        if (endpoint_read(fd, &endpoint) < 0 || endpoint.role == ROLE_NEW)
                return;
        const GUID *vm_id = endpoint.role == ROLE_CONNECTOR ? &endpoint.connector.dialled_vm_id : &endpoint.listener.vm_id;
        const GUID *service_id = &endpoint.listener.service_id;
        if (!guid_equal(&answer->vm_id, vm_id) || !guid_equal(&answer->service_id, service_id)) {
                struct wire_request request = {.header.type = WIRE_CHECK, .vm_id = *vm_id, .service_id = *service_id};
                struct wire_reply reply;
                *answer = (struct answer){
                        .vm_id = *vm_id,
                        .service_id = *service_id,
                        .must_end = control_ask(&request, -1, REVOCATION_WAIT_MS, &reply) == -EINVAL,
                };
        }
        if (answer->must_end) {
                (void)state_set(fd, STATE_RESET);
                (void)shutdown(fd, SHUT_RDWR);
        }
}

void revocation_look(void) {
        lock_take(&lock);
        if (!atomic_load(&revocation_page)) {
                struct wire_request hello = {.header.type = WIRE_HELLO};
                struct wire_reply reply;
                const _Atomic uint64_t *none = NULL;
                (void)control_ask(&hello, -1, REVOCATION_WAIT_MS, &reply);
                atomic_compare_exchange_strong(&revocation_page, &none, &no_page);
        }
        uint64_t counter = *atomic_load(&revocation_page);
        if (counter != revocation_seen) {
                struct answer answer = {};
                descriptors_visit(end_if_revoked, &answer);
                revocation_seen = counter;
        }
        lock_release(&lock);
}
