/* SPDX-License-Identifier: MIT */

/* Drop-ins on a running broker: edits take effect by themselves, and mistakes cost only their own service. */

#include "bare_world.h"
#include "base/fd.h"
#include "base/guid.h"
#include "test.h"
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct bare_world world;
static int client;

static void begin(void) {
        bare_new(&world);
        bare_start(&world);
        client = bare_client(&world);
}

static void end(void) {
        fd_close(client);
        bare_end(&world);
}

/* What asking for the service of this friendly name is answered. */
static uint32_t find(const char *name) {
        struct wire_request request = request_of(WIRE_RESOLVE_SERVICE);
        strcpy(request.name, name);
        return ask(client, &request, -1);
}

static uint32_t may_go_on(const GUID *service_id) {
        struct wire_request request = request_of(WIRE_CHECK);
        request.service_id = *service_id;
        return ask(client, &request, -1);
}

static void remove_path(const char *path) {
        char full[PATH_MAX];
        bare_path(&world, path, full);
        must(remove(full));
}

#define SERVICE_FILE "5e00001c-0000-4000-8000-000000000001.conf"

TEST(a_drop_in_that_is_written_edited_and_removed_takes_effect_by_itself) {
        begin();
        check_equal(find("First"), ENOENT);
        bare_service(&world, "services", &SERVICE, "ElementName=First\n");
        until(find("First") == 0);
        bare_service(&world, "services", &SERVICE, "ElementName=Second\n");
        until(find("Second") == 0);
        check_equal(find("First"), ENOENT);
        bare_write(&world, "services/" SERVICE_FILE, "Format=1\nElementName=In place\n");
        until(find("In place") == 0);
        remove_path("services/" SERVICE_FILE);
        until(find("In place") == ENOENT);
        end();
}

TEST(the_first_directory_counts_and_the_next_shows_when_it_is_gone) {
        bare_new(&world);
        bare_service(&world, "lower", &SERVICE, "ElementName=Lower\n");
        bare_service(&world, "services", &SERVICE, "ElementName=Upper\n");
        bare_start(&world);
        client = bare_client(&world);
        check_equal(find("Upper"), 0);
        check_equal(find("Lower"), ENOENT);
        remove_path("services/" SERVICE_FILE);
        until(find("Lower") == 0);
        end();
}

TEST(an_empty_file_or_a_link_to_dev_null_hides_a_service) {
        char link[PATH_MAX];
        bare_new(&world);
        bare_service(&world, "lower", &SERVICE, "ElementName=Lower\n");
        bare_start(&world);
        client = bare_client(&world);
        check_equal(find("Lower"), 0);
        bare_path(&world, "services/" SERVICE_FILE, link);
        must(symlink("/dev/null", link));
        until(find("Lower") == ENOENT);
        must(unlink(link));
        until(find("Lower") == 0);
        bare_replace(&world, "services/" SERVICE_FILE, "");
        until(find("Lower") == ENOENT);
        end();
}

TEST(a_directory_that_is_made_later_is_read_then) {
        bare_new(&world);
        remove_path("services");
        bare_start(&world);
        client = bare_client(&world);
        char path[PATH_MAX];
        bare_path(&world, "services", path);
        must(mkdir(path, 0755));
        bare_service(&world, "services", &SERVICE, "ElementName=Late\n");
        until(find("Late") == 0);
        remove_path("services/" SERVICE_FILE);
        must(rmdir(path));
        until(find("Late") == ENOENT);
        must(mkdir(path, 0755));
        bare_service(&world, "services", &SERVICE, "ElementName=Again\n");
        until(find("Again") == 0);
        end();
}

TEST(a_mistake_leaves_its_service_as_it_was_and_the_others_load) {
        begin();
        bare_service(&world, "services", &SERVICE, "ElementName=Right\n");
        until(find("Right") == 0);
        bare_service(&world, "services", &SERVICE, "ElementName=Wrong\nEnabled=perhaps\n");
        bare_service(&world, "services", &OTHER_SERVICE, "ElementName=Other\n");
        bare_write(&world, "services/nonsense.conf", "Format=1\n");
        until(find("Other") == 0);
        check_equal(find("Right"), 0);
        check_equal(find("Wrong"), ENOENT);
        bare_service(&world, "services", &SERVICE, "ElementName=Mended\n");
        until(find("Mended") == 0);
        end();
}

