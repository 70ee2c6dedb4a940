/* SPDX-License-Identifier: MIT */

/* Non-blocking connects to a guest: hv_connect() does not wait for it, and poll, epoll and SO_ERROR tell what it said. */

#include "base/fd.h"
#include "test.h"
#include "vm_world.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PARKED_MAX 256u /* VM_PARKED_PER_STRANGER */

static void begin(void) {
        vm_world_open("", "");
        vm_plug("guest");
}

static void end(void) {
        fake_guest_free(&guest);
        vm_world_close();
}

static int new_socket(int type) {
        return (int)must(hv_socket(AF_HYPERV, type | SOCK_NONBLOCK, HV_PROTOCOL_RAW));
}

static int connect_again(int fd) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = vm_id, .ServiceId = service_id};
        return hv_connect(fd, (struct sockaddr *)&address, sizeof address);
}

/* Its request has reached the guest, which says nothing yet. */
static struct vsock_packet connect_pending(int fd) {
        check_equal(connect_again(fd), -1);
        check_equal(errno, EINPROGRESS);
        return driver_expect(VSOCK_REQUEST);
}

static void say(const struct vsock_packet *request, uint16_t operation) {
        driver_send(driver_packet(request->source_port, request->target_port, operation, request->type), NULL, 0);
}

static short events_now(int fd) {
        struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
        must(poll(&ready, 1, 0));
        return ready.revents;
}

static short wait_answered(int fd) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        check_equal(must(poll(&ready, 1, -1)), 1);
        return ready.revents;
}

static void wait_writable(int fd) {
        check_equal(wait_answered(fd), POLLOUT);
}

static void wait_failed(int fd) {
        check(wait_answered(fd) & POLLHUP);
}

static int error_of(int fd) {
        int error;
        socklen_t length = sizeof error;
        must(hv_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
        return error;
}

static void check_data(int fd, const struct vsock_packet *request) {
        char bytes[8];
        struct vsock_packet data =
                driver_packet(request->source_port, request->target_port, VSOCK_RW, request->type);
        data.flags = request->type == VSOCK_SEQPACKET ? VSOCK_END_OF_MESSAGE : 0;
        check_equal(must(hv_send(fd, "hello", 5, 0)), 5);
        struct vsock_packet sent = driver_receive(bytes, sizeof bytes);
        check_equal(sent.operation, VSOCK_RW);
        check_equal(sent.length, 5);
        check(!memcmp(bytes, "hello", 5));
        driver_send(data, "you!", 4);
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        must(poll(&ready, 1, -1));
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 4);
}

static void connects(int type) {
        int size, same;
        socklen_t length = sizeof size;
        begin();
        int fd = new_socket(type);
        must(hv_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length));
        struct vsock_packet request = connect_pending(fd);
        check_equal(events_now(fd), 0);
        check_equal(error_of(fd), 0);
        check_equal(connect_again(fd), -1);
        check_equal(errno, EALREADY);
        check_equal(hv_send(fd, "x", 1, 0), -1);
        check_equal(errno, EAGAIN);
        say(&request, VSOCK_RESPONSE);
        wait_writable(fd);
        check_equal(error_of(fd), 0);
        check_data(fd, &request);
        must(hv_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &same, &length));
        check_equal(same, size);
        check_equal(connect_again(fd), 0);
        check_equal(connect_again(fd), -1);
        check_equal(errno, EISCONN);
        must(hv_close(fd));
        end();
}

TEST(a_stream_is_not_writable_before_the_guest_accepts_and_nothing_is_mixed_with_its_data) {
        connects(SOCK_STREAM);
}

TEST(the_same_holds_for_messages) {
        connects(SOCK_SEQPACKET);
}

TEST(an_edge_triggered_waiter_gets_its_edge_when_the_guest_accepts) {
        struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
        begin();
        int fd = new_socket(SOCK_STREAM), set = (int)must(epoll_create1(EPOLL_CLOEXEC));
        must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
        struct vsock_packet request = connect_pending(fd);
        check_equal(must(epoll_wait(set, &event, 1, 0)), 0);
        say(&request, VSOCK_RESPONSE);
        check_equal(must(epoll_wait(set, &event, 1, -1)), 1);
        check_equal(event.events, EPOLLOUT);
        check_data(fd, &request);
        fd_close(set);
        must(hv_close(fd));
        end();
}

static void fails(int type, int error, void (*how)(const struct vsock_packet *request)) {
        char byte;
        begin();
        int fd = new_socket(type);
        struct vsock_packet request = connect_pending(fd);
        how(&request);
        wait_failed(fd);
        check_equal(error_of(fd), error);
        check_equal(hv_recv(fd, &byte, 1, 0), -1);
        check_equal(errno, ECONNRESET);
        must(hv_close(fd));
        end();
}

static void refuse(const struct vsock_packet *request) {
        say(request, VSOCK_RST);
}

static void vanish(const struct vsock_packet *request) {
        (void)request;
        guest.socket = fd_close(guest.socket);
}

static void be_silent(const struct vsock_packet *request) {
        check_equal(driver_expect(VSOCK_RST).target_port, request->target_port);
}

