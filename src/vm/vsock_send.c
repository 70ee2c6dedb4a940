/* SPDX-License-Identifier: MIT */

/* What the guest is sent next. vsock.h has the theory. */

#include "vm/vsock_internal.h"

/* In this order: an answer comes before what depends on it, and data before the end of it. */
static const enum vsock_operation order[] = {VSOCK_RST,           VSOCK_REQUEST,        VSOCK_RESPONSE,
                                             VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST, VSOCK_SHUTDOWN};

static void join(struct vsock *vsock, struct vsock_connection *connection) {
        if (list_is_empty(&connection->send_link))
                list_append(&vsock->sending, &connection->send_link);
}

/* Its turn is over. */
static void pass(struct vsock *vsock, struct vsock_connection *connection, bool has_more) {
        list_unlink(&connection->send_link);
        if (has_more)
                join(vsock, connection);
}

void vsock_owe(struct vsock *vsock, struct vsock_connection *connection, enum vsock_operation operation) {
        connection->owes |= vsock_bit(operation);
        join(vsock, connection);
}

void vsock_wait_until(struct vsock *vsock, struct vsock_connection *connection, int64_t deadline_ms) {
        connection->deadline_ms = deadline_ms;
        if (list_is_empty(&connection->wait_link))
                list_append(&vsock->waiting, &connection->wait_link);
        if (!vsock->next_deadline_ms || deadline_ms < vsock->next_deadline_ms)
                vsock->next_deadline_ms = deadline_ms;
}

void vsock_wait_no_more(struct vsock *vsock, struct vsock_connection *connection) {
        connection->deadline_ms = 0;
        list_unlink(&connection->wait_link);
        if (list_is_empty(&vsock->waiting)) /* or somebody would be woken for nothing */
                vsock->next_deadline_ms = 0;
}

/* ---- credit ---- */

static uint32_t packets_unread(const struct vsock_connection *connection) {
        return connection->packets_before + connection->packets_since;
}

static uint32_t packets_limit(const struct vsock_connection *connection) {
        uint32_t limit = connection->guest_buffer / VSOCK_PACKET_COST;
        return limit < 2 ? 2 : limit;
}

static bool is_sparing(const struct vsock_connection *connection) {
        return connection->type == VSOCK_STREAM && packets_unread(connection) >= packets_limit(connection) / 2;
}

/* How many bytes may be sent now. What the guest claims may be absurd: then none. */
static uint32_t credit(const struct vsock_connection *connection) {
        int64_t room =
                (int64_t)connection->guest_buffer - (int64_t)(uint32_t)(connection->sent - connection->guest_forwarded);
        return room <= 0 || packets_unread(connection) >= packets_limit(connection) ? 0 : (uint32_t)room;
}

static bool is_stalled(const struct vsock_connection *connection) {
        return connection->is_held || (connection->is_ready && !credit(connection));
}

static void stop_asking(struct vsock *vsock, struct vsock_connection *connection) {
        connection->ask_delay_ms = 0;
        if (connection->state != VSOCK_CONNECTED)
                return; /* the deadline is another one */
        vsock_wait_no_more(vsock, connection);
}

void vsock_take_count(struct vsock *vsock, struct vsock_connection *connection) {
        for (unsigned generation = 0; generation < 2; generation++)
                if ((int32_t)(connection->guest_forwarded - connection->sent_before) >= 0) {
                        connection->packets_before = connection->packets_since;
                        connection->packets_since = 0;
                        connection->sent_before = connection->sent;
                }
        if (connection->is_held && !is_sparing(connection)) {
                connection->is_held = false;
                connection->is_ready = true;
        }
        if (connection->ask_delay_ms && !is_stalled(connection))
                stop_asking(vsock, connection);
        if (connection->is_ready && credit(connection))
                join(vsock, connection);
}

/* Something waits for what the guest passes on: it is asked, and asked again ever more seldom. */
static void ask(struct vsock *vsock, struct vsock_connection *connection) {
        if (connection->ask_delay_ms)
                return;
        connection->ask_delay_ms = VSOCK_ASK_MIN_MS;
        vsock_owe(vsock, connection, VSOCK_CREDIT_REQUEST);
        vsock_wait_until(vsock, connection, vsock->now_ms + connection->ask_delay_ms);
}

void vsock_ask_again(struct vsock *vsock, struct vsock_connection *connection) {
        if (!is_stalled(connection)) {
                stop_asking(vsock, connection);
                return;
        }
        connection->ask_delay_ms *= 2;
        if (connection->ask_delay_ms > VSOCK_ASK_MAX_MS)
                connection->ask_delay_ms = VSOCK_ASK_MAX_MS;
        vsock_owe(vsock, connection, VSOCK_CREDIT_REQUEST);
        vsock_wait_until(vsock, connection, vsock->now_ms + connection->ask_delay_ms);
}

