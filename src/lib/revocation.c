/* SPDX-License-Identifier: MIT */

/* The revocation page, and going through descriptors when it changes. */

#include "lib/revocation.h"

#include "base/fd.h"
#include "base/guid.h"
#include "lib/address.h"
#include "lib/connection.h"
#include "lib/control.h"
#include "lib/descriptors.h"
#include "lib/lock.h"
#include "lib/ring_transfer.h"
#include "lib/state.h"
#include <errno.h>
#include <fcntl.h>
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

/* A change about which the broker was asked in vain, and when it may be asked again. */
static _Atomic uint64_t unanswered;
static _Atomic int64_t ask_again_ms;

/* What is asked once for all channels of a service, as long as they come one after the other. */
struct answer {
        GUID vm_id, service_id;
        bool must_end;
        bool is_missing; /* then nothing more is asked: each question may take as long as this one did */
};

/* The address at which it listens or was connected. Whether it is a listener or channel of ours. */
static bool read_address(int fd, GUID *ret_vm_id, GUID *ret_service_id) {
        struct endpoint endpoint;
        if (endpoint_read(fd, &endpoint) < 0 || endpoint.role == ROLE_NEW)
                return false;
        *ret_vm_id = endpoint.role == ROLE_CONNECTOR ? endpoint.connector.dialled_vm_id : endpoint.listener.vm_id;
        *ret_service_id = endpoint.listener.service_id;
        return true;
}

static bool is_at_address_of(const struct answer *answer, int fd) {
        GUID vm_id, service_id;
        return read_address(fd, &vm_id, &service_id) && guid_equal(&answer->vm_id, &vm_id) &&
               guid_equal(&answer->service_id, &service_id);
}

/* While the broker was asked another thread may have closed it, and the number be another's: a copy stays what it is. */
static void end(int fd, const struct answer *answer) {
        if (!is_at_address_of(answer, fd)) /* a file's locks would go with its copy */
                return;
        cleanup(fd_closep) int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        int held = copy < 0 && errno == EMFILE ? fd : copy;
        if (!is_at_address_of(answer, held))
                return;
        (void)state_set(held, STATE_RESET);
        ring_reset(fd);
        (void)shutdown(held, SHUT_RDWR);
}

static void end_if_revoked(int fd, void *argument) {
        struct answer *answer = argument;
        GUID vm_id, service_id;
        if (answer->is_missing || !read_address(fd, &vm_id, &service_id))
                return;
        if (!guid_equal(&answer->vm_id, &vm_id) || !guid_equal(&answer->service_id, &service_id)) {
                struct wire_request request = {.header.type = WIRE_CHECK, .vm_id = vm_id, .service_id = service_id};
                struct wire_reply reply;
                int r = control_ask(&request, -1, REVOCATION_WAIT_MS, &reply);
                *answer = (struct answer){
                        .vm_id = vm_id,
                        .service_id = service_id,
                        .must_end = r == -EINVAL,
                        .is_missing = r < 0 && r != -EINVAL,
                };
        }
        if (answer->must_end)
                end(fd, answer);
}

static bool may_ask(uint64_t counter) {
        return counter != unanswered || monotonic_ms() >= ask_again_ms;
}

void revocation_look(void) {
        const _Atomic uint64_t *page = atomic_load(&revocation_page);
        if (page && !may_ask(*page))
                return;
        lock_take(&lock);
        if (!atomic_load(&revocation_page)) {
                struct wire_request hello = {.header.type = WIRE_HELLO};
                struct wire_reply reply;
                const _Atomic uint64_t *none = NULL;
                (void)control_ask(&hello, -1, REVOCATION_WAIT_MS, &reply);
                atomic_compare_exchange_strong(&revocation_page, &none, &no_page);
        }
        uint64_t counter = *atomic_load(&revocation_page);
        if (counter != revocation_seen && may_ask(counter)) {
                struct answer answer = {};
                descriptors_visit(end_if_revoked, &answer);
                if (answer.is_missing) {
                        ask_again_ms = monotonic_ms() + REVOCATION_RETRY_MS;
                        unanswered = counter;
                } else {
                        revocation_seen = counter;
                }
        }
        lock_release(&lock);
}