TEST(a_guest_that_refuses_is_econnrefused) {
        fails(SOCK_STREAM, ECONNREFUSED, refuse);
}

TEST(a_guest_that_refuses_messages_is_econnrefused) {
        fails(SOCK_SEQPACKET, ECONNREFUSED, refuse);
}

TEST(a_guest_that_goes_is_ehostunreach) {
        fails(SOCK_STREAM, EHOSTUNREACH, vanish);
}

TEST(a_guest_that_says_nothing_is_etimedout_and_gets_a_reset) {
        fails(SOCK_STREAM, ETIMEDOUT, be_silent);
}

static void broker_goes(void (*goes)(struct world *world), int error) {
        begin();
        int fd = new_socket(SOCK_STREAM);
        connect_pending(fd);
        goes(world);
        wait_failed(fd);
        check_equal(error_of(fd), error);
        must(hv_close(fd));
        fake_guest_free(&guest);
        world_start(world);
        world_end(world);
}

TEST(a_broker_that_is_killed_before_the_guest_answered_is_etimedout) {
        broker_goes(world_kill, ETIMEDOUT);
}

TEST(a_broker_that_ends_before_the_guest_answered_is_ehostunreach) {
        broker_goes(world_stop, EHOSTUNREACH);
}

TEST(a_second_connect_tells_of_a_refusal_too) {
        begin();
        int fd = new_socket(SOCK_STREAM);
        struct vsock_packet request = connect_pending(fd);
        say(&request, VSOCK_RST);
        wait_failed(fd);
        check_equal(connect_again(fd), -1);
        check_equal(errno, ECONNREFUSED);
        check_equal(connect_again(fd), -1);
        check_equal(errno, EISCONN);
        must(hv_close(fd));
        end();
}

TEST(a_service_that_is_disabled_meanwhile_is_the_connects_error) {
        char id[HV_GUID_TEXT_SIZE];
        begin();
        int fd = new_socket(SOCK_STREAM);
        struct vsock_packet request = connect_pending(fd);
        json_object_put(manage(world, "SetServiceEnabled", "{\"service\": \"%s\", \"enabled\": false}",
                               hv_guid_format(&service_id, id)));
        say(&request, VSOCK_RESPONSE);
        driver_expect(VSOCK_RST);
        wait_failed(fd);
        check_equal(error_of(fd), EINVAL);
        must(hv_close(fd));
        end();
}

static void survive(int fd, int survives) {
        must(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECTED_SUSPEND, &survives, sizeof survives));
}

static void survives_if_set(bool before) {
        char bytes[8];
        begin();
        int fd = new_socket(SOCK_STREAM);
        survive(fd, before);
        struct vsock_packet request = connect_pending(fd);
        survive(fd, true);
        say(&request, VSOCK_RESPONSE);
        wait_writable(fd);
        check_data(fd, &request);
        fake_driver_stops(&guest);
        check(await(!is_running()));
        driver_resume(guest.queues[VHOST_USER_RX].used[1], guest.queues[VHOST_USER_TX].used[1]);
        check(await(is_running()));
        driver_send(driver_packet(request.source_port, request.target_port, VSOCK_RW, VSOCK_STREAM), "still", 5);
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        must(poll(&ready, 1, -1));
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 5);
        must(hv_close(fd));
        end();
}

TEST(that_a_channel_survives_a_pause_may_be_said_before_the_connect) {
        survives_if_set(true);
}

TEST(that_a_channel_survives_a_pause_may_be_said_before_the_guest_answered) {
        survives_if_set(false);
}

TEST(a_send_buffer_cannot_be_set_before_the_guest_has_answered) {
        int size = 65536;
        begin();
        int fd = new_socket(SOCK_STREAM);
        struct vsock_packet request = connect_pending(fd);
        check_equal(hv_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), -1);
        check_equal(errno, EALREADY);
        say(&request, VSOCK_RESPONSE);
        wait_writable(fd);
        must(hv_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
        must(hv_close(fd));
        end();
}

TEST(one_user_has_only_so_many_that_are_not_answered_and_the_next_can_be_tried_again) {
        enum { TRIED_MAX = PARKED_MAX + 512 }; /* on a slow machine some are over before the last one began */
        static int fds[TRIED_MAX];
        static struct vsock_packet requests[TRIED_MAX];
        unsigned count = 0;
        begin();
        for (;;) {
                check(count < TRIED_MAX);
                fds[count] = new_socket(SOCK_STREAM);
                check_equal(connect_again(fds[count]), -1);
                if (errno == ENOBUFS)
                        break;
                check_equal(errno, EINPROGRESS);
                do
                        requests[count] = driver_receive(NULL, 0);
                while (requests[count].operation == VSOCK_RST);
                count++;
        }
        check(count >= PARKED_MAX);
        say(&requests[count - 1], VSOCK_RST);
        wait_failed(fds[count - 1]);
        check_equal(connect_again(fds[count]), -1);
        check_equal(errno, EINPROGRESS);
        for (unsigned i = 0; i <= count; i++)
                must(hv_close(fds[i]));
        end();
}
