/* SPDX-License-Identifier: MIT */
#include "vm_world.h"

#include "test.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define ROUNDS 200
#define ROUND_SIZE 16384

void vm_require(void) {
        char executable[PATH_MAX], *command;
        guest_require();
        world_executable("hvsock", executable);
        must(asprintf(&command, "'%s' vm args --help >/dev/null 2>&1", executable));
        int status = system(command);
        free(command);
        if (status)
                test_skip("this hvsock prints no arguments for a VMM");
}

void vm_tell(struct world *world, const char *verb, const char *name, const char *option) {
        char output[1024];
        int status = cli(world, output, sizeof output, "vm", verb, name, option, NULL);
        if (!strcmp(verb, "add"))
                world->extra_descriptors += 2; /* it listens for VMMs, and for hybrid clients */
        if (status)
                test_fail(__FILE__, __LINE__, "hvsock vm %s exited with %d: %s", verb, status, output);
}

struct guest *vm_boot(struct world *world, const char *name, const char *const more[]) {
        char output[4096], *rest = output;
        const char *arguments[ARGUMENTS_MAX];
        unsigned count = 0;
        check_equal(cli(world, output, sizeof output, "vm", "args", name, NULL), 0);
        for (char *word; (word = strsep(&rest, " \n"));)
                if (*word && strcmp(word, "\\")) {
                        check(count < ARGUMENTS_MAX - 1);
                        arguments[count++] = word;
                }
        for (; more && *more; more++) {
                check(count < ARGUMENTS_MAX - 1);
                arguments[count++] = *more;
        }
        arguments[count] = NULL;
        return guest_start(arguments);
}

pid_t vm_serve(struct world *world, const GUID *service_id) {
        char executable[PATH_MAX], id[HV_GUID_TEXT_SIZE], byte;
        int ends[2];
        world_executable("examples/echo_server", executable);
        must(pipe2(ends, O_CLOEXEC));
        pid_t parent = getpid(), pid = (pid_t)must(fork());
        if (!pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                world_enter(world, "host");
                must(dup2(ends[1], STDOUT_FILENO));
                if (getppid() == parent)
                        execl(executable, executable, hv_guid_format(service_id, id), NULL);
                _exit(1);
        }
        close(ends[1]);
        check_equal(must(read(ends[0], &byte, 1)), 1);
        close(ends[0]);
        return pid;
}

void vm_end_server(pid_t server) {
        must(kill(server, SIGTERM));
        (void)await_child(server);
}

void talk_to(const GUID *vm_id, const GUID *service_id) {
        static uint8_t sent[ROUND_SIZE], heard[ROUND_SIZE];
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = *service_id};
        int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        must(hv_connect(fd, (struct sockaddr *)&address, sizeof address));
        for (unsigned round = 0; round < ROUNDS; round++) {
                for (unsigned i = 0; i < ROUND_SIZE; i++)
                        sent[i] = (uint8_t)((i ^ round) * 31 + i / 251);
                check_equal(must(hv_send(fd, sent, sizeof sent, 0)), sizeof sent);
                check_equal(must(hv_recv(fd, heard, sizeof heard, MSG_WAITALL)), sizeof heard);
                check(!memcmp(sent, heard, sizeof heard));
        }
        must(hv_shutdown(fd, SHUT_WR));
        check_equal(must(hv_recv(fd, heard, 1, 0)), 0);
        must(hv_close(fd));
}

unsigned vm_times(unsigned usually) {
        return getenv("HVSOCK_LONG") ? 50 : usually;
}

GUID vm_begin(struct world **ret_world, const char *name) {
        GUID service_id = port_service(VM_PORT), vm_id;
        char output[256];
        vm_require();
        struct world *world = *ret_world = world_new();
        world_write_service(world, &service_id, "Port", "");
        world_start(world);
        vm_tell(world, "add", name, NULL);
        check_equal(cli(world, output, sizeof output, "id", name, NULL), 0);
        output[strcspn(output, "\n")] = 0;
        must(hv_guid_parse(output, &vm_id));
        return vm_id;
}

struct vm_session vm_session_begin(void) {
        struct vm_session session = {.service_id = port_service(VM_PORT)};
        session.vm_id = vm_begin(&session.world, "web01");
        session.server = vm_serve(session.world, &session.service_id);
        session.guest = vm_boot(session.world, "web01", NULL);
        guest_await_ready(session.guest);
        world_enter(session.world, "host");
        return session;
}

void vm_session_end(const struct vm_session *session) {
        guest_power_off(session->guest);
        vm_end_server(session->server);
        world_end(session->world);
}
