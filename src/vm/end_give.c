/* SPDX-License-Identifier: MIT */

/* From the application to the guest. */

#include "vm/end.h"

#include "base/fd.h"
#include "ring/wait.h"
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* `size` bytes, from `offset` bytes into the pieces on. */
static void spread(const struct iovec *pieces, unsigned count, const uint8_t *bytes, size_t size, bool is_past_caches) {
        for (unsigned i = 0; i < count && size; i++) {
                size_t part = pieces[i].iov_len < size ? pieces[i].iov_len : size;
                if (is_past_caches && part >= COPY_PAST_CACHES_MIN)
                        copy_past_caches(pieces[i].iov_base, bytes, part);
                else
                        memcpy(pieces[i].iov_base, bytes, part);
                bytes += part;
                size -= part;
        }
}

/* ---- what comes with data ---- */

static int descriptor_of(struct msghdr *message) {
        int taken = -1, fd;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t at = 0; at + sizeof fd <= header->cmsg_len - CMSG_LEN(0); at += sizeof fd) {
                        memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
                        if (taken < 0)
                                taken = fd;
                        else
                                fd_close(fd);
                }
        }
        return taken;
}

static void take_offer(struct end *end, int ring_fd) {
        struct ring_memory memory;
        if (end->in.way != END_PLAIN || ring_accept(ring_fd, end->type, &memory) < 0)
                return;
        receiver_begin(&end->in.ring, &memory, end->type == SOCK_SEQPACKET);
        end->in.way = END_OFFERED;
        atomic_store(&memory.header->words.data_wish, wish(0, WISH_NONE));
        atomic_store_explicit(&memory.header->accepted, memory.capacity, memory_order_release);
}

static uint8_t byte_at(const struct iovec *pieces, size_t at) {
        for (; at >= pieces->iov_len; pieces++)
                at -= pieces->iov_len;
        return ((const uint8_t *)pieces->iov_base)[at];
}

/* A descriptor came with these bytes. How many of them are data. */
static ssize_t judge(struct end *end, struct msghdr *message, ssize_t length) {
        cleanup(fd_closep) int came = descriptor_of(message);
        if (came < 0 ? end->in.way != END_OFFERED : ring_is_offer(came)) { /* what got lost was an offer most likely */
                if (came >= 0)
                        take_offer(end, came);
                return length;
        }
        if (end->in.way == END_OFFERED && length > 0 && byte_at(message->msg_iov, (size_t)length - 1) == CARRIER_MARK)
                end->in.way = END_RING;
        else
                end->in.ending = -ECONNRESET;
        return length > 0 ? length - 1 : 0;
}

/* ---- the socket ---- */

/* *ret_is_data: also when it is an empty message. */
static ssize_t receive(struct end *end, struct iovec *pieces, unsigned count, bool *ret_is_data) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_LEN(sizeof(int))];
        } control;
        struct sockaddr_storage sender;
        struct msghdr message = {
                .msg_iov = pieces, .msg_iovlen = count, .msg_name = &sender, .msg_namelen = sizeof sender,
                .msg_control = &control, .msg_controllen = sizeof control.bytes};
        ssize_t length = recvmsg(end->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        *ret_is_data = false;
        if (length < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        end->in.ending = -ECONNRESET;
                return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNRESET;
        }
        if (message.msg_controllen || message.msg_flags & MSG_CTRUNC) {
                enum end_way before = end->in.way;
                length = judge(end, &message, length);
                if (message.msg_flags & MSG_TRUNC)
                        return end->in.ending = -ECONNRESET;
                bool is_mark = end->in.ending || (before == END_OFFERED && end->in.way == END_RING);
                *ret_is_data = length > 0 || !is_mark;
                return length;
        }
        if (message.msg_flags & MSG_TRUNC) /* longer than a guest can take */
                return end->in.ending = -ECONNRESET;
        if (length == 0 && (end->type == SOCK_STREAM || !message.msg_namelen)) {
                end->in.ending = -ENODATA;
                return -ENODATA;
        }
        *ret_is_data = true;
        return length;
}

