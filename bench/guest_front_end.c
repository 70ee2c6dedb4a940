/* SPDX-License-Identifier: MIT */

/* What a VMM says to the device, as QEMU does, until the driver runs. */

#include "guest_internal.h"
#include "transport.h"
#include "vm/vhost_user.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUEST_BASE UINT64_C(0x40000000)        /* guest-physical */
#define USER_BASE UINT64_C(0x7f1200000000)     /* the VMM's */

uint64_t guest_address(const struct guest *guest, const void *pointer) {
        return GUEST_BASE + (uint64_t)((const uint8_t *)pointer - (const uint8_t *)guest->map);
}

static uint64_t user_address(const struct guest *guest, const void *pointer) {
        return guest_address(guest, pointer) - GUEST_BASE + USER_BASE;
}

static void say(const struct guest *guest, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
                int fd) {
        uint32_t header[3] = {request, VHOST_USER_VERSION | flags, size};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
        struct iovec pieces[2] = {{header, sizeof header}, {(void *)payload, size}};
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};

        if (fd >= 0) {
                memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
                message.msg_control = &control;
                message.msg_controllen = sizeof control;
        }
        if (sendmsg(guest->socket, &message, MSG_NOSIGNAL) != (ssize_t)(sizeof header + size))
                die("the device hung up: %s", strerror(errno));
}

static void hear(const struct guest *guest, uint32_t request, void *ret_payload, uint32_t size) {
        uint32_t header[3];

        if (recv(guest->socket, header, sizeof header, MSG_WAITALL) != sizeof header || header[0] != request ||
            header[2] != size || recv(guest->socket, ret_payload, size, MSG_WAITALL) != (ssize_t)size)
                die("the device gave no answer to request %u", request);
}

static void say_number(const struct guest *guest, uint32_t request, uint64_t value, int fd) {
        say(guest, request, 0, &value, sizeof value, fd);
}

static void say_state(const struct guest *guest, uint32_t request, uint32_t queue, uint32_t value) {
        say(guest, request, 0, (const uint32_t[]){queue, value}, 8, -1);
}

static uint64_t ask_number(const struct guest *guest, uint32_t request) {
        uint64_t value;

        say(guest, request, 0, NULL, 0, -1);
        hear(guest, request, &value, sizeof value);
        return value;
}

static void negotiate(struct guest *guest) {
        const uint64_t wanted = VHOST_USER_FEATURE_PROTOCOL | VHOST_USER_FEATURE_VERSION_1 |
                                VHOST_USER_FEATURE_EVENT_INDEX | VHOST_USER_FEATURE_INDIRECT;
        struct __attribute__((packed)) {
                uint32_t offset, size, flags;
                uint64_t cid;
        } config = {.size = sizeof config.cid};

        if ((ask_number(guest, VHOST_USER_GET_FEATURES) & wanted) != wanted)
                die("the device lacks what this driver needs");
        (void)ask_number(guest, VHOST_USER_GET_PROTOCOL_FEATURES);
        say_number(guest, VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_PROTOCOL_REPLY_ACK | VHOST_USER_PROTOCOL_CONFIG,
                   -1);
        say(guest, VHOST_USER_SET_OWNER, 0, NULL, 0, -1);
        say(guest, VHOST_USER_GET_CONFIG, 0, &config, sizeof config, -1);
        hear(guest, VHOST_USER_GET_CONFIG, &config, sizeof config);
        guest->cid = config.cid;
        say_number(guest, VHOST_USER_SET_FEATURES, wanted, -1);
}

static void share_memory(const struct guest *guest) {
        const uint64_t table[5] = {1, GUEST_BASE, sizeof *guest->map, USER_BASE, 0};
        uint64_t refused;

        say(guest, VHOST_USER_SET_MEM_TABLE, VHOST_USER_NEED_REPLY, table, sizeof table, guest->memory_fd);
        hear(guest, VHOST_USER_SET_MEM_TABLE, &refused, sizeof refused);
        if (refused)
                die("the device refused the guest's memory");
}

static int make_event(int flags) {
        int fd = eventfd(0, EFD_CLOEXEC | flags);

        if (fd < 0)
                die("cannot make an eventfd: %s", strerror(errno));
        return fd;
}

void guest_front_end_start(struct guest *guest) {
        struct guest_queue *queues[2] = {&guest->rx, &guest->tx};

        negotiate(guest);
        share_memory(guest);
        guest->call_fd = make_event(0);
        for (uint32_t i = 0; i < 2; i++) {
                const struct guest_queue_memory *memory = queues[i]->memory;
                const uint64_t addresses[5] = {i, user_address(guest, memory->descriptors),
                                               user_address(guest, &memory->used),
                                               user_address(guest, &memory->available), 0};
                queues[i]->kick_fd = make_event(EFD_NONBLOCK);
                say_state(guest, VHOST_USER_SET_VRING_NUM, i, GUEST_QUEUE_SIZE);
                say_state(guest, VHOST_USER_SET_VRING_BASE, i, 0);
                say(guest, VHOST_USER_SET_VRING_ADDR, 0, addresses, sizeof addresses, -1);
                say_number(guest, VHOST_USER_SET_VRING_CALL, i, guest->call_fd);
                say_number(guest, VHOST_USER_SET_VRING_KICK, i, queues[i]->kick_fd);
        }
        for (uint32_t i = 0; i < 2; i++)
                say_state(guest, VHOST_USER_SET_VRING_ENABLE, i, 1);
}
