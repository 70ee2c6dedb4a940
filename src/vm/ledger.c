/* SPDX-License-Identifier: MIT */

/* What a successor needs of a VM's thread: ledger.h has the theory. */

#include "vm/ledger.h"

#include "base/fd.h"
#include "vm/device.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MAGIC UINT64_C(0x72656764656c7668) /* "hvledger" */
#define LAYOUT 1u                         /* another one with any change of the structures below */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define LATE_MAX (4 * DEVICE_BATCH)       /* slots that are given up at the next ledger_settle() */
#define SLOTS (VSOCK_CONNECTIONS_MAX + LATE_MAX + 1) /* a successor has one to begin with */

struct slot {
        uint64_t cid;
        uint32_t port, guest_port;
        _Atomic uint32_t type; /* 0: the slot is free */
        uint32_t reserved;
};

struct state {
        uint64_t generation;
        struct vhost_user_saved device;
};

struct file {
        uint64_t magic;
        uint32_t layout, size;
        _Atomic uint32_t current;      /* which of the states */
        _Atomic uint32_t is_in_message;
        struct state states[2];
        struct slot slots[SLOTS];
};

struct ledger {
        struct file *file;
        int fd;
        unsigned fresh; /* nobody has touched the pages of this slot, and of those behind it */
        unsigned free_count, late_count;
        uint16_t free[SLOTS], late[LATE_MAX]; /* slots */
};

_Static_assert(SLOTS <= UINT16_MAX, "a slot's number has room");

static int make_file(int *ret_fd) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
            limit.rlim_cur < sizeof(struct file))
                return -EFBIG; /* or there would be a signal */
        cleanup(fd_closep) int fd = memfd_create("hvsock-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || ftruncate(fd, sizeof(struct file)) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
                return -errno;
        *ret_fd = fd_take(fd);
        return 0;
}

/* Takes the descriptor. */
static int map(int fd, struct ledger **ret) {
        cleanup(fd_closep) int file_fd = fd;
        cleanup(freep) struct ledger *ledger = calloc(1, sizeof *ledger);
        if (!ledger)
                return -ENOMEM;
        ledger->file = mmap(NULL, sizeof(struct file), PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);
        if (ledger->file == MAP_FAILED)
                return -errno;
        ledger->fd = fd_take(file_fd);
        *ret = ledger;
        ledger = NULL;
        return 0;
}

static void find_free_slots(struct ledger *ledger) {
        ledger->fresh = SLOTS;
        for (unsigned slot = SLOTS; slot-- > 0;)
                if (!atomic_load_explicit(&ledger->file->slots[slot].type, memory_order_relaxed))
                        ledger->free[ledger->free_count++] = (uint16_t)slot;
}

int ledger_create(struct ledger **ret) {
        struct ledger *ledger;
        int fd = -1, r = make_file(&fd);
        if (r < 0 || (r = map(fd, &ledger)) < 0)
                return r;
        ledger->file->layout = LAYOUT;
        ledger->file->size = sizeof(struct file);
        ledger->file->magic = MAGIC;
        *ret = ledger;
        return 0;
}

int ledger_adopt(int fd, struct ledger **ret) {
        cleanup(fd_closep) int file_fd = fd;
        struct ledger *ledger;
        struct stat status;
        int seals = fcntl(file_fd, F_GET_SEALS);
        if (seals < 0 || (seals & SEALS) != SEALS || fstat(file_fd, &status) < 0 ||
            status.st_size != (off_t)sizeof(struct file))
                return -EPROTO;
        int r = map(fd_take(file_fd), &ledger);
        if (r < 0)
                return r;
        const struct file *file = ledger->file;
        if (file->magic != MAGIC || file->layout != LAYOUT || file->size != sizeof *file) {
                ledger_free(ledger);
                return -EPROTO;
        }
        find_free_slots(ledger);
        *ret = ledger;
        return 0;
}

struct ledger *ledger_free(struct ledger *ledger) {
        if (ledger) {
                munmap(ledger->file, sizeof(struct file));
                fd_close(ledger->fd);
                free(ledger);
        }
        return NULL;
}

int ledger_fd(const struct ledger *ledger) {
        return ledger->fd;
}

/* ---- the device ---- */

static unsigned current(const struct ledger *ledger) {
        return atomic_load_explicit(&ledger->file->current, memory_order_relaxed) & 1;
}

