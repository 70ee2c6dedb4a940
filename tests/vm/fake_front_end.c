/* SPDX-License-Identifier: MIT */

/* The VMM's end of a vhost-user connection: what QEMU 7.2 sends. */

#include "fake_guest.h"

#include "base/fd.h"
#include "test.h"
#include <sys/eventfd.h>
#include <sys/socket.h>

int fake_connect(struct fake_guest *guest) {
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
        guest->socket = ends[0];
        return ends[1];
}

void fake_message(const struct fake_guest *guest, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
                  const int *fds, unsigned fd_count) {
        uint32_t header[3] = {request, VHOST_USER_VERSION | flags, size};
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(32 * sizeof(int))] = {};
        struct iovec pieces[2] = {{header, sizeof header}, {(void *)payload, size}};
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
        if (fd_count) {
                message.msg_control = control;
                message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
                struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
                *rights = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                                           .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(fd_count * sizeof(int))};
                memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
        }
        check_equal(must(sendmsg(guest->socket, &message, MSG_NOSIGNAL)), sizeof header + size);
}

void fake_message_number(const struct fake_guest *guest, uint32_t request, uint64_t value) {
        fake_message(guest, request, 0, &value, sizeof value, NULL, 0);
}

void fake_message_state(const struct fake_guest *guest, uint32_t request, uint32_t index, uint32_t value) {
        uint32_t state[2] = {index, value};
        fake_message(guest, request, 0, state, sizeof state, NULL, 0);
}

bool fake_answer(const struct fake_guest *guest, uint32_t request, void *ret_payload, uint32_t *ret_size) {
        uint32_t header[3];
        ssize_t length = recv(guest->socket, header, sizeof header, MSG_DONTWAIT);
        if (length <= 0)
                return false;
        check_equal(length, sizeof header);
        check_equal(header[0], request);
        check_equal(header[1], VHOST_USER_VERSION | VHOST_USER_IS_REPLY);
        check(header[2] <= VHOST_USER_PAYLOAD_MAX);
        if (header[2])
                check_equal(must(recv(guest->socket, ret_payload, header[2], MSG_DONTWAIT)), header[2]);
        *ret_size = header[2];
        return true;
}

static void make_event(int *fd) {
        fd_close(*fd);
        *fd = (int)must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

static void send_ring_event(const struct fake_guest *guest, uint32_t request, uint64_t ring, int fd) {
        fake_message(guest, request, 0, &ring, sizeof ring, &fd, 1);
}

void fake_realize(struct fake_guest *guest) {
        fake_message(guest, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0);
        fake_message(guest, VHOST_USER_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
        fake_message_number(guest, VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_PROTOCOL_FEATURES);
        fake_message(guest, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0, NULL, 0);
        fake_message(guest, VHOST_USER_GET_MAX_MEM_SLOTS, 0, NULL, 0, NULL, 0);
        fake_message(guest, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0);
        fake_message(guest, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0);
        for (uint64_t ring = 0; ring < 2; ring++) {
                make_event(&guest->call_fds[ring]);
                send_ring_event(guest, VHOST_USER_SET_VRING_CALL, ring, guest->call_fds[ring]);
                send_ring_event(guest, VHOST_USER_SET_VRING_ERR, ring, guest->call_fds[ring]);
        }
        const uint8_t config[12 + 8] = {[4] = 8};
        fake_message(guest, VHOST_USER_GET_CONFIG, 0, config, sizeof config, NULL, 0);
}

static void send_memory(const struct fake_guest *guest) {
        uint64_t table[1 + 4 * FAKE_REGIONS_MAX] = {guest->region_count};
        int fds[FAKE_REGIONS_MAX];
        for (unsigned i = 0; i < guest->region_count; i++) {
                struct guest_region_definition definition = fake_definition(guest, i);
                uint64_t region[4] = {definition.guest_address, definition.size, definition.user_address, 0};
                memcpy(&table[1 + 4 * i], region, sizeof region);
                fds[i] = guest->regions[i].fd;
        }
        fake_message(guest, VHOST_USER_SET_MEM_TABLE, VHOST_USER_NEED_REPLY, table, 8 + 32 * guest->region_count, fds,
                     guest->region_count);
}

void fake_driver_starts(struct fake_guest *guest, uint64_t features, uint16_t rx_base, uint16_t tx_base) {
        const uint16_t bases[2] = {rx_base, tx_base};
        guest->has_event_index = features & VHOST_USER_FEATURE_EVENT_INDEX;
        for (uint64_t ring = 2; ring-- > 0;)
                send_ring_event(guest, VHOST_USER_SET_VRING_CALL, ring, guest->call_fds[ring]);
        fake_message_number(guest, VHOST_USER_SET_FEATURES, features);
        send_memory(guest);
        for (uint32_t ring = 0; ring < 2; ring++) {
                const struct fake_queue *queue = &guest->queues[ring];
                const uint64_t address[5] = {ring, queue->descriptors_address + FAKE_USER_OFFSET,
                                             queue->used_address + FAKE_USER_OFFSET,
                                             queue->available_address + FAKE_USER_OFFSET, 0};
                fake_message_state(guest, VHOST_USER_SET_VRING_NUM, ring, queue->size);
                fake_message_state(guest, VHOST_USER_SET_VRING_BASE, ring, bases[ring]);
                fake_message(guest, VHOST_USER_SET_VRING_ADDR, 0, address, sizeof address, NULL, 0);
                make_event(&guest->kick_fds[ring]);
                send_ring_event(guest, VHOST_USER_SET_VRING_KICK, ring, guest->kick_fds[ring]);
        }
        for (uint32_t ring = 0; ring < 2; ring++)
                fake_message_state(guest, VHOST_USER_SET_VRING_ENABLE, ring, 1);
        for (uint64_t ring = 0; ring < 2; ring++)
                send_ring_event(guest, VHOST_USER_SET_VRING_CALL, ring, guest->call_fds[ring]);
}

void fake_driver_stops(struct fake_guest *guest) {
        for (uint32_t ring = 0; ring < 2; ring++)
                fake_message_state(guest, VHOST_USER_SET_VRING_ENABLE, ring, 0);
        for (uint32_t ring = 0; ring < 2; ring++)
                fake_message_state(guest, VHOST_USER_GET_VRING_BASE, ring, 0);
        for (uint64_t ring = 0; ring < 2; ring++)
                send_ring_event(guest, VHOST_USER_SET_VRING_CALL, ring, guest->call_fds[ring]);
}
