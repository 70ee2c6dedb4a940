/* SPDX-License-Identifier: MIT */

/* A broker's beginnings and ends: what it makes, what it finds again, and whom it believes dead. */

#include "bare_world.h"
#include "base/fd.h"
#include "base/guid.h"
#include "test.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct bare_world world;

static void begin(void) {
        bare_new(&world);
        bare_start(&world);
}

static void check_mode(const char *path, mode_t expected) {
        char full[PATH_MAX];
        struct stat status;
        bare_path(&world, path, full);
        must(stat(full, &status));
        if ((status.st_mode & 07777) != expected)
                test_fail(__FILE__, __LINE__, "%s has mode %o, expected %o", path, status.st_mode & 07777, expected);
}

static bool exists(const char *path) {
        char full[PATH_MAX];
        bare_path(&world, path, full);
        return access(full, F_OK) == 0;
}

static unsigned count_files(const char *path) {
        char full[PATH_MAX];
        unsigned count = 0;
        bare_path(&world, path, full);
        DIR *directory = opendir(full);
        check(directory);
        for (struct dirent *entry; (entry = readdir(directory));)
                count += entry->d_name[0] != '.';
        closedir(directory);
        return count;
}

TEST(directories_and_sockets_have_the_modes_that_keep_others_out) {
        mode_t open_mode = geteuid() == 0 ? 0755 : 0700;
        begin();
        check_mode("runtime", open_mode);
        check_mode("runtime/listeners", 0700);
        check_mode("runtime/aaaaaaaa-0000-4000-8000-000000000001", 0755);
        check_mode("runtime/aaaaaaaa-0000-4000-8000-000000000001/control", 0666);
        check_mode("runtime/aaaaaaaa-0000-4000-8000-000000000001/revocations", 0644);
        check_mode("runtime/lock", 0600);
        check_mode("state/key", 0600);
        char link[PATH_MAX], target[PATH_MAX] = "";
        bare_path(&world, "runtime/control", link);
        must(readlink(link, target, sizeof target - 1));
        check_string(target, "aaaaaaaa-0000-4000-8000-000000000001/control");
        bare_end(&world);
}

TEST(a_world_without_a_host_gets_one_that_lasts) {
        char path[PATH_MAX], first[PATH_MAX] = "", second[PATH_MAX] = "";
        bare_new(&world);
        bare_path(&world, "state/partitions/aaaaaaaa-0000-4000-8000-000000000001.conf", path);
        must(unlink(path));
        bare_start(&world);
        bare_path(&world, "runtime/control", path);
        must(readlink(path, first, sizeof first - 1));
        check(strcmp(first, "aaaaaaaa-0000-4000-8000-000000000001/control"));
        check_equal(count_files("state/partitions"), 1);
        bare_kill(&world);
        bare_start(&world);
        must(readlink(path, second, sizeof second - 1));
        check_string(second, first);
        bare_end(&world);
}

TEST(a_second_broker_of_the_same_world_gives_up_and_the_first_goes_on) {
        begin();
        check(bare_start_in_vain(&world) != 0);
        bare_check_alive(&world);
        bare_end(&world);
}

/* The broker's own descriptor of this file: the same open file, as a child of it would have. */
static int descriptor_of_broker(const char *path) {
        char wanted[PATH_MAX], link[64], target[PATH_MAX] = "";
        cleanup(fd_closep) int pid_fd = (int)must(syscall(SYS_pidfd_open, world.broker, 0));
        bare_path(&world, path, wanted);
        for (int number = 0; number < 1024; number++) {
                snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)world.broker, number);
                ssize_t length = readlink(link, target, sizeof target - 1);
                target[length < 0 ? 0 : length] = 0;
                if (strcmp(target, wanted) == 0)
                        return (int)must(syscall(SYS_pidfd_getfd, pid_fd, number, 0));
        }
        test_fail(__FILE__, __LINE__, "the broker does not have %s", wanted);
}

