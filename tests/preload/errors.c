/* SPDX-License-Identifier: MIT */

/*
 * What callers get told: each case of hvsock-errors(7) that a connect, a bind or another call can meet, on AF_VSOCK, which
 * has the kernel's errno, and on AF_HYPERV, which has hvsock's.
 */

#include "preload_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#define AF_HYPERV 34
#define SOL_HVSOCKET 0x4856
#define HVSOCKET_CONNECT_TIMEOUT 1
#define UNREGISTERED 6000
#define CLOSED 7001 /* registered in a test, for nobody to connect to */
#define OFF_CID 77
#define QUOTA 32 /* of listeners, and of channels, of a partition: see quotas.conf */
#define NOBODYS_CID 99

/* As the Windows SDK has it. */
struct sockaddr_hv {
        uint16_t family, reserved;
        uint8_t vm_id[16], service_id[16];
};

enum { WILDCARD, LOOPBACK, PARENT, NOBODY, OFF };
static const uint8_t vm_ids[][16] = {
        [LOOPBACK] = {0x97, 0x61, 0xe1, 0xe0, 0x56, 0xdd, 0x10, 0x4a, 0x91, 0x95, 0x5e, 0xe7, 0xa1, 0x55, 0xa8, 0x38},
        [PARENT] = {0xda, 0x7c, 0x2e, 0xa4, 0x3f, 0xd0, 0x0c, 0x48, 0x9c, 0xc2, 0xa4, 0xde, 0x20, 0xab, 0xb8, 0x78},
        [NOBODY] = {1, 2, 3},
        [OFF] = {0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0x40, 0x80, 0, 0, 0, 0, 0, 0, 0x77},
};
#define OFF_ID "aaaaaaaa-0000-4000-8000-000000000077"

static struct sockaddr_hv hv_at(const uint8_t vm_id[16], uint32_t port) {
        struct sockaddr_hv address = {.family = AF_HYPERV, .service_id = {port & 255, port >> 8 & 255, port >> 16 & 255, port >> 24,
                                      0xcb, 0xfa, 0xe6, 0x11, 0xbd, 0x58, 0x64, 0, 0x6a, 0x79, 0x86, 0xd3}};
        memcpy(address.vm_id, vm_id, sizeof address.vm_id);
        return address;
}

static int new_hv(int type) {
        return (int)must(socket(AF_HYPERV, type, 1));
}

/* Both families say what they are to say of a connect from here. */
static void check_connects(unsigned cid, int vm, unsigned port, int vsock_error, int hv_error) {
        struct sockaddr_hv address = hv_at(vm_ids[vm], port);
        int fd = new_socket(SOCK_STREAM);
        check_errno(connect(fd, ADDRESS(cid, port), ADDRESS_SIZE), vsock_error);
        must(close(fd));
        fd = new_hv(SOCK_STREAM);
        check_errno(connect(fd, (struct sockaddr *)&address, sizeof address), hv_error);
        must(close(fd));
}

/* The listener's errno, from whichever call finds out; else 0. */
static int serve_error(int fd, const void *address, socklen_t size) {
        int error = bind(fd, address, size) < 0 || listen(fd, 1) < 0 ? errno : 0;
        must(close(fd));
        return error;
}

static void check_binds(unsigned port, int vsock_error, int hv_error) {
        struct sockaddr_hv address = hv_at(vm_ids[WILDCARD], port);
        check_equal(serve_error(new_socket(SOCK_STREAM), ADDRESS(VMADDR_CID_ANY, port), ADDRESS_SIZE), vsock_error);
        check_equal(serve_error(new_hv(SOCK_STREAM), &address, sizeof address), hv_error);
}

static void in_web01(void (*body)(void)) {
        finish(begin_in(WEB01, body));
}

/* ---- who is there, and who may ---- */

static void dial_unregistered(void) {
        ready();
        check_connects(2, PARENT, UNREGISTERED, ECONNRESET, EACCES);
        check_binds(UNREGISTERED, EACCES, EACCES);
}

TEST(a_service_that_is_not_registered_is_a_reset_or_eacces_across_a_boundary) {
        in_web01(dial_unregistered);
}

static void dial_refused(void) {
        ready();
        check_connects(2, PARENT, PORT, ECONNRESET, ECONNREFUSED);
}

TEST(where_nobody_listens_a_connect_is_a_reset_or_econnrefused) {
        in_web01(dial_refused);
        check_connects(VMADDR_CID_LOCAL, LOOPBACK, PORT, ECONNRESET, ECONNREFUSED);
}

