/* SPDX-License-Identifier: MIT */

/* Arguments, options and names of sockets: what the library decides without the broker's policy. */

#include "fake.h"
#include "test.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int set_number(int fd, int level, int option, uint32_t value) {
        return hv_setsockopt(fd, level, option, &value, sizeof value);
}

static uint32_t get_number(int fd, int level, int option) {
        uint32_t value = 0xdeadbeef;
        socklen_t length = sizeof value;
        must(hv_getsockopt(fd, level, option, &value, &length));
        check_equal(length, sizeof value);
        return value;
}

TEST(only_stream_and_seqpacket_of_this_family_and_protocol_can_be_made) {
        check_errno(hv_socket(AF_UNIX, SOCK_STREAM, HV_PROTOCOL_RAW), EAFNOSUPPORT);
        check_errno(hv_socket(AF_UNIX, SOCK_DGRAM, 0), EAFNOSUPPORT);
        static const int types[] = {0, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_DCCP, 15, SOCK_STREAM | 0x100};
        for (unsigned i = 0; i < sizeof types / sizeof *types; i++)
                check_errno(hv_socket(AF_HYPERV, types[i], HV_PROTOCOL_RAW), ESOCKTNOSUPPORT);
        static const int protocols[] = {0, -1, 2, 6};
        for (unsigned i = 0; i < sizeof protocols / sizeof *protocols; i++)
                check_errno(hv_socket(AF_HYPERV, SOCK_STREAM, protocols[i]), EPROTOTYPE);
}

TEST(addresses_are_checked_before_anybody_is_asked) {
        int fd = fake_socket(SOCK_STREAM);
        SOCKADDR_HV address = FAKE_ADDRESS;
        struct sockaddr *given = (struct sockaddr *)&address;
        for (socklen_t length = 0; length < sizeof address; length++)
                check_errno(hv_connect(fd, given, length), EINVAL);
        check_errno(hv_connect(fd, given, (socklen_t)-1), EINVAL);
        check_errno(hv_bind(fd, NULL, sizeof address), EINVAL);
        address.Reserved = 1;
        check_errno(hv_connect(fd, given, sizeof address), EINVAL);
        check_errno(hv_bind(fd, given, sizeof address), EINVAL);
        address.Family = AF_INET;
        check_errno(hv_connect(fd, given, sizeof address), EAFNOSUPPORT);
        check_errno(hv_bind(fd, given, sizeof address), EAFNOSUPPORT);
        must(hv_close(fd));
}

TEST(a_longer_address_is_taken) {
        fake_start();
        char storage[128] = "";
        memcpy(storage, &FAKE_ADDRESS, sizeof FAKE_ADDRESS);
        int fd = fake_socket(SOCK_STREAM);
        must(hv_bind(fd, (struct sockaddr *)storage, sizeof storage));
        must(hv_close(fd));
        fake_end();
}

TEST(addresses_are_given_cut_to_the_room_there_is) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        SOCKADDR_HV whole;
        socklen_t length = sizeof whole;
        must(hv_getsockname(pair.connector, (struct sockaddr *)&whole, &length));
        for (socklen_t room = 0; room <= 40; room++) {
                uint8_t bytes[41];
                memset(bytes, 0x5a, sizeof bytes);
                length = room;
                must(hv_getsockname(pair.connector, (struct sockaddr *)bytes, &length));
                check_equal(length, sizeof whole);
                check(!memcmp(bytes, &whole, room < sizeof whole ? room : sizeof whole));
                for (size_t i = room < sizeof whole ? room : sizeof whole; i < sizeof bytes; i++)
                        check_equal(bytes[i], 0x5a);
        }
        length = (socklen_t)-1;
        check_errno(hv_getpeername(pair.connector, (struct sockaddr *)&whole, &length), EINVAL);
        check_errno(hv_accept(pair.listener, (struct sockaddr *)&whole, &length), EINVAL);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_socket_bound_to_service_zero_has_a_random_one_and_connects_or_listens) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        SOCKADDR_HV zero = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK}, names[2];
        int fds[] = {fake_socket(SOCK_STREAM), fake_socket(SOCK_STREAM)};
        unsigned binds = fake_requests[2];
        for (unsigned i = 0; i < 2; i++) {
                socklen_t length = sizeof names[i];
                must(hv_bind(fds[i], (struct sockaddr *)&zero, sizeof zero));
                must(hv_getsockname(fds[i], (struct sockaddr *)&names[i], &length));
                check(hv_guid_equal(&names[i].VmId, &HV_GUID_LOOPBACK));
                check_errno(hv_bind(fds[i], (struct sockaddr *)&zero, sizeof zero), EINVAL);
                check_errno(hv_bind(fds[i], (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS), EINVAL);
        }
        check(!hv_guid_equal(&names[0].ServiceId, &names[1].ServiceId));
        check_equal(fake_requests[2], binds);
        must(fake_connect(fds[0]));

        SOCKADDR_HV listening;
        socklen_t length = sizeof listening;
        must(hv_listen(fds[1], 1));
        must(hv_getsockname(fds[1], (struct sockaddr *)&listening, &length));
        check(!memcmp(&listening, &names[1], sizeof listening));
        must(hv_listen(fds[1], 2));
        must(hv_close(fds[0]));
        must(hv_close(fds[1]));
        must(hv_close(listener));
        fake_end();
}

