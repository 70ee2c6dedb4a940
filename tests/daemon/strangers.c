/* SPDX-License-Identifier: MIT */

/* What strangers do to make the broker wait, run out, or keep what is not theirs. */

#include "bare_world.h"
#include "base/fd.h"
#include "base/guid.h"
#include "daemon/discard.h"
#include "daemon/doubt.h"
#include "daemon/watchdog.h"
#include "lingering.h"
#include "test.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HOSTILE 100

static struct bare_world world;

static void raise_descriptor_limit(void) {
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit));
}

/* ---- descriptors whose close waits ---- */

static int deaf[3 * HOSTILE]; /* the peers of lingering sockets, which never read */
static unsigned deaf_count;

static void send_deaf(int socket, const void *packet, size_t length, unsigned count) {
        send_lingering(socket, packet, length, count, deaf + deaf_count);
        deaf_count += count;
}

/* How often the broker's loop gave up the processor to wait for something. */
static unsigned count_waits(void) {
        char path[64], line[128];
        unsigned count = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)world.broker, (int)world.broker);
        FILE *file = fopen(path, "re");
        check(file);
        while (fgets(line, sizeof line, file))
                (void)sscanf(line, "voluntary_ctxt_switches: %u", &count);
        fclose(file);
        return count;
}

/* `push` is done HOSTILE times to a broker that does not run; then nothing of it may make its loop wait. */
static void check_never_waits(void (*push)(int client)) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        int clients[HOSTILE], other;
        struct wire_request hello = request_of(WIRE_HELLO);
        raise_descriptor_limit();
        bare_new(&world);
        bare_partition(&world, &vm, "Label=vm\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_start(&world);
        other = bare_client_of(&world, &vm);
        check_equal(ask(other, &hello, -1), 0);
        must(kill(world.broker, SIGSTOP));
        for (unsigned i = 0; i < HOSTILE; i++) {
                clients[i] = bare_client(&world);
                push(clients[i]);
        }
        unsigned before = count_waits();
        must(kill(world.broker, SIGCONT));
        check_equal(ask(other, &hello, -1), 0);
        unsigned last = bare_descriptors(&world, other);
        check(last > 0);
        check(count_waits() - before < HOSTILE / 2);
        for (unsigned i = 0; i < HOSTILE; i++)
                fd_close(clients[i]);
        while (deaf_count)
                fd_close(deaf[--deaf_count]);
        fd_close(other);
        bare_end(&world);
}

static void push_three(int client) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = request_of(WIRE_HELLO);
        send_deaf(client, packet, wire_encode_request(&request, packet), 3);
}

TEST(more_descriptors_than_one_do_not_make_the_loop_wait) {
        check_never_waits(push_three);
}

TEST(who_sends_descriptors_faster_than_they_are_closed_is_served_again_when_they_are) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request ring = request_of(WIRE_RING), hello = request_of(WIRE_HELLO);
        struct wire_reply reply;
        raise_descriptor_limit();
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world);
        ring.socket_type = SOCK_STREAM;
        size_t length = wire_encode_request(&ring, packet);
        const int room = 1 << 20;
        must(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &room, sizeof room));
        must(kill(world.broker, SIGSTOP));
        while (deaf_count < DISCARD_PER_STRANGER + 40)
                send_deaf(client, packet, length, 1);
        tell(client, &hello, -1);
        must(kill(world.broker, SIGCONT));
        hear(client, &reply);
        check_equal(reply.error, 0);
        while (deaf_count)
                fd_close(deaf[--deaf_count]);
        fd_close(client);
        bare_end(&world);
}

static void push_behind_garbage(int client) {
        must(send(client, "garbage", 7, MSG_NOSIGNAL));
        send_deaf(client, "more", 4, 1);
}

TEST(a_connection_that_is_ended_with_descriptors_queued_does_not_make_the_loop_wait) {
        check_never_waits(push_behind_garbage);
}

static void push_inside_another(int client) {
        int ends[2];
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        send_deaf(ends[1], "x", 1, 1);
        check_ok(packet_send(client, packet, wire_encode_request(&request, packet), ends[0], 0));
        fd_close(ends[0]);
        fd_close(ends[1]);
}

TEST(a_refused_socket_with_descriptors_queued_does_not_make_the_loop_wait) {
        check_never_waits(push_inside_another);
}

/* Stops the broker once the watchdog, which anybody's request wakes, sleeps: nobody else's interrupts a wait. */
static void stop_broker(void) {
        bare_check_alive(&world);
        usleep(10 * WATCHDOG_MS * 1000);
        must(kill(world.broker, SIGSTOP));
}

TEST(a_service_whose_program_fails_ends_what_waits_for_it_without_making_the_loop_wait) {
        int waiting = -1;
        bare_new(&world);
        bare_service(&world, "services", &SERVICE, "ElementName=Fails\nExec=/bin/false\n");
        bare_start(&world);
        int client = bare_client(&world);
        until(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &waiting) == 0);
        send_deaf(waiting, "x", 1, 1);
        struct pollfd ended = {.fd = waiting};
        must(poll(&ended, 1, -1));
        check(ended.revents & POLLHUP);
        bare_check_alive(&world);
        fd_close(deaf[--deaf_count]);
        fd_close(waiting);
        fd_close(client);
        bare_end(&world);
}