TEST(what_a_killed_broker_leaves_open_in_its_children_does_not_keep_the_next_from_starting) {
        begin();
        int lock_fd = descriptor_of_broker("runtime/lock");
        bare_kill(&world);
        bare_start(&world);
        bare_check_alive(&world);
        fd_close(lock_fd);
        bare_end(&world);
}

TEST(a_definition_with_a_mistake_costs_only_its_own_partition) {
        static const GUID good = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        static const GUID bad = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 3}};
        static const GUID orphan = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 4}};
        static const GUID child = {0x11111111, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 5}};
        int client = -1;
        bare_new(&world);
        bare_partition(&world, &good, "Label=good\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_partition(&world, &bad, "Label=bad\nKind=teapot\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_partition(&world, &orphan, "Label=o\nKind=container\nParent=99999999-0000-4000-8000-000000000001\n");
        bare_partition(&world, &child, "Label=c\nKind=container\nParent=bbbbbbbb-0000-4000-8000-000000000002\n");
        bare_write(&world, "state/partitions/nonsense.conf", "Format=1\n");
        bare_start(&world);
        fd_close(bare_client_of(&world, &good));
        fd_close(bare_client_of(&world, &child));
        check_equal(bare_try_client(&world, &bad, &client), ENOENT);
        check_equal(bare_try_client(&world, &orphan, &client), ENOENT);
        bare_end(&world);
}

TEST(a_partition_older_than_its_cid_gets_one_that_lasts_and_is_nobody_elses) {
        static const GUID old = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        static const GUID three = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 3}};
        char path[PATH_MAX], *text;
        size_t length;
        bare_new(&world);
        bare_partition(&world, &old, "Label=old\nKind=vm\nX-Mine=kept\nParent=aaaaaaaa-0000-4000-8000-000000000001");
        bare_partition(&world, &three, "Label=three\nKind=vm\nCid=3\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        for (unsigned i = 0; i < 2; i++) {
                bare_start(&world);
                int client = bare_client_of(&world, &old);
                struct wire_request request = request_of(WIRE_RESOLVE_CID);
                struct wire_reply reply;
                request.vm_id = HV_GUID_LOOPBACK;
                tell(client, &request, -1);
                hear(client, &reply);
                check_equal(reply.cid, 4);
                fd_close(client);
                bare_kill(&world);
        }
        bare_path(&world, "state/partitions/bbbbbbbb-0000-4000-8000-000000000002.conf", path);
        check_ok(file_read(AT_FDCWD, path, 4096, &text, &length));
        check_string(text, "Format=1\nLabel=old\nKind=vm\nX-Mine=kept\nParent=aaaaaaaa-0000-4000-8000-000000000001\nCid=4\n");
        free(text);
        bare_start(&world);
        bare_end(&world);
}

TEST(a_host_with_a_mistake_in_it_is_not_replaced_by_another) {
        bare_new(&world);
        bare_partition(&world, &HOST, "Label=lab\nKind=hots\n");
        check(bare_start_in_vain(&world) != 0);
        check_equal(count_files("state/partitions"), 1);
        bare_partition(&world, &HOST, "Label=lab\nKind=host\n");
        bare_start(&world);
        bare_check_alive(&world);
        bare_end(&world);
}

TEST(listeners_come_back_after_the_broker_was_killed) {
        begin();
        int client = bare_client(&world);
        int stream = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        int packets = bare_listener(client, &HV_GUID_LOOPBACK, &OTHER_SERVICE, SOCK_SEQPACKET);
        fd_close(client);
        bare_kill(&world);
        bare_start(&world);
        client = bare_client(&world);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        fd_close(must(accept4(stream, NULL, NULL, SOCK_CLOEXEC)));
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &OTHER_SERVICE, SOCK_SEQPACKET, NULL), 0);
        fd_close(must(accept4(packets, NULL, NULL, SOCK_CLOEXEC)));
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &OTHER_SERVICE, SOCK_STREAM, NULL), EPROTOTYPE);

        /* What was bound before still is in the way. */
        struct wire_request binding = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        check_equal(ask(client, &binding, fd), EADDRINUSE);
        fd_close(fd);
        fd_close(stream);
        fd_close(packets);
        fd_close(client);
        bare_end(&world);
}

