/* SPDX-License-Identifier: MIT */

/* Channels that must end because their service was disabled. */

#include "lib/revocation.h"

#include "base/guid.h"
#include "lib/control.h"
#include "lib/name.h"
#include "lib/state.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE 4096
#define VERDICTS_KEPT 16 /* services asked about in one sweep without asking again */

_Atomic(const _Atomic(uint64_t) *) revocation_page;
_Atomic(uint64_t) revocation_seen;

static _Atomic(uint64_t) mapped_inode;

void revocation_map(int fd) {
        struct stat status;
        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size < PAGE_SIZE ||
            atomic_load(&mapped_inode) == status.st_ino)
                return;
        const _Atomic(uint64_t) *page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED)
                return;
        /* Another world's page stays mapped: a thread may be reading it. Its count was seen, this one's may be news. */
        atomic_store(&revocation_seen, atomic_load(page));
        atomic_store(&mapped_inode, status.st_ino);
        atomic_store_explicit(&revocation_page, page, memory_order_release);
}

/* What the broker said of each service in this sweep. */
struct verdicts {
        unsigned count;
        struct {
                GUID service_id;
                bool ends;
        } kept[VERDICTS_KEPT];
};

static bool must_end(struct verdicts *verdicts, const GUID *vm_id, const GUID *service_id) {
        for (unsigned i = 0; i < verdicts->count; i++)
                if (guid_equal(&verdicts->kept[i].service_id, service_id))
                        return verdicts->kept[i].ends;
        struct wire_request request = {.header.type = WIRE_CHECK, .vm_id = *vm_id, .service_id = *service_id};
        struct wire_reply reply;
        int r = control_call(&request, -1, control_now_ms() + HV_CONNECT_TIMEOUT_DEFAULT_MS, true, NULL, &reply);
        bool ends = !r && reply.error;
        if (!r && verdicts->count < VERDICTS_KEPT) {
                verdicts->kept[verdicts->count].service_id = *service_id;
                verdicts->kept[verdicts->count++].ends = ends;
        }
        return ends;
}

static void examine(struct verdicts *verdicts, int fd) {
        struct endpoint endpoint;
        if (endpoint_of(fd, &endpoint) || endpoint.kind == ENDPOINT_UNBOUND || endpoint.kind == ENDPOINT_NAMED ||
            !must_end(verdicts, &endpoint.listener.vm_id, &endpoint.listener.service_id))
                return;
        state_mark_reset(fd);
        (void)shutdown(fd, SHUT_RDWR);
}

void revocation_sweep(void) {
        int saved = errno;
        const _Atomic(uint64_t) *page = atomic_load_explicit(&revocation_page, memory_order_acquire);
        uint64_t seen = atomic_load(&revocation_seen), now = atomic_load(page);
        struct verdicts verdicts = {};
        if (now == seen || !atomic_compare_exchange_strong(&revocation_seen, &seen, now))
                return;
        DIR *directory = opendir("/proc/self/fd");
        if (directory) {
                for (struct dirent *entry; (entry = readdir(directory));)
                        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
                                examine(&verdicts, atoi(entry->d_name));
                closedir(directory);
        } else {
                for (int fd = 0, limit = (int)sysconf(_SC_OPEN_MAX); fd < limit; fd++)
                        examine(&verdicts, fd);
        }
        errno = saved;
}
