/* SPDX-License-Identifier: MIT */

/* CIDs, ports and names, between two VMs and their host. */

#include "preload_test.h"

#include <linux/capability.h>
#include <sys/syscall.h>

#define EPHEMERAL 0x80000000u

/* Accepts one connection from `cid`, at what it dialled, and echoes. */
static void echo(int listener, unsigned from_cid, unsigned dialled_cid) {
        struct sockaddr_vm peer;
        socklen_t length = sizeof peer;
        int fd = (int)must(accept(listener, (struct sockaddr *)&peer, &length));
        check_equal(length, sizeof peer);
        check(peer.svm_port >= EPHEMERAL);
        check_name(peer, from_cid, peer.svm_port);
        check_name(peer_name(fd), from_cid, peer.svm_port);
        check_name(own_name(fd), dialled_cid, PORT);
        check_given(fd, "port");
        check_equal(write(fd, &peer.svm_port, sizeof peer.svm_port), sizeof peer.svm_port);
        check_end(fd);
        give(fd, "half");
        must(close(fd));
        must(close(listener));
}

static void ask(unsigned cid, unsigned own_cid) {
        unsigned port;
        int fd = connected(cid, PORT, SOCK_STREAM);
        check_name(peer_name(fd), cid, PORT);
        give(fd, "port");
        check_equal(read(fd, &port, sizeof port), sizeof port);
        check_name(own_name(fd), own_cid, port);
        must(shutdown(fd, SHUT_WR));
        check_given(fd, "half");
        check_end(fd);
        must(close(fd));
}

static void serve_the_host(void) {
        int listener = listening(VMADDR_CID_ANY, PORT, SOCK_STREAM);
        ready();
        echo(listener, VMADDR_CID_HOST, WEB02_CID);
}

TEST(a_vm_is_reached_by_its_cid_and_sees_its_host_as_cid_2) {
        pid_t server = begin_in(WEB02, serve_the_host);
        ask(WEB02_CID, VMADDR_CID_ANY);
        finish(server);
}

static void ask_the_host(void) {
        ready();
        ask(VMADDR_CID_HOST, VMADDR_CID_ANY);
}

TEST(cid_2_is_a_vms_host_which_sees_it_by_its_cid) {
        int listener = listening(VMADDR_CID_ANY, PORT, SOCK_STREAM);
        pid_t client = begin_in(WEB01, ask_the_host);
        echo(listener, WEB01_CID, VMADDR_CID_HOST);
        finish(client);
}

static void ask_itself(unsigned bound, unsigned dialled) {
        int listener = listening(bound, PORT, SOCK_STREAM);
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                ask(dialled, VMADDR_CID_ANY);
                _exit(0);
        }
        echo(listener, VMADDR_CID_LOCAL, dialled);
        finish(pid);
}

static void loop_in_a_vm(void) {
        ready();
        ask_itself(VMADDR_CID_LOCAL, VMADDR_CID_LOCAL);
        ask_itself(VMADDR_CID_ANY, VMADDR_CID_LOCAL);
        ask_itself(VMADDR_CID_ANY, WEB01_CID);
        ask_itself(WEB01_CID, WEB01_CID);
}

TEST(cid_1_and_the_own_cid_are_loopback_which_is_cid_1_to_who_accepts) {
        finish(begin_in(WEB01, loop_in_a_vm));
        ask_itself(VMADDR_CID_ANY, VMADDR_CID_LOCAL);
        ask_itself(VMADDR_CID_HOST, VMADDR_CID_HOST);
}

static void listen_in_a_vm(void) {
        int listener = listening(VMADDR_CID_ANY, PORT, SOCK_STREAM);
        ready();
        struct pollfd waiting = {.fd = listener, .events = POLLIN};
        check_equal(poll(&waiting, 1, 0), 0);
        must(close(listener));
}

static void dial_a_stranger(void) {
        ready();
        int fd = new_socket(SOCK_STREAM);
        check_errno(connect(fd, ADDRESS(WEB02_CID, PORT), ADDRESS_SIZE), ENODEV);
        check_errno(connect(fd, ADDRESS(99, PORT), ADDRESS_SIZE), ENODEV);
        check_errno(connect(fd, ADDRESS(VMADDR_CID_ANY, PORT), ADDRESS_SIZE), ENODEV);
        check_errno(connect(fd, ADDRESS(VMADDR_CID_HYPERVISOR, PORT), ADDRESS_SIZE), ENETUNREACH);
        must(close(fd));
}

TEST(a_cid_that_is_nobodys_or_a_strangers_is_no_device) {
        pid_t stranger = begin_in(WEB02, listen_in_a_vm);
        finish(begin_in(WEB01, dial_a_stranger));
        finish(stranger);
}

