/* SPDX-License-Identifier: MIT */
#include "pair.h"
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

const SOCKADDR_HV LOOPBACK_ECHO = {
        .Family = AF_HYPERV,
        .VmId = {0xe0e16197, 0xdd56, 0x4a10, {0x91, 0x95, 0x5e, 0xe7, 0xa1, 0x55, 0xa8, 0x38}},
        .ServiceId = {0x6bd1e5b0, 0x31a1, 0x4d0a, {0x8a, 0x5e, 0x5f, 0x3c, 0x11, 0x2f, 0x6e, 0x01}},
};

int new_socket(int type) {
        return (int)must(hv_socket(AF_HYPERV, type, HV_PROTOCOL_RAW));
}

int new_listener(int type) {
        int fd = new_socket(type);
        must(hv_bind(fd, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO));
        must(hv_listen(fd, 16));
        return fd;
}

int connect_loopback(int fd) {
        return hv_connect(fd, (const struct sockaddr *)&LOOPBACK_ECHO, sizeof LOOPBACK_ECHO);
}

int ends_abruptly(int fd) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        must(hv_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        return hv_close(fd);
}

struct pair pair_open(int type) {
        struct pair pair = {.world = world_new()};
        world_start(pair.world);
        world_enter(pair.world, "host");
        pair.listener = new_listener(type);
        pair.connector = new_socket(type);
        must(connect_loopback(pair.connector));
        pair.acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
        return pair;
}

void pair_close(struct pair *pair) {
        const int descriptors[] = {pair->connector, pair->acceptor, pair->listener};
        for (unsigned i = 0; i < 3; i++)
                if (descriptors[i] >= 0)
                        must(hv_close(descriptors[i]));
        world_end(pair->world);
}

short events_now(int fd, short events) {
        struct pollfd descriptor = {.fd = fd, .events = events};
        must(poll(&descriptor, 1, 0));
        return descriptor.revents;
}

void set_nonblocking(int fd, bool nonblocking) {
        int flags = (int)must(fcntl(fd, F_GETFL));
        must(fcntl(fd, F_SETFL, nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

struct thread {
        pthread_t id;
        _Atomic pid_t tid;
        long (*function)(void *argument);
        void *argument;
        long result;
        int error;
};

static void *run(void *argument) {
        struct thread *thread = argument;
        atomic_store(&thread->tid, gettid());
        errno = 0;
        thread->result = thread->function(thread->argument);
        thread->error = errno;
        return NULL;
}

struct thread *thread_start(long (*function)(void *argument), void *argument) {
        struct thread *thread = calloc(1, sizeof *thread);
        check(thread);
        thread->function = function;
        thread->argument = argument;
        check_ok(pthread_create(&thread->id, NULL, run, thread));
        return thread;
}

bool thread_is_asleep(const struct thread *thread) {
        char path[64], text[512], state = 0;
        pid_t tid = atomic_load(&thread->tid);
        if (!tid)
                return false;
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
        FILE *file = fopen(path, "re");
        check(file && fgets(text, sizeof text, file));
        fclose(file);
        check(sscanf(strrchr(text, ')'), ") %c", &state) == 1);
        return state == 'S';
}

long thread_join(struct thread *thread) {
        check_ok(pthread_join(thread->id, NULL));
        long result = thread->result;
        int error = thread->error;
        free(thread);
        errno = error;
        return result;
}

/* Each byte depends on its position's every byte, so that no shift maps the sequence onto itself. */
static uint8_t sequence_byte(uint64_t position) {
        uint64_t x = (position + 1) * 0x9e3779b97f4a7c15u;
        return (uint8_t)(x >> 56 ^ x >> 29);
}

void fill_sequence(uint64_t *position, void *bytes, size_t size) {
        for (size_t i = 0; i < size; i++)
                ((uint8_t *)bytes)[i] = sequence_byte((*position)++);
}

void check_sequence(uint64_t *position, const void *bytes, size_t size) {
        for (size_t i = 0; i < size; i++, (*position)++)
                if (((const uint8_t *)bytes)[i] != sequence_byte(*position))
                        test_fail(__FILE__, __LINE__, "byte %llu of the stream is wrong",
                                  (unsigned long long)*position);
}

void ask_for(int fd, enum hv_carrier carrier) {
        uint32_t value = carrier;
        must(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CARRIER, &value, sizeof value));
}

int carrier_state(int fd) {
        int state = -1;
        socklen_t length = sizeof state;
        must(hv_getsockopt(fd, SOL_HVSOCKET, HVSOCKET_CARRIER_STATE, &state, &length));
        return state;
}

void pass_on(int from, int to, const char *text) {
        char heard[64] = "";
        check_equal(must(hv_send(from, text, strlen(text), 0)), strlen(text));
        check_equal(must(hv_recv(to, heard, sizeof heard - 1, 0)), strlen(text));
        check_string(heard, text);
}

struct pair ring_pair(int type) {
        struct pair pair = pair_open(type);
        ask_for(pair.connector, HV_CARRIER_SHM);
        ask_for(pair.acceptor, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 3; i++) { /* the second offers, the third goes through */
                pass_on(pair.connector, pair.acceptor, "into the ring");
                pass_on(pair.acceptor, pair.connector, "and this one");
        }
        check_equal(carrier_state(pair.connector), HV_SENDS_SHM | HV_RECEIVES_SHM);
        check_equal(carrier_state(pair.acceptor), HV_SENDS_SHM | HV_RECEIVES_SHM);
        return pair;
}

size_t fill_ring(int fd) {
        static const uint8_t bytes[30000];
        size_t filled = 0;
        ssize_t sent;
        while ((sent = hv_send(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
                filled += (size_t)sent;
        check_equal(errno, EAGAIN);
        return filled;
}
