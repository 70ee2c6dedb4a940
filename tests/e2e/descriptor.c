/* SPDX-License-Identifier: MIT */

/* A socket is one real open file from hv_socket() to hv_close(), and does what a socket programmer expects. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct world *enter_new_world(void) {
        struct world *world = world_new();
        world_start(world);
        world_enter(world, "host");
        return world;
}

struct identity {
        uint64_t cookie;
        ino_t inode;
};

static struct identity identity(int fd) {
        struct identity identity = {};
        struct stat status;
        socklen_t length = sizeof identity.cookie;
        must(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &identity.cookie, &length));
        must(fstat(fd, &status));
        identity.inode = status.st_ino;
        return identity;
}

static bool is_same(int fd, struct identity was) {
        struct identity now = identity(fd);
        return now.cookie == was.cookie && now.inode == was.inode;
}

TEST(a_socket_is_the_same_open_file_throughout) {
        struct world *world = enter_new_world();
        int listener = new_socket(SOCK_STREAM), connector = new_socket(SOCK_STREAM);
        struct identity listeners = identity(listener), connectors = identity(connector);
        must(hv_bind(listener, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO));
        check(is_same(listener, listeners));
        must(hv_listen(listener, 4));
        check(is_same(listener, listeners));
        must(connect_loopback(connector));
        check(is_same(connector, connectors));
        must(hv_close(listener));
        must(hv_close(connector));
        world_end(world);
}

TEST(a_number_that_was_a_sockets_and_is_anothers_is_taken_for_what_it_is) {
        struct pair pair = pair_open(SOCK_STREAM);
        const int others[] = {pair.connector, pair.acceptor, pair.listener, (int)must(open("/dev/null", O_RDWR | O_CLOEXEC))};
        const int errors[] = {EISCONN, EISCONN, EINVAL, ENOTSOCK};
        for (unsigned i = 0; i < 4; i++) {
                int fd = new_socket(SOCK_STREAM);
                must(dup3(others[i], fd, O_CLOEXEC));
                check_errno(connect_loopback(fd), errors[i]);
                must(close(fd));
        }
        must(close(others[3]));
        must(hv_close(pair.listener));
        pair.listener = new_socket(SOCK_SEQPACKET);
        /* The broker, to whom the old one was lent above, closes it in its own time. */
        check(await(hv_bind(pair.listener, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO) == 0));
        must(hv_listen(pair.listener, 4));
        int fd = new_socket(SOCK_STREAM), packets = new_socket(SOCK_SEQPACKET);
        must(dup3(packets, fd, O_CLOEXEC));
        must(connect_loopback(fd));
        must(hv_close(fd));
        must(hv_close(packets));
        pair_close(&pair);
}

/* ---- event loops ---- */

static int watch(int fd, uint32_t events) {
        int epoll = (int)must(epoll_create1(EPOLL_CLOEXEC));
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = events}));
        return epoll;
}

static uint32_t next_events(int epoll, int timeout_ms) {
        struct epoll_event event = {};
        return must(epoll_wait(epoll, &event, 1, timeout_ms)) ? event.events : 0;
}

/* Registered before bind; what an unbound socket reports at first is no matter. */
static void check_listener_in_epoll(uint32_t mode) {
        struct world *world = enter_new_world();
        int listener = new_socket(SOCK_STREAM | SOCK_NONBLOCK), epoll = watch(listener, EPOLLIN | mode);
        next_events(epoll, 0);
        must(hv_bind(listener, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO));
        must(hv_listen(listener, 4));
        check(!(next_events(epoll, 0) & EPOLLIN));
        for (unsigned i = 0; i < 3; i++) {
                int connector = new_socket(SOCK_STREAM);
                must(connect_loopback(connector));
                check(next_events(epoll, WORLD_WAIT_MS) & EPOLLIN);
                int acceptor = (int)must(hv_accept(listener, NULL, NULL));
                must(hv_close(acceptor));
                check_errno(hv_accept(listener, NULL, NULL), EAGAIN);
                must(hv_close(connector));
        }
        close(epoll);
        must(hv_close(listener));
        world_end(world);
}

TEST(a_listener_put_into_epoll_before_bind_reports_connections) {
        check_listener_in_epoll(0);
}

