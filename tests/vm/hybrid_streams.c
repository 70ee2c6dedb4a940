/* SPDX-License-Identifier: MIT */

/* What a hybrid VM's thread moves between a channel and a stream of the VMM's, and how either ends. */

#include "fake_vmm.h"

#include "test.h"
#include "text_stream.h"
#include "vm/vsock.h"
#include <hvsock.h>
#include <poll.h>
#include <sys/socket.h>

/* ---- what is moved ---- */

#define MEBIBYTE (1u << 20)

static uint8_t byte_of(uint64_t position) {
        return (uint8_t)((position * 0x9e3779b97f4a7c15u) >> 56);
}

struct way {
        uint64_t sent, received;
};

static void push(struct way *way, uint64_t total, ssize_t (*send_bytes)(int, const void *, size_t, int), int fd) {
        uint8_t bytes[5000];
        size_t size = total - way->sent < sizeof bytes ? total - way->sent : sizeof bytes;
        for (size_t i = 0; i < size; i++)
                bytes[i] = byte_of(way->sent + i);
        ssize_t sent = size ? send_bytes(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        check(sent >= 0 || errno == EAGAIN);
        way->sent += sent > 0 ? (uint64_t)sent : 0;
}

static bool pull(struct way *way, ssize_t (*receive_bytes)(int, void *, size_t, int), int fd) {
        uint8_t bytes[7000];
        ssize_t size = receive_bytes(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        check(size >= 0 || errno == EAGAIN);
        for (ssize_t i = 0; i < size; i++)
                check_equal(bytes[i], byte_of(way->received + (uint64_t)i));
        way->received += size > 0 ? (uint64_t)size : 0;
        return size > 0;
}

TEST(megabytes_arrive_both_ways_at_once_through_rings) {
        struct way there = {}, back = {1u << 31, 1u << 31};
        const uint64_t total = 16 * MEBIBYTE, end_of_back = back.sent + total;
        int state;
        socklen_t length = sizeof state;
        begin();
        connect_channel();
        while (there.received < total || back.received < end_of_back) {
                push(&there, total, hv_send, application);
                push(&back, end_of_back, send, stream);
                bool has_moved = pull(&there, recv, stream);
                has_moved = pull(&back, hv_recv, application) || has_moved;
                struct pollfd both[] = {{.fd = stream, .events = POLLIN}, {.fd = application, .events = POLLIN}};
                if (!has_moved)
                        check(poll(both, 2, FAKE_VMM_PATIENCE_MS) > 0);
        }
        must(hv_getsockopt(application, SOL_HVSOCKET, HVSOCKET_CARRIER_STATE, &state, &length));
        check_equal(state, HV_SENDS_SHM | HV_RECEIVES_SHM);
        must(shutdown(stream, SHUT_WR));
        check_equal(receive(&(char){0}, 1), 0);
        finish_channel();
        check_equal(traffic.to_guest, total);
        check_equal(traffic.from_guest, total);
}

/* Until nothing was taken for a while. */
static uint64_t send_all_that_goes(ssize_t (*send_bytes)(int, const void *, size_t, int), int fd) {
        static const char bytes[MEBIBYTE];
        uint64_t total = 0;
        for (unsigned quiet = 0; quiet < 50 && total < 64 * MEBIBYTE;) {
                ssize_t sent = send_bytes(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
                quiet = sent > 0 ? 0 : quiet + 1;
                total += sent > 0 ? (uint64_t)sent : 0;
                if (sent <= 0)
                        poll(NULL, 0, 2);
        }
        return total;
}

TEST(who_does_not_receive_stops_who_sends_and_loses_nothing) {
        begin();
        connect_channel();
        uint64_t to_guest = send_all_that_goes(hv_send, application);
        uint64_t from_guest = send_all_that_goes(send, stream);
        check(to_guest < 8 * MEBIBYTE && from_guest < 8 * MEBIBYTE);
        static uint8_t bytes[MEBIBYTE];
        for (uint64_t left = to_guest; left;)
                left -= (uint64_t)must(recv(stream, bytes, left < sizeof bytes ? left : sizeof bytes, 0));
        for (uint64_t left = from_guest; left;)
                left -= (uint64_t)must(receive(bytes, left < sizeof bytes ? left : sizeof bytes));
        check_equal(must(hv_send(application, "more", 4, 0)), 4);
        expect_text(stream, "more");
        finish_channel();
}

/* ---- ends ---- */

TEST(half_closes_pass_each_way_behind_the_data) {
        begin();
        connect_channel();
        check_equal(must(hv_send(application, "question", 8, 0)), 8);
        must(hv_shutdown(application, SHUT_WR));
        expect_text(stream, "question");
        expect_end(stream);
        send_text(stream, "answer");
        expect_from_guest("answer");
        must(shutdown(stream, SHUT_WR));
        check_equal(receive(&(char){0}, 1), 0);
        finish_channel();
}

TEST(the_guests_half_close_leaves_the_other_way_open) {
        begin();
        connect_channel();
        send_text(stream, "last words");
        must(shutdown(stream, SHUT_WR));
        expect_from_guest("last words");
        check_equal(receive(&(char){0}, 1), 0);
        check_equal(must(hv_send(application, "not mine", 8, 0)), 8);
        expect_text(stream, "not mine");
        finish_channel();
}

TEST(a_stream_that_the_vmm_closes_ends_behind_its_data) {
        begin();
        connect_channel();
        send_text(stream, "bye");
        close(stream);
        expect_from_guest("bye");
        check_equal(receive(&(char){0}, 1), 0);
        check_equal(expect(VM_CLOSED).ticket, 2);
        must(hv_close(application));
        end();
}

TEST(a_vmm_that_is_gone_is_a_reset_and_never_an_end) {
        begin();
        connect_channel();
        send_text(stream, "half a sen");
        close(vmm);
        vmm = -1;
        close(stream);
        expect_from_guest("half a sen");
        wait_for(application, POLLIN);
        check_errno(hv_recv(application, &(char){0}, 1, 0), ECONNRESET);
        check_equal(expect(VM_CLOSED).ticket, 2);
        await_running(false);
        must(hv_close(application));
        end();
}

TEST(what_the_guest_left_unread_makes_it_a_reset) {
        begin();
        connect_channel();
        check_equal(must(hv_send(application, "unheard", 7, 0)), 7);
        wait_for(stream, POLLIN);
        close(stream);
        wait_for(application, POLLIN);
        check_errno(hv_recv(application, &(char){0}, 1, 0), ECONNRESET);
        check_equal(expect(VM_CLOSED).ticket, 2);
        must(hv_close(application));
        end();
}

TEST(the_applications_reset_closes_the_stream) {
        struct linger linger = {.l_onoff = 1};
        begin();
        connect_channel();
        must(hv_setsockopt(application, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        must(hv_close(application));
        expect_end(stream);
        close(stream);
        check_equal(expect(VM_CLOSED).ticket, 2);
        end();
}

TEST(the_loops_reset_is_seen_on_both_sides) {
        begin();
        connect_channel();
        tell((struct vm_message){.kind = VM_RESET, .ticket = 2, .fd = -1});
        check_equal(expect(VM_CLOSED).ticket, 2);
        expect_end(stream);
        check_errno(receive(&(char){0}, 1), ECONNRESET);
        must(hv_close(application));
        close(stream);
        end();
}

TEST(a_thread_that_stops_resets_its_channels) {
        begin();
        connect_channel();
        end();
        expect_end(stream);
        check_errno(receive(&(char){0}, 1), ECONNRESET);
        must(hv_close(application));
        close(stream);
}
