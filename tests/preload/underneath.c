/* SPDX-License-Identifier: MIT */

/* What shows of the AF_UNIX socket underneath, where nothing is intercepted: rows of docs/porting.md. */

#include "preload_test.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/un.h>

TEST(zerocopy_is_refused) {
        int fd = new_socket(SOCK_STREAM), value = 1;
        check_equal(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value), -1);
        check(errno == EOPNOTSUPP || errno == 524); /* ENOTSUPP, as kernels before 6.0 say */
        must(close(fd));
}

TEST(descriptors_that_are_sent_along_arrive) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        int ways[2];
        must(pipe(ways));
        pass(ends.connector, ways[1]);
        must(close(ways[1]));
        int fd = pass(ends.acceptor, -1);
        give(fd, "through it");
        check_given(ways[0], "through it");
        must(close(fd));
        must(close(ways[0]));
        ends_close(&ends);
}

TEST(a_byte_out_of_band_is_sent) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        char byte = 0;
        check_equal(send(ends.connector, "!", 1, MSG_OOB), 1);
        check_equal(recv(ends.acceptor, &byte, 1, MSG_OOB), 1);
        check_equal(byte, '!');
        ends_close(&ends);
}

TEST(what_had_arrived_before_shut_rd_is_received_and_then_the_end) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        give(ends.connector, "before");
        must(shutdown(ends.acceptor, SHUT_RD));
        check_given(ends.acceptor, "before");
        check_end(ends.acceptor);
        check_errno(send(ends.connector, "after", 5, MSG_NOSIGNAL), EPIPE);
        ends_close(&ends);
}

TEST(who_receives_with_an_address_gets_one_of_af_unix) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        struct sockaddr_un name = {};
        socklen_t length = sizeof name;
        char byte;
        give(ends.connector, "x");
        check_equal(recvfrom(ends.acceptor, &byte, 1, 0, (struct sockaddr *)&name, &length), 1);
        check_equal(name.sun_family, AF_UNIX);
        ends_close(&ends);
}

TEST(what_is_under_way_counts_until_it_is_read_and_a_close_waits_for_nobody) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        const struct linger linger = {1, 60};
        int count;
        give(ends.connector, "twelve bytes");
        must(ioctl(ends.connector, SIOCOUTQ, &count));
        check(count >= 12);
        check_given(ends.acceptor, "twelve bytes");
        must(ioctl(ends.connector, SIOCOUTQ, &count));
        check_equal(count, 0);
        must(setsockopt(ends.connector, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        must(close(ends.connector));
        check_end(ends.acceptor);
        must(close(ends.acceptor));
}