TEST(an_unbound_socket_cannot_listen_and_a_bound_one_cannot_be_bound_again) {
        fake_start();
        int fd = fake_socket(SOCK_STREAM);
        check_errno(hv_listen(fd, 1), EINVAL);
        must(hv_bind(fd, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS));
        check_errno(hv_bind(fd, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS), EINVAL);
        must(hv_close(fd));
        fake_end();
}

TEST(what_is_no_socket_or_not_ours_is_refused_by_every_call) {
        int null = (int)must(open("/dev/null", O_RDWR | O_CLOEXEC)), tcp = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        SOCKADDR_HV address = FAKE_ADDRESS;
        struct sockaddr *given = (struct sockaddr *)&address;
        int value = 0;
        socklen_t length = sizeof address, size = sizeof value;
        const struct {
                int fd, error;
        } wrong[] = {{null, ENOTSOCK}, {-1, EBADF}, {1000000, EBADF}};
        for (unsigned i = 0; i < 3; i++) {
                int fd = wrong[i].fd, error = wrong[i].error;
                check_errno(hv_bind(fd, given, sizeof address), error);
                check_errno(hv_connect(fd, given, sizeof address), error);
                check_errno(hv_listen(fd, 1), error);
                check_errno(hv_accept(fd, NULL, NULL), error);
                check_errno(hv_send(fd, "x", 1, 0), error);
                check_errno(hv_recv(fd, &value, 1, 0), error);
                check_errno(hv_shutdown(fd, SHUT_WR), error);
                check_errno(hv_getsockname(fd, given, &length), error);
                check_errno(hv_getpeername(fd, given, &length), error);
                check_errno(hv_ioctl(fd, FIONREAD, &value), error);
                check_errno(set_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 1), error);
                check_errno(set_number(fd, SOL_SOCKET, SO_SNDBUF, 4096), error);
                check_errno(hv_getsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &value, &size), error);
                check_errno(hv_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &size), error);
        }
        check_errno(hv_getsockname(tcp, given, &length), EINVAL);
        check_errno(hv_listen(tcp, 1), EINVAL);
        check_errno(hv_bind(tcp, given, sizeof address), EAFNOSUPPORT);
        close(null);
        close(tcp);
}

/* ---- options ---- */

TEST(the_connect_timeout_has_a_default_and_a_limit) {
        int fd = fake_socket(SOCK_STREAM);
        check_equal(get_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT), 2000);
        must(set_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 300000));
        check_errno(set_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 300001), EINVAL);
        check_equal(get_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT), 300000);
        must(set_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 0));
        check_equal(get_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT), 2000);
        uint16_t half = 5;
        check_errno(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &half, sizeof half), EINVAL);
        must(hv_close(fd));
}