/* The broker reads its directories with room for so many descriptors more, and has done so when this returns. */
static void read_again_with_room_for(unsigned more) {
        struct rlimit limit, old;
        char path[64];
        unsigned number = 0;
        must(prlimit(world.broker, RLIMIT_NOFILE, NULL, &old));
        limit = old;
        do
                snprintf(path, sizeof path, "/proc/%d/fd/%u", (int)world.broker, number++);
        while (access(path, F_OK) == 0);
        limit.rlim_cur = number - 1 + more;
        must(prlimit(world.broker, RLIMIT_NOFILE, &limit, NULL));
        must(kill(world.broker, SIGHUP));
        (void)find("nobody");
        (void)find("nobody");
        must(prlimit(world.broker, RLIMIT_NOFILE, &old, NULL));
}

TEST(without_descriptors_to_read_a_directory_its_services_stay_and_it_is_read_later) {
        begin();
        bare_service(&world, "services", &SERVICE, "ElementName=First\n");
        until(find("First") == 0);
        for (unsigned more = 0; more < 2; more++) {
                char name[16], lines[64];
                snprintf(name, sizeof name, "Room %u", more);
                snprintf(lines, sizeof lines, "ElementName=%s\n", name);
                must(kill(world.broker, SIGSTOP));
                bare_service(&world, "services", &OTHER_SERVICE, lines);
                must(kill(world.broker, SIGCONT));
                read_again_with_room_for(more);
                check_equal(find("First"), 0);
                until(find(name) == 0);
        }
        end();
}

/* Calls a method of the management interface: a connection that the answer comes on. */
static int manage_begin(const char *call) {
        struct sockaddr_un address;
        socklen_t length;
        char path[PATH_MAX];
        cleanup(fd_closep) int directory_fd = -1;
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        bare_path(&world, "runtime/manage", path);
        check_ok(address_of_path(path, &address, &length, &directory_fd));
        must(connect(fd, (struct sockaddr *)&address, length));
        must(send(fd, call, strlen(call), MSG_NOSIGNAL));
        return fd;
}

static bool has_been_read(int fd) {
        int unread;
        must(ioctl(fd, SIOCOUTQ, &unread));
        return unread == 0;
}

/* Sends the NUL, and hears of no error. */
static void manage_end(int fd) {
        char reply[4096] = "";
        must(send(fd, "", 1, MSG_NOSIGNAL));
        must(recv(fd, reply, sizeof reply - 1, 0));
        check_string(reply, "{\"parameters\":{}}");
        fd_close(fd);
}

TEST(a_removed_service_does_not_come_back_from_a_file_named_in_capitals) {
        bare_new(&world);
        bare_service(&world, "services", &SERVICE, "ElementName=Upper\n");
        bare_write(&world, "lower/5E00001C-0000-4000-8000-000000000001.conf", "Format=1\nElementName=Lower\n");
        bare_start(&world);
        client = bare_client(&world);
        manage_end(manage_begin("{\"method\":\"io.hvsock.RemoveService\",\"parameters\":{\"service\":\"Upper\"}}"));
        check_equal(find("Upper"), ENOENT);
        check_equal(find("Lower"), ENOENT);
        end();
}

TEST(of_many_that_manage_at_once_no_more_than_one_goes_before_a_client) {
        static const char call[] = "{\"method\":\"io.hvsock.AddService\",\"parameters\":{\"name\":\"Number %u\"}}";
        int fds[16];
        char text[128];
        begin();
        for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
                snprintf(text, sizeof text, call, i);
                fds[i] = manage_begin(text);
        }
        for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
                until(has_been_read(fds[i]));
        check_equal(find("nobody"), ENOENT);
        /* All that they wait for comes in one turn of the broker's loop, with the client's request. */
        must(kill(world.broker, SIGSTOP));
        must(waitpid(world.broker, NULL, WUNTRACED)); /* it may be a moment until it has stopped */
        for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
                must(send(fds[i], "", 1, MSG_NOSIGNAL));
        struct wire_request request = request_of(WIRE_RESOLVE_SERVICE);
        struct wire_reply reply;
        strcpy(request.name, "Number 1");
        tell(client, &request, -1);
        must(kill(world.broker, SIGCONT));
        hear(client, &reply);
        check_equal(reply.error, ENOENT);
        for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
                snprintf(text, sizeof text, "Number %u", i);
                until(find(text) == 0);
                fd_close(fds[i]);
        }
        end();
}

