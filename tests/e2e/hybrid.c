/* SPDX-License-Identifier: MIT */

/* Hybrid sockets of VMs through hvsockd, with clients that know nothing but Unix sockets. */

#include "base/fd.h"
#include "pair.h"
#include "test.h"
#include "text_stream.h"
#include "vm/hybrid_line.h"
#include "vm_world.h"
#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAITING_MAX 64 /* HYBRID_WAITING_MAX in daemon/hybrid.h */
#define SERVICE "00001388-facb-11e6-bd58-64006a7986d3"

static char hybrid_path[PATH_MAX + 16];

/* And a VM `relay`, whose VMM's socket is the hybrid socket of the other. */
static void begin_with(const char *service_lines) {
        char lines[PATH_MAX + 64], directory[PATH_MAX];
        world = world_new();
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\n", FAKE_CID);
        world_define(world, "guest", "vm", lines);
        world_directory(world, "guest", directory);
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\nHybrid=%s/vsock\n", FAKE_CID + 1, directory);
        world_define(world, "relay", "vm", lines);
        service_id = port_service(PORT);
        world_write_service(world, &service_id, "Port", service_lines);
        world_start(world);
        world_directory(world, "guest", directory);
        snprintf(hybrid_path, sizeof hybrid_path, "%s/vsock", directory);
}

static void begin(void) {
        begin_with("");
        vm_plug("guest");
}

static void end(void) {
        fake_guest_free(&guest);
        check(await(!is_running()));
        world_end(world);
}

static int visit(const char *path) {
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        check_ok(address_of_path(path, &address, &length, &directory_fd));
        must(connect(fd, (struct sockaddr *)&address, length));
        return fd;
}

/* The connection is closed, without a word; one that still had something to say sees a reset. */
static void hear_end(int fd) {
        await_readable(fd);
        ssize_t length = recv(fd, &(char){0}, 1, 0);
        check(length == 0 || (length < 0 && errno == ECONNRESET));
        close(fd);
}

static struct vsock_packet answer(const struct vsock_packet *request, uint16_t operation) {
        return driver_packet(request->source_port, request->target_port, operation, request->type);
}

/* A client that says this line, of which `answered` is what it then hears and the guest what it asks. */
static int visit_guest(const char *line, struct vsock_packet *ret_request) {
        char ok[32];
        int fd = visit(hybrid_path);
        send_text(fd, line);
        *ret_request = driver_expect(VSOCK_REQUEST);
        check_equal(ret_request->source_cid, VSOCK_CID_HOST);
        check_equal(ret_request->target_port, PORT);
        check(ret_request->source_port <= 65535);
        driver_send(answer(ret_request, VSOCK_RESPONSE), NULL, 0);
        snprintf(ok, sizeof ok, "OK %u\n", ret_request->source_port);
        expect_text(fd, ok);
        return fd;
}

static void guest_hears(const char *text) {
        char bytes[128];
        check_equal(driver_receive(bytes, sizeof bytes).length, strlen(text));
        check(!memcmp(bytes, text, strlen(text)));
}

/* ---- clients of the host ---- */

TEST(a_line_is_answered_and_then_the_connection_is_the_channel) {
        struct vsock_packet request;
        begin();
        int fd = visit_guest("CONNECT 5000\n", &request);
        send_text(fd, "hello");
        guest_hears("hello");
        driver_send(answer(&request, VSOCK_RW), "you!", 4);
        expect_text(fd, "you!");
        check_equal(service_counter(world, &service_id, "channelsNow"), 1);
        struct json_object *reply = manage(world, "ListChannels", "{}");
        check_equal(number_at(reply, "/channels/0/fromPid"), getpid());
        json_object_put(reply);
        close(fd);
        check_equal(driver_expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_BOTH);
        driver_send(answer(&request, VSOCK_RST), NULL, 0);
        check(await(service_counter(world, &service_id, "channelsNow") == 0));
        end();
}

TEST(a_guid_does_as_well_as_a_port) {
        struct vsock_packet request;
        begin();
        int fd = visit_guest("connect " SERVICE "\r\n", &request);
        driver_send(answer(&request, VSOCK_RST), NULL, 0);
        hear_end(fd);
        end();
}

TEST(what_is_sent_behind_the_line_waits_for_the_guest) {
        struct vsock_packet request;
        begin();
        int fd = visit_guest("CONNECT 5000\nSSH-2.0-client\r\n", &request);
        guest_hears("SSH-2.0-client\r\n");
        must(shutdown(fd, SHUT_WR));
        check_equal(driver_expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_SEND);
        driver_send(answer(&request, VSOCK_RW), "and back", 8);
        expect_text(fd, "and back");
        struct vsock_packet shutdown = answer(&request, VSOCK_SHUTDOWN);
        shutdown.flags = VSOCK_SHUT_BOTH;
        driver_send(shutdown, NULL, 0);
        driver_expect(VSOCK_RST);
        hear_end(fd);
        end();
}

TEST(a_line_may_come_in_pieces) {
        static const char line[] = "CONNECT 5000\n";
        begin();
        int fd = visit(hybrid_path);
        for (unsigned i = 0; i < sizeof line - 1; i++) {
                check_equal(must(send(fd, line + i, 1, MSG_NOSIGNAL)), 1);
                world_pause_ms(1);
        }
        driver_expect(VSOCK_REQUEST);
        close(fd);
        driver_expect(VSOCK_RST); /* who hung up waits no more */
        end();
}

TEST(a_refusal_of_the_guest_closes_the_connection_and_is_counted) {
        begin();
        int fd = visit(hybrid_path);
        send_text(fd, "CONNECT 5000\n");
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        driver_send(answer(&request, VSOCK_RST), NULL, 0);
        hear_end(fd);
        check_equal(service_counter(world, &service_id, "refused/no-listener"), 1);
        end();
}

