/* SPDX-License-Identifier: MIT */

/*
 * A peer that has a channel in shared memory with this library, and writes what it
 * likes where it likes, when it likes: the victim gets bytes, an end or an error,
 * and soon; it never reads or writes beyond the ring, and never waits for the peer
 * longer than it was told to.
 *
 * The first byte says of which type the socket is, and whether a thread scribbles
 * over both headers all the while. Then each pair of bytes is a step: the victim's,
 * through hv_*() calls, of a wait set too, or the peer's.
 */

#include "ring/memory.h"

#include <errno.h>
#include <hvsock.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

#define STEPS_MAX 200
#define STEP_SECONDS_MAX 4 /* the longest that a call may wait for a peer that leaves a ring, twice */

struct world {
        int victim, peer;
        int twin, set; /* the victim's: another number of it, and a wait set */
        uint32_t asked[2]; /* of the set, for the victim and its twin; 0: it is no member */
        struct ring_memory to_victim, from_victim;
        atomic_bool is_over;
        unsigned seed;
};

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return setenv("HVSOCK_SOCKET", "/nonexistent", 1); /* no broker is asked */
}

/* One byte with a descriptor, which is closed. */
static bool pass(int socket, char byte, int fd) {
        struct iovec vector = {.iov_base = &byte, .iov_len = 1};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
        bool is_sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
        close(fd);
        return is_sent;
}

static int take(int socket) {
        char bytes[8];
        int fd;
        struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        require(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) > 0 && message.msg_controllen);
        memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
        return fd;
}

