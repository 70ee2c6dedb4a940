/* SPDX-License-Identifier: MIT */

/*
 * Kill -9 of a client, a listener or the broker, at random, under load.
 *
 * Theory of operation. Each listener gives back what it reads, and checks the
 * sequence as it passes. Each client opens one channel after the other, sends a
 * random amount of the sequence in random pieces while it reads the echo, and
 * ends well (SHUT_WR, then the echo to its end) or badly (an abort). A channel
 * that ended well must have brought everything back; one that was cut short must
 * have brought back a beginning, and its listener must have been dying
 * meanwhile: the killer counts before it kills and when the victim is gone, so
 * that the count is odd while a listener dies. Waiting too long for
 * anything is a hang. One process, which nobody kills, holds channels to itself:
 * each new broker must know them, and no other channel of it. In the end nothing
 * may be left: no channel in the books, no listener but those that live, no
 * descriptor, no process.
 *
 * $HVSOCK_CHAOS_SEED repeats a run's decisions (not its timing); $HVSOCK_LONG=1
 * makes it long.
 */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LISTENERS 3
#define CLIENTS 5
#define HELD 8 /* channels, within HOLDER, which has no other listener */
#define HOLDER "box"
#define STREAM_MAX (512u << 10)
#define ROUNDS 40
#define ROUNDS_LONG 200

static const char *const listener_places[LISTENERS] = {"host", "web01", "web01/db"};

/* Which listener a client in this place can dial, and how. */
static const struct route {
        const char *from;
        unsigned listener;
        const char *child; /* NULL: PARENT */
} routes[CLIENTS] = {
        {"web01", 0, NULL}, {"host", 1, "web01"}, {"web01/db", 1, NULL}, {"web01", 2, "web01/db"}, {"web02", 0, NULL},
};

static struct shared {
        atomic_bool stop_clients, stop_listeners, stop_holder, holding;
        atomic_uint kills[LISTENERS]; /* odd while it dies */
        atomic_uint ready[LISTENERS];
        atomic_ulong complete, cut, refused, bytes;
} *shared;

static uint64_t random_below(uint64_t *state, uint64_t limit) {
        *state += 0x9e3779b97f4a7c15u;
        uint64_t x = *state;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return (x ^ x >> 31) % limit;
}

/* ---- a listener ---- */

static atomic_uint serving;

static void *give_back(void *argument) {
        int channel = (int)(intptr_t)argument;
        uint8_t *bytes = malloc(65536);
        uint64_t position = 0;
        ssize_t got;
        check(bytes);
        while ((got = hv_recv(channel, bytes, 65536, 0)) > 0) {
                check_sequence(&position, bytes, (size_t)got);
                ssize_t done = 0, sent = 1;
                while (done < got && (sent = hv_send(channel, bytes + done, (size_t)(got - done), 0)) > 0)
                        done += sent;
                if (sent < 0) {
                        check_equal(errno, ECONNRESET);
                        break;
                }
        }
        if (got < 0)
                check_equal(errno, ECONNRESET);
        free(bytes);
        must(hv_close(channel));
        atomic_fetch_sub(&serving, 1);
        return NULL;
}

static void listen_for_ever(unsigned number) {
        unsigned descriptors = world_count_descriptors(getpid());
        int listener = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM | SOCK_NONBLOCK, HV_PROTOCOL_RAW));
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_WILDCARD, .ServiceId = ECHO};
        uint32_t timeout = WORLD_WAIT_MS;
        must(hv_setsockopt(listener, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &timeout, sizeof timeout));
        must(hv_bind(listener, (struct sockaddr *)&address, sizeof address));
        must(hv_listen(listener, 16));
        atomic_store(&shared->ready[number], 1);
        while (!atomic_load(&shared->stop_listeners)) {
                struct pollfd descriptor = {.fd = listener, .events = POLLIN};
                if (!must(hv_poll(&descriptor, 1, 20)))
                        continue;
                int channel = hv_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (channel < 0) {
                        check_equal(errno, EAGAIN);
                        continue;
                }
                pthread_t thread;
                atomic_fetch_add(&serving, 1);
                check_ok(pthread_create(&thread, NULL, give_back, (void *)(intptr_t)channel));
                check_ok(pthread_detach(thread));
        }
        check(await(!atomic_load(&serving)));
        must(hv_close(listener));
        check_equal(world_count_descriptors(getpid()) - world_count_library_descriptors(), descriptors);
        exit(0);
}

/* ---- a client ---- */