/* A message of SOCK_SEQPACKET comes whole, and may be longer than what the guest has room for. */
static ssize_t fetch_message(struct end *end) {
        bool is_data;
        if (!end->in.message && !(end->in.message = malloc(END_MESSAGE_MAX)))
                return -ENOMEM;
        struct iovec piece = {.iov_base = end->in.message, .iov_len = END_MESSAGE_MAX};
        ssize_t length = receive(end, &piece, 1, &is_data);
        if (length < 0)
                return length;
        if (is_data) {
                end->in.is_amid = true;
                end->in.length = (uint32_t)length;
                end->in.given = 0;
        }
        return 0;
}

/* ---- the ring ---- */

/* The kernel says reset where only tokens were left unread, and end where bytes in a ring were. */
static int judge_end(struct end *end, bool is_reset) {
        bool is_ring = end->out.way == END_RING;
        bool are_left = is_ring && (sender_look(&end->out.ring) < 0 || sender_waiting(&end->out.ring));
        if (is_reset ? is_ring && !are_left : !are_left || end->out.is_shut)
                return -ENODATA;
        return is_reset || socket_is_hung_up(end->fd) ? -ECONNRESET : -ENODATA;
}

/* One more token, or several, are in the socket: takes them. What is behind them is not touched. */
static bool take_tokens(struct end *end, ssize_t count) {
        char tokens[END_TOKENS_MAX];
        ssize_t length = count ? recv(end->fd, tokens, end->type == SOCK_STREAM ? (size_t)count : 1, MSG_DONTWAIT) : 0;
        end->in.ring.tokens_taken += length > 0 ? (uint32_t)length : 0;
        return length == count;
}

