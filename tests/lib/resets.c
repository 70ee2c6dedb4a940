/* SPDX-License-Identifier: MIT */

/* Marks and resets: what came before one is given, then ECONNRESET, for ever, and to nobody a descriptor. */

#include "fake.h"
#include "test.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned descriptors_open(void) {
        unsigned count = 0;
        for (int fd = 0; fd < 256; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

/* Bytes with `count` descriptors, as a peer that does not use the library can send. */
static void send_with_descriptors(int fd, const char *text, size_t length, unsigned count, int flags) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(8 * sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        struct iovec vector = {.iov_base = (char *)text, .iov_len = length};
        struct msghdr message = {.msg_iov = &vector,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = CMSG_SPACE(count * sizeof(int))};
        int passed = (int)must(eventfd(0, EFD_CLOEXEC));
        for (unsigned i = 0; i < count; i++)
                memcpy(CMSG_DATA(&control.header) + i * sizeof passed, &passed, sizeof passed);
        check_equal(must(sendmsg(fd, &message, flags)), length);
        close(passed);
}

static void check_stays_reset(int fd) {
        char bytes[64] = "";
        struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        for (unsigned i = 0; i < 2; i++) {
                check_errno(hv_recv(fd, bytes, sizeof bytes, 0), ECONNRESET);
                check_errno(hv_recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT), ECONNRESET);
                check_errno(hv_read(fd, bytes, sizeof bytes), ECONNRESET);
                check_errno(hv_readv(fd, &vector, 1), ECONNRESET);
                check_errno(hv_recvmsg(fd, &message, 0), ECONNRESET);
                check_errno(hv_send(fd, bytes, 1, 0), ECONNRESET);
                check_errno(hv_write(fd, bytes, 1), ECONNRESET);
                check_errno(hv_writev(fd, &vector, 1), ECONNRESET);
                check_errno(hv_sendmsg(fd, &message, 0), ECONNRESET);
        }
}

TEST(data_before_an_abort_is_given_and_then_the_reset) {
        fake_start();
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++) {
                struct fake_pair pair = fake_pair(types[i]);
                must(hv_send(pair.connector, "before", 6, 0));
                must(fake_abort(pair.connector));
                pair.connector = -1;
                check_receives(pair.acceptor, "before");
                check_stays_reset(pair.acceptor);
                fake_pair_close(&pair);
        }
        fake_end();
}

TEST(a_reset_by_the_kernel_comes_after_the_messages_that_were_sent_before_it) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        must(hv_send(pair.connector, "one", 3, 0));
        must(hv_send(pair.connector, "", 0, 0)); /* a message too */
        must(hv_send(pair.connector, "three", 5, 0));
        must(hv_send(pair.acceptor, "never read", 10, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_receives(pair.acceptor, "one");
        check_receives(pair.acceptor, "");
        check_receives(pair.acceptor, "three");
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_sending_call_that_meets_the_reset_first_does_not_hide_what_came_before) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        must(hv_send(pair.connector, "one", 3, 0));
        must(hv_send(pair.acceptor, "never read", 10, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_errno(hv_send(pair.acceptor, "x", 1, 0), ECONNRESET);
        check_receives(pair.acceptor, "one");
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_mark_that_rides_on_data_gives_the_data_first) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        unsigned before = descriptors_open();
        send_with_descriptors(pair.connector, "data!", 5, 1, 0);
        check_receives(pair.acceptor, "data");
        check_stays_reset(pair.acceptor);
        check_equal(descriptors_open(), before);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_peek_with_room_for_the_data_alone_gives_all_of_it_and_takes_no_mark) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        unsigned before = descriptors_open();
        char text[8] = "";
        must(hv_send(pair.connector, "1234", 4, 0));
        must(fake_abort(pair.connector));
        pair.connector = -1;
        check_equal(must(hv_recv(pair.acceptor, text, 4, MSG_PEEK)), 4);
        check_string(text, "1234");
        check_equal(must(hv_recv(pair.acceptor, text, 3, MSG_PEEK)), 3);
        check_equal(must(hv_recv(pair.acceptor, text, 8, 0)), 4);
        check_stays_reset(pair.acceptor);
        check_equal(descriptors_open(), before - 1);
        fake_pair_close(&pair);
        fake_end();
}

TEST(descriptors_that_a_peer_sends_are_never_kept) {
        fake_start();
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++)
                for (unsigned count = 1; count <= 8; count++) {
                        struct fake_pair pair = fake_pair(types[i]);
                        unsigned before = descriptors_open();
                        char byte = 0;
                        send_with_descriptors(pair.connector, "x", 1, count, 0);
                        check_errno(hv_recv(pair.acceptor, &byte, 1, 0), ECONNRESET);
                        check_equal(descriptors_open(), before);
                        fake_pair_close(&pair);
                }
        fake_end();
}

TEST(peeking_at_a_mark_is_a_reset_and_keeps_no_descriptor) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        char bytes[8] = "";
        must(hv_send(pair.connector, "ab", 2, 0));
        must(fake_abort(pair.connector));
        pair.connector = -1;
        unsigned before = descriptors_open();
        check_equal(must(hv_recv(pair.acceptor, bytes, sizeof bytes, MSG_PEEK)), 2);
        check_receives(pair.acceptor, "ab");
        check_errno(hv_recv(pair.acceptor, bytes, sizeof bytes, MSG_PEEK), ECONNRESET);
        check_equal(descriptors_open(), before);
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_process_without_a_free_descriptor_sees_the_reset_too) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        must(fake_abort(pair.connector));
        pair.connector = -1;
        struct rlimit limit, none;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
        must(setrlimit(RLIMIT_NOFILE, &none));
        char byte = 0;
        check_errno(hv_recv(pair.acceptor, &byte, 1, 0), ECONNRESET);
        check_errno(hv_recv(pair.acceptor, &byte, 1, 0), ECONNRESET);
        must(setrlimit(RLIMIT_NOFILE, &limit));
        fake_pair_close(&pair);
        fake_end();
}