/* Returns whether the echo ended well: an end of stream, not a reset. */
static bool converse(int fd, uint64_t *random, uint64_t total, uint64_t abort_at, uint64_t *ret_received) {
        static uint8_t bytes[65536];
        uint64_t sent = 0, received = 0;
        bool shut = false;
        for (;;) {
                if (received >= abort_at)
                        break;
                struct pollfd descriptor = {.fd = fd, .events = (short)(POLLIN | (sent < total ? POLLOUT : 0))};
                if (!must(hv_poll(&descriptor, 1, WORLD_WAIT_MS)))
                        test_fail(__FILE__, __LINE__, "a channel hangs after %llu of %llu bytes sent and %llu received",
                                  (unsigned long long)sent, (unsigned long long)total, (unsigned long long)received);
                if (descriptor.revents & POLLOUT && sent < total) {
                        uint64_t position = sent, size = random_below(random, sizeof bytes) + 1;
                        size = size < total - sent ? size : total - sent;
                        fill_sequence(&position, bytes, size);
                        ssize_t done = hv_send(fd, bytes, size, MSG_DONTWAIT);
                        if (done < 0 && errno == ECONNRESET)
                                break;
                        if (done < 0)
                                check_equal(errno, EAGAIN);
                        else
                                sent += (uint64_t)done;
                }
                if (sent == total && !shut) {
                        shut = true;
                        if (hv_shutdown(fd, SHUT_WR) < 0)
                                check(errno == ENOTCONN || errno == ECONNRESET);
                }
                if (descriptor.revents & ~POLLOUT) {
                        ssize_t got = hv_recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
                        if (got < 0 && errno == ECONNRESET)
                                break;
                        if (got < 0)
                                check_equal(errno, EAGAIN);
                        if (!got) {
                                *ret_received = received;
                                return true;
                        }
                        if (got > 0)
                                check_sequence(&received, bytes, (size_t)got);
                }
        }
        *ret_received = received;
        return false;
}

static void one_channel(const SOCKADDR_HV *address, unsigned listener, uint64_t *random) {
        unsigned kills = atomic_load(&shared->kills[listener]);
        int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM | SOCK_CLOEXEC, HV_PROTOCOL_RAW));
        uint32_t timeout = WORLD_WAIT_MS;
        must(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &timeout, sizeof timeout));
        if (hv_connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
                if (errno != ECONNREFUSED)
                        test_fail(__FILE__, __LINE__, "connect: %s", strerrorname_np(errno));
                must(hv_close(fd));
                atomic_fetch_add(&shared->refused, 1);
                world_pause_ms(2);
                return;
        }
        uint64_t total = random_below(random, STREAM_MAX) + 1, received;
        bool aborting = !random_below(random, 4);
        bool ended_well = converse(fd, random, total, aborting ? random_below(random, total) : UINT64_MAX, &received);
        atomic_fetch_add(&shared->bytes, received);
        if (aborting) {
                must(ends_abruptly(fd));
                return;
        }
        must(hv_close(fd));
        if (ended_well && received == total) {
                atomic_fetch_add(&shared->complete, 1);
                return;
        }
        atomic_fetch_add(&shared->cut, 1);
        if (kills % 2 == 0 && atomic_load(&shared->kills[listener]) == kills)
                test_fail(__FILE__, __LINE__, "a channel nobody touched %s after %llu of %llu bytes",
                          ended_well ? "ended" : "was reset", (unsigned long long)received, (unsigned long long)total);
}

static void connect_for_ever(struct world *world, const struct route *route, uint64_t random) {
        unsigned descriptors = world_count_descriptors(getpid());
        SOCKADDR_HV address = {.Family = AF_HYPERV,
                               .VmId = route->child ? *world_id(world, route->child) : HV_GUID_PARENT,
                               .ServiceId = ECHO};
        while (!atomic_load(&shared->stop_clients))
                one_channel(&address, route->listener, &random);
        check_equal(world_count_descriptors(getpid()) - world_count_library_descriptors(), descriptors);
        exit(0);
}

/* ---- the holder ---- */

static void hold(void) {
        int fds[1 + HELD];
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK, .ServiceId = service_numbered(1)};
        for (unsigned i = 0; i <= HELD; i++)
                fds[i] = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        must(hv_bind(fds[0], (struct sockaddr *)&address, sizeof address));
        must(hv_listen(fds[0], HELD));
        for (unsigned i = 1; i <= HELD; i++) {
                must(hv_connect(fds[i], (struct sockaddr *)&address, sizeof address));
                if (i % 2) /* the others wait to be accepted */
                        must(hv_accept(fds[0], NULL, NULL));
        }
        atomic_store(&shared->holding, true);
        while (!atomic_load(&shared->stop_holder))
                world_pause_ms(5);
        exit(0);
}

static pid_t start_holder(struct world *world) {
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                world_enter(world, HOLDER);
                hold();
        }
        check(await(atomic_load(&shared->holding)));
        return pid;
}

static void check_held(struct world *world) {
        check_equal(partition_counter(world, HOLDER, "channelsNow"), HELD);
        check_equal(partition_counter(world, HOLDER, "listenersNow"), 1);
}

/* ---- the killer ---- */

static pid_t start_listener(struct world *world, unsigned number) {
        atomic_store(&shared->ready[number], 0);
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                world_enter(world, listener_places[number]);
                listen_for_ever(number);
        }
        return pid;
}

