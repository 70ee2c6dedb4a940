/* SPDX-License-Identifier: MIT */

/* A non-blocking connect to a VM's guest, as a Windows source waits for it: by select(), in the writable and the exceptional set. */

#include "e2e/vm_world.h"

#include "winsock_test.h"

static SOCKET begin(struct vsock_packet *ret_request) {
        vm_world_open("", "");
        vm_plug("guest");
        start_winsock();
        SOCKET s = new_winsock(SOCK_STREAM);
        set_blocking(s, false);
        check_wsa(winsock_connect(s, &vm_id, &service_id), WSAEWOULDBLOCK);
        *ret_request = driver_expect(VSOCK_REQUEST);
        check_wsa(winsock_connect(s, &vm_id, &service_id), WSAEALREADY);
        check_wsa(send(s, "x", 1, 0), WSAEWOULDBLOCK);
        return s;
}

static void end(SOCKET s) {
        works(closesocket(s));
        fake_guest_free(&guest);
        vm_world_close();
}

static void say(const struct vsock_packet *request, uint16_t operation) {
        driver_send(driver_packet(request->source_port, request->target_port, operation, request->type), NULL, 0);
}

static int error_of(SOCKET s) {
        int error, length = sizeof error;
        works(getsockopt(s, SOL_SOCKET, SO_ERROR, (char *)&error, &length));
        return error;
}

TEST(a_guest_that_accepts_makes_the_socket_writable) {
        struct vsock_packet request;
        TIMEVAL at_once = {0, 0};
        SOCKET s = begin(&request);
        FD_SET writable = {1, {s}}, exceptional = {1, {s}};
        check_equal(select(0, NULL, &writable, &exceptional, &at_once), 0);
        say(&request, VSOCK_RESPONSE);
        FD_SET(s, &writable);
        FD_SET(s, &exceptional);
        check_equal(select(0, NULL, &writable, &exceptional, NULL), 1);
        check(writable.fd_count == 1 && exceptional.fd_count == 0);
        check_equal(error_of(s), 0);
        send_words(s, "hello");
        end(s);
}

TEST(a_guest_that_refuses_makes_it_exceptional) {
        struct vsock_packet request;
        SOCKET s = begin(&request);
        say(&request, VSOCK_RST);
        FD_SET writable = {1, {s}}, exceptional = {1, {s}};
        check_equal(select(0, NULL, &writable, &exceptional, NULL), 1);
        check(writable.fd_count == 0 && exceptional.fd_count == 1);
        check_equal(error_of(s), WSAECONNREFUSED);
        end(s);
}
