/* SPDX-License-Identifier: MIT */

/* VMs whose VMM has a hybrid socket of its own, through hvsockd; the test is the VMM. */

#include "base/fd.h"
#include "pair.h"
#include "test.h"
#include "text_stream.h"
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICE "00001388-facb-11e6-bd58-64006a7986d3" /* port 5000 */

static struct world *world;
static GUID vm_id, service_id;
static char path[PATH_MAX + 16], file[PATH_MAX + 32];
static int vmm; /* listens at the path, or -1 */

static void begin_with(const char *service_lines) {
        char lines[PATH_MAX + 64];
        world = world_new();
        snprintf(path, sizeof path, "%s/v.sock", world->root);
        snprintf(file, sizeof file, "%s_5000", path);
        snprintf(lines, sizeof lines, "Reach=vm\nCid=7\nHybrid=%s\n", path);
        world_define(world, "guest", "vm", lines);
        vm_id = *world_id(world, "guest");
        service_id = port_service(5000);
        world_write_service(world, &service_id, "Port", service_lines);
        world_start(world);
        vmm = -1;
}

static void start_vmm(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        check(strlen(path) < sizeof address.sun_path);
        strcpy(address.sun_path, path);
        vmm = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(vmm, (struct sockaddr *)&address, sizeof address));
        must(listen(vmm, 16));
        check(await(partition_is_running(world, "guest")));
}

static void begin(void) {
        begin_with("");
        start_vmm();
}

static void end(void) {
        if (vmm >= 0)
                close(vmm);
        world->extra_descriptors = 1; /* a door, which its VM keeps */
        world_end(world);
}

static void hear_end(int fd) {
        expect_end(fd);
        close(fd);
}

/* The next connection that says something: others only look whether the VMM is there. */
static int accept_line(void) {
        for (;;) {
                await_text(vmm);
                int fd = (int)must(accept4(vmm, NULL, NULL, SOCK_CLOEXEC));
                if (must(recv(fd, &(char){0}, 1, MSG_PEEK)) == 1) {
                        expect_text(fd, "CONNECT 5000\n");
                        return fd;
                }
                close(fd);
        }
}

/* The VMM connects for its guest to the file of the port, which is there within a moment. */
static int knock(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        strcpy(address.sun_path, file);
        check(await(connect(fd, (struct sockaddr *)&address, sizeof address) == 0));
        return fd;
}

static bool has_file(void) {
        return access(file, F_OK) == 0;
}

static long connect_to_guest(void *argument) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = vm_id, .ServiceId = service_id};
        int *fd = argument;
        *fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        return hv_connect(*fd, (struct sockaddr *)&address, sizeof address);
}

/* A program of the host connects, and the guest accepts. */
static int connect_accepted(int *ret_stream) {
        int fd;
        struct thread *thread = thread_start(connect_to_guest, &fd);
        *ret_stream = accept_line();
        send_text(*ret_stream, "OK 1073741824\n");
        check_equal(thread_join(thread), 0);
        return fd;
}

static void expect_refused(int error) {
        int fd;
        check_errno(connect_to_guest(&fd), error);
        must(hv_close(fd));
}

static int listen_at(const GUID *listen_vm_id) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *listen_vm_id, .ServiceId = service_id};
        int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        must(hv_bind(fd, (struct sockaddr *)&address, sizeof address));
        must(hv_listen(fd, 8));
        return fd;
}

/* ---- host to guest ---- */

TEST(a_program_reaches_the_guest_through_its_vmms_socket) {
        char bytes[16];
        SOCKADDR_HV peer;
        socklen_t length = sizeof peer;
        int stream;
        begin();
        world_enter(world, "host");
        int fd = connect_accepted(&stream);
        must(hv_getpeername(fd, (struct sockaddr *)&peer, &length));
        check(!memcmp(&peer.VmId, &vm_id, sizeof vm_id));
        check_equal(must(hv_send(fd, "hello", 5, 0)), 5);
        expect_text(stream, "hello");
        send_text(stream, "you!");
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 4);
        check_equal(service_counter(world, &service_id, "channelsNow"), 1);
        must(hv_close(fd));
        hear_end(stream);
        end();
}

TEST(a_stream_that_the_vmm_closes_at_once_is_econnrefused) {
        int fd;
        begin();
        world_enter(world, "host");
        struct thread *thread = thread_start(connect_to_guest, &fd);
        close(accept_line());
        check_errno(thread_join(thread), ECONNREFUSED);
        must(hv_close(fd));
        check_equal(service_counter(world, &service_id, "refused/no-listener"), 1);
        end();
}

TEST(a_vm_without_its_vmm_is_ehostunreach) {
        begin_with("");
        world_enter(world, "host");
        expect_refused(EHOSTUNREACH);
        start_vmm();
        vmm = fd_close(vmm); /* its file stays */
        expect_refused(EHOSTUNREACH);
        check(await(!partition_is_running(world, "guest")));
        must(unlink(path));
        start_vmm();
        end();
}

TEST(a_vmm_that_is_killed_resets_its_channels) {
        int stream;
        begin();
        world_enter(world, "host");
        int fd = connect_accepted(&stream);
        vmm = fd_close(vmm);
        close(stream);
        check_errno(hv_recv(fd, &(char){0}, 1, 0), ECONNRESET);
        must(hv_close(fd));
        end();
}

TEST(a_daemon_that_is_killed_resets_its_channels) {
        int stream;
        begin();
        world_enter(world, "host");
        int fd = connect_accepted(&stream);
        check(partition_is_running(world, "guest")); /* a turn of the daemon's after it had something to be held */
        world_kill(world);
        hear_end(stream);
        check_errno(hv_recv(fd, &(char){0}, 1, 0), ECONNRESET);
        must(hv_close(fd));
        world_start(world);
        check(await(partition_is_running(world, "guest")));
        end();
}