TEST(a_group_may_have_more_members_than_fit_in_a_page_or_two) {
        enum { MEMBERS = 10000 };
        char path[PATH_MAX];
        static char text[64 + MEMBERS * 12];
        if (geteuid() || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
                test_skip("only root has an /etc/group of its own");
        bare_new(&world);
        size_t length = (size_t)sprintf(text, "crowd:x:4242:root");
        for (unsigned i = 0; i < MEMBERS; i++)
                length += (size_t)sprintf(text + length, ",member%05u", i);
        strcpy(text + length, "\n");
        bare_write(&world, "group", text);
        bare_path(&world, "group", path);
        must(mount(path, "/etc/group", NULL, MS_BIND, NULL));
        bare_service(&world, "services", &SERVICE, "ElementName=Crowded\nConnect=group:crowd\n");
        bare_start(&world);
        client = bare_client(&world);
        check_equal(find("Crowded"), 0);
        must(umount("/etc/group"));
        end();
}

static bool is_readable(int fd) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        return must(poll(&readable, 1, 0)) == 1;
}

TEST(disabling_a_service_wakes_its_listener_changes_the_page_and_fails_the_check) {
        bare_new(&world);
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\n");
        bare_start(&world);
        client = bare_client(&world);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM), page = -1;
        struct wire_request hello = request_of(WIRE_HELLO);
        uint8_t packet[WIRE_PACKET_MAX];
        size_t length;
        tell(client, &hello, -1);
        check_ok(packet_receive(client, packet, sizeof packet, 0, &length, &page, NULL));
        const volatile uint64_t *counter = mmap(NULL, sizeof *counter, PROT_READ, MAP_SHARED, page, 0);
        check(counter != MAP_FAILED);
        uint64_t before = *counter;
        check_equal(may_go_on(&SERVICE), 0);

        bare_service(&world, "services", &SERVICE, "ElementName=Echo\nEnabled=no\n");
        until(is_readable(listening));
        struct sockaddr_un address;
        socklen_t address_length = sizeof address;
        struct connector_name name;
        int accepted = (int)must(accept4(listening, (struct sockaddr *)&address, &address_length, SOCK_CLOEXEC));
        check_ok(connector_name_decode(&address, address_length, &name));
        check_equal(name.flags, CONNECTOR_ENDED);
        check(*counter != before);
        check_equal(may_go_on(&SERVICE), EINVAL);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), EINVAL);

        /* Enabled again, it is a new listener that is reached. */
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\n");
        until(may_go_on(&SERVICE) == 0);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), ECONNREFUSED);
        int renewed = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        check(!is_readable(listening) && is_readable(renewed));
        must(munmap((void *)counter, sizeof *counter));
        fd_close(page);
        fd_close(accepted);
        fd_close(renewed);
        fd_close(listening);
        end();
}

TEST(a_service_disabled_while_no_broker_ran_is_ended_by_the_next) {
        bare_new(&world);
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\n");
        bare_start(&world);
        client = bare_client(&world);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        bare_kill(&world);
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\nEnabled=no\n");
        bare_start(&world);
        check(is_readable(listening));
        fd_close(client);
        client = bare_client(&world);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), EINVAL);
        fd_close(listening);
        end();
}

TEST(a_listener_with_a_full_backlog_is_told_of_the_end_when_there_is_room_even_by_the_next_broker) {
        bare_new(&world);
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\n");
        bare_start(&world);
        client = bare_client(&world);
        struct wire_request binding = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        int listening = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), connected = -1;
        check_equal(ask(client, &binding, listening), 0);
        must(listen(listening, 0));
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &connected), 0);
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\nEnabled=no\n");
        until(may_go_on(&SERVICE) == EINVAL);
        bare_kill(&world);
        bare_start(&world);
        fd_close(client);
        client = bare_client(&world);

        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct connector_name name;
        fd_close(must(accept4(listening, (struct sockaddr *)&address, &length, SOCK_CLOEXEC)));
        check_ok(connector_name_decode(&address, length, &name));
        check_equal(name.flags, 0);
        until(is_readable(listening));
        length = sizeof address;
        fd_close(must(accept4(listening, (struct sockaddr *)&address, &length, SOCK_CLOEXEC)));
        check_ok(connector_name_decode(&address, length, &name));
        check_equal(name.flags, CONNECTOR_ENDED);
        fd_close(connected);
        fd_close(listening);
        end();
}