TEST(a_listener_put_into_edge_triggered_epoll_before_bind_reports_connections) {
        check_listener_in_epoll(EPOLLET);
}

static void check_connector_in_epoll(uint32_t mode) {
        struct world *world = enter_new_world();
        int listener = new_listener(SOCK_STREAM), connector = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
        int epoll = watch(connector, EPOLLIN | EPOLLOUT | EPOLLRDHUP | mode);
        next_events(epoll, 0);
        if (connect_loopback(connector) < 0)
                check_equal(errno, EINPROGRESS);
        uint32_t events = next_events(epoll, WORLD_WAIT_MS);
        check(events & EPOLLOUT);
        check(!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)));
        int error = -1;
        socklen_t length = sizeof error;
        must(hv_getsockopt(connector, SOL_SOCKET, SO_ERROR, &error, &length));
        check_equal(error, 0);

        int acceptor = (int)must(hv_accept(listener, NULL, NULL));
        must(epoll_ctl(epoll, EPOLL_CTL_MOD, connector, &(struct epoll_event){.events = EPOLLIN | EPOLLRDHUP | mode}));
        check_equal(next_events(epoll, 0), 0);
        check_equal(must(hv_send(acceptor, "hello", 5, 0)), 5);
        check(next_events(epoll, WORLD_WAIT_MS) & EPOLLIN);
        char text[8];
        check_equal(must(hv_recv(connector, text, sizeof text, 0)), 5);
        must(hv_close(acceptor));
        events = next_events(epoll, WORLD_WAIT_MS);
        check(events & EPOLLIN && events & EPOLLRDHUP && events & EPOLLHUP);
        close(epoll);
        must(hv_close(connector));
        must(hv_close(listener));
        world_end(world);
}

TEST(a_connector_put_into_epoll_before_connect_becomes_writable_then_readable) {
        check_connector_in_epoll(0);
}

TEST(a_connector_put_into_edge_triggered_epoll_before_connect_gets_its_edges) {
        check_connector_in_epoll(EPOLLET);
}

TEST(a_refused_non_blocking_connect_leaves_a_socket_that_can_try_again) {
        struct world *world = enter_new_world();
        int connector = new_socket(SOCK_STREAM | SOCK_NONBLOCK), error = 0;
        if (connect_loopback(connector) < 0 && errno == EINPROGRESS) {
                socklen_t length = sizeof error;
                check(await(events_now(connector, POLLOUT)));
                must(hv_getsockopt(connector, SOL_SOCKET, SO_ERROR, &error, &length));
        } else {
                error = errno;
        }
        check_equal(error, ECONNREFUSED);
        int listener = new_listener(SOCK_STREAM);
        must(connect_loopback(connector));
        must(hv_close(connector));
        must(hv_close(listener));
        world_end(world);
}

TEST(poll_and_select_see_what_the_kernel_sees) {
        struct pair pair = pair_open(SOCK_STREAM);
        struct pollfd descriptors[] = {{.fd = pair.connector, .events = POLLIN | POLLOUT},
                                       {.fd = pair.listener, .events = POLLIN}};
        check_equal(must(hv_poll(descriptors, 2, 0)), 1);
        check_equal(descriptors[0].revents, POLLOUT);
        must(hv_send(pair.acceptor, "x", 1, 0));
        check_equal(must(hv_poll(descriptors, 2, WORLD_WAIT_MS)), 1);
        check_equal(descriptors[0].revents, POLLIN | POLLOUT);
        check_equal(events_now(pair.connector, POLLIN | POLLOUT), POLLIN | POLLOUT);

        int another = new_socket(SOCK_STREAM);
        must(connect_loopback(another));
        fd_set readable, writable;
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        FD_SET(pair.listener, &readable);
        FD_SET(pair.connector, &readable);
        FD_SET(pair.acceptor, &readable);
        FD_SET(pair.acceptor, &writable);
        int highest = pair.listener > pair.acceptor ? pair.listener : pair.acceptor;
        highest = highest > pair.connector ? highest : pair.connector;
        struct timeval timeout = {.tv_sec = 10};
        check_equal(must(hv_select(highest + 1, &readable, &writable, NULL, &timeout)), 3);
        check(FD_ISSET(pair.listener, &readable) && FD_ISSET(pair.connector, &readable));
        check(!FD_ISSET(pair.acceptor, &readable) && FD_ISSET(pair.acceptor, &writable));
        must(hv_close(another));
        pair_close(&pair);
}