TEST(a_listener_for_cid_1_may_be_beside_one_for_all_and_is_the_one_that_is_dialled) {
        int all = listening(VMADDR_CID_ANY, PORT, SOCK_STREAM), local = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        int fd = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), own = connected(VMADDR_CID_HOST, PORT, SOCK_STREAM);
        struct pollfd waiting = {.fd = all, .events = POLLIN};
        int acceptors[] = {accepted(local), accepted(local)};
        check_equal(poll(&waiting, 1, 0), 0);
        check_talk(fd, acceptors[0]);
        check_talk(own, acceptors[1]);
        const int fds[] = {all, local, fd, own, acceptors[0], acceptors[1]};
        for (size_t i = 0; i < count_of(fds); i++)
                must(close(fds[i]));
}

TEST(only_cids_of_its_own_can_be_bound) {
        static const unsigned others[] = {VMADDR_CID_HYPERVISOR, WEB01_CID, 99};
        int fd = new_socket(SOCK_STREAM);
        for (size_t i = 0; i < count_of(others); i++)
                check_errno(bind(fd, ADDRESS(others[i], PORT), ADDRESS_SIZE), EADDRNOTAVAIL);
        must(close(fd));
}

TEST(a_socket_has_the_name_that_it_was_bound_to) {
        static const unsigned cids[] = {VMADDR_CID_ANY, VMADDR_CID_LOCAL, VMADDR_CID_HOST};
        for (size_t i = 0; i < count_of(cids); i++) {
                int fd = new_socket(SOCK_STREAM);
                check_name(own_name(fd), VMADDR_CID_ANY, VMADDR_PORT_ANY);
                must(bind(fd, ADDRESS(cids[i], PORT), ADDRESS_SIZE));
                check_name(own_name(fd), cids[i], PORT);
                check_errno(bind(fd, ADDRESS(cids[i], PORT + 1), ADDRESS_SIZE), EINVAL);
                must(listen(fd, 1));
                check_name(own_name(fd), cids[i], PORT);
                must(close(fd));
        }
}

TEST(who_listens_at_a_port_that_is_not_registered_listens_for_this_partition_alone) {
        static const unsigned cids[] = {VMADDR_CID_ANY, VMADDR_CID_HOST};
        for (size_t i = 0; i < count_of(cids); i++) {
                int fd = new_socket(SOCK_STREAM);
                must(bind(fd, ADDRESS(cids[i], PORT + 1), ADDRESS_SIZE));
                check_errno(listen(fd, 1), EACCES);
                must(close(fd));
                fd = new_socket(SOCK_STREAM);
                must(bind(fd, ADDRESS(cids[i], VMADDR_PORT_ANY), ADDRESS_SIZE));
                check_errno(listen(fd, 1), EACCES);
                must(close(fd));
        }
        int listener = listening(VMADDR_CID_LOCAL, PORT + 1, SOCK_STREAM);
        must(close(listener));
}

TEST(each_connector_has_a_port_of_its_own_that_nobody_can_bind) {
        struct ends ends[16];
        for (size_t i = 0; i < count_of(ends); i++) {
                ends[i] = connect_here(PORT, SOCK_STREAM);
                struct sockaddr_vm name = own_name(ends[i].connector);
                check(name.svm_port >= EPHEMERAL && name.svm_port != VMADDR_PORT_ANY);
                check_name(peer_name(ends[i].acceptor), VMADDR_CID_LOCAL, name.svm_port);
                for (size_t j = 0; j < i; j++)
                        check(own_name(ends[j].connector).svm_port != name.svm_port);
                int fd = new_socket(SOCK_STREAM);
                check_errno(bind(fd, ADDRESS(VMADDR_CID_LOCAL, name.svm_port), ADDRESS_SIZE), EADDRNOTAVAIL);
                check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, name.svm_port), ADDRESS_SIZE), ECONNRESET);
                must(close(fd));
        }
        for (size_t i = 0; i < count_of(ends); i++)
                ends_close(&ends[i]);
}

TEST(ports_from_0_to_0x7fffffff_can_be_bound) {
        static const unsigned ports[] = {0, 1, 0x7fffffff};
        for (size_t i = 0; i < count_of(ports); i++) {
                if (ports[i] < 1024 && geteuid())
                        continue;
                struct ends ends = connect_here(ports[i], SOCK_STREAM);
                check_name(peer_name(ends.connector), VMADDR_CID_LOCAL, ports[i]);
                ends_close(&ends);
        }
        int fd = new_socket(SOCK_STREAM);
        check_errno(bind(fd, ADDRESS(VMADDR_CID_LOCAL, 0x80000000), ADDRESS_SIZE), EADDRNOTAVAIL);
        must(close(fd));
}