TEST(a_listener_that_excludes_the_caller_is_the_same_as_none) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        in_web01(dial_refused);
        must(close(listener));
}

TEST(a_full_backlog_is_the_same_as_nobody) {
        int listener = new_socket(SOCK_STREAM), connectors[16], count = 0;
        must(bind(listener, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE));
        must(listen(listener, 2));
        while ((connectors[count] = new_socket(SOCK_STREAM)) >= 0 &&
               connect(connectors[count], ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE) == 0)
                check(++count < 15);
        check_equal(errno, ECONNRESET);
        check(count >= 2);
        check_connects(VMADDR_CID_LOCAL, LOOPBACK, PORT, ECONNRESET, ECONNREFUSED);
        for (; count >= 0; count--)
                must(close(connectors[count]));
        must(close(listener));
}

static void dial_other_type(void) {
        ready();
        check_connects(2, PARENT, PORT, ECONNRESET, EPROTOTYPE);
}

TEST(a_listener_of_the_other_type_is_a_reset_or_eprototype) {
        int listener = listening(VMADDR_CID_ANY, PORT, SOCK_SEQPACKET);
        in_web01(dial_other_type);
        must(close(listener));
}

static void dial_closed(void) {
        ready();
        check_connects(2, PARENT, CLOSED, ECONNRESET, EACCES);
        check_binds(CLOSED, EACCES, EACCES);
}

TEST(who_may_not_connect_or_bind_is_told_a_reset_or_eacces) {
        check_equal(run("hvsock service add --id vsock:%d --connect nobody --bind host Closed >/dev/null", CLOSED), 0);
        in_web01(dial_closed);
        check_equal(run("hvsock service remove Closed"), 0);
}

static void dial_disabled(void) {
        ready();
        check_connects(2, PARENT, PORT, ECONNRESET, EINVAL);
        check_binds(PORT, EINVAL, EINVAL);
}

TEST(a_disabled_service_is_a_reset_or_einval) {
        check_equal(run("hvsock service disable 'Port %d'", PORT), 0);
        in_web01(dial_disabled);
        check_equal(run("hvsock service enable 'Port %d'", PORT), 0);
}

TEST(a_partition_that_there_is_not_is_enodev_or_eaddrnotavail) {
        check_connects(NOBODYS_CID, NOBODY, PORT, ENODEV, EADDRNOTAVAIL);
        check_connects(VMADDR_CID_ANY, WILDCARD, PORT, ENODEV, EADDRNOTAVAIL);
}

TEST(a_vm_that_does_not_run_is_enodev_or_ehostunreach) {
        check_equal(run("hvsock vm add off --id " OFF_ID " --cid %d >/dev/null", OFF_CID), 0);
        check_connects(OFF_CID, OFF, PORT, ENODEV, EHOSTUNREACH);
        check_equal(run("hvsock vm remove off"), 0);
}

static void dial_without_broker(void) {
        ready();
        setenv("HVSOCK_SOCKET", "/nonexistent", 1);
        check_connects(2, PARENT, PORT, ENODEV, ENETDOWN);
        check_binds(PORT, EADDRNOTAVAIL, ENETDOWN);
}

TEST(where_no_broker_is_a_connect_is_enodev_and_a_bind_eaddrnotavail_or_both_enetdown) {
        in_web01(dial_without_broker);
}

TEST(an_address_that_is_bound_is_eaddrinuse) {
        int listener = listening(VMADDR_CID_ANY, PORT, SOCK_STREAM);
        check_binds(PORT, EADDRINUSE, EADDRINUSE);
        must(close(listener));
}

static void set_short_timeouts(int vsock_fd, int hv_fd) {
        struct timeval timeout = {.tv_usec = 100000};
        uint32_t milliseconds = 100;
        must(setsockopt(vsock_fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout, sizeof timeout));
        must(setsockopt(hv_fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &milliseconds, sizeof milliseconds));
}

static void dial_silent(void) {
        char directory[] = "/tmp/hvsock-preload-XXXXXX";
        struct sockaddr_hv parent = hv_at(vm_ids[PARENT], PORT);
        int vsock_fd = new_socket(SOCK_STREAM), hv_fd = new_hv(SOCK_STREAM);
        ready();
        (void)listen_in_silence(directory);
        set_short_timeouts(vsock_fd, hv_fd);
        check_errno(connect(vsock_fd, ADDRESS(2, PORT), ADDRESS_SIZE), ETIMEDOUT);
        check_errno(connect(hv_fd, (struct sockaddr *)&parent, sizeof parent), ETIMEDOUT);
        check_equal(run("rm -r %s", directory), 0);
}

