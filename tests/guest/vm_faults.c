/* SPDX-License-Identifier: MIT */

/* What happens to real VMs: killed, paused, without memory that can be shared; and many connections at once. */

#include "../e2e/pair.h"
#include "test.h"
#include "vm_world.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 200
#define CHUNK 4096u
#define MUCH (1u << 30)
#define LESS (1u << 25)

/* -1 if it is refused. */
static int try_guest(const GUID *vm_id, const GUID *service_id, int type) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = *service_id};
        int fd = (int)must(hv_socket(AF_HYPERV, type, HV_PROTOCOL_RAW));
        if (hv_connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
                return fd;
        must(hv_close(fd));
        return -1;
}

static int connect_guest(const GUID *vm_id, const GUID *service_id, int type) {
        return (int)must(try_guest(vm_id, service_id, type));
}

static void say_and_hear(int fd, unsigned seed) {
        uint8_t sent[CHUNK], heard[CHUNK];
        for (unsigned i = 0; i < CHUNK; i++)
                sent[i] = (uint8_t)((i * 2654435761u ^ seed * 40503u) >> 13);
        check_equal(must(hv_send(fd, sent, CHUNK, 0)), CHUNK);
        check_equal(must(hv_recv(fd, heard, CHUNK, MSG_WAITALL)), CHUNK);
        check(!memcmp(sent, heard, CHUNK));
}

TEST_LIMITED(two_hundred_channels_to_a_guest_and_from_it_lose_no_byte, VM_LIMIT) {
        int fds[CONNECTIONS];
        struct vm_session session = vm_session_begin();
        guest_do(session.guest, "serve %u stream", VM_PORT);
        for (unsigned i = 0; i < CONNECTIONS; i++)
                fds[i] = connect_guest(&session.vm_id, &session.service_id, SOCK_STREAM);
        guest_tell(session.guest, "echo 2 %u stream %u 100000", VM_PORT, CONNECTIONS);
        for (unsigned round = 0; round < 4; round++)
                for (unsigned i = 0; i < CONNECTIONS; i++)
                        say_and_hear(fds[i], round * CONNECTIONS + i);
        check_string(guest_answer(session.guest), "ok");
        for (unsigned i = 0; i < CONNECTIONS; i++)
                must(hv_close(fds[i]));
        vm_session_end(&session);
}

/* A client in any language: no library, no names, a line and then bytes. */
static void talk_as_hybrid(const struct world *world, const GUID *vm_id) {
        char id[HV_GUID_TEXT_SIZE], line[64], text[] = "to the guest";
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        check(snprintf(address.sun_path, sizeof address.sun_path, "%s/%s/vsock", world->runtime,
                       hv_guid_format(vm_id, id)) < (int)sizeof address.sun_path);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        int length = snprintf(line, sizeof line, "CONNECT %u\n%s", VM_PORT, text);
        check_equal(must(send(fd, line, (size_t)length, MSG_NOSIGNAL)), length);
        FILE *stream = fdopen(fd, "r");
        check(stream && fgets(line, sizeof line, stream) && !strncmp(line, "OK ", 3));
        check_equal(fread(line, 1, strlen(text), stream), strlen(text));
        check(!memcmp(line, text, strlen(text)));
        fclose(stream);
}

TEST_LIMITED(messages_socat_and_hybrid_clients_reach_a_guest_and_socat_the_host, VM_LIMIT) {
        int fd;
        struct vm_session session = vm_session_begin();
        guest_do(session.guest, "run echo to the host | socat -t 9 - VSOCK-CONNECT:2:%u | grep -x 'to the host'", VM_PORT);
        guest_do(session.guest, "run socat VSOCK-LISTEN:%u,fork PIPE >/dev/null 2>&1 &", VM_PORT);
        check(await((fd = try_guest(&session.vm_id, &session.service_id, SOCK_STREAM)) >= 0)); /* it does not listen at once */
        for (unsigned i = 0; i < 50; i++)
                say_and_hear(fd, i);
        must(hv_close(fd));
        talk_as_hybrid(session.world, &session.vm_id);
        guest_do(session.guest, "run killall socat");
        guest_do(session.guest, "run while grep -q '[s]ocat' /proc/[0-9]*/cmdline 2>/dev/null; do sleep 0.1; done");
        guest_do(session.guest, "serve %u seqpacket", VM_PORT);
        fd = connect_guest(&session.vm_id, &session.service_id, SOCK_SEQPACKET);
        for (unsigned i = 0; i < 50; i++)
                say_and_hear(fd, i);
        must(hv_close(fd));
        vm_session_end(&session);
}

TEST_LIMITED(a_vmm_that_is_killed_in_the_middle_resets_all_and_the_next_one_is_served, VM_LIMIT) {
        char byte;
        struct world *world;
        GUID vm_id = vm_begin(&world, "web01"), service_id = port_service(VM_PORT);
        pid_t server = vm_serve(world, &service_id);
        world_enter(world, "host");
        for (unsigned i = 0; i < vm_times(2); i++) {
                struct guest *guest = vm_boot(world, "web01", NULL);
                guest_await_ready(guest);
                guest_do(guest, "serve %u stream", VM_PORT);
                int fd = connect_guest(&vm_id, &service_id, SOCK_STREAM);
                say_and_hear(fd, i);
                guest_tell(guest, "echo 2 %u stream 20 1000000000", VM_PORT);
                check(await(service_counter(world, &service_id, "channelsNow") == 21));
                guest_kill(guest);
                check_equal(hv_recv(fd, &byte, 1, 0), -1);
                check_equal(errno, ECONNRESET);
                must(hv_close(fd));
                /* The test's own was closed just now. */
                check(await(service_counter(world, &service_id, "channelsNow") <= 1));
        }
        vm_end_server(server);
        world_end(world);
}