TEST(hyper_v_options_are_kept_and_those_that_mean_nothing_are_refused) {
        int fd = fake_socket(SOCK_STREAM);
        static const int flags[] = {HVSOCKET_CONTAINER_PASSTHRU, HVSOCKET_CONNECTED_SUSPEND};
        for (unsigned i = 0; i < 2; i++) {
                check_equal(get_number(fd, SOL_HVSOCKET, flags[i]), 0);
                must(set_number(fd, SOL_HVSOCKET, flags[i], 77));
                check_equal(get_number(fd, SOL_HVSOCKET, flags[i]), 1);
                check_equal(get_number(fd, SOL_HVSOCKET, flags[!i]), 0);
                must(set_number(fd, SOL_HVSOCKET, flags[i], 0));
                check_equal(get_number(fd, SOL_HVSOCKET, flags[i]), 0);
        }
        must(set_number(fd, SOL_HVSOCKET, HVSOCKET_HIGH_VTL, 0));
        check_errno(set_number(fd, SOL_HVSOCKET, HVSOCKET_HIGH_VTL, 1), EOPNOTSUPP);
        check_equal(get_number(fd, SOL_HVSOCKET, HVSOCKET_HIGH_VTL), 0);
        check_errno(set_number(fd, SOL_HVSOCKET, 3, 1), ENOPROTOOPT);
        check_errno(set_number(fd, 0x4857, HVSOCKET_CONNECT_TIMEOUT, 1), ENOPROTOOPT);
        check_errno(set_number(fd, SOL_SOCKET, SO_PASSCRED, 1), ENOPROTOOPT);
        check_errno(set_number(fd, SOL_SOCKET, SO_OOBINLINE, 0), ENOPROTOOPT);
        check_errno(set_number(fd, SOL_SOCKET, SO_TYPE, 1), ENOPROTOOPT);
        must(hv_close(fd));
}

TEST(passthru_is_told_to_the_broker_with_bind_and_connect) {
        fake_start();
        int listener = fake_socket(SOCK_STREAM), fd = fake_socket(SOCK_STREAM);
        must(set_number(listener, SOL_HVSOCKET, HVSOCKET_CONTAINER_PASSTHRU, 1));
        must(hv_bind(listener, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS));
        check_equal(fake_last_flags, 1);
        must(hv_listen(listener, 1));
        must(fake_connect(fd));
        check_equal(fake_last_flags, 0);
        must(hv_close(fd));
        fd = fake_socket(SOCK_STREAM);
        must(set_number(fd, SOL_HVSOCKET, HVSOCKET_CONTAINER_PASSTHRU, 1));
        must(fake_connect(fd));
        check_equal(fake_last_flags, 1);
        must(hv_close(fd));
        must(hv_close(listener));
        fake_end();
}

TEST(a_socket_says_that_it_is_a_hyper_v_socket) {
        int fd = fake_socket(SOCK_SEQPACKET);
        check_equal(get_number(fd, SOL_SOCKET, SO_DOMAIN), AF_HYPERV);
        check_equal(get_number(fd, SOL_SOCKET, SO_PROTOCOL), HV_PROTOCOL_RAW);
        check_equal(get_number(fd, SOL_SOCKET, SO_TYPE), SOCK_SEQPACKET);
        must(hv_close(fd));
}

TEST(options_belong_to_the_socket_and_not_to_its_number) {
        int fd = fake_socket(SOCK_STREAM);
        must(set_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 5));
        int duplicate = (int)must(dup(fd));
        must(hv_close(fd));
        check_equal(fake_socket(SOCK_STREAM), fd);
        check_equal(get_number(duplicate, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT), 5);
        check_equal(get_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT), 2000);
        must(hv_close(fd));
        must(hv_close(duplicate));
}

TEST(state_of_a_thousand_closed_sockets_goes_and_that_of_open_ones_stays) {
        int open[3];
        for (unsigned i = 0; i < 3; i++) {
                open[i] = fake_socket(SOCK_STREAM);
                must(set_number(open[i], SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 100 + i));
        }
        for (unsigned i = 0; i < 5000; i++) {
                int fd = fake_socket(SOCK_STREAM);
                must(set_number(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 1));
                must(i % 2 ? close(fd) : hv_close(fd));
        }
        for (unsigned i = 0; i < 3; i++) {
                check_equal(get_number(open[i], SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT), 100 + i);
                must(hv_close(open[i]));
        }
}

TEST(peer_credentials_are_what_the_broker_wrote_or_what_the_kernel_knows) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        struct ucred peer;
        socklen_t length = sizeof peer;
        must(hv_getsockopt(pair.acceptor, SOL_SOCKET, SO_PEERCRED, &peer, &length));
        check(peer.pid == 4321 && peer.uid == 1234 && peer.gid == 5678);
        must(hv_getsockopt(pair.connector, SOL_SOCKET, SO_PEERCRED, &peer, &length));
        check(peer.pid == getpid() && peer.uid == geteuid());
        check_errno(hv_getsockopt(pair.listener, SOL_SOCKET, SO_PEERCRED, &peer, &length), ENOTCONN);
        fake_pair_close(&pair);
        fake_end();
}