TEST(the_mark_is_not_counted_among_readable_bytes) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int count = -1;
        must(hv_send(pair.connector, "seven!!", 7, 0));
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 7);
        must(fake_abort(pair.connector));
        pair.connector = -1;
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 7);
        check_receives(pair.acceptor, "seven!!");
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 0);
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(an_abort_behind_the_fullest_buffer_is_a_reset) {
        fake_start();
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        static char bytes[65536];
        for (unsigned i = 0; i < 2; i++)
                for (int most = 0; most < 2; most++) {
                        struct fake_pair pair = fake_pair(types[i]);
                        int size = 1 << 30;
                        if (most)
                                must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
                        while (hv_send(pair.connector, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
                                ;
                        check_equal(errno, EAGAIN);
                        must(fake_abort(pair.connector));
                        pair.connector = -1;
                        ssize_t got;
                        while ((got = hv_recv(pair.acceptor, bytes, sizeof bytes, 0)) > 0)
                                ;
                        check_equal(got, -1);
                        check_stays_reset(pair.acceptor);
                        fake_pair_close(&pair);
                }
        fake_end();
}

TEST(a_duplicate_of_an_aborted_socket_is_reset_too) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int duplicate = (int)must(dup(pair.connector));
        must(fake_abort(pair.connector));
        pair.connector = duplicate;
        check_stays_reset(duplicate);
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_reset_is_remembered_by_the_duplicate_when_the_descriptor_that_saw_it_is_closed) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int duplicate = (int)must(dup(pair.acceptor));
        char byte = 0;
        must(fake_abort(pair.connector));
        pair.connector = -1;
        check_errno(hv_recv(pair.acceptor, &byte, 1, 0), ECONNRESET);
        must(hv_close(pair.acceptor));
        pair.acceptor = duplicate;
        check_stays_reset(duplicate);
        fake_pair_close(&pair);
        fake_end();
}

TEST(so_error_tells_a_reset_once_and_hides_it_from_no_call) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int error = -1;
        socklen_t length = sizeof error;
        must(hv_send(pair.acceptor, "never read", 10, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        must(hv_getsockopt(pair.acceptor, SOL_SOCKET, SO_ERROR, &error, &length));
        check_equal(error, ECONNRESET);
        must(hv_getsockopt(pair.acceptor, SOL_SOCKET, SO_ERROR, &error, &length));
        check_equal(error, 0);
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(an_orderly_end_is_no_reset_to_the_reader) {
        fake_start();
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++) {
                struct fake_pair pair = fake_pair(types[i]);
                char byte = 0;
                must(hv_send(pair.connector, "bye", 3, 0));
                must(hv_close(pair.connector));
                pair.connector = -1;
                check_errno(hv_send(pair.acceptor, "x", 1, 0), ECONNRESET);
                check_receives(pair.acceptor, "bye");
                for (unsigned j = 0; j < 3; j++)
                        check_equal(hv_recv(pair.acceptor, &byte, 1, 0), 0);
                fake_pair_close(&pair);
        }
        fake_end();
}

TEST(after_shutting_writes_a_send_is_a_broken_pipe_whatever_the_peer_does) {
        fake_start();
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++) {
                struct fake_pair pair = fake_pair(types[i]);
                must(hv_shutdown(pair.connector, SHUT_WR));
                check_errno(hv_send(pair.connector, "x", 1, 0), EPIPE);
                must(fake_abort(pair.acceptor));
                pair.acceptor = -1;
                check_errno(hv_send(pair.connector, "x", 1, 0), EPIPE);
                fake_pair_close(&pair);
        }
        fake_end();
}

TEST(a_child_that_inherits_a_socket_with_shut_writes_is_told_the_same) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        must(hv_shutdown(pair.connector, SHUT_WR));
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        pid_t child = (pid_t)must(fork());
        if (!child) {
                check_errno(hv_send(pair.connector, "x", 1, 0), EPIPE);
                _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0));
        check_equal(status, 0);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_peer_that_reads_no_more_but_is_there_is_a_broken_pipe) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        char byte = 0;
        must(hv_shutdown(pair.acceptor, SHUT_RD));
        check_errno(hv_send(pair.connector, "x", 1, 0), EPIPE);
        must(hv_send(pair.acceptor, "y", 1, 0));
        check_equal(must(hv_recv(pair.connector, &byte, 1, 0)), 1);
        fake_pair_close(&pair);
        fake_end();
}

TEST(asking_how_much_is_readable_hides_no_reset_and_no_message) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        int count = -1;
        must(hv_send(pair.connector, "three", 5, 0));
        must(hv_send(pair.acceptor, "never read", 10, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        must(hv_ioctl(pair.acceptor, FIONREAD, &count));
        check_equal(count, 5);
        check_receives(pair.acceptor, "three");
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_receive_without_room_leaves_the_mark_one) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        char byte = 0;
        must(fake_abort(pair.connector));
        pair.connector = -1;
        check_errno(hv_recv(pair.acceptor, &byte, 0, 0), ECONNRESET);
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(asking_for_the_error_hides_no_reset) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_SEQPACKET);
        int error = 0;
        socklen_t length = sizeof error;
        must(hv_send(pair.acceptor, "never read", 10, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        must(hv_getsockopt(pair.acceptor, SOL_SOCKET, SO_ERROR, &error, &length));
        check_equal(error, ECONNRESET);
        check_stays_reset(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}
