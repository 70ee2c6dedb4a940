/* SPDX-License-Identifier: MIT */

/* What idle VMs cost: nothing. No thread of hvsockd wakes up while nobody says anything, however a VM is attached. */

#include "pair.h"
#include "test.h"
#include "text_stream.h"
#include "vm_world.h"
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#define GUEST_PORT 40000u
#define STILL_MS 300
#define HYBRID_STILL_MS 1200 /* more than between two looks whether its VMM is there, while it is not */
#define TRIES 60u

struct sleepers {
        unsigned threads, awake;
        long long sleeps; /* of all of them, since each began */
};

static void count_sleeps(struct sleepers *sleepers, pid_t pid, const char *thread) {
        char path[300], line[256], state = 0;
        long long sleeps = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%s/status", pid, thread);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file)) {
                (void)sscanf(line, "State: %c", &state);
                (void)sscanf(line, "voluntary_ctxt_switches: %lld", &sleeps);
        }
        if (file)
                fclose(file);
        sleepers->threads++;
        sleepers->awake += state != 'S';
        sleepers->sleeps += sleeps;
}

static struct sleepers sleepers_of(pid_t pid) {
        char path[64];
        struct sleepers sleepers = {};
        snprintf(path, sizeof path, "/proc/%d/task", pid);
        DIR *directory = opendir(path);
        check(directory);
        for (struct dirent *entry; (entry = readdir(directory));)
                if (entry->d_name[0] != '.')
                        count_sleeps(&sleepers, pid, entry->d_name);
        closedir(directory);
        return sleepers;
}

static bool sleeps_through(pid_t pid, unsigned milliseconds) {
        struct sleepers before = sleepers_of(pid);
        world_pause_ms(milliseconds);
        struct sleepers after = sleepers_of(pid);
        return !before.awake && !after.awake && before.threads == after.threads && before.sleeps == after.sleeps;
}

/* Once it has done what is still to be done. */
static void check_sleeps(pid_t pid, unsigned milliseconds) {
        for (unsigned i = 0; i < TRIES; i++)
                if (sleeps_through(pid, milliseconds))
                        return;
        test_fail(__FILE__, __LINE__, "process %d wakes up though nothing happens", pid);
}

static void begin(void) {
        vm_world_open("", "");
        vm_plug("guest");
}

static void end(void) {
        fake_guest_free(&guest);
        vm_world_close();
}

/* Often enough to move into rings, where it may. */
static void talk(int fd) {
        char bytes[8];
        for (unsigned i = 0; i < 8; i++) {
                driver_send(driver_packet(PORT, GUEST_PORT, VSOCK_RW, VSOCK_STREAM), "hello", 5);
                check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 5);
                check_equal(must(hv_send(fd, "you!", 4, 0)), 4);
                check_equal(driver_receive(bytes, sizeof bytes).length, 4);
        }
}

TEST(a_vm_whose_guest_says_nothing_wakes_nobody) {
        begin();
        check_sleeps(world->broker, STILL_MS);
        end();
}

TEST(an_idle_channel_of_a_guest_wakes_nobody) {
        begin();
        int listener = vm_listen(SOCK_STREAM), fd = vm_accept(listener, GUEST_PORT, SOCK_STREAM);
        talk(fd);
        check_sleeps(world->broker, STILL_MS);
        talk(fd);
        must(hv_close(fd));
        must(hv_close(listener));
        end();
}

TEST(a_channel_that_nobody_reads_wakes_nobody) {
        static const char bytes[32768];
        begin();
        int listener = vm_listen(SOCK_STREAM), fd = vm_accept(listener, GUEST_PORT, SOCK_STREAM);
        talk(fd);
        for (unsigned i = 0; i < 4; i++)
                driver_send(driver_packet(PORT, GUEST_PORT, VSOCK_RW, VSOCK_STREAM), bytes, sizeof bytes);
        check_sleeps(world->broker, STILL_MS);
        must(hv_close(fd));
        must(hv_close(listener));
        end();
}