/* A gigabyte each way, where time is no matter. */
TEST_LIMITED(much_data_goes_each_way, VM_LIMIT) {
        uint64_t sent = 0, heard = 0, size = getenv("HVSOCK_LONG") ? MUCH : LESS;
        static uint8_t bytes[65536];
        struct vm_session session = vm_session_begin();
        guest_do(session.guest, "echo 2 %u stream 1 %llu", VM_PORT, (unsigned long long)size);
        guest_do(session.guest, "serve %u stream", VM_PORT);
        int fd = connect_guest(&session.vm_id, &session.service_id, SOCK_STREAM);
        for (uint64_t at_sender = 0, at_receiver = 0; heard < size;) {
                if (sent < size && sent - heard < 131072) {
                        fill_sequence(&at_sender, bytes, sizeof bytes);
                        check_equal(must(hv_send(fd, bytes, sizeof bytes, 0)), sizeof bytes);
                        sent += sizeof bytes;
                } else {
                        ssize_t length = must(hv_recv(fd, bytes, sizeof bytes, 0));
                        check(length > 0);
                        check_sequence(&at_receiver, bytes, (size_t)length);
                        heard += (size_t)length;
                }
        }
        must(hv_close(fd));
        vm_session_end(&session);
}

/* ---- pauses ---- */

/* One command, over QEMU's monitor. */
static void qmp(const char *path, const char *command) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char line[4096];
        check(strlen(path) < sizeof address.sun_path);
        strcpy(address.sun_path, path);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        FILE *stream = fdopen(fd, "r+");
        check(stream && fgets(line, sizeof line, stream));
        const char *const commands[] = {"qmp_capabilities", command};
        for (unsigned i = 0; i < 2; i++) {
                fprintf(stream, "{\"execute\": \"%s\"}\n", commands[i]);
                fflush(stream);
                do
                        check(fgets(line, sizeof line, stream));
                while (!strstr(line, "\"return\""));
        }
        fclose(stream);
}

TEST_LIMITED(a_vm_that_is_paused_keeps_what_wants_to_survive, VM_LIMIT) {
        char monitor[PATH_MAX + 64], path[PATH_MAX + 16], byte;
        const int survives = 1;
        struct world *world;
        GUID vm_id = vm_begin(&world, "web01"), service_id = port_service(VM_PORT);
        snprintf(path, sizeof path, "%s/qmp", world->root);
        snprintf(monitor, sizeof monitor, "unix:%s,server=on,wait=off", path);
        struct guest *guest = vm_boot(world, "web01", (const char *const[]){"-qmp", monitor, NULL});
        guest_await_ready(guest);
        guest_do(guest, "serve %u stream", VM_PORT);
        world_enter(world, "host");
        int kept = connect_guest(&vm_id, &service_id, SOCK_STREAM);
        must(hv_setsockopt(kept, SOL_HVSOCKET, HVSOCKET_CONNECTED_SUSPEND, &survives, sizeof survives));
        for (unsigned i = 0; i < vm_times(2); i++) {
                int lost = connect_guest(&vm_id, &service_id, SOCK_STREAM);
                say_and_hear(lost, i);
                say_and_hear(kept, i);
                qmp(path, "stop");
                check(await(!partition_is_running(world, "web01")));
                check_equal(hv_recv(lost, &byte, 1, 0), -1);
                check_equal(errno, ECONNRESET);
                must(hv_close(lost));
                qmp(path, "cont");
                check(await(partition_is_running(world, "web01")));
                say_and_hear(kept, i);
        }
        must(hv_close(kept));
        talk_to(&vm_id, &service_id);
        guest_power_off(guest);
        world_end(world);
}

/* ---- memory ---- */

static void await_problem(struct world *world, const char *expected) {
        char output[4096];
        bool is_told = await(cli(world, output, sizeof output, "vm", "show", "web01", NULL) == 0 && strstr(output, expected));
        if (!is_told)
                test_fail(__FILE__, __LINE__, "vm show: %s", output);
}

TEST_LIMITED(private_memory_is_refused_and_vm_show_says_what_to_add, VM_LIMIT) {
        struct world *world;
        vm_begin(&world, "web01");
        struct guest *guest = vm_boot(world, "web01", (const char *const[]){
                "-object", "memory-backend-memfd,id=private,size=1G,share=off", "-machine", "memory-backend=private", NULL});
        await_problem(world, "share=on");
        guest_kill(guest);
        world_end(world);
}

TEST_LIMITED(a_vm_without_a_memory_backend_is_refused_and_vm_show_says_what_to_add, VM_LIMIT) {
        char chardev[PATH_MAX + 64], id[HV_GUID_TEXT_SIZE];
        struct world *world;
        GUID vm_id = vm_begin(&world, "web01");
        snprintf(chardev, sizeof chardev, "socket,id=hvsock,path=%s/%s/vhost-user", world->runtime, hv_guid_format(&vm_id, id));
        struct guest *guest = guest_start((const char *const[]){"-m", "256M", "-chardev", chardev, "-device",
                                                                "vhost-user-vsock-pci,chardev=hvsock", NULL});
        await_problem(world, "share=on");
        guest_kill(guest);
        world_end(world);
}
