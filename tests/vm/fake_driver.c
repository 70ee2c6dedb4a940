/* SPDX-License-Identifier: MIT */
#include "fake_driver.h"

#include "test.h"
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define UNDER_WAY_MAX 32u
#define RX_BUFFERS 64u

struct fake_guest guest;
unsigned under_way;

void await_readable(int fd) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        check_equal(poll(&poll_fd, 1, FAKE_PATIENCE_MS), 1);
}

/* One buffer for each that was used, and a kick if the device waits for that. */
static void give_back(void) {
        uint16_t before = guest.queues[VHOST_USER_RX].published;
        fake_give_buffers(&guest, 1, FAKE_RX_BUFFER);
        if (fake_wants_kick(&guest, VHOST_USER_RX, before))
                check_ok(eventfd_write(guest.kick_fds[VHOST_USER_RX], 1));
}

static void kick(unsigned queue) {
        check_ok(eventfd_write(guest.kick_fds[queue], 1));
}

void driver_plug(const char *socket_path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (socket_path) {
                check(strlen(socket_path) < sizeof address.sun_path);
                strcpy(address.sun_path, socket_path);
                guest.socket = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
                must(connect(guest.socket, (struct sockaddr *)&address, sizeof address));
        }
        fake_realize(&guest);
}

void driver_start(void) {
        under_way = 0;
        fake_driver_starts(&guest, FAKE_FEATURES, 0, 0);
        fake_give_buffers(&guest, RX_BUFFERS, FAKE_RX_BUFFER);
        kick(VHOST_USER_RX);
}

void driver_resume(uint16_t rx_base, uint16_t tx_base) {
        fake_driver_starts(&guest, FAKE_FEATURES, rx_base, tx_base);
        kick(VHOST_USER_RX);
        kick(VHOST_USER_TX);
}

struct vsock_packet driver_packet(uint32_t port, uint32_t guest_port, uint16_t operation, enum vsock_type type) {
        return (struct vsock_packet){
                .source_cid = FAKE_CID, .target_cid = VSOCK_CID_HOST, .source_port = guest_port, .target_port = port,
                .type = type, .operation = operation, .buffer_size = 262144};
}

void driver_send(struct vsock_packet header, const void *payload, uint32_t length) {
        header.length = length;
        while ((under_way -= fake_reclaim(&guest)) == UNDER_WAY_MAX)
                poll(NULL, 0, 1);
        under_way++;
        fake_send(&guest, &header, payload, FAKE_SPLIT);
        kick(VHOST_USER_TX);
}

struct vsock_packet driver_next(void *ret_payload, size_t size) {
        struct vsock_packet header;
        while (!fake_receive(&guest, &header, ret_payload, size))
                if (fake_arm(&guest, VHOST_USER_RX)) {
                        await_readable(guest.call_fds[VHOST_USER_RX]);
                        check_ok(eventfd_read(guest.call_fds[VHOST_USER_RX], &(eventfd_t){0}));
                }
        give_back();
        return header;
}

struct vsock_packet driver_receive(void *ret_payload, size_t size) {
        struct vsock_packet header;
        while ((header = driver_next(ret_payload, size)).operation == VSOCK_CREDIT_UPDATE)
                ;
        return header;
}

struct vsock_packet driver_expect(uint16_t operation) {
        struct vsock_packet header = driver_receive(NULL, 0);
        check_equal(header.operation, operation);
        return header;
}