/* ---- blocking or not ---- */

TEST(flags_given_to_socket_and_accept4_are_the_descriptors) {
        struct pair pair = pair_open(SOCK_STREAM);
        const int flags[] = {0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC};
        for (unsigned i = 0; i < 4; i++) {
                int connector = new_socket(SOCK_STREAM | flags[i]);
                must(connect_loopback(connector));
                int acceptor = (int)must(hv_accept4(pair.listener, NULL, NULL, flags[i]));
                const int ends[] = {connector, acceptor};
                for (unsigned j = 0; j < 2; j++) {
                        check_equal(!!(must(fcntl(ends[j], F_GETFL)) & O_NONBLOCK), !!(flags[i] & SOCK_NONBLOCK));
                        check_equal(!!(must(fcntl(ends[j], F_GETFD)) & FD_CLOEXEC), !!(flags[i] & SOCK_CLOEXEC));
                        must(hv_close(ends[j]));
                }
        }
        pair_close(&pair);
}

static long fill(int fd) {
        static uint8_t bytes[65536];
        long total = 0;
        for (ssize_t sent; (sent = hv_send(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
                total += sent;
        check_equal(errno, EAGAIN);
        return total;
}

static void drain(int fd, long total) {
        static uint8_t bytes[65536];
        while (total > 0)
                total -= must(hv_recv(fd, bytes, sizeof bytes, 0));
        check_equal(total, 0);
}

TEST(a_non_blocking_socket_says_eagain_instead_of_waiting) {
        struct pair pair = pair_open(SOCK_STREAM);
        char byte;
        set_nonblocking(pair.listener, true);
        check_errno(hv_accept(pair.listener, NULL, NULL), EAGAIN);
        int on = 1;
        must(hv_ioctl(pair.connector, FIONBIO, &on));
        check_errno(hv_recv(pair.connector, &byte, 1, 0), EAGAIN);
        check_errno(hv_recv(pair.acceptor, &byte, 1, MSG_DONTWAIT), EAGAIN);
        long sent = fill(pair.connector);
        check_errno(hv_send(pair.connector, &byte, 1, 0), EAGAIN);
        check(!(events_now(pair.connector, POLLOUT) & POLLOUT));
        drain(pair.acceptor, sent);
        check(events_now(pair.connector, POLLOUT) & POLLOUT);
        check_equal(must(hv_send(pair.connector, &byte, 1, 0)), 1);
        pair_close(&pair);
}

TEST(a_time_out_on_receiving_and_sending_is_eagain) {
        struct pair pair = pair_open(SOCK_STREAM);
        struct timeval timeout = {.tv_usec = 20000}, got;
        socklen_t length = sizeof got;
        char byte;
        must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
        must(hv_getsockopt(pair.connector, SOL_SOCKET, SO_RCVTIMEO, &got, &length));
        check_equal(got.tv_sec, 0);
        check_errno(hv_recv(pair.connector, &byte, 1, 0), EAGAIN);
        must(hv_setsockopt(pair.listener, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
        check_errno(hv_accept(pair.listener, NULL, NULL), EAGAIN);
        must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout));
        fill(pair.connector);
        check_errno(hv_send(pair.connector, &byte, 1, 0), EAGAIN);
        pair_close(&pair);
}

static long accept_one(void *listener) {
        return hv_accept(*(int *)listener, NULL, NULL);
}

static long receive_one(void *fd) {
        char byte;
        return hv_recv(*(int *)fd, &byte, 1, 0);
}

TEST(a_blocked_accept_and_a_blocked_receive_wake) {
        struct pair pair = pair_open(SOCK_STREAM);
        struct thread *accepting = thread_start(accept_one, &pair.listener);
        check(await(thread_is_asleep(accepting)));
        int connector = new_socket(SOCK_STREAM);
        must(connect_loopback(connector));
        int acceptor = (int)must(thread_join(accepting));

        struct thread *receiving = thread_start(receive_one, &acceptor);
        check(await(thread_is_asleep(receiving)));
        must(hv_send(connector, "x", 1, 0));
        check_equal(thread_join(receiving), 1);
        must(hv_close(connector));
        must(hv_close(acceptor));
        pair_close(&pair);
}

/* ---- what it says of itself ---- */

TEST(fionread_and_siocoutq_count_what_waits) {
        struct pair pair = pair_open(SOCK_STREAM);
        int count = -1;
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 0);
        must(hv_ioctl(pair.connector, SIOCOUTQ, &count));
        check_equal(count, 0);
        must(hv_send(pair.connector, "twelve bytes", 12, 0));
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 12);
        must(hv_ioctl(pair.connector, SIOCOUTQ, &count));
        check(count >= 12);
        drain(pair.acceptor, 12);
        must(hv_ioctl(pair.connector, SIOCOUTQ, &count));
        check_equal(count, 0);
        pair_close(&pair);
}

TEST(so_type_says_the_type) {
        struct world *world = enter_new_world();
        const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++) {
                int fd = new_socket(types[i]), value = -1;
                socklen_t length = sizeof value;
                must(hv_getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length));
                check_equal(value, types[i]);
                must(hv_close(fd));
        }
        world_end(world);
}