void end_hear(struct end *end) {
        char seen[END_TOKENS_MAX];
        while (end->in.way == END_RING && !end->in.ending && !end->in.goes_on) {
                ssize_t tokens = 0, length = recv(end->fd, seen, end->type == SOCK_STREAM ? sizeof seen : 2, MSG_DONTWAIT | MSG_PEEK);
                if (length < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (length <= 0) {
                        end->in.ending = judge_end(end, length < 0);
                        return;
                }
                bool is_one = end->type == SOCK_STREAM || length == 1;
                while (is_one && tokens < length && seen[tokens] == CARRIER_TOKEN)
                        tokens++;
                if (!take_tokens(end, tokens))
                        return;
                if (tokens == length)
                        continue;
                end->in.goes_on = is_one && seen[tokens] == CARRIER_END &&
                                  atomic_load_explicit(&end->in.ring.memory.header->words.is_ended, memory_order_acquire) &&
                                  recv(end->fd, seen, 1, MSG_DONTWAIT) == 1;
                if (!end->in.goes_on)
                        end->in.ending = -ECONNRESET;
        }
}

void end_leave_ring_in(struct end *end) {
        ring_unmap(&end->in.ring.memory);
        end->in.ring = (struct ring_receiver){};
        end->in.way = END_PLAIN;
        end->in.goes_on = end->in.is_armed = false;
}

/* The sender, which waits for room, is told by taking out all tokens but one. */
static void make_room(struct end *end) {
        uint32_t stale = wish_stale(&end->in.ring.memory.header->words, end->in.ring.tokens_taken);
        if (end->type == SOCK_STREAM)
                (void)take_tokens(end, stale > 1 ? stale - 1 : 0);
        else
                while (stale-- > 1 && take_tokens(end, 1))
                        ;
}

/* Whether there is something. Bytes that came before an end are seen before it. */
static bool look(struct end *end) {
        struct ring_receiver *ring = &end->in.ring;
        if (end->in.is_armed) {
                wish_forget(&ring->memory.header->words);
                end->in.is_armed = false;
        }
        if (!receiver_waiting(ring) && receiver_look(ring) == 0 && !receiver_waiting(ring) && !end->in.ending) {
                end_hear(end);
                (void)receiver_look(ring);
        }
        if (receiver_look(ring) < 0) {
                end->in.ending = -ECONNRESET;
                return false;
        }
        return receiver_waiting(ring);
}

/* The sender, when it waits for room, gives up its core if it is ours, too. */
static void show_cpu(struct ring_receiver *ring) {
        uint32_t cpu = wait_cpu();
        if (cpu != ring->cpu)
                atomic_store_explicit(&ring->memory.header->words.receiver_cpu, ring->cpu = cpu, memory_order_relaxed);
}

static ssize_t give_stream(struct end *end, const struct iovec *pieces, unsigned count, size_t room,
                           bool *ret_has_more) {
        struct ring_receiver *ring = &end->in.ring;
        size_t size = receiver_waiting(ring) < room ? receiver_waiting(ring) : room;
        show_cpu(ring);
        spread(pieces, count, receiver_span(ring), size, end->in.is_past_caches && copy_pays_past_caches());
        if (receiver_release(ring, size, size))
                make_room(end);
        *ret_has_more = true;
        return (ssize_t)size;
}

static ssize_t give_record(struct end *end, const struct iovec *pieces, unsigned count, size_t room,
                           bool *ret_is_whole) {
        struct ring_receiver *ring = &end->in.ring;
        const uint8_t *bytes;
        size_t length;
        show_cpu(ring);
        if (receiver_record(ring, &bytes, &length) < 0 || length > END_MESSAGE_MAX) {
                end->in.ending = -ECONNRESET;
                return -ECONNRESET;
        }
        if (!end->in.is_amid) {
                end->in.is_amid = true;
                end->in.length = (uint32_t)length; /* what it says later does not count */
                end->in.given = 0;
        }
        length = end->in.length;
        size_t left = length - end->in.given, size = left < room ? left : room;
        spread(pieces, count, bytes + end->in.given, size, end->in.is_past_caches && copy_pays_past_caches());
        end->in.given += (uint32_t)size;
        *ret_is_whole = size == left;
        if (*ret_is_whole) {
                end->in.is_amid = false;
                if (receiver_release(ring, record_size(length), 1))
                        make_room(end);
        }
        return (ssize_t)size;
}

ssize_t end_give(struct end *end, const struct iovec *pieces, unsigned count, size_t room, bool *ret_is_whole,
                 bool *ret_has_more) {
        *ret_is_whole = *ret_has_more = false;
        for (;;) {
                if (end->in.way == END_RING) {
                        if (look(end)) {
                                *ret_has_more = true;
                                return end->type == SOCK_STREAM ? give_stream(end, pieces, count, room, ret_has_more)
                                                                : give_record(end, pieces, count, room, ret_is_whole);
                        }
                        if (!end->in.goes_on || end->in.ending)
                                return end->in.ending ? end->in.ending : -EAGAIN;
                        end_leave_ring_in(end);
                }
                if (end->type == SOCK_SEQPACKET && end->in.is_amid) {
                        size_t left = end->in.length - end->in.given, size = left < room ? left : room;
                        spread(pieces, count, end->in.message + end->in.given, size, false);
                        end->in.given += (uint32_t)size;
                        end->in.is_amid = !(*ret_is_whole = size == left);
                        *ret_has_more = true;
                        return (ssize_t)size;
                }
                if (end->in.ending)
                        return end->in.ending;
                if (end->type == SOCK_SEQPACKET) {
                        ssize_t r = fetch_message(end);
                        if (r < 0)
                                return r;
                        continue;
                }
                bool is_data;
                ssize_t length = receive(end, (struct iovec *)pieces, count, &is_data);
                if (length < 0 || length > 0) {
                        *ret_has_more = length > 0;
                        return length;
                }
        }
}

size_t end_waiting(struct end *end) {
        int size = 0;
        if (end->in.way == END_RING)
                return receiver_look(&end->in.ring) < 0 ? 1 : receiver_waiting(&end->in.ring);
        return ioctl(end->fd, SIOCINQ, &size) < 0 ? 0 : (size_t)size;
}

bool end_arm(struct end *end) {
        struct ring_receiver *ring = &end->in.ring;
        if (end->in.way != END_RING || end->in.is_armed)
                return true;
        if (look(end) || end->in.ending || end->in.goes_on)
                return false;
        end_hear(end); /* the tokens of before, so that the next one is an edge */
        if (end->in.ending || end->in.goes_on || !wish_arm(&ring->memory.header->words, ring->published))
                return false;
        return end->in.is_armed = true;
}