TEST(a_megabyte_goes_both_ways) {
        static uint8_t sent[65536], bytes[65536];
        uint64_t to_guest = 0, at_guest = 0, from_guest = 0, at_host = 0;
        int stream;
        begin();
        world_enter(world, "host");
        int fd = connect_accepted(&stream);
        while (at_host < 1u << 20) {
                fill_sequence(&to_guest, sent, 16384);
                check_equal(must(hv_send(fd, sent, 16384, 0)), 16384);
                while (at_guest < to_guest)
                        check_sequence(&at_guest, bytes, (size_t)must(recv(stream, bytes, to_guest - at_guest, 0)));
                fill_sequence(&from_guest, sent, 16384);
                check_equal(must(send(stream, sent, 16384, 0)), 16384);
                while (at_host < from_guest)
                        check_sequence(&at_host, bytes, (size_t)must(hv_recv(fd, bytes, from_guest - at_host, 0)));
        }
        must(hv_close(fd));
        hear_end(stream);
        end();
}

TEST(a_disabled_service_ends_its_channels_with_the_guest) {
        int stream;
        begin();
        world_enter(world, "host");
        int fd = connect_accepted(&stream);
        json_object_put(manage(world, "SetServiceEnabled", "{\"service\": \"%s\", \"enabled\": false}", SERVICE));
        hear_end(stream);
        check_equal(hv_recv(fd, &(char){0}, 1, 0), -1);
        must(hv_close(fd));
        end();
}

/* ---- guest to host ---- */

TEST(a_guest_reaches_a_listener_by_the_file_of_its_port) {
        char bytes[16];
        SOCKADDR_HV peer;
        socklen_t length = sizeof peer;
        begin();
        world_enter(world, "host");
        int listener = listen_at(&HV_GUID_CHILDREN), stream = knock();
        send_text(stream, "at once");
        int fd = (int)must(hv_accept(listener, (struct sockaddr *)&peer, &length));
        check(!memcmp(&peer.VmId, &vm_id, sizeof vm_id));
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 7);
        check_equal(must(hv_send(fd, "welcome", 7, 0)), 7);
        expect_text(stream, "welcome");
        must(hv_close(fd));
        hear_end(stream);
        check(await(service_counter(world, &service_id, "channelsNow") == 0));
        must(hv_close(listener));
        end();
}

TEST(the_files_follow_the_listeners) {
        begin();
        world_enter(world, "host");
        int listener = listen_at(&HV_GUID_LOOPBACK), other;
        world_pause_ms(50);
        check(!has_file()); /* it does not take connections from the guest */
        other = listen_at(&HV_GUID_WILDCARD);
        check(await(has_file()));
        int third = listen_at(&vm_id);
        must(hv_close(other));
        check(has_file());
        must(hv_close(third));
        json_object_put(manage(world, "ListListeners", "{}")); /* so that those that are gone are looked for */
        check(await(!has_file()));
        must(hv_close(listener));
        end();
}

TEST(a_guest_that_may_not_connect_is_closed_and_counted) {
        begin_with("Connect=nobody\n");
        start_vmm();
        world_enter(world, "host");
        int listener = listen_at(&HV_GUID_CHILDREN), stream = knock();
        hear_end(stream);
        check(await(service_counter(world, &service_id, "refused/connect-denied") == 1));
        must(hv_close(listener));
        end();
}

TEST(the_files_go_with_the_daemon_and_come_back_with_it) {
        begin();
        world_enter(world, "host");
        int listener = listen_at(&HV_GUID_CHILDREN);
        check(await(has_file()));
        world_stop(world);
        check(!has_file());
        world_start(world);
        check(await(has_file()));
        world_kill(world);
        check(has_file());
        world_start(world);
        int stream = knock(); /* the file of before refuses, and is replaced */
        int fd = (int)must(hv_accept(listener, NULL, NULL));
        must(hv_close(fd));
        hear_end(stream);
        check(await(service_counter(world, &service_id, "channelsNow") == 0));
        must(hv_close(listener));
        end();
}

/* ---- one that was added while hvsockd ran ---- */

TEST(a_vm_that_vm_add_attached_talks_both_ways) {
        char output[128], bytes[16];
        int to_guest;
        world = world_new();
        snprintf(path, sizeof path, "%s/v.sock", world->root);
        snprintf(file, sizeof file, "%s_5000", path);
        service_id = port_service(5000);
        world_write_service(world, &service_id, "Port", "");
        world_start(world);
        check_equal(cli(world, output, sizeof output, "vm", "add", "guest", "--hybrid", path, NULL), 0);
        output[strcspn(output, "\n")] = 0;
        must(hv_guid_parse(output, &vm_id));
        start_vmm();
        world_enter(world, "host");
        int fd = connect_accepted(&to_guest);
        check_equal(must(hv_send(fd, "hello", 5, 0)), 5);
        expect_text(to_guest, "hello");
        int listener = listen_at(&HV_GUID_CHILDREN), from_guest = knock();
        send_text(from_guest, "you!");
        int accepted = (int)must(hv_accept(listener, NULL, NULL));
        check_equal(must(hv_recv(accepted, bytes, sizeof bytes, 0)), 4);
        must(hv_close(accepted));
        hear_end(from_guest);
        check(await(service_counter(world, &service_id, "channelsNow") == 1));
        must(hv_close(fd));
        hear_end(to_guest);
        json_object_put(manage(world, "ListChannels", "{}")); /* asks after who connected */
        check(await(service_counter(world, &service_id, "channelsNow") == 0));
        must(hv_close(listener));
        check_equal(cli(world, output, sizeof output, "vm", "remove", "guest", NULL), 0);
        end();
}