void ledger_begin_message(struct ledger *ledger) {
        atomic_store_explicit(&ledger->file->is_in_message, true, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
}

void ledger_no_message(struct ledger *ledger) {
        atomic_store_explicit(&ledger->file->is_in_message, false, memory_order_release);
}

/* Whether the device may have other descriptors after it. */
static bool changes_descriptors(uint32_t request) {
        switch (request) {
        case VHOST_USER_SET_MEM_TABLE:
        case VHOST_USER_ADD_MEM_REG:
        case VHOST_USER_REM_MEM_REG:
        case VHOST_USER_SET_VRING_KICK:
        case VHOST_USER_SET_VRING_CALL:
        case VHOST_USER_GET_VRING_BASE:
                return true;
        }
        return false;
}

void ledger_end_message(struct ledger *ledger, const struct vhost_user *device, uint32_t request) {
        unsigned next = !current(ledger);
        struct state *state = &ledger->file->states[next];
        state->generation = ledger_generation(ledger) + changes_descriptors(request);
        vhost_user_save(device, &state->device);
        atomic_store_explicit(&ledger->file->current, next, memory_order_release);
        ledger_no_message(ledger);
}

uint64_t ledger_generation(const struct ledger *ledger) {
        return ledger->file->states[current(ledger)].generation;
}

/* ---- connections ---- */

uint32_t ledger_add(struct ledger *ledger, uint64_t cid, uint32_t port, uint32_t guest_port, enum vsock_type type) {
        if (!ledger || (!ledger->free_count && ledger->fresh == SLOTS))
                return LEDGER_NO_SLOT;
        uint32_t number = ledger->free_count ? ledger->free[--ledger->free_count] : ledger->fresh++;
        struct slot *slot = &ledger->file->slots[number];
        slot->cid = cid;
        slot->port = port;
        slot->guest_port = guest_port;
        atomic_store_explicit(&slot->type, type, memory_order_release);
        return number;
}

static void give_up(struct ledger *ledger, uint32_t slot) {
        atomic_store_explicit(&ledger->file->slots[slot].type, 0, memory_order_release);
        ledger->free[ledger->free_count++] = (uint16_t)slot;
}

void ledger_remove(struct ledger *ledger, uint32_t slot) {
        if (!ledger || slot >= SLOTS)
                return;
        if (ledger->late_count == LATE_MAX)
                ledger_settle(ledger);
        ledger->late[ledger->late_count++] = (uint16_t)slot;
}

void ledger_settle(struct ledger *ledger) {
        while (ledger && ledger->late_count)
                give_up(ledger, ledger->late[--ledger->late_count]);
}

void ledger_forget_all(struct ledger *ledger) {
        if (!ledger)
                return;
        ledger->free_count = ledger->late_count = 0;
        for (uint32_t slot = ledger->fresh; slot-- > 0;)
                give_up(ledger, slot);
}

/* ---- a successor ---- */

/* Each gets another slot before it loses the one of before, so that none is forgotten, whoever dies next. */
static void disclaim(struct ledger *ledger, struct vsock *vsock) {
        bool is_free[SLOTS] = {};
        for (unsigned i = 0; i < ledger->free_count; i++)
                is_free[ledger->free[i]] = true;
        for (uint32_t number = 0; number < ledger->fresh; number++) {
                const struct slot *slot = &ledger->file->slots[number];
                uint32_t type = atomic_load_explicit(&slot->type, memory_order_acquire);
                if (is_free[number])
                        continue;
                if (type == VSOCK_STREAM || type == VSOCK_SEQPACKET)
                        (void)vsock_disclaim(vsock, slot->cid, slot->port, slot->guest_port, type);
                give_up(ledger, number);
        }
}

int ledger_restore(struct ledger *ledger, struct device *device, uint64_t generation, const int *fds,
                   unsigned fd_count, struct vhost_user_changes *ret_changes) {
        struct state state;
        *ret_changes = (struct vhost_user_changes){};
        memcpy(&state, &ledger->file->states[current(ledger)], sizeof state);
        bool is_usable = !atomic_load_explicit(&ledger->file->is_in_message, memory_order_relaxed) &&
                         state.generation == generation;
        if (!is_usable) {
                for (unsigned i = 0; i < fd_count; i++)
                        fd_close(fds[i]);
                return -EPROTO;
        }
        int r = vhost_user_restore(&device->front_end, &state.device, fds, fd_count, ret_changes);
        if (r < 0)
                return r;
        device->vsock.has_seqpacket = state.device.features & VHOST_USER_FEATURE_SEQPACKET;
        device->vsock.ledger = ledger;
        disclaim(ledger, &device->vsock);
        return 0;
}
