/* SPDX-License-Identifier: MIT */

/*
 * hvsock between the host and a real guest, in one boot beside what users have without root today: a virtio-serial port,
 * and TCP over QEMU's user network. A benchmark: it prints, and asserts nothing of time.
 *
 * Guest and host move the same bytes in pieces of the same size. Time runs from the command to the moment when the last
 * byte is taken; processor time is that of QEMU, hvsockd and this process together. How busy the guest's one processor
 * was tells whether its own drivers were the limit, or what is on the host.
 */

#include "test.h"
#include "vm_world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PILOT_BYTES (4u << 20)
#define RUN_SECONDS 1.0
#define REPEATS 5
#define BAR 2.0 /* times the better of the others */

enum transport { HVSOCK, SERIAL, TCP, TRANSPORTS };
static const char *const names[TRANSPORTS] = {"hvsock", "virtio-serial", "TCP, user network"};

static struct world *world;
static struct guest *guest;
static int listeners[TRANSPORTS], serial; /* serial: of the one connection that there is */
static char places[TRANSPORTS][64];
static pid_t processor; /* the VMM's thread that is the guest's */

struct sample {
        double rate, cpu, busy; /* bytes a second; processor seconds for a gigabyte; of the guest's processor, up to 1 */
};

static double now(void) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu_of(pid_t pid) {
        char path[64], text[1024];
        unsigned long user, system;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "re");
        check(file && fgets(text, sizeof text, file));
        fclose(file);
        check(sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2);
        return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* QEMU names its threads if it is asked to. */
static pid_t find_processor(void) {
        char path[PATH_MAX], name[32];
        pid_t found = 0;
        snprintf(path, sizeof path, "/proc/%d/task", guest->vmm);
        DIR *threads = opendir(path);
        check(threads);
        for (struct dirent *thread; !found && (thread = readdir(threads));) {
                snprintf(path, sizeof path, "/proc/%d/task/%s/comm", guest->vmm, thread->d_name);
                FILE *file = fopen(path, "re");
                if (file && fgets(name, sizeof name, file) && !strncmp(name, "CPU 0/", 6))
                        found = atoi(thread->d_name);
                if (file)
                        fclose(file);
        }
        closedir(threads);
        check(found);
        return found;
}

static double processor_seconds(void) {
        char path[PATH_MAX];
        unsigned long long ns;
        snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", guest->vmm, processor);
        FILE *file = fopen(path, "re");
        check(file && fscanf(file, "%llu", &ns) == 1);
        fclose(file);
        return (double)ns / 1e9;
}

static double cpu(void) {
        return cpu_of(guest->vmm) + cpu_of(world->broker) + cpu_of(getpid());
}

static int accept_from_guest(enum transport transport) {
        return transport == SERIAL ? serial
             : transport == HVSOCK ? (int)must(hv_accept(listeners[HVSOCK], NULL, NULL))
                                   : (int)must(accept(listeners[TCP], NULL, NULL));
}

/* Moves so many bytes, and returns how long that took. */
static double move(enum transport transport, bool to_guest, size_t size, uint64_t bytes) {
        static uint8_t piece[65536];
        double begun = now();
        guest_tell(guest, "%s %s %zu %llu", to_guest ? "take" : "send", places[transport], size, (unsigned long long)bytes);
        int fd = accept_from_guest(transport);
        while (bytes) {
                size_t part = bytes < size ? (size_t)bytes : size;
                ssize_t moved = must(transport == HVSOCK ? to_guest ? hv_send(fd, piece, part, 0) : hv_recv(fd, piece, part, 0)
                                     : to_guest          ? write(fd, piece, part)
                                                         : read(fd, piece, part));
                check(moved > 0);
                bytes -= (size_t)moved;
        }
        double last = now();
        check_string(guest_answer(guest), "ok");
        if (to_guest)
                last = now();
        if (transport == HVSOCK)
                must(hv_close(fd));
        else if (transport == TCP)
                must(close(fd));
        return last - begun;
}

static struct sample measure(enum transport transport, bool to_guest, size_t size) {
        uint64_t bytes = PILOT_BYTES;
        double took = move(transport, to_guest, size, bytes);
        bytes = (uint64_t)((double)bytes * RUN_SECONDS / took / (double)size + 1) * size;
        double before = cpu(), guest_before = processor_seconds();
        took = move(transport, to_guest, size, bytes);
        return (struct sample){.rate = (double)bytes / took, .cpu = (cpu() - before) / ((double)bytes / 1e9),
                               .busy = (processor_seconds() - guest_before) / took};
}