/* A connection to the management interface. */
static int manage_client(void) {
        struct sockaddr_un address;
        socklen_t length;
        char path[PATH_MAX];
        cleanup(fd_closep) int directory_fd = -1, fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        bare_path(&world, "runtime/manage", path);
        check_ok(address_of_path(path, &address, &length, &directory_fd));
        must(connect(fd, (struct sockaddr *)&address, length));
        return fd_take(fd);
}

TEST(the_management_interface_receives_no_descriptor_whose_close_makes_the_loop_wait) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world), reader = manage_client(), closer = manage_client();
        stop_broker();
        send_deaf(reader, "{", 1, 1);
        must(send(closer, "garbage", sizeof "garbage", 0));
        send_deaf(closer, "x", 1, 1);
        must(kill(world.broker, SIGCONT));
        bare_check_alive(&world);
        bare_check_alive(&world);
        while (deaf_count)
                fd_close(deaf[--deaf_count]);
        fd_close(closer);
        fd_close(reader);
        fd_close(client);
        bare_end(&world);
}

/* ---- a lock of the kernel's that a stranger holds ---- */

/* A page whose first access, the kernel's too, waits until the process ends. */
static void *page_that_never_comes(void) {
        struct uffdio_api api = {.api = UFFD_API};
        size_t size = (size_t)sysconf(_SC_PAGESIZE);
        int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
        if (fd < 0)
                return NULL;
        void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct uffdio_register missing = {.range = {(uintptr_t)page, size}, .mode = UFFDIO_REGISTER_MODE_MISSING};
        bool waits = page != MAP_FAILED && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &missing);
        return waits ? page : NULL;
}

/* A process that receives from this socket, halfway, and so keeps all other readers waiting; -1 where it may not. */
static pid_t start_receiving(int fd) {
        char path[64], line[32] = "";
        pid_t process = (pid_t)must(fork());
        if (!process) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                void *page = page_that_never_comes();
                (void)!(page && recv(fd, page, 1, 0));
                _exit(0);
        }
        snprintf(path, sizeof path, "/proc/%d/wchan", (int)process);
        until(({
                int file = open(path, O_RDONLY | O_CLOEXEC);
                (void)!read(file, line, sizeof line - 1);
                fd_close(file);
                !strcmp(line, "handle_userfault") || waitpid(process, NULL, WNOHANG) == process;
        }));
        return !strcmp(line, "handle_userfault") ? process : -1;
}

TEST(a_lent_socket_that_another_process_is_receiving_from_does_not_make_the_loop_wait) {
        for (unsigned type = SOCK_STREAM; type <= SOCK_SEQPACKET; type++) {
                struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
                int ends[2];
                if (socketpair(AF_UNIX, (int)type | SOCK_CLOEXEC, 0, ends) < 0)
                        continue;
                must(send(ends[1], "x", 1, 0));
                pid_t process = start_receiving(ends[0]);
                if (process < 0)
                        test_skip("the kernel's faults may not be handled here");
                bare_new(&world);
                bare_start(&world);
                int client = bare_client(&world);
                check_equal(ask(client, &request, ends[0]), ECONNREFUSED);
                bare_check_alive(&world);
                must(kill(process, SIGKILL));
                must(waitpid(process, NULL, 0));
                fd_close(ends[0]);
                fd_close(ends[1]);
                fd_close(client);
                bare_end(&world);
        }
}

/* ---- running out ---- */

TEST(a_broker_that_is_allowed_few_descriptors_serves_and_keeps_some_for_itself) {
        const struct rlimit few = {.rlim_cur = 64, .rlim_max = 64};
        bare_new(&world);
        bare_start(&world);
        must(prlimit(world.broker, RLIMIT_NOFILE, &few, NULL));
        int clients[40];
        for (unsigned i = 0; i < 40; i++)
                clients[i] = bare_client(&world); /* more than it takes */
        int listening = bare_listener(clients[0], &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        check_equal(bare_connect(clients[0], &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        for (unsigned i = 0; i < 40; i++)
                fd_close(clients[i]);
        fd_close(listening);
        bare_check_alive(&world);
        bare_end(&world);
}

/* ---- names that are held ---- */

/* What is still held although its library says that it closed it: a lie, an heir, or an acceptor that took the name. */
TEST(channels_that_were_closed_but_whose_names_are_held_stay_in_the_books_up_to_a_limit) {
        static int held[DOUBTFUL_MAX + 1];
        static GUID ids[DOUBTFUL_MAX + 1];
        raise_descriptor_limit();
        bare_new(&world);
        bare_write(&world, "hvsockd.conf", "Format=1\nChannelsPerUser=1025\n");
        check_equal(DOUBTFUL_MAX + 1, 1025);
        bare_start(&world);
        int client = bare_client(&world), last = -1;
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request closed = request_of(WIRE_CLOSED);
        struct wire_reply reply;
        for (unsigned i = 0; i <= DOUBTFUL_MAX; i++) {
                held[i] = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
                tell(client, &request, held[i]);
                hear(client, &reply);
                check_equal(reply.error, 0);
                ids[i] = reply.service_id;
                fd_close((int)must(accept4(listening, NULL, NULL, SOCK_CLOEXEC)));
        }
        closed.closed_count = 1;
        for (unsigned i = 0; i < DOUBTFUL_MAX; i++) {
                closed.closed[0] = ids[i];
                tell(client, &closed, -1);
        }
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), ENOBUFS);
        closed.closed[0] = ids[DOUBTFUL_MAX];
        tell(client, &closed, -1);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &last), 0);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), ENOBUFS);
        for (unsigned i = 0; i <= DOUBTFUL_MAX; i++)
                fd_close(held[i]);
        fd_close(last);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}
