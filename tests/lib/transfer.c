/* SPDX-License-Identifier: MIT */

/* Sending and receiving: arguments, messages and their limits. */

#include "fake.h"
#include "test.h"

#include <sys/ioctl.h>

TEST(without_a_connection_there_is_nothing_to_move) {
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++) {
                int fd = fake_socket(types[i]);
                char byte = 0;
                check_errno(hv_recv(fd, &byte, 1, 0), ENOTCONN);
                check_errno(hv_send(fd, &byte, 1, 0), ENOTCONN);
                check_errno(hv_shutdown(fd, SHUT_RD), ENOTCONN);
                check_errno(hv_shutdown(fd, 3), EINVAL);
                must(hv_close(fd));
        }
}

TEST(out_of_band_data_control_data_and_bad_vectors_are_refused) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        char bytes[64] = "";
        struct iovec vector = {.iov_base = bytes, .iov_len = 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = bytes, .msg_controllen = sizeof bytes};
        check_errno(hv_send(pair.connector, bytes, 1, MSG_OOB), EOPNOTSUPP);
        check_errno(hv_recv(pair.connector, bytes, 1, MSG_OOB), EOPNOTSUPP);
        check_errno(hv_sendmsg(pair.connector, &message, 0), EOPNOTSUPP);
        check_errno(hv_writev(pair.connector, &vector, -1), EINVAL);
        check_errno(hv_readv(pair.connector, &vector, -1), EINVAL);
        check_errno(hv_writev(pair.connector, &vector, 1025), EINVAL);
        int count = -1;
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 0);
        fake_pair_close(&pair);
        fake_end();
}

TEST(the_readable_bytes_of_packets_are_the_next_messages) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        int count = -1;
        must(hv_send(pair.connector, "five5", 5, 0));
        must(hv_send(pair.connector, "seven77", 7, 0));
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 5);
        check_receives(pair.acceptor, "five5");
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 7);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_vector_of_nothing_is_no_message) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        struct iovec empty[2] = {};
        check_equal(must(hv_writev(pair.connector, empty, 2)), 0);
        check_errno(hv_writev(-1, empty, 2), EBADF);
        must(hv_send(pair.connector, "first", 5, 0));
        check_receives(pair.acceptor, "first");
        fake_pair_close(&pair);
        fake_end();
}

TEST(reading_nothing_is_nothing_at_once) {
        fake_start();
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++) {
                struct fake_pair pair = fake_pair(types[i]);
                struct iovec empty[2] = {};
                check_equal(must(hv_read(pair.acceptor, NULL, 0)), 0);
                check_equal(must(hv_readv(pair.acceptor, empty, 2)), 0);
                must(hv_send(pair.connector, "kept", 4, 0));
                check_equal(must(hv_read(pair.acceptor, NULL, 0)), 0);
                check_receives(pair.acceptor, "kept");
                check_errno(hv_read(-1, NULL, 0), EBADF);
                fake_pair_close(&pair);
        }
        fake_end();
}

TEST(an_empty_message_is_one_and_no_end) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        char byte = 0;
        must(hv_send(pair.connector, "", 0, 0));
        must(hv_send(pair.connector, "x", 1, 0));
        check_equal(must(hv_recv(pair.acceptor, &byte, 1, 0)), 0);
        check_equal(must(hv_recv(pair.acceptor, &byte, 1, 0)), 1);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_message_of_64_kib_passes_however_small_the_buffer_and_one_byte_more_does_not) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        static char bytes[HV_SEQPACKET_MAX + 1];
        int size = 1, told = 0;
        socklen_t length = sizeof told;
        must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
        must(hv_getsockopt(pair.connector, SOL_SOCKET, SO_SNDBUF, &told, &length));
        check_equal(told, HV_SEQPACKET_MAX);
        check_equal(must(hv_send(pair.connector, bytes, HV_SEQPACKET_MAX, 0)), HV_SEQPACKET_MAX);
        check_equal(must(hv_recv(pair.acceptor, bytes, sizeof bytes, 0)), HV_SEQPACKET_MAX);
        check_errno(hv_send(pair.connector, bytes, HV_SEQPACKET_MAX + 1, 0), EMSGSIZE);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_send_buffer_of_any_size_leaves_room_for_an_abort) {
        static const int sizes[] = {-1, 0, 1 << 30, 2147483647};
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                int fd = fake_socket(SOCK_STREAM), all = 2147483647, got, most;
                socklen_t length = sizeof got;
                must(hv_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sizes[i], sizeof sizes[i]));
                must(hv_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &got, &length));
                must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &all, sizeof all));
                must(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &most, &length));
                check(got <= most / 2);
                must(hv_close(fd));
        }
}

TEST(recvmsg_gives_no_name_and_no_control_data) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        char bytes[2], control[64], name[64];
        struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr message = {.msg_name = name, .msg_namelen = sizeof name, .msg_iov = &vector, .msg_iovlen = 1,
                                 .msg_control = control, .msg_controllen = sizeof control};
        must(hv_send(pair.connector, "long", 4, 0));
        check_equal(must(hv_recvmsg(pair.acceptor, &message, MSG_TRUNC)), 4);
        check_equal(message.msg_flags, MSG_TRUNC);
        check_equal(message.msg_namelen, 0);
        check_equal(message.msg_controllen, 0);
        fake_pair_close(&pair);
        fake_end();
}