TEST(a_paused_vm_wakes_nobody) {
        begin();
        fake_driver_stops(&guest);
        check(await(!is_running()));
        check_sleeps(world->broker, STILL_MS);
        end();
}

TEST(a_guest_that_does_not_answer_wakes_nobody) {
        begin();
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = vm_id, .ServiceId = service_id};
        bool has_slept;
        do { /* while the guest is waited for, which may be over before all is quiet */
                int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM | SOCK_NONBLOCK, HV_PROTOCOL_RAW));
                check_errno(hv_connect(fd, (struct sockaddr *)&address, sizeof address), EINPROGRESS);
                do
                        has_slept = sleeps_through(world->broker, STILL_MS);
                while (!has_slept && !events_now(fd, POLLOUT));
                has_slept &= !events_now(fd, POLLOUT);
                must(hv_close(fd));
        } while (!has_slept);
        end();
}

TEST(a_vmm_that_comes_when_no_descriptor_is_free_waits_while_hvsockd_sleeps) {
        struct rlimit usual, none = {};
        vm_world_open("", "");
        must(prlimit(world->broker, RLIMIT_NOFILE, NULL, &usual));
        none.rlim_max = usual.rlim_max;
        must(prlimit(world->broker, RLIMIT_NOFILE, &none, NULL));
        int vmm = vm_connect("guest");
        world_pause_ms(STILL_MS);
        check(await(!sleepers_of(world->broker).awake));
        must(prlimit(world->broker, RLIMIT_NOFILE, &usual, NULL));
        close(vmm);
        vm_plug("guest");
        end();
}

TEST(neither_hvsockd_nor_what_holds_its_vms_wakes_after_a_restart) {
        begin();
        int listener = vm_listen(SOCK_STREAM), fd = vm_accept(listener, GUEST_PORT, SOCK_STREAM);
        check(await(!vm_unheard(&guest)));
        check(is_running()); /* a turn of hvsockd's after it had something to be held */
        pid_t holder = vm_holder();
        check_sleeps(holder, STILL_MS);
        world_kill(world);
        check_sleeps(holder, STILL_MS);
        world_start(world);
        check(await(is_running()));
        check_sleeps(world->broker, STILL_MS);
        check_sleeps(holder, STILL_MS);
        must(hv_close(fd));
        must(hv_close(listener));
        end();
}

/* A VMM with a socket of its own, which the test listens at; its one stream is the guest's end. */
TEST(a_vm_with_a_hybrid_socket_and_an_idle_channel_wake_nobody) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char lines[PATH_MAX], bytes[8];
        check(snprintf(address.sun_path, sizeof address.sun_path, "%s/vmm", getenv("TMPDIR")) < (int)sizeof address.sun_path);
        int vmm = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(vmm, (struct sockaddr *)&address, sizeof address));
        must(listen(vmm, 8));
        snprintf(lines, sizeof lines, "Hybrid=%s\n", address.sun_path);
        vm_world_open(lines, "");
        check(await(is_running()));
        int listener = vm_listen(SOCK_STREAM), stream = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        check_sleeps(world->broker, HYBRID_STILL_MS);
        strcat(address.sun_path, "_5000");
        check(await(connect(stream, (struct sockaddr *)&address, sizeof address) == 0));
        int fd = (int)must(hv_accept(listener, NULL, NULL));
        for (unsigned i = 0; i < 8; i++) {
                send_text(stream, "hello");
                check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 5);
                check_equal(must(hv_send(fd, "you!", 4, 0)), 4);
                expect_text(stream, "you!");
        }
        check_sleeps(world->broker, HYBRID_STILL_MS);
        must(hv_close(fd));
        expect_end(stream);
        must(hv_close(listener));
        close(stream);
        close(vmm);
        world_end(world);
}