TEST(unknown_ioctls_are_refused_and_nonblocking_can_be_set) {
        int fd = fake_socket(SOCK_STREAM), value = 1;
        must(hv_ioctl(fd, FIONBIO, &value));
        check(must(fcntl(fd, F_GETFL)) & O_NONBLOCK);
        check_errno(hv_ioctl(fd, SIOCATMARK, &value), EINVAL);
        must(hv_close(fd));
}

/* ---- GUIDs and ports, through the public door ---- */

TEST(ports_and_services_are_the_same_both_ways_to_the_edges) {
        static const uint32_t ports[] = {0, 1, 2761, 0x7ffffffe, HV_PORT_MAX};
        for (unsigned i = 0; i < sizeof ports / sizeof *ports; i++) {
                GUID service;
                uint32_t port = 0xdeadbeef;
                must(hv_service_from_port(ports[i], &service));
                must(hv_service_to_port(&service, &port));
                check_equal(port, ports[i]);
        }
        GUID service = FAKE_PARTITION;
        check_errno(hv_service_from_port(HV_PORT_MAX + 1, &service), EINVAL);
        check(hv_guid_equal(&service, &FAKE_PARTITION));
        uint32_t port = 5;
        check_errno(hv_service_to_port(&service, &port), EINVAL);
        service = HV_GUID_VSOCK_TEMPLATE;
        service.Data1 = 0x80000000;
        check_errno(hv_service_to_port(&service, &port), EINVAL);
        check_equal(port, 5);
}

TEST(what_can_be_told_of_a_name_without_a_broker_is) {
        must(setenv("HVSOCK_SOCKET", "/nonexistent", 1));
        GUID guid;
        must(hv_partition_by_name("parent", &guid));
        check(hv_guid_equal(&guid, &HV_GUID_PARENT));
        must(hv_partition_by_name("{9A271710-0007-0007-0700-000000000000}", &guid));
        check(hv_guid_equal(&guid, &FAKE_PARTITION));
        must(hv_service_by_name("vsock:2761", &guid));
        check_equal(guid.Data1, 2761);
        static const char *const bad[] = {"vsock:", "vsock:-1", "vsock:+1", "vsock: 1", "vsock:1x", "vsock:2147483648",
                                          "vsock:99999999999999999999", "vsock:0x10"};
        GUID before = guid;
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
                check_errno(hv_service_by_name(bad[i], &guid), EINVAL);
        check(hv_guid_equal(&guid, &before));
        check_errno(hv_service_by_name("", &guid), EINVAL);
        check_errno(hv_partition_by_name("", &guid), EINVAL);
        check_errno(hv_partition_by_name("web01", &guid), ENETDOWN);
}

TEST(names_are_asked_for_up_to_255_bytes) {
        fake_start();
        GUID guid = HV_GUID_ZERO;
        char longest[257];
        memset(longest, 'x', sizeof longest);
        must(hv_partition_by_name("known", &guid));
        check(hv_guid_equal(&guid, &FAKE_PARTITION));
        must(hv_service_by_name("known", &guid));
        check_errno(hv_service_by_name("unknown", &guid), ENOENT);
        longest[255] = 0;
        check_errno(hv_partition_by_name(longest, &guid), ENOENT);
        longest[255] = 'x';
        longest[256] = 0;
        check_errno(hv_partition_by_name(longest, &guid), EINVAL);
        fake_end();
}

TEST(a_program_learns_its_partition_into_a_struct_of_its_own_size) {
        fake_start();
        struct {
                struct hv_partition partition;
                char beyond[16];
        } self;
        memset(&self, 0x5a, sizeof self);
        self.partition.struct_size = sizeof self;
        must(hv_self(&self.partition));
        check_equal(self.partition.struct_size, sizeof self.partition);
        check(hv_guid_equal(&self.partition.vm_id, &FAKE_PARTITION));
        check_equal(self.partition.kind, HV_PARTITION_VM);
        check_string(self.partition.label, "fake");
        check_equal(self.beyond[0], 0x5a);
        self.partition.struct_size = 0;
        check_errno(hv_self(&self.partition), EINVAL);
        fake_end();
}