TEST(a_broker_that_does_not_answer_in_time_is_a_timeout) {
        in_web01(dial_silent);
}

/* Who closes does not say so: where a quota is reached, the broker looks for them, at most once a second. */
static void await_room(unsigned *waited_ms) {
        check_equal(errno, ENOBUFS);
        check((*waited_ms += 10) < 10000);
        usleep(10000);
}

static int bound_at_last(unsigned port) {
        unsigned waited_ms = 0;
        int fd = new_socket(SOCK_STREAM);
        while (bind(fd, ADDRESS(VMADDR_CID_LOCAL, port), ADDRESS_SIZE) < 0)
                await_room(&waited_ms);
        return fd;
}

static int connected_at_last(void) {
        unsigned waited_ms = 0;
        int fd = new_socket(SOCK_STREAM);
        while (connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE) < 0)
                await_room(&waited_ms);
        return fd;
}

TEST(over_a_quota_of_listeners_it_is_enobufs) {
        int listeners[QUOTA];
        for (unsigned i = 0; i < QUOTA; i++)
                listeners[i] = bound_at_last(20000 + i);
        check_binds(PORT, ENOBUFS, ENOBUFS);
        for (unsigned i = 0; i < QUOTA; i++)
                must(close(listeners[i]));
        must(close(bound_at_last(PORT)));
}

TEST(over_a_quota_of_channels_it_is_enobufs) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), connectors[QUOTA];
        for (unsigned i = 0; i < QUOTA; i++)
                connectors[i] = connected_at_last();
        check_connects(VMADDR_CID_LOCAL, LOOPBACK, PORT, ENOBUFS, ENOBUFS);
        for (unsigned i = 0; i < QUOTA; i++)
                must(close(connectors[i]));
        must(close(connected_at_last()));
        must(close(listener));
}

/* ---- wrong arguments ---- */

TEST(a_type_or_protocol_that_there_is_not_has_its_own_errno) {
        int fds[2];
        check_errno(socket(AF_VSOCK, SOCK_DGRAM, 0), ENODEV);
        check_errno(socket(AF_VSOCK, SOCK_RAW, 0), ESOCKTNOSUPPORT);
        check_errno(socket(AF_VSOCK, SOCK_STREAM, 7), EPROTONOSUPPORT);
        check_errno(socketpair(AF_VSOCK, SOCK_STREAM, 0, fds), EOPNOTSUPP);
        check_errno(socket(AF_HYPERV, SOCK_DGRAM, 1), ESOCKTNOSUPPORT);
        check_errno(socket(AF_HYPERV, SOCK_RAW, 1), ESOCKTNOSUPPORT);
        check_errno(socket(AF_HYPERV, SOCK_STREAM, 7), EPROTOTYPE);
        check_errno(socketpair(AF_HYPERV, SOCK_STREAM, 1, fds), EOPNOTSUPP);
}

TEST(an_address_that_is_too_short_or_of_another_family_is_refused) {
        struct sockaddr_vm vsock = at(VMADDR_CID_LOCAL, PORT);
        struct sockaddr_hv hv = hv_at(vm_ids[LOOPBACK], PORT);
        int vsock_fd = new_socket(SOCK_STREAM), hv_fd = new_hv(SOCK_STREAM);
        for (socklen_t length = 0; length < sizeof vsock; length++) {
                check_errno(bind(vsock_fd, (struct sockaddr *)&vsock, length), EINVAL);
                check_errno(connect(vsock_fd, (struct sockaddr *)&vsock, length), EINVAL);
        }
        for (socklen_t length = 0; length < sizeof hv; length++) {
                check_errno(bind(hv_fd, (struct sockaddr *)&hv, length), EINVAL);
                check_errno(connect(hv_fd, (struct sockaddr *)&hv, length), EINVAL);
        }
        vsock.svm_family = hv.family = AF_INET;
        check_errno(bind(vsock_fd, (struct sockaddr *)&vsock, sizeof vsock), EINVAL);
        check_errno(connect(vsock_fd, (struct sockaddr *)&vsock, sizeof vsock), EINVAL);
        check_errno(bind(hv_fd, (struct sockaddr *)&hv, sizeof hv), EAFNOSUPPORT);
        check_errno(connect(hv_fd, (struct sockaddr *)&hv, sizeof hv), EAFNOSUPPORT);
        must(close(vsock_fd));
        must(close(hv_fd));
}

/* ---- a socket that is not what the call is for ---- */

