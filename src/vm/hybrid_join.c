/* SPDX-License-Identifier: MIT */

/*
 * Moving what comes from a VMM's stream to the channel's end, and back.
 *
 * A way that is blocked has its backlog, and is left until there is an edge. Ends are
 * passed on behind the data of their way.
 */

#include "vm/hybrid_internal.h"

#include "base/fd.h"
#include <errno.h>
#include <sys/socket.h>

/* ---- to the guest ---- */

/* How much the VMM took of it. A guest that does not receive is told to the application. */
static size_t send_to_guest(struct hybrid_channel *channel, const uint8_t *bytes, size_t size) {
        ssize_t sent = send(channel->stream_fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (sent < 0) {
                channel->is_sent = true;
                channel->is_reset |= errno == ECONNRESET; /* the kernel says so once */
                end_shut_receiving(&channel->end);
                return size;
        }
        atomic_fetch_add_explicit(&channel->traffic->to_guest, (uint64_t)sent, memory_order_relaxed);
        return (size_t)sent;
}

static void application_ended(struct hybrid_channel *channel) {
        channel->is_sent = true;
        if (socket_is_hung_up(channel->end.fd))
                hybrid_channel_put_over(channel, HYBRID_CLOSED);
        else
                (void)shutdown(channel->stream_fd, SHUT_WR);
}

/* False: it is blocked. */
static bool flush_to_guest(struct hybrid_channel *channel) {
        struct iovec piece;
        while (backlog_next(&channel->to_guest, false, &piece)) {
                size_t sent = send_to_guest(channel, piece.iov_base, piece.iov_len);
                if (!sent)
                        return false;
                backlog_remove(&channel->to_guest, false, sent);
        }
        return true;
}

/* True: there may be more. */
static bool move_to_guest(struct hybrid_channel *channel) {
        uint8_t *buffer = channel->thread->buffer;
        const struct iovec piece = {.iov_base = buffer, .iov_len = HYBRID_BUFFER};
        bool is_whole, has_more;
        if (!flush_to_guest(channel))
                return false;
        for (size_t moved = 0; moved < HYBRID_TURN_BYTES;) {
                if (channel->is_sent)
                        return false;
                ssize_t size = end_give(&channel->end, &piece, 1, HYBRID_BUFFER, &is_whole, &has_more);
                if (size == -ENODATA)
                        application_ended(channel);
                else if (size < 0 && size != -EAGAIN)
                        hybrid_channel_put_over(channel, HYBRID_RESET);
                if (size < 0)
                        return false;
                moved += (size_t)size;
                size_t sent = send_to_guest(channel, buffer, (size_t)size);
                const struct iovec rest = {.iov_base = buffer + sent, .iov_len = (size_t)size - sent};
                if (rest.iov_len && backlog_add(&channel->to_guest, &rest, 1, rest.iov_len) < 0)
                        hybrid_channel_put_over(channel, HYBRID_RESET);
                if (rest.iov_len && !flush_to_guest(channel)) /* only a refused send asks for the edge */
                        return false;
        }
        return true;
}

/* ---- from the guest ---- */

/* The application does not receive any more; whether it still sends is found out when it is asked for data. */
static void application_left(struct hybrid_channel *channel) {
        channel->is_received = true;
        backlog_clear(&channel->from_guest);
        if (channel->end.in.ending == -ECONNRESET)
                hybrid_channel_put_over(channel, HYBRID_RESET);
        else
                (void)shutdown(channel->stream_fd, SHUT_RD);
}

static size_t take_from_guest(struct hybrid_channel *channel, const struct iovec *piece) {
        ssize_t taken = end_take(&channel->end, piece, 1, piece->iov_len);
        if (taken == -EAGAIN)
                return 0;
        if (taken < 0) {
                application_left(channel);
                return piece->iov_len;
        }
        atomic_fetch_add_explicit(&channel->traffic->from_guest, (uint64_t)taken, memory_order_relaxed);
        return (size_t)taken;
}

/* Closed, or the VMM is gone, or only half of it is shut. */
static void guest_ended(struct hybrid_channel *channel) {
        channel->is_received = true;
        if (socket_is_hung_up(channel->stream_fd))
                return;
        end_shut_sending(&channel->end);
}

static bool flush_from_guest(struct hybrid_channel *channel) {
        struct iovec piece;
        while (backlog_next(&channel->from_guest, false, &piece)) {
                size_t taken = take_from_guest(channel, &piece);
                if (!taken)
                        return false;
                if (!channel->is_received)
                        backlog_remove(&channel->from_guest, false, taken);
        }
        return true;
}

static bool move_from_guest(struct hybrid_channel *channel) {
        uint8_t *buffer = channel->thread->buffer;
        if (!flush_from_guest(channel))
                return false;
        for (size_t moved = 0; moved < HYBRID_TURN_BYTES && !channel->is_received;) {
                ssize_t size = recv(channel->stream_fd, buffer, HYBRID_BUFFER, MSG_DONTWAIT);
                if (size < 0 && errno != EAGAIN && errno != EINTR)
                        hybrid_channel_put_over(channel, HYBRID_RESET);
                if (size < 0)
                        return false;
                if (!size) {
                        guest_ended(channel);
                        return false;
                }
                moved += (size_t)size;
                struct iovec piece = {.iov_base = buffer, .iov_len = (size_t)size};
                size_t taken = take_from_guest(channel, &piece);
                const struct iovec rest = {.iov_base = buffer + taken, .iov_len = (size_t)size - taken};
                if (rest.iov_len && backlog_add(&channel->from_guest, &rest, 1, rest.iov_len) < 0)
                        hybrid_channel_put_over(channel, HYBRID_RESET);
                if (rest.iov_len && !flush_from_guest(channel))
                        return false;
        }
        return !channel->is_received;
}

/* ---- both ---- */

/* The VMM's stream is closed, and all that came is with the application. */
static bool is_in_doubt(const struct hybrid_channel *channel) {
        return channel->is_received && backlog_is_empty(&channel->from_guest) && socket_is_hung_up(channel->stream_fd);
}

bool hybrid_move(struct hybrid_channel *channel) {
        bool goes_on = move_to_guest(channel);
        if (!channel->over)
                goes_on = move_from_guest(channel) || goes_on;
        if (!channel->over && channel->is_sent && socket_is_hung_up(channel->end.fd))
                hybrid_channel_put_over(channel, HYBRID_CLOSED);
        if (channel->over)
                return false;
        if (is_in_doubt(channel)) {
                if (!channel->doubt_due_ms) {
                        channel->doubt_due_ms = vm_worker_now_ms() + HYBRID_DOUBT_MS;
                        list_append(&channel->thread->doubted, &channel->wait_link);
                }
                return false;
        }
        bool waits_for_guest = channel->is_sent || !backlog_is_empty(&channel->to_guest);
        return goes_on || channel->end.out.is_deciding || (!waits_for_guest && !end_arm(&channel->end));
}

void hybrid_join(struct hybrid_channel *channel, int fd) {
        int r = end_begin(&channel->end, fd);
        if (r < 0) {
                fd_close(fd);
                channel->end.fd = -1;
        } else {
                channel->end_watch.kind = HYBRID_END;
                r = hybrid_watch_add(channel->thread, fd, &channel->end_watch);
        }
        channel->stage = HYBRID_JOINED;
        if (r < 0)
                hybrid_channel_put_over(channel, HYBRID_RESET);
        else
                list_append(&channel->thread->awake, &channel->awake_link);
}