TEST(a_connect_waiting_in_the_control_socket_is_served_by_the_next_broker_or_sees_its_end) {
        begin();
        int client = bare_client(&world);
        bare_kill(&world);
        check_closed(client);
        int refused = -1;
        check_equal(bare_try_client(&world, &HOST, &refused), ECONNREFUSED);
        bare_start(&world);
        fd_close(client);
        client = bare_client(&world);
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(client, &request, -1), 0);
        fd_close(client);
        bare_end(&world);
}

TEST(what_lies_in_the_listeners_directory_without_a_living_listener_is_removed) {
        begin();
        int client = bare_client(&world);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        bare_kill(&world);
        fd_close(listening);
        fd_close(client);
        bare_write(&world, "runtime/listeners/nonsense", "");
        bare_write(&world, "runtime/listeners/ended.s0123456789", "");
        check_equal(count_files("runtime/listeners"), 3);
        bare_start(&world);
        check_equal(count_files("runtime/listeners"), 0);
        bare_end(&world);
}

TEST(a_name_that_one_broker_gave_is_honoured_by_the_next) {
        begin();
        int client = bare_client(&world);
        struct wire_request binding = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request connecting = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        int deaf = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        check_equal(ask(client, &binding, deaf), 0);
        check_equal(ask(client, &connecting, fd), ECONNREFUSED);
        bare_kill(&world);
        bare_start(&world);
        fd_close(client);
        client = bare_client(&world);
        check_equal(ask(client, &binding, deaf), 0);
        must(listen(deaf, 1));
        check_equal(ask(client, &connecting, fd), 0);

        /* Under another key it is a forgery. */
        int forged = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct connector_name name;
        must(getsockname(fd, (struct sockaddr *)&address, &length));
        check_ok(connector_name_decode(&address, length, &name));
        name.ephemeral_id.Data1 ^= 1;
        length = connector_name_encode(&name, &address);
        must(bind(forged, (struct sockaddr *)&address, length));
        check_equal(ask(client, &connecting, forged), EINVAL);
        fd_close(forged);
        fd_close(fd);
        fd_close(deaf);
        fd_close(client);
        bare_end(&world);
}

TEST(between_two_hosts_there_is_no_choosing) {
        static const GUID other = {0xcccccccc, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 9}};
        bare_new(&world);
        bare_partition(&world, &other, "Label=copy\nKind=host\n");
        check(bare_start_in_vain(&world) != 0);
        check_equal(count_files("state/partitions"), 2);
        bare_end(&world);
}

TEST(a_directory_that_many_share_is_left_to_them) {
        char path[PATH_MAX];
        bare_new(&world);
        bare_path(&world, "state", path);
        must(chmod(path, 01777));
        check(bare_start_in_vain(&world) != 0);
        check_mode("state", 01777);
        bare_end(&world);
}

TEST(a_listener_outlives_a_mistake_in_its_partitions_definition) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        static const char right[] = "Label=vm\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n";
        bare_new(&world);
        bare_partition(&world, &vm, right);
        bare_start(&world);
        int client = bare_client_of(&world, &vm);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        bare_kill(&world);
        bare_partition(&world, &vm, "Label=vm\nKind=mv\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_start(&world);
        bare_kill(&world);
        bare_partition(&world, &vm, right);
        bare_start(&world);
        fd_close(client);
        client = bare_client_of(&world, &vm);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}