static pid_t start_client(struct world *world, unsigned number, uint64_t seed) {
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                world_enter(world, routes[number].from);
                connect_for_ever(world, &routes[number], seed);
        }
        return pid;
}

/* Each still runs: one that ended by itself found something wrong. */
static void check_alive(pid_t pid) {
        siginfo_t info = {};
        must(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT));
        if (info.si_pid)
                await_checker(pid);
        check(!info.si_pid);
}

static void kill_one(pid_t pid) {
        check_alive(pid);
        must(kill(pid, SIGKILL));
        await_child(pid);
}

static size_t channels_listed(struct world *world) {
        struct json_object *reply = manage(world, "ListChannels", "{}");
        size_t count = length_at(reply, "/channels");
        json_object_put(reply);
        return count;
}

static void check_books(struct world *world, unsigned listeners) {
        long long in_partitions = 0;
        check_equal(service_counter(world, &ECHO, "channelsNow"), 0);
        check_equal(service_counter(world, &ECHO, "listenersNow"), listeners);
        for (unsigned i = 0; i < world->partition_count; i++) {
                check_equal(partition_counter(world, world->partitions[i].path, "channelsNow"), 0);
                in_partitions += partition_counter(world, world->partitions[i].path, "listenersNow");
        }
        check_equal(in_partitions, listeners);
}

TEST_LIMITED(killing_a_client_a_listener_or_the_broker_at_random_loses_nothing, 300) {
        const char *seed_text = getenv("HVSOCK_CHAOS_SEED"), *is_long = getenv("HVSOCK_LONG");
        uint64_t random = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
        if (seed_text)
                random = strtoull(seed_text, NULL, 10);
        unsigned rounds = is_long && *is_long == '1' ? ROUNDS_LONG : ROUNDS, broker_kills = 0;
        printf("HVSOCK_CHAOS_SEED=%llu, %u rounds\n", (unsigned long long)random, rounds);

        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        check(shared != MAP_FAILED);
        static struct world *world; /* which the children, who leave by exit(), have not lost either */
        world = world_family();
        pid_t listeners[LISTENERS], clients[CLIENTS];
        for (unsigned i = 0; i < LISTENERS; i++) {
                listeners[i] = start_listener(world, i);
                check(await(atomic_load(&shared->ready[i])));
        }
        for (unsigned i = 0; i < CLIENTS; i++)
                clients[i] = start_client(world, i, random_below(&random, UINT64_MAX));
        pid_t holder = start_holder(world);

        for (unsigned round = 0; round < rounds; round++) {
                unsigned long before = atomic_load(&shared->complete);
                unsigned victim = (unsigned)random_below(&random, 3);
                if (victim == 0) {
                        unsigned number = (unsigned)random_below(&random, CLIENTS);
                        kill_one(clients[number]);
                        clients[number] = start_client(world, number, random_below(&random, UINT64_MAX));
                } else if (victim == 1) {
                        unsigned number = (unsigned)random_below(&random, LISTENERS);
                        atomic_fetch_add(&shared->kills[number], 1);
                        kill_one(listeners[number]);
                        atomic_fetch_add(&shared->kills[number], 1);
                        listeners[number] = start_listener(world, number);
                } else {
                        world_kill(world);
                        world_pause_ms((unsigned)random_below(&random, 20));
                        world_start(world);
                        check_held(world);
                        broker_kills++;
                }
                world_pause_ms((unsigned)random_below(&random, 20));
                if (round % 8 == 7 && !await(atomic_load(&shared->complete) > before))
                        test_fail(__FILE__, __LINE__, "nothing gets through any more after round %u", round);
        }
        for (unsigned i = 0; i < LISTENERS; i++)
                if (!await(atomic_load(&shared->ready[i])))
                        test_fail(__FILE__, __LINE__, "listener %u does not come back", i);

        check_held(world);
        atomic_store(&shared->stop_holder, true);
        await_checker(holder);

        /* Clients first, so that the books can be read while the listeners live. */
        atomic_store(&shared->stop_clients, true);
        for (unsigned i = 0; i < CLIENTS; i++)
                await_checker(clients[i]);
        if (!await(channels_listed(world) == 0))
                test_fail(__FILE__, __LINE__, "%zu channels are left", channels_listed(world));
        check_books(world, LISTENERS);
        atomic_store(&shared->stop_listeners, true);
        for (unsigned i = 0; i < LISTENERS; i++)
                await_checker(listeners[i]);
        world_check_quiet(world);
        check_books(world, 0);
        printf("%lu complete, %lu cut, %lu refused, %lu bytes, %u brokers killed\n", atomic_load(&shared->complete),
               atomic_load(&shared->cut), atomic_load(&shared->refused), atomic_load(&shared->bytes), broker_kills);
        check(atomic_load(&shared->complete) > 0);
        munmap(shared, sizeof *shared);
        world_end(world);
}