TEST(vmaddr_port_any_is_a_free_port_beyond_the_reserved_ones) {
        int listeners[8];
        for (size_t i = 0; i < count_of(listeners); i++) {
                listeners[i] = new_socket(SOCK_STREAM);
                must(bind(listeners[i], ADDRESS(VMADDR_CID_LOCAL, VMADDR_PORT_ANY), ADDRESS_SIZE));
                struct sockaddr_vm name = own_name(listeners[i]);
                check(name.svm_port >= 1024 && name.svm_port < EPHEMERAL);
                check_errno(bind(listeners[i], ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EINVAL);
                must(listen(listeners[i], 1));
                check_name(own_name(listeners[i]), VMADDR_CID_LOCAL, name.svm_port);
                int connector = connected(VMADDR_CID_LOCAL, name.svm_port, SOCK_STREAM), acceptor = accepted(listeners[i]);
                check_name(own_name(acceptor), VMADDR_CID_LOCAL, name.svm_port);
                check_talk(connector, acceptor);
                must(close(connector));
                must(close(acceptor));
        }
        for (size_t i = 0; i < count_of(listeners); i++)
                must(close(listeners[i]));
}

TEST(a_socket_bound_to_a_port_may_not_connect) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), fd = new_socket(SOCK_STREAM);
        must(bind(fd, ADDRESS(VMADDR_CID_LOCAL, PORT + 1), ADDRESS_SIZE));
        check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EINVAL);
        must(close(fd));
        must(close(listener));
}

TEST(a_socket_bound_to_vmaddr_port_any_may_connect) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), fd = new_socket(SOCK_STREAM);
        must(bind(fd, ADDRESS(VMADDR_CID_ANY, VMADDR_PORT_ANY), ADDRESS_SIZE));
        must(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE));
        check(own_name(fd).svm_port >= EPHEMERAL);
        int acceptor = accepted(listener);
        check_talk(fd, acceptor);
        must(close(fd));
        must(close(acceptor));
        must(close(listener));
}

static void drop_the_capability(void) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
        must(syscall(SYS_capget, &header, sets));
        sets[0].effective &= ~(1u << CAP_NET_BIND_SERVICE);
        must(syscall(SYS_capset, &header, sets));
}

TEST(ports_below_1024_take_a_capability) {
        if (!geteuid()) {
                int fd = new_socket(SOCK_STREAM);
                must(bind(fd, ADDRESS(VMADDR_CID_LOCAL, 1023), ADDRESS_SIZE));
                must(close(fd));
                drop_the_capability();
        }
        int fd = new_socket(SOCK_STREAM);
        check_errno(bind(fd, ADDRESS(VMADDR_CID_LOCAL, 0), ADDRESS_SIZE), EACCES);
        check_errno(bind(fd, ADDRESS(VMADDR_CID_LOCAL, 1023), ADDRESS_SIZE), EACCES);
        check_name(own_name(fd), VMADDR_CID_ANY, VMADDR_PORT_ANY);
        must(bind(fd, ADDRESS(VMADDR_CID_LOCAL, 1024), ADDRESS_SIZE));
        must(close(fd));
}

TEST(names_are_cut_to_the_room_there_is) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        struct sockaddr_vm whole = peer_name(ends.connector), name;
        socklen_t length = 8;
        memset(&name, 0x5a, sizeof name);
        must(getpeername(ends.connector, (struct sockaddr *)&name, &length));
        check_equal(length, sizeof whole);
        check(!memcmp(&name, &whole, 8));
        check_equal(name.svm_cid, 0x5a5a5a5a);
        length = (socklen_t)-1;
        check_errno(getsockname(ends.connector, (struct sockaddr *)&name, &length), EINVAL);
        ends_close(&ends);
}

TEST(the_peers_name_is_an_option_too) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        struct sockaddr_vm name, whole = peer_name(ends.connector);
        socklen_t length = sizeof name;
        must(getsockopt(ends.connector, SOL_SOCKET, SO_PEERNAME, &name, &length));
        check_equal(length, sizeof name);
        check(!memcmp(&name, &whole, sizeof name));
        length = sizeof name.svm_family;
        must(getsockopt(ends.acceptor, SOL_SOCKET, SO_PEERNAME, &name, &length));
        check_equal(length, sizeof name.svm_family);
        check_equal(name.svm_family, AF_VSOCK);
        length = sizeof name + 1;
        check_errno(getsockopt(ends.connector, SOL_SOCKET, SO_PEERNAME, &name, &length), EINVAL);
        ends_close(&ends);
        int fd = new_socket(SOCK_STREAM);
        length = sizeof name;
        check_errno(getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &name, &length), ENOTCONN);
        must(close(fd));
}
