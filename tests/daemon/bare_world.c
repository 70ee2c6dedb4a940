/* SPDX-License-Identifier: MIT */

/* A running hvsockd and packets made by hand. */

#include "bare_world.h"
#include "base/fd.h"
#include "base/guid.h"
#include "test.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BARE_WAIT_MS 20000

const GUID HOST = {0xaaaaaaaa, 0x0000, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 1}};
const GUID SERVICE = {0x5e00001c, 0x0000, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 1}};
const GUID OTHER_SERVICE = {0x5e00001c, 0x0000, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};

void bare_path(const struct bare_world *world, const char *path, char ret_path[PATH_MAX]) {
        check(snprintf(ret_path, PATH_MAX, "%s/%s", world->root, path) < PATH_MAX);
}

void bare_write(const struct bare_world *world, const char *path, const char *text) {
        char full[PATH_MAX];
        bare_path(world, path, full);
        int fd = (int)must(open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        check_equal(must(write(fd, text, strlen(text))), strlen(text));
        fd_close(fd);
}

void bare_replace(const struct bare_world *world, const char *path, const char *text) {
        char full[PATH_MAX], beside[PATH_MAX];
        bare_write(world, "beside", text);
        bare_path(world, "beside", beside);
        bare_path(world, path, full);
        must(rename(beside, full));
}

void bare_service(const struct bare_world *world, const char *directory, const GUID *service_id, const char *lines) {
        char guid[HV_GUID_TEXT_SIZE], path[PATH_MAX], text[4096];
        guid_format(service_id, guid);
        snprintf(path, sizeof path, "%s/%s.conf", directory, guid);
        check(snprintf(text, sizeof text, "Format=1\n%s", lines) < (int)sizeof text);
        bare_replace(world, path, text);
}

void bare_partition(const struct bare_world *world, const GUID *vm_id, const char *lines) {
        bare_service(world, "state/partitions", vm_id, lines);
}

void bare_new(struct bare_world *world) {
        static const char *const directories[] = {"runtime", "state", "state/partitions", "services", "lower"};
        *world = (struct bare_world){.control_fd = -1};
        const char *temporary = getenv("TMPDIR");
        check(snprintf(world->root, sizeof world->root, "%s/hvsock-bare-XXXXXX", temporary ? temporary : "/tmp") <
              (int)sizeof world->root);
        check(mkdtemp(world->root));
        for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
                char path[PATH_MAX];
                bare_path(world, directories[i], path);
                must(mkdir(path, 0755));
        }
        bare_partition(world, &HOST, "Label=lab\nKind=host\n");
}

static pid_t launch(const struct bare_world *world, int notify_fd) {
        char executable[PATH_MAX], paths[5][PATH_MAX];
        static const char *const names[] = {"runtime", "state", "services", "lower", "hvsockd.conf"};
        const char *build = getenv("HVSOCK_BUILD");
        snprintf(executable, sizeof executable, "%s/hvsockd", build ? build : ".");
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                bare_path(world, names[i], paths[i]);
        pid_t pid = (pid_t)must(fork());
        if (pid)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fd_close(notify_fd);
        if (world->control_fd >= 0) {
                char own_pid[16];
                snprintf(own_pid, sizeof own_pid, "%d", (int)getpid());
                if (dup2(world->control_fd, 3) < 0 || setenv("LISTEN_PID", own_pid, 1) < 0 || setenv("LISTEN_FDS", "1", 1) < 0 ||
                    setenv("LISTEN_FDNAMES", "control", 1) < 0)
                        _exit(126);
        }
        execl(executable, executable, "--runtime", paths[0], "--state", paths[1], "--services", paths[2], "--services",
              paths[3], "--config", paths[4], "--log-level", "warning", (char *)NULL);
        _exit(127);
}

/* Where a broker says that it is ready. */
static int notify_socket(const struct bare_world *world) {
        struct sockaddr_un address;
        socklen_t length;
        int directory_fd;
        char path[PATH_MAX];
        bare_path(world, "notify", path);
        (void)unlink(path);
        check_ok(address_of_path(path, &address, &length, &directory_fd));
        int fd = (int)must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        must(bind(fd, (struct sockaddr *)&address, length));
        fd_close(directory_fd);
        must(setenv("NOTIFY_SOCKET", path, 1));
        return fd;
}

void bare_start(struct bare_world *world) {
        char text[64] = "";
        int notify_fd = notify_socket(world);
        world->broker = launch(world, notify_fd);
        struct pollfd ready = {.fd = notify_fd, .events = POLLIN};
        for (unsigned waited = 0; must(poll(&ready, 1, 100)) == 0; waited += 100)
                check(waited < BARE_WAIT_MS && must(waitpid(world->broker, NULL, WNOHANG)) == 0);
        must(recv(notify_fd, text, sizeof text - 1, 0));
        check_string(text, "READY=1");
        fd_close(notify_fd);
}

int bare_start_in_vain(struct bare_world *world) {
        int status;
        pid_t pid = launch(world, -1);
        check_equal(must(waitpid(pid, &status, 0)), pid);
        check(WIFEXITED(status));
        return WEXITSTATUS(status);
}

