/* SPDX-License-Identifier: MIT */

/*
 * Many VMs at once, each with a guest whose driver runs: hvsockd's memory for each,
 * the time until one is attached, what hvsockd uses of the processor while none of
 * them does anything, and what a connect from the host to a guest costs with one VM
 * attached and with all. The guests are in one process here; their memory, and what
 * they use of the processor, is theirs.
 */

#include "bench.h"
#include "exchange.h"
#include "guest.h"
#include "measure.h"
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GUESTS 500u
#define CONNECTS 5000u
#define CONNECTS_QUICK 1000u
#define SETTLE_MS 2000 /* longer than a thread of hvsockd stays that has nothing more to close */
#define IDLE_MS 5000
#define IDLE_QUICK_MS 2000
#define IDLE_NONE_MS 0.01 /* less than that is none */
#define START_SECONDS 60

struct errand {
        bool is_attaching; /* else they accept what is dialled */
        unsigned first, count, times;
};

static void pause_ms(unsigned ms) {
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

/* ---- the guests ---- */

__attribute__((noreturn)) static void guests_main(const struct world *world, int control) {
        static struct guest *guests[GUESTS];
        char vhost_user[PATH_MAX];
        struct errand errand;

        while (recv(control, &errand, sizeof errand, 0) == sizeof errand) {
                for (unsigned i = 0; i < errand.times; i++) {
                        unsigned g = errand.first + i % errand.count;
                        if (errand.is_attaching) {
                                (void)world_guest(world, g, vhost_user);
                                guests[g] = guest_start(vhost_user);
                                continue;
                        }
                        unsigned stream = guest_accept(guests[g]);
                        guest_send(guests[g], stream, "", 1);
                        guest_close(guests[g], stream);
                }
                if (send(control, "", 1, MSG_NOSIGNAL) != 1)
                        break;
        }
        exit(0);
}

static pid_t start_guests(const struct world *world, int *ret_control) {
        pid_t parent = getpid();
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                die("cannot make a socket pair: %s", strerror(errno));
        fflush(NULL);
        pid_t child = fork();
        if (child < 0)
                die("cannot fork: %s", strerror(errno));
        if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        exit(1);
                close(ends[0]);
                guests_main(world, ends[1]);
        }
        close(ends[1]);
        *ret_control = ends[0];
        return child;
}

static void tell(int control, const struct errand *errand) {
        if (send(control, errand, sizeof *errand, MSG_NOSIGNAL) != sizeof *errand)
                die("the guests ended too early");
}

static void await_guests(int control) {
        char done;

        if (recv(control, &done, 1, 0) != 1)
                die("the guests ended too early");
}

/* Seconds until they run. */
static double attach(const struct world *world, int control, unsigned first, unsigned count) {
        uint64_t before = now_ns();

        tell(control, &(struct errand){true, first, count, count});
        await_guests(control);
        for (unsigned g = first; g < first + count; g++)
                while (!world_guest_runs(world, g)) {
                        if (now_ns() - before > START_SECONDS * 1000000000ull)
                                die("a guest's driver did not start");
                        pause_ms(1);
                }
        return (double)(now_ns() - before) / 1e9;
}

/* ---- what is measured ---- */

/* Of one connect to a guest: socket, connect, accept, 1 byte, close; the first `count` guests in turn. */
static struct spread connect_us(const struct bench *bench, const struct world *world, int control, unsigned count) {
        static uint32_t samples[CONNECTS];
        unsigned times = bench->quick ? CONNECTS_QUICK : CONNECTS;
        struct endpoint endpoint = {0};
        double p50_us[RUNS_MAX];
        char byte;

        for (unsigned run = 0; run < bench->runs; run++) {
                tell(control, &(struct errand){false, 0, count, times});
                for (unsigned i = 0; i < times; i++) {
                        endpoint.vm_id = world_guest(world, i % count, endpoint.vhost_user);
                        uint64_t before = now_ns();
                        int fd = transport_hvsock.dial(&endpoint, 0);
                        receive_all(&transport_hvsock, fd, &byte, 1);
                        transport_hvsock.close(fd);
                        samples[i] = (uint32_t)(now_ns() - before);
                }
                await_guests(control);
                p50_us[run] = percentile(samples, times, 0.5) / 1e3;
        }
        return spread_of(p50_us, bench->runs);
}

static double idle_cpu_ms(const struct bench *bench, const struct world *world, unsigned *ret_ms) {
        *ret_ms = bench->quick ? IDLE_QUICK_MS : IDLE_MS;
        pause_ms(SETTLE_MS);
        uint64_t before = cpu_ns_of(world->broker);
        pause_ms(*ret_ms);
        return (double)(cpu_ns_of(world->broker) - before) / 1e6;
}

void bench_crowd(const struct bench *bench) {
        struct json_object *object = json_object_new_object();
        struct world world;
        char path[PATH_MAX];
        unsigned idle_ms;
        int control;

        printf("\n7. %u VMs, a guest's driver running in each; hvsockd's own memory and CPU\n\n", GUESTS);
        json_object_object_add(bench->results, "crowd", object);
        bench_directory(bench, "crowd-world", path);
        world_start_with_guests(&world, bench->hvsockd, path, 1, GUESTS);
        setenv("HVSOCK_SOCKET", world.host, 1);
        pid_t guests = start_guests(&world, &control);

        (void)attach(&world, control, 0, 1);
        struct spread one = connect_us(bench, &world, control, 1);
        unsigned long before_kib = world_private_kib(&world);
        double seconds = attach(&world, control, 1, GUESTS - 1);
        double kib = (double)(world_private_kib(&world) - before_kib) / (GUESTS - 1);
        unsigned long resident_kib = world_memory_kib(&world);
        double idle = idle_cpu_ms(bench, &world, &idle_ms);
        struct spread all = connect_us(bench, &world, control, GUESTS);

        printf("  memory        %8.1f KiB a VM, that is not shared; resident in all %.1f MiB, with pages of guests\n"
               "  attaching     %8.2f ms a VM, until its driver runs\n"
               "  idle          %8.2f ms of CPU in %.0f s (the bar: none)%s\n",
               kib, (double)resident_kib / 1024, seconds * 1e3 / (GUESTS - 1), idle, idle_ms / 1e3,
               idle >= IDLE_NONE_MS ? "  ABOVE THE BAR" : "");
        printf("  connecting    %8.1f us (p50) [%.1f-%.1f] with one VM, %.1f us [%.1f-%.1f] with all, each in turn\n",
               one.median, one.minimum, one.maximum, all.median, all.minimum, all.maximum);
        json_object_object_add(object, "guests", json_object_new_int64(GUESTS));
        json_object_object_add(object, "privateKibEach", json_object_new_double(kib));
        json_object_object_add(object, "residentKib", json_object_new_int64((int64_t)resident_kib));
        json_object_object_add(object, "attachMsEach", json_object_new_double(seconds * 1e3 / (GUESTS - 1)));
        json_object_object_add(object, "idleCpuMs", json_object_new_double(idle));
        json_object_object_add(object, "idleMs", json_object_new_int64(idle_ms));
        json_object_object_add(object, "connectP50UsOne", json_of_spread(&one));
        json_object_object_add(object, "connectP50UsAll", json_of_spread(&all));

        close(control);
        waitpid(guests, NULL, 0);
        unsetenv("HVSOCK_SOCKET");
        world_end(&world);
}