/* Both directions of the victim's end go through rings. */
static void begin(struct world *world, int type) {
        int ends[2], ring_fd;
        uint32_t carrier = HV_CARRIER_SHM;
        struct timeval limit = {.tv_usec = 1000};
        char byte;
        require(socketpair(AF_UNIX, type, 0, ends) == 0);
        world->victim = ends[0];
        world->peer = ends[1];
        require((world->twin = dup(world->victim)) >= 0);
        require((world->set = hv_epoll_create1(EPOLL_CLOEXEC)) >= 0);
        require(hv_setsockopt(world->victim, SOL_HVSOCKET, HVSOCKET_CARRIER, &carrier, sizeof carrier) == 0);
        require(hv_setsockopt(world->victim, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
        require(hv_setsockopt(world->victim, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
        require(ring_create(type, 0, &world->to_victim, &ring_fd) == 0);
        require(pass(world->peer, 'o', ring_fd));
        require(hv_recv(world->victim, &byte, 1, 0) == 1);
        require(world->to_victim.header->accepted);
        require(pass(world->peer, 'R', eventfd(0, EFD_CLOEXEC)));
        require(hv_send(world->victim, "b", 1, 0) == 1); /* the second one comes with the offer */
        require(recv(world->peer, &byte, 1, 0) == 1);
        require(hv_send(world->victim, "o", 1, 0) == 1);
        ring_fd = take(world->peer);
        require(ring_accept(ring_fd, type, &world->from_victim) == 0);
        close(ring_fd);
        world->from_victim.header->accepted = RING_CAPACITY_MIN;
        require(hv_send(world->victim, "r", 1, 0) == 1);
        (void)hv_recv(world->victim, &byte, 1, MSG_DONTWAIT);
        int state;
        socklen_t length = sizeof state;
        require(hv_getsockopt(world->victim, SOL_HVSOCKET, HVSOCKET_CARRIER_STATE, &state, &length) == 0);
        require(state == (HV_SENDS_SHM | HV_RECEIVES_SHM));
}

/* A header word, by number, and something that is likely to matter there. */
static void write_word(struct world *world, unsigned where, uint64_t value) {
        struct ring_header *header = (where & 1 ? &world->to_victim : &world->from_victim)->header;
        struct ring_words *words = &header->words;
        switch (where >> 1 & 15) {
        case 0: case 1: words->head = value; break;
        case 2: words->head += value & 0xfffff; break;
        case 3: words->base = value; break;
        case 4: words->payload = value; break;
        case 5: words->tokens_sent = (uint32_t)value; break;
        case 6: words->sender_cpu = words->receiver_cpu = (uint32_t)value & 3; break;
        case 7: words->tail = value; break;
        case 8: words->tail += value & 0xfffff; break;
        case 9: words->data_wish = value; break;
        case 10: words->room_wish = value; break;
        case 11: words->data_wish = wish(words->head, (enum wish_state)(value & 3)); break;
        case 12: words->is_sending = value & 1; break;
        case 13: words->is_ended = value & 1; break;
        case 14: header->accepted = (uint32_t)value; break;
        default: header->leaving = (uint32_t)(value & 2); break;
        }
}

static uint64_t interesting(struct world *world, uint8_t choice) {
        uint64_t head = world->to_victim.header->words.head, tail = world->from_victim.header->words.tail;
        const uint64_t values[] = {0, 1, 8, 65535, 65536, 65537, UINT32_MAX, UINT64_MAX, UINT64_MAX / 2 + 1,
                                   head + 1, head + 65536, head - 1, tail + 1, tail + 65536, tail - 1, (uint64_t)choice << 8};
        return values[choice % 16];
}

static void *scribble(void *argument) {
        struct world *world = argument;
        while (!world->is_over) {
                int r = rand_r(&world->seed);
                write_word(world, (unsigned)r & 31, interesting(world, (uint8_t)(r >> 8)));
                if (r % 16 == 0)
                        memset(world->to_victim.data + (size_t)r % 65536, r >> 16, 16);
        }
        return NULL;
}

/* A mark, an offer, or what is neither. */
static void pass_something(struct world *world, uint8_t how) {
        int fd = -1;
        if (how % 4 == 0) {
                struct ring_memory memory;
                require(ring_create(how & 4 ? SOCK_STREAM : SOCK_SEQPACKET, 0, &memory, &fd) == 0);
                memory.header->capacity <<= how & 8 ? 1 : 0;
                ring_unmap(&memory);
        } else if (how % 4 == 1) {
                require((fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING)) >= 0);
        } else if (how % 4 == 2) {
                require((fd = eventfd(0, EFD_CLOEXEC)) >= 0);
        } else {
                require((fd = dup(world->peer)) >= 0);
        }
        (void)pass(world->peer, "TRxE"[how / 16 % 4], fd);
}

static void peers_step(struct world *world, uint8_t what, uint8_t how) {
        static const char tokens[] = "TTTTTTTT", others[] = "TTxE\0RTT";
        uint32_t length = how % 5 ? how : UINT32_MAX >> how % 32;
        switch (what % 8) {
        case 0: case 1: case 2:
                write_word(world, what >> 3, interesting(world, how));
                break;
        case 3: /* rightly: some bytes, or a message that says how long it is */
                memcpy(world->to_victim.data + (world->to_victim.header->words.head & 65535), &length, sizeof length);
                world->to_victim.header->words.head += how;
                break;
        case 4:
                (void)send(world->peer, tokens, how % sizeof tokens, MSG_DONTWAIT | MSG_NOSIGNAL);
                break;
        case 5:
                (void)send(world->peer, others + how % 8, how % 3 ? 1 : how / 8 % 2, MSG_DONTWAIT | MSG_NOSIGNAL);
                break;
        case 6: {
                char drained[64];
                (void)recv(world->peer, drained, how % sizeof drained, MSG_DONTWAIT);
                break;
        }
        default:
                if (how == 255)
                        (void)shutdown(world->peer, SHUT_WR);
                else if (how == 254)
                        (void)shutdown(world->peer, SHUT_RD);
                else if (how >= 128)
                        pass_something(world, how);
                else
                        memset(world->to_victim.data + how * 256, how, 256);
        }
}

/* Without a copy: what lies in the ring is read, or written, where it is. */
static ssize_t receive_span(struct world *world, size_t size, int flags) {
        const void *span;
        ssize_t length = hv_peek(world->victim, &span, flags);
        if (length <= 0)
                return length;
        uint8_t *copy = malloc((size_t)length);
        require(copy);
        memcpy(copy, span, (size_t)length);
        free(copy);
        return hv_consume(world->victim, size < (size_t)length ? size : (size_t)length);
}

static ssize_t send_span(struct world *world, size_t size, bool is_abandoned, int flags) {
        void *span;
        ssize_t room = hv_reserve(world->victim, size, &span, flags);
        if (room < 0)
                return room;
        require((size_t)room >= size);
        memset(span, 's', (size_t)room);
        return is_abandoned ? 0 : hv_commit(world->victim, size);
}

static void change_set(struct world *world, int operation, uint8_t how) {
        static const uint32_t events[] = {EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLPRI, EPOLLRDNORM, EPOLLET, EPOLLONESHOT};
        bool is_twin = how & 1;
        struct epoll_event event = {.data.u64 = is_twin};
        for (unsigned i = 0; i < sizeof events / sizeof *events; i++)
                event.events |= how >> (i + 1) & 1 ? events[i] : 0;
        if (hv_epoll_ctl(world->set, operation, is_twin ? world->twin : world->victim, &event) == 0)
                world->asked[is_twin] = operation == EPOLL_CTL_DEL ? 0 : event.events | EPOLLHUP | EPOLLERR;
}

/* What it says is about its members, each once, and about what was asked. */
static void wait_in_set(struct world *world, int max, int timeout_ms) {
        struct epoll_event *events = malloc((size_t)max * sizeof *events); /* of its exact size */
        require(events);
        int count = hv_epoll_wait(world->set, events, max, timeout_ms);
        require(count <= max && (count >= 0 || errno == EINTR)); /* the fuzzer's own alarm */
        for (int i = 0; i < count; i++) {
                require(events[i].data.u64 <= 1 && events[i].events);
                require(!(events[i].events & ~world->asked[events[i].data.u64]));
                require(i == 0 || events[i].data.u64 != events[0].data.u64);
        }
        free(events);
}

static void wait_sets_step(struct world *world, uint8_t what, uint8_t how) {
        switch (what % 8) {
        case 0:
                change_set(world, EPOLL_CTL_ADD, how);
                break;
        case 1:
                change_set(world, EPOLL_CTL_MOD, how);
                break;
        case 2:
                change_set(world, how & 2 ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, how);
                break;
        case 3:
                require(hv_close(world->set) == 0);
                require((world->set = hv_epoll_create1(EPOLL_CLOEXEC)) >= 0);
                world->asked[0] = world->asked[1] = 0;
                break;
        case 4: {
                struct pollfd both[] = {{.fd = world->victim, .events = how & 2 ? POLLIN : POLLOUT},
                                        {.fd = world->twin, .events = how & 4 ? POLLIN | POLLOUT : 0}};
                int count = hv_poll(both, 2, how & 1);
                require(count == (both[0].revents != 0) + (both[1].revents != 0) || (count < 0 && errno == EINTR));
                break;
        }
        default:
                wait_in_set(world, 1 + how / 2 % 3, how & 1);
        }
}

static void victims_step(struct world *world, uint8_t what, uint8_t how) {
        static uint8_t buffer[100000];
        static const size_t sizes[] = {0, 1, 7, 64, 4096, 65536, 65537, sizeof buffer};
        size_t size = sizes[how % 8];
        uint8_t *bytes = malloc(size ? size : 1); /* of its exact size, so that writing beyond it is found */
        int flags = how & 8 ? 0 : MSG_DONTWAIT, value = 0;
        struct msghdr message = {.msg_iov = &(struct iovec){.iov_base = bytes, .iov_len = size}, .msg_iovlen = 1};
        ssize_t r = 0;
        require(bytes);
        memset(bytes, how, size);
        switch (what % 16) {
        case 0: case 1:
                r = hv_recv(world->victim, bytes, size, flags);
                break;
        case 2:
                r = hv_recv(world->victim, bytes, size, flags | MSG_PEEK);
                break;
        case 3:
                r = hv_recvmsg(world->victim, &message, flags | (how & 16 ? MSG_WAITALL : MSG_TRUNC));
                r = r > (ssize_t)size && how & 16 ? -2 : r < 0 ? r : 0; /* with MSG_TRUNC a message's whole length */
                break;
        case 4: case 5: case 15:
                r = hv_send(world->victim, bytes, size, flags);
                break;
        case 6:
                require(hv_ioctl(world->victim, how & 16 ? FIONREAD : SIOCOUTQ, &value) < 0 || value >= 0);
                break;
        case 8: case 9:
                r = receive_span(world, size, flags);
                break;
        case 10: case 11:
                r = send_span(world, size, how & 32, flags);
                break;
        case 12: case 13:
                r = hv_poll(&(struct pollfd){.fd = world->victim, .events = POLLIN | (how & 16 ? POLLOUT : 0)}, 1, how % 2);
                r = r > 1 ? -2 : 0;
                break;
        case 14: {
                uint32_t readiness = how & 1 ? HV_READINESS_LIBRARY : HV_READINESS_KERNEL;
                (void)hv_setsockopt(world->victim, SOL_HVSOCKET, HVSOCKET_READINESS, &readiness, sizeof readiness);
                break;
        }
        default:
                if (how == 0)
                        (void)hv_shutdown(world->victim, SHUT_WR);
                else if (how == 1)
                        (void)hv_shutdown(world->victim, SHUT_RD);
                else if (how == 2 && !world->to_victim.header->words.is_sending)
                        (void)hv_detach(world->victim);
                else if (how < 16)
                        (void)hv_setsockopt(world->victim, SOL_SOCKET, SO_SNDBUF, &(int){how * 10000}, sizeof(int));
        }
        require(r >= -1 && (r < 0 || (size_t)r <= size));
        free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        struct world world = {};
        pthread_t scribbler;
        if (size < 3)
                return 0;
        begin(&world, bytes[0] & 1 ? SOCK_STREAM : SOCK_SEQPACKET);
        bool scribbles = bytes[0] & 2;
        world.seed = bytes[1];
        if (scribbles)
                require(pthread_create(&scribbler, NULL, scribble, &world) == 0);
        for (size_t at = 1; at + 2 <= size && at < 2 * STEPS_MAX; at += 2) {
                struct timespec before, after;
                clock_gettime(CLOCK_MONOTONIC, &before);
                if (bytes[at] & 0x80)
                        peers_step(&world, bytes[at] & 0x7f, bytes[at + 1]);
                else if (bytes[at] & 0x40)
                        wait_sets_step(&world, bytes[at], bytes[at + 1]);
                else
                        victims_step(&world, bytes[at], bytes[at + 1]);
                clock_gettime(CLOCK_MONOTONIC, &after);
                require(after.tv_sec - before.tv_sec <= STEP_SECONDS_MAX);
        }
        world.is_over = true;
        if (scribbles)
                require(pthread_join(scribbler, NULL) == 0);
        require(hv_close(world.set) == 0);
        require(hv_close(world.twin) == 0);
        require(hv_close(world.victim) == 0);
        close(world.peer);
        ring_unmap(&world.to_victim);
        ring_unmap(&world.from_victim);
        return 0;
}