/* ---- packets ---- */

static struct vsock_packet packet_of(const struct vsock *vsock, struct vsock_connection *connection,
                                     enum vsock_operation operation) {
        bool has_credit = operation != VSOCK_RST;
        connection->forwarded_told = connection->forwarded;
        connection->owes &= ~(vsock_bit(operation) | vsock_bit(VSOCK_CREDIT_UPDATE)); /* any packet tells of it */
        return (struct vsock_packet){
                .source_cid = connection->cid,
                .target_cid = vsock->guest_cid,
                .source_port = connection->port,
                .target_port = connection->guest_port,
                .type = (uint16_t)connection->type,
                .operation = (uint16_t)operation,
                .buffer_size = has_credit ? connection->buffer : 0,
                .forwarded = has_credit ? connection->forwarded : 0,
        };
}

static void take_stray(struct vsock *vsock, struct vsock_packet *ret) {
        const struct vsock_stray *stray = &vsock->strays[vsock->stray_first];
        *ret = (struct vsock_packet){
                .source_cid = stray->cid,
                .target_cid = vsock->guest_cid,
                .source_port = stray->port,
                .target_port = stray->guest_port,
                .type = stray->type,
                .operation = VSOCK_RST,
        };
        vsock->stray_first = (vsock->stray_first + 1) % VSOCK_STRAYS_MAX;
        vsock->stray_count--;
}

static void take_owed(struct vsock *vsock, struct vsock_connection *connection, struct vsock_packet *ret) {
        unsigned i = 0;
        while (!(connection->owes & vsock_bit(order[i])))
                i++;
        *ret = packet_of(vsock, connection, order[i]);
        if (order[i] == VSOCK_SHUTDOWN)
                ret->flags = connection->shut_told = connection->shut;
        pass(vsock, connection, connection->owes || connection->is_ready);
        vsock_free_if_done(vsock, connection);
}

/* `room` is credit, of which `payload` bytes fit. */
static enum vsock_next want_data(struct vsock_connection *connection, size_t room, size_t payload,
                                 struct vsock_wanted *ret) {
        if (!payload)
                return VSOCK_IDLE;
        if (room > payload)
                room = payload;
        if (room > VSOCK_PAYLOAD_MAX)
                room = VSOCK_PAYLOAD_MAX;
        size_t least = connection->type != VSOCK_STREAM ? 0 : !is_sparing(connection) ? 1 : VSOCK_WORTHWHILE;
        *ret = (struct vsock_wanted){connection, least < room ? least : room, room};
        return VSOCK_DATA_WANTED;
}

enum vsock_next vsock_next(struct vsock *vsock, size_t buffer, struct vsock_packet *ret_packet,
                           struct vsock_wanted *ret_wanted) {
        if (buffer < VSOCK_HEADER_SIZE)
                return VSOCK_IDLE;
        if (vsock->stray_count) {
                take_stray(vsock, ret_packet);
                return VSOCK_PACKET;
        }
        while (!list_is_empty(&vsock->sending)) {
                struct vsock_connection *connection =
                        container_of(vsock->sending.next, struct vsock_connection, send_link);
                if (connection->owes) {
                        take_owed(vsock, connection, ret_packet);
                        return VSOCK_PACKET;
                }
                size_t room = connection->is_ready ? credit(connection) : 0;
                if (room)
                        return want_data(connection, room, buffer - VSOCK_HEADER_SIZE, ret_wanted);
                pass(vsock, connection, false);
                if (connection->is_ready)
                        ask(vsock, connection);
        }
        return VSOCK_IDLE;
}

void vsock_sent(struct vsock *vsock, struct vsock_connection *connection, size_t size, uint32_t flags, bool is_ready,
                struct vsock_packet *ret_packet) {
        *ret_packet = packet_of(vsock, connection, VSOCK_RW);
        ret_packet->length = (uint32_t)size;
        ret_packet->flags = flags;
        connection->sent += (uint32_t)size;
        connection->packets_since++;
        connection->is_ready = is_ready;
        pass(vsock, connection, is_ready || connection->owes);
        if (packets_unread(connection) == packets_limit(connection) / 2) /* in time: from here on they are spared */
                ask(vsock, connection);
}

void vsock_ready(struct vsock *vsock, struct vsock_connection *connection) {
        if (connection->state != VSOCK_CONNECTED || connection->shut & VSOCK_SHUT_SEND ||
            connection->guest_shut & VSOCK_SHUT_RECEIVE)
                return;
        connection->is_ready = true;
        connection->is_held = false;
        join(vsock, connection);
}

void vsock_unready(struct vsock *vsock, struct vsock_connection *connection) {
        connection->is_ready = false;
        connection->is_held = is_sparing(connection);
        pass(vsock, connection, connection->owes);
        if (connection->is_held)
                ask(vsock, connection);
}