static int by_rate(const void *a, const void *b) {
        double left = ((const struct sample *)a)->rate, right = ((const struct sample *)b)->rate;
        return (left > right) - (left < right);
}

static void compare(bool to_guest, size_t size) {
        struct sample samples[TRANSPORTS][REPEATS], medians[TRANSPORTS];
        for (unsigned repeat = 0; repeat < REPEATS; repeat++) /* interleaved */
                for (enum transport transport = 0; transport < TRANSPORTS; transport++)
                        samples[transport][repeat] = measure(transport, to_guest, size);
        for (enum transport transport = 0; transport < TRANSPORTS; transport++) {
                qsort(samples[transport], REPEATS, sizeof(struct sample), by_rate);
                medians[transport] = samples[transport][REPEATS / 2];
        }
        double better = medians[SERIAL].rate > medians[TCP].rate ? medians[SERIAL].rate : medians[TCP].rate;
        double times = medians[HVSOCK].rate / better;
        printf("%s, pieces of %zu bytes: hvsock %.2f times the better of the others, of %.1f: %s\n",
               to_guest ? "host to guest" : "guest to host", size, times, BAR, times < BAR ? "BELOW THE BAR" : "met");
        for (enum transport transport = 0; transport < TRANSPORTS; transport++)
                printf("    %-18s %8.1f MB/s   %6.2f CPU seconds per GB   guest's processor %3.0f%% busy\n",
                       names[transport], medians[transport].rate / 1e6, medians[transport].cpu,
                       100 * medians[transport].busy);
}

static void listen_tcp(void) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        listeners[TCP] = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(listeners[TCP], (struct sockaddr *)&address, length));
        must(listen(listeners[TCP], 1));
        must(getsockname(listeners[TCP], (struct sockaddr *)&address, &length));
        snprintf(places[TCP], sizeof places[TCP], "tcp:%u", ntohs(address.sin_port));
}

static void listen_serial(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        check(strlen(path) < sizeof address.sun_path);
        strcpy(address.sun_path, path);
        listeners[SERIAL] = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(listeners[SERIAL], (struct sockaddr *)&address, sizeof address));
        must(listen(listeners[SERIAL], 1));
        strcpy(places[SERIAL], "/dev/serial");
}

static void listen_hvsock(const GUID *service_id) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_CHILDREN, .ServiceId = *service_id};
        listeners[HVSOCK] = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        must(hv_bind(listeners[HVSOCK], (struct sockaddr *)&address, sizeof address));
        must(hv_listen(listeners[HVSOCK], 4));
        snprintf(places[HVSOCK], sizeof places[HVSOCK], "vsock:%u", VM_PORT);
}

TEST_LIMITED(a_real_guest_beside_virtio_serial_and_tcp, VM_LIMIT) {
        char path[PATH_MAX + 16], chardev[PATH_MAX + 64];
        vm_begin(&world, "web01");
        GUID service_id = port_service(VM_PORT);
        world_enter(world, "host");
        snprintf(path, sizeof path, "%s/serial", world->root);
        snprintf(chardev, sizeof chardev, "socket,id=serial,path=%s", path);
        listen_tcp();
        listen_serial(path);
        listen_hvsock(&service_id);
        guest = vm_boot(world, "web01", (const char *const[]){
                "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-serial-pci",
                "-chardev", chardev, "-device", "virtserialport,chardev=serial,name=bench",
                "-name", "guest,debug-threads=on", NULL});
        serial = (int)must(accept(listeners[SERIAL], NULL, NULL));
        guest_await_ready(guest);
        processor = find_processor();
        guest_do(guest, "run ifconfig eth0 10.0.2.15 netmask 255.255.255.0");
        guest_do(guest, "run ln -s /dev/vport*p1 %s", places[SERIAL]); /* whose number depends on the other devices */
        for (unsigned to_guest = 0; to_guest < 2; to_guest++) {
                compare(to_guest, 4096);
                compare(to_guest, 65536);
        }
        guest_power_off(guest);
        for (enum transport transport = 0; transport < TRANSPORTS; transport++)
                close(listeners[transport]);
        close(serial);
        world_end(world);
}