TEST(buffer_sizes_can_be_set) {
        struct pair pair = pair_open(SOCK_STREAM);
        const int options[] = {SO_SNDBUF, SO_RCVBUF};
        for (unsigned i = 0; i < 2; i++) {
                int value = 32768;
                socklen_t length = sizeof value;
                must(hv_setsockopt(pair.connector, SOL_SOCKET, options[i], &value, sizeof value));
                must(hv_getsockopt(pair.connector, SOL_SOCKET, options[i], &value, &length));
                check(value >= 32768);
        }
        pair_close(&pair);
}

TEST(peercred_is_the_connecting_process_as_the_broker_saw_it) {
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01");
        world_enter(world, "host");
        int listener = new_socket(SOCK_STREAM);
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_CHILDREN, .ServiceId = ECHO};
        must(hv_bind(listener, (struct sockaddr *)&address, sizeof address));
        must(hv_listen(listener, 4));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int acceptor = (int)must(hv_accept(listener, NULL, NULL));
        struct ucred credentials = {};
        socklen_t length = sizeof credentials;
        must(hv_getsockopt(acceptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length));
        check_equal(credentials.pid, program_pid(web01));
        check_equal(credentials.uid, geteuid());
        check_equal(credentials.gid, getegid());
        must(close_in(web01, connected));
        must(hv_close(acceptor));
        must(hv_close(listener));
        world_end(world);
}

/* ---- out of order ---- */

TEST(calls_out_of_order_are_refused_as_everywhere) {
        struct pair pair = pair_open(SOCK_STREAM);
        char byte;
        check_errno(connect_loopback(pair.connector), EISCONN);
        check_errno(hv_listen(pair.connector, 1), EINVAL);
        check_errno(hv_accept(pair.connector, NULL, NULL), EINVAL);
        check_errno(hv_bind(pair.listener, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO), EINVAL);
        int fd = new_socket(SOCK_STREAM);
        check_errno(hv_send(fd, "x", 1, 0), ENOTCONN);
        check_errno(hv_shutdown(fd, SHUT_WR), ENOTCONN);
        check(hv_recv(fd, &byte, 1, MSG_DONTWAIT) < 0);
        must(hv_close(fd));
        check_errno(hv_close(fd), EBADF);
        check_errno(connect_loopback(-1), EBADF);
        pair_close(&pair);
}

TEST(a_descriptor_that_is_no_socket_of_ours_is_refused) {
        struct world *world = enter_new_world();
        int tcp = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        int null = (int)must(open("/dev/null", O_RDWR | O_CLOEXEC));
        check(connect_loopback(tcp) < 0);
        check(hv_bind(tcp, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO) < 0);
        check_errno(connect_loopback(null), ENOTSOCK);
        check_errno(hv_bind(null, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO), ENOTSOCK);
        close(tcp);
        close(null);
        world_end(world);
}