static void check_unconnected(int fd) {
        struct sockaddr_storage name;
        socklen_t length = sizeof name;
        check_errno(accept(fd, NULL, NULL), EINVAL);
        check_errno(accept4(fd, NULL, NULL, 0), EINVAL);
        check_errno(getpeername(fd, (struct sockaddr *)&name, &length), ENOTCONN);
        check_errno(shutdown(fd, SHUT_RDWR), ENOTCONN);
        check_errno(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
        must(close(fd));
}

TEST(without_a_connection_it_is_enotconn_or_einval) {
        check_unconnected(new_socket(SOCK_STREAM));
        check_unconnected(new_hv(SOCK_STREAM));
}

static struct ends connect_hv_here(void) {
        struct sockaddr_hv address = hv_at(vm_ids[LOOPBACK], PORT);
        struct ends ends = {.connector = new_hv(SOCK_STREAM)};
        int listener = new_hv(SOCK_STREAM);
        must(bind(listener, (struct sockaddr *)&address, sizeof address));
        must(listen(listener, 1));
        must(connect(ends.connector, (struct sockaddr *)&address, sizeof address));
        ends.acceptor = accepted(listener);
        must(close(listener));
        return ends;
}

TEST(with_a_connection_a_connect_is_eisconn_and_a_listen_einval) {
        struct sockaddr_hv address = hv_at(vm_ids[LOOPBACK], PORT);
        struct ends ends[] = {connect_here(PORT, SOCK_STREAM), connect_hv_here()};
        check_errno(connect(ends[0].connector, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EISCONN);
        check_errno(connect(ends[1].connector, (struct sockaddr *)&address, sizeof address), EISCONN);
        for (size_t i = 0; i < count_of(ends); i++) {
                check_errno(listen(ends[i].connector, 1), EINVAL);
                check_errno(shutdown(ends[i].connector, 7), EINVAL);
                ends_close(&ends[i]);
        }
}

static void check_half_closed(struct ends ends) {
        char byte;
        must(shutdown(ends.connector, SHUT_WR));
        check_errno(send(ends.connector, "x", 1, MSG_NOSIGNAL), EPIPE);
        check_end(ends.acceptor);
        give(ends.acceptor, "y");
        check_given(ends.connector, "y");
        must(close(ends.acceptor));
        check_errno(send(ends.connector, "x", 1, MSG_NOSIGNAL), EPIPE);
        check_equal(read(ends.connector, &byte, 1), 0);
        must(close(ends.connector));
}

TEST(after_a_shutdown_a_send_is_epipe_and_the_other_way_goes_on) {
        check_half_closed(connect_here(PORT, SOCK_STREAM));
        check_half_closed(connect_hv_here());
}

static void check_vanished(struct ends ends) {
        char byte;
        give(ends.connector, "never read");
        must(close(ends.acceptor));
        check_errno(read(ends.connector, &byte, 1), ECONNRESET);
        check_errno(send(ends.connector, "x", 1, MSG_NOSIGNAL), EPIPE);
        must(close(ends.connector));
}

TEST(a_peer_that_closes_with_data_unread_is_a_reset) {
        check_vanished(connect_here(PORT, SOCK_STREAM));
        check_vanished(connect_hv_here());
}

static void check_not_aborted(struct ends ends) {
        const struct linger at_once = {1, 0};
        must(setsockopt(ends.connector, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
        give(ends.connector, "last words");
        must(close(ends.connector));
        check_given(ends.acceptor, "last words");
        check_end(ends.acceptor);
        must(close(ends.acceptor));
}

TEST(a_close_with_so_linger_0_aborts_nothing) {
        check_not_aborted(connect_here(PORT, SOCK_STREAM));
        check_not_aborted(connect_hv_here());
}

TEST(an_option_that_there_is_not_is_enoprotoopt) {
        int value = 0, fds[] = {new_socket(SOCK_STREAM), new_hv(SOCK_STREAM)};
        socklen_t length = sizeof value;
        for (size_t i = 0; i < count_of(fds); i++) {
                check_errno(getsockopt(fds[i], SOL_SOCKET, 4711, &value, &length), ENOPROTOOPT);
                check_errno(setsockopt(fds[i], SOL_SOCKET, 4711, &value, sizeof value), ENOPROTOOPT);
        }
        check_errno(getsockopt(fds[0], AF_VSOCK, 4711, &value, &length), ENOPROTOOPT);
        check_errno(setsockopt(fds[0], AF_VSOCK, 4711, &value, sizeof value), ENOPROTOOPT);
        must(close(fds[0]));
        must(close(fds[1]));
}