void bare_kill(struct bare_world *world) {
        int status;
        must(kill(world->broker, SIGKILL));
        must(waitpid(world->broker, &status, 0));
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        world->broker = 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where) {
        return remove(path);
}

void bare_end(struct bare_world *world) {
        int status = 0;
        if (world->broker) {
                must(kill(world->broker, SIGTERM));
                check_equal(must(waitpid(world->broker, &status, 0)), world->broker);
                if (!WIFEXITED(status) || WEXITSTATUS(status))
                        test_fail(__FILE__, __LINE__, "the broker ended with wait status 0x%x", status);
        }
        /* Again while a program that the broker started still writes there. */
        until(nftw(world->root, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

void bare_check_alive(struct bare_world *world) {
        struct wire_request hello = request_of(WIRE_HELLO);
        int client = bare_client(world);
        check_equal(ask(client, &hello, -1), 0);
        fd_close(client);
        check_equal(must(waitpid(world->broker, NULL, WNOHANG)), 0);
}

unsigned bare_descriptors(const struct bare_world *world, int client) {
        struct wire_request last = request_of(WIRE_RESOLVE_SERVICE);
        char path[64];
        strcpy(last.name, "nobody");
        check_equal(ask(client, &last, -1), ENOENT);
        unsigned count = 0;
        snprintf(path, sizeof path, "/proc/%d/fd", (int)world->broker);
        DIR *directory = opendir(path);
        check(directory);
        while (readdir(directory))
                count++;
        closedir(directory);
        return count;
}

int bare_try_client(const struct bare_world *world, const GUID *vm_id, int *ret_client) {
        char guid[HV_GUID_TEXT_SIZE], name[64], path[PATH_MAX];
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1, fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        guid_format(vm_id, guid);
        snprintf(name, sizeof name, "runtime/%s/control", guid);
        bare_path(world, name, path);
        check_ok(address_of_path(path, &address, &length, &directory_fd));
        if (connect(fd, (struct sockaddr *)&address, length) < 0)
                return errno;
        *ret_client = fd_take(fd);
        return 0;
}

int bare_client_of(const struct bare_world *world, const GUID *vm_id) {
        int client = -1;
        check_ok(bare_try_client(world, vm_id, &client));
        return client;
}

int bare_client(const struct bare_world *world) {
        return bare_client_of(world, &HOST);
}

struct wire_request request_of(uint16_t type) {
        static uint32_t serial;
        return (struct wire_request){.header = {.major = WIRE_MAJOR, .minor = WIRE_MINOR, .type = type, .serial = ++serial}};
}

struct wire_request bind_request(const GUID *vm_id, const GUID *service_id, int socket_type) {
        struct wire_request request = request_of(WIRE_BIND);
        request.vm_id = *vm_id;
        request.service_id = *service_id;
        request.socket_type = (uint32_t)socket_type;
        return request;
}

struct wire_request connect_request(const GUID *vm_id, const GUID *service_id, int socket_type) {
        struct wire_request request = bind_request(vm_id, service_id, socket_type);
        request.header.type = WIRE_CONNECT;
        return request;
}

void tell(int client, const struct wire_request *request, int fd) {
        uint8_t packet[WIRE_PACKET_MAX];
        check_ok(packet_send(client, packet, wire_encode_request(request, packet), fd, 0));
}

void hear(int client, struct wire_reply *ret_reply) {
        uint8_t packet[WIRE_PACKET_MAX];
        size_t length;
        int fd;
        struct pollfd readable = {.fd = client, .events = POLLIN};
        check_equal(must(poll(&readable, 1, BARE_WAIT_MS)), 1);
        check_ok(packet_receive(client, packet, sizeof packet, 0, &length, &fd, NULL));
        fd_close(fd);
        check(length > 0);
        check_ok(wire_decode_reply(packet, length, ret_reply));
}

uint32_t ask(int client, const struct wire_request *request, int fd) {
        struct wire_reply reply;
        tell(client, request, fd);
        hear(client, &reply);
        check_equal(reply.header.serial, request->header.serial);
        check_equal(reply.header.type, request->header.type | WIRE_REPLY);
        return reply.error;
}

void check_closed(int client) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct pollfd hung_up = {.fd = client, .events = POLLIN};
        ssize_t length;
        do {
                check_equal(must(poll(&hung_up, 1, BARE_WAIT_MS)), 1);
                length = recv(client, packet, sizeof packet, 0);
        } while (length > 0);
        check(length == 0 || errno == ECONNRESET);
}

int bare_listener(int client, const GUID *vm_id, const GUID *service_id, int socket_type) {
        struct wire_request request = bind_request(vm_id, service_id, socket_type);
        int fd = (int)must(socket(AF_UNIX, socket_type | SOCK_CLOEXEC, 0));
        check_equal(ask(client, &request, fd), 0);
        must(listen(fd, 128));
        return fd;
}

uint32_t bare_connect(int client, const GUID *vm_id, const GUID *service_id, int socket_type, int *ret_fd) {
        struct wire_request request = connect_request(vm_id, service_id, socket_type);
        cleanup(fd_closep) int fd = (int)must(socket(AF_UNIX, socket_type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        uint32_t error = ask(client, &request, fd);
        must(fcntl(fd, F_SETFL, 0));
        if (!error && ret_fd)
                *ret_fd = fd_take(fd);
        return error;
}