/* A process that opens a channel on a connection of its own, and holds both until told to go. */
static pid_t holder(int *ret_end) {
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                char byte;
                fd_close(ends[0]);
                int client = bare_client(&world), fd = -1;
                if (bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &fd))
                        _exit(1);
                must(write(ends[1], "r", 1));
                (void)read(ends[1], &byte, 1);
                _exit(0);
        }
        char byte;
        fd_close(ends[1]);
        check_equal(must(read(ends[0], &byte, 1)), 1);
        *ret_end = ends[0];
        return pid;
}

TEST(the_channels_of_a_process_that_died_leave_the_books) {
        bare_new(&world);
        bare_write(&world, "hvsockd.conf", "Format=1\nChannelsPerListener=2\n");
        bare_start(&world);
        int client = bare_client(&world), ends[2];
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        pid_t first = holder(&ends[0]), second = holder(&ends[1]);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), ENOBUFS);
        must(kill(first, SIGKILL));
        must(waitpid(first, NULL, 0));
        int fd = -1;
        until(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &fd) == 0);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), ENOBUFS);
        fd_close(ends[1]);
        must(waitpid(second, NULL, 0));
        fd_close(ends[0]);
        fd_close(fd);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}

TEST(channels_that_were_closed_without_a_word_do_not_pile_up) {
        bare_new(&world);
        bare_write(&world, "hvsockd.conf", "Format=1\nChannelsPerUser=8\n");
        bare_start(&world);
        int client = bare_client(&world);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        for (unsigned i = 0; i < 8; i++)
                check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}

TEST(a_listeners_file_goes_when_its_process_does) {
        begin();
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                bare_listener(bare_client(&world), &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
                pause();
                _exit(0);
        }
        until(count_files("runtime/listeners") == 1);
        must(kill(pid, SIGKILL));
        must(waitpid(pid, NULL, 0));
        until(count_files("runtime/listeners") == 0);
        bare_end(&world);
}

TEST(a_socket_that_systemd_listens_on_is_the_hosts) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        bare_new(&world);
        world.control_fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET, 0));
        char path[PATH_MAX];
        bare_path(&world, "runtime/control", path);
        check(strlen(path) < sizeof address.sun_path);
        strcpy(address.sun_path, path);
        int on = 1; /* PassCredentials=yes */
        must(setsockopt(world.control_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
        must(bind(world.control_fd, (struct sockaddr *)&address, sizeof address));
        must(listen(world.control_fd, 8));

        /* A client may come before the broker does. */
        int client = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        must(connect(client, (struct sockaddr *)&address, sizeof address));
        struct wire_request request = request_of(WIRE_HELLO);
        struct wire_reply reply;
        tell(client, &request, -1);
        bare_start(&world);
        hear(client, &reply);
        check_equal(reply.error, 0);
        check(guid_equal(&reply.vm_id, &HOST));
        struct stat status;
        must(lstat(path, &status));
        check(S_ISSOCK(status.st_mode));
        bare_check_alive(&world);
        fd_close(world.control_fd);
        fd_close(client);
        bare_end(&world);
}

TEST(a_partitions_directory_survives_the_broker) {
        begin();
        must(kill(world.broker, SIGTERM));
        int status;
        must(waitpid(world.broker, &status, 0));
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        world.broker = 0;
        check(exists("runtime/aaaaaaaa-0000-4000-8000-000000000001/control"));
        bare_end(&world);
}

TEST(paths_longer_than_a_sockets_address_work) {
        char longer[PATH_MAX], path[PATH_MAX], beside[PATH_MAX];
        bare_new(&world);
        strcpy(path, world.root);
        check(snprintf(longer, sizeof longer, "%s/%0100d", path, 0) < (int)sizeof longer);
        check(snprintf(beside, sizeof beside, "%s.moved", path) < (int)sizeof beside);
        must(rename(path, beside));
        must(mkdir(path, 0700));
        must(rename(beside, longer));
        strcpy(world.root, longer);
        bare_start(&world);
        int client = bare_client(&world);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
        must(rmdir(path));
}