TEST(a_refusal_of_the_broker_closes_the_connection_and_is_counted) {
        begin_with("");
        int fd = visit(hybrid_path);
        send_text(fd, "CONNECT 5000\n");
        hear_end(fd);
        check_equal(service_counter(world, &service_id, "refused/not-running"), 1);
        fd = visit(hybrid_path);
        send_text(fd, "CONNECT 5001\n"); /* nobody registered that */
        hear_end(fd);
        check_equal(partition_counter(world, "host", "refused/not-registered"), 1);
        fd = visit(hybrid_path);
        send_text(fd, "CONNECT a42e7cda-d03f-480c-9cc2-a4de20abb878\n"); /* no vsock port */
        hear_end(fd);
        world_end(world);
}

TEST(who_connects_is_judged_by_the_credentials_of_its_process) {
        world_require_root();
        begin_with("Connect=user:65534\n");
        must(chmod(world->root, 0755));
        vm_plug("guest");
        pid_t stranger = (pid_t)must(fork());
        if (!stranger) {
                if (setgroups(0, NULL) || setgid(65533) || setuid(65533))
                        _exit(1);
                int fd = visit(hybrid_path);
                send_text(fd, "CONNECT 5000\n");
                hear_end(fd);
                _exit(0);
        }
        await_checker(stranger);
        check_equal(service_counter(world, &service_id, "refused/connect-denied"), 1);
        pid_t friend = (pid_t)must(fork());
        if (!friend) {
                if (setgroups(0, NULL) || setgid(65533) || setuid(65534))
                        _exit(1);
                int fd = visit(hybrid_path);
                send_text(fd, "CONNECT 5000\n");
                hear_end(fd);
                _exit(0);
        }
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        driver_send(answer(&request, VSOCK_RST), NULL, 0);
        await_checker(friend);
        end();
}

TEST(what_is_no_line_or_too_long_a_one_is_closed) {
        char spaces[HYBRID_LINE_MAX + 1];
        begin();
        int fd = visit(hybrid_path);
        send_text(fd, "GET / HTTP/1.1\r\n");
        hear_end(fd);
        memset(spaces, ' ', sizeof spaces);
        spaces[sizeof spaces - 1] = 0;
        fd = visit(hybrid_path);
        send_text(fd, "CONNECT ");
        send_text(fd, spaces);
        hear_end(fd);
        fd = visit(hybrid_path);
        send_text(fd, "CONNECT 50");
        must(shutdown(fd, SHUT_WR));
        hear_end(fd);
        end();
}

TEST(descriptors_that_come_with_a_line_are_closed) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(3 * sizeof(int))];
        } control = {.header = {
                             .cmsg_len = CMSG_LEN(3 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        int pipe_fds[2], fds[3];
        begin();
        must(pipe(pipe_fds));
        for (unsigned i = 0; i < 3; i++)
                fds[i] = pipe_fds[1];
        memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
        char line[] = "CONNECT 5000\nmore";
        struct iovec vector = {.iov_base = line, .iov_len = 17};
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        int fd = visit(hybrid_path);
        must(sendmsg(fd, &message, MSG_NOSIGNAL));
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        driver_send(answer(&request, VSOCK_RESPONSE), NULL, 0);
        guest_hears("more");
        close(pipe_fds[1]);
        await_readable(pipe_fds[0]);
        check_equal(must(read(pipe_fds[0], &(char){0}, 1)), 0); /* the broker holds none of them */
        close(pipe_fds[0]);
        close(fd);
        end();
}

TEST(those_that_send_no_line_are_bounded_and_hold_up_nobody) {
        int fds[WAITING_MAX + 1];
        struct vsock_packet request;
        begin();
        for (unsigned i = 0; i <= WAITING_MAX; i++)
                fds[i] = visit(hybrid_path);
        hear_end(fds[0]); /* which waited longest */
        int fd = visit_guest("CONNECT 5000\n", &request);
        send_text(fd, "hello");
        guest_hears("hello");
        close(fd);
        hear_end(fds[1]); /* it made room for the one above, or its time is over */
        for (unsigned i = 2; i <= WAITING_MAX; i++)
                hear_end(fds[i]);
        end();
}

TEST(a_guest_that_does_not_answer_is_waited_for_only_so_long) {
        begin();
        int fd = visit(hybrid_path);
        send_text(fd, "CONNECT 5000\n");
        driver_expect(VSOCK_REQUEST);
        hear_end(fd);
        driver_expect(VSOCK_RST);
        end();
}

/* ---- the other way round ---- */

static long connect_to_relay(void *argument) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *world_id(world, "relay"), .ServiceId = service_id};
        return hv_connect(*(int *)argument, (struct sockaddr *)&address, sizeof address);
}

TEST(what_the_daemon_serves_it_also_speaks) {
        char bytes[16];
        begin();
        world_enter(world, "host");
        int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        struct thread *thread = thread_start(connect_to_relay, &fd);
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        driver_send(answer(&request, VSOCK_RESPONSE), NULL, 0);
        check_equal(thread_join(thread), 0);
        check_equal(must(hv_send(fd, "hello", 5, 0)), 5);
        guest_hears("hello");
        driver_send(answer(&request, VSOCK_RW), "you!", 4);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 4);
        check_equal(service_counter(world, &service_id, "channelsNow"), 2);
        must(hv_close(fd));
        driver_expect(VSOCK_SHUTDOWN);
        driver_send(answer(&request, VSOCK_RST), NULL, 0);
        world->extra_descriptors = 1; /* a door, which the relay's VM keeps */
        end();
}
