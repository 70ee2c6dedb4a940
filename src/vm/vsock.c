/* SPDX-License-Identifier: MIT */

/* Connections, and what comes from the guest. vsock.h has the theory. */

#include "vm/ledger.h"
#include "vm/vsock_internal.h"

#include <errno.h>
#include <stdlib.h>

/* What a connection is found by. */
struct key {
        uint64_t cid;
        uint32_t port, guest_port;
};

int vsock_init(struct vsock *vsock, uint64_t guest_cid, const uint8_t hash_key[16]) {
        *vsock = (struct vsock){.guest_cid = guest_cid, .next_port = VSOCK_PORT_FIRST};
        list_init(&vsock->all);
        list_init(&vsock->sending);
        list_init(&vsock->waiting);
        return table_init(&vsock->connections, hash_key);
}

void vsock_deinit(struct vsock *vsock) {
        list_for_each_safe(link, &vsock->all) {
                struct vsock_connection *connection = container_of(link, struct vsock_connection, all_link);
                if (connection->state != VSOCK_ENDED)
                        table_remove(&vsock->connections, &connection->link);
                free(connection);
        }
        table_deinit(&vsock->connections);
}

static bool is_at(const struct vsock_connection *connection, const struct key *key) {
        return connection->port == key->port && connection->guest_port == key->guest_port &&
               connection->cid == key->cid;
}

static struct vsock_connection *find(struct vsock *vsock, const struct key *key, uint64_t *ret_hash) {
        if (vsock->last && is_at(vsock->last, key))
                return vsock->last;
        uint64_t hash = *ret_hash = table_hash(&vsock->connections, key, sizeof *key);
        for (struct table_link *link = NULL; (link = table_find(&vsock->connections, hash, link));) {
                struct vsock_connection *connection = container_of(link, struct vsock_connection, link);
                if (is_at(connection, key))
                        return vsock->last = connection;
        }
        return NULL;
}

/* How large a buffer one more connection gets, so that the least is left for all that may still come. 0: none. */
static uint32_t buffer_for(const struct vsock *vsock, enum vsock_type type) {
        uint32_t kept = (VSOCK_CONNECTIONS_MAX - vsock->count) * VSOCK_BUFFER_MIN;
        uint32_t spare = VSOCK_BUFFER_TOTAL - vsock->promised - kept,
                 share = VSOCK_BUFFER_MIN + spare / VSOCK_BUFFER_SHARE;
        if (type == VSOCK_SEQPACKET)
                return spare < VSOCK_MESSAGE_MAX - VSOCK_BUFFER_MIN ? 0 : VSOCK_MESSAGE_MAX;
        return share > VSOCK_BUFFER_MAX ? VSOCK_BUFFER_MAX : share;
}

static int add_with(struct vsock *vsock, const struct key *key, uint64_t hash, enum vsock_type type,
                    enum vsock_state state, uint32_t buffer, struct vsock_connection **ret) {
        struct vsock_connection *connection = calloc(1, sizeof *connection);
        if (!connection)
                return -ENOMEM;
        connection->cid = key->cid;
        connection->port = key->port;
        connection->guest_port = key->guest_port;
        connection->type = type;
        connection->state = state;
        connection->promised = buffer;
        connection->is_owned = true;
        list_init(&connection->send_link);
        list_init(&connection->wait_link);
        if (table_insert(&vsock->connections, &connection->link, hash) < 0) {
                free(connection);
                return -ENOMEM;
        }
        list_append(&vsock->all, &connection->all_link);
        vsock->promised += buffer;
        vsock->count++;
        connection->ledger_slot = ledger_add(vsock->ledger, key->cid, key->port, key->guest_port, type);
        *ret = connection;
        return 0;
}

static int add(struct vsock *vsock, const struct key *key, uint64_t hash, enum vsock_type type, enum vsock_state state,
               struct vsock_connection **ret) {
        uint32_t buffer = vsock->count < VSOCK_CONNECTIONS_MAX ? buffer_for(vsock, type) : 0;
        return buffer ? add_with(vsock, key, hash, type, state, buffer, ret) : -ENOSPC;
}

void vsock_free_if_done(struct vsock *vsock, struct vsock_connection *connection) {
        if (connection->state != VSOCK_ENDED || connection->is_owned || connection->owes)
                return;
        list_unlink(&connection->all_link);
        list_unlink(&connection->send_link);
        vsock->promised -= connection->promised;
        vsock->count--;
        ledger_remove(vsock->ledger, connection->ledger_slot);
        free(connection);
}

/* Its ports are free. What it owes but a RST is void. */
static void end(struct vsock *vsock, struct vsock_connection *connection, bool with_rst) {
        table_remove(&vsock->connections, &connection->link);
        if (vsock->last == connection)
                vsock->last = NULL;
        connection->state = VSOCK_ENDED;
        connection->is_ready = connection->is_held = false;
        connection->owes = 0;
        vsock_wait_no_more(vsock, connection);
        if (with_rst)
                vsock_owe(vsock, connection, VSOCK_RST);
        else
                list_unlink(&connection->send_link);
}

/* The same for an owner, if there is one, who hears `event`. */
static enum vsock_event end_by_guest(struct vsock *vsock, struct vsock_connection *connection, bool with_rst,
                                     enum vsock_event event) {
        bool is_owned = connection->is_owned;
        end(vsock, connection, with_rst);
        vsock_free_if_done(vsock, connection);
        return is_owned ? event : VSOCK_NOTHING;
}

/* ---- the owner ---- */

int vsock_dial(struct vsock *vsock, uint64_t cid, uint32_t guest_port, enum vsock_type type, void *owner,
               struct vsock_connection **ret) {
        struct vsock_connection *connection;
        struct key key = {.cid = cid, .guest_port = guest_port};
        uint64_t hash;
        if (type == VSOCK_SEQPACKET && !vsock->has_seqpacket)
                return -EPROTONOSUPPORT;
        /* No more ports than connections can be taken. */
        for (unsigned tries = 0; tries <= VSOCK_CONNECTIONS_MAX; tries++) {
                key.port = vsock->next_port;
                vsock->next_port = key.port == VSOCK_PORT_LAST ? VSOCK_PORT_FIRST : key.port + 1;
                if (find(vsock, &key, &hash))
                        continue;
                int r = add(vsock, &key, hash, type, VSOCK_DIALLING, &connection);
                if (r < 0)
                        return r;
                connection->owner = owner;
                vsock_owe(vsock, connection, VSOCK_REQUEST);
                *ret = connection;
                return 0;
        }
        return -ENOSPC;
}

void vsock_open(struct vsock *vsock, struct vsock_connection *connection) {
        connection->buffer = connection->promised;
        if (connection->state == VSOCK_CONNECTED)
                vsock_owe(vsock, connection, VSOCK_CREDIT_UPDATE);
}

void vsock_accept(struct vsock *vsock, struct vsock_connection *connection) {
        if (connection->state != VSOCK_ASKED)
                return;
        connection->state = VSOCK_CONNECTED;
        connection->buffer = connection->promised;
        vsock_owe(vsock, connection, VSOCK_RESPONSE);
}

void vsock_forward(struct vsock *vsock, struct vsock_connection *connection, uint32_t size) {
        connection->forwarded += size;
        /* A guest that waits for room is told of a quarter of it; any packet tells, too. */
        if (connection->state == VSOCK_CONNECTED &&
            connection->forwarded - connection->forwarded_told >= connection->buffer / 4)
                vsock_owe(vsock, connection, VSOCK_CREDIT_UPDATE);
}

void vsock_shut(struct vsock *vsock, struct vsock_connection *connection, uint32_t flags) {
        if (connection->state != VSOCK_CONNECTED)
                return;
        connection->shut |= flags & VSOCK_SHUT_BOTH;
        if (connection->shut & VSOCK_SHUT_SEND)
                connection->is_ready = connection->is_held = false;
        if (connection->shut != connection->shut_told)
                vsock_owe(vsock, connection, VSOCK_SHUTDOWN);
}

void vsock_close(struct vsock *vsock, struct vsock_connection *connection) {
        if (connection->state != VSOCK_CONNECTED) {
                vsock_reset(vsock, connection);
                return;
        }
        vsock_shut(vsock, connection, VSOCK_SHUT_BOTH);
        connection->state = VSOCK_CLOSING;
        connection->is_owned = false;
        connection->owner = NULL;
        vsock_wait_until(vsock, connection, vsock->now_ms + VSOCK_CLOSE_MS);
}

void vsock_reset(struct vsock *vsock, struct vsock_connection *connection) {
        if (connection->state != VSOCK_ENDED)
                end(vsock, connection,
                    connection->state != VSOCK_DIALLING || !(connection->owes & vsock_bit(VSOCK_REQUEST)));
        vsock_release(vsock, connection);
}

void vsock_release(struct vsock *vsock, struct vsock_connection *connection) {
        connection->is_owned = false;
        connection->owner = NULL;
        vsock_free_if_done(vsock, connection);
}

int vsock_disclaim(struct vsock *vsock, uint64_t cid, uint32_t port, uint32_t guest_port, enum vsock_type type) {
        struct vsock_connection *connection;
        struct key key = {.cid = cid, .port = port, .guest_port = guest_port};
        uint64_t hash;
        if (find(vsock, &key, &hash))
                return -EEXIST;
        if (vsock->count == VSOCK_CONNECTIONS_MAX)
                return -ENOSPC;
        int r = add_with(vsock, &key, hash, type, VSOCK_CONNECTED, VSOCK_BUFFER_MIN, &connection); /* nothing goes in it */
        if (!r)
                vsock_reset(vsock, connection);
        return r;
}

/* ---- time ---- */

void vsock_tick(struct vsock *vsock, int64_t now_ms) {
        vsock->now_ms = now_ms;
        if (!vsock->next_deadline_ms || now_ms < vsock->next_deadline_ms)
                return;
        vsock->next_deadline_ms = 0;
        list_for_each_safe(link, &vsock->waiting) {
                struct vsock_connection *connection = container_of(link, struct vsock_connection, wait_link);
                if (now_ms < connection->deadline_ms) {
                        vsock_wait_until(vsock, connection, connection->deadline_ms);
                } else if (connection->state == VSOCK_CLOSING) {
                        end(vsock, connection, true);
                } else {
                        vsock_ask_again(vsock, connection);
                }
        }
}

int64_t vsock_deadline(const struct vsock *vsock) {
        return vsock->next_deadline_ms;
}

/* ---- from the guest ---- */

static void take_credit(struct vsock *vsock, struct vsock_connection *connection, const struct vsock_packet *packet) {
        connection->guest_buffer = packet->buffer_size;
        connection->guest_forwarded = packet->forwarded;
        vsock_take_count(vsock, connection);
}

/* A RST for a packet that no connection is there for. Dropped when too many wait, and the same one waits but once. */
static void answer_stray(struct vsock *vsock, const struct vsock_packet *packet) {
        struct vsock_stray stray = {packet->target_cid, packet->target_port, packet->source_port, packet->type};
        if (packet->operation == VSOCK_RST)
                return;
        for (unsigned i = 0; i < vsock->stray_count; i++) {
                const struct vsock_stray *other = &vsock->strays[(vsock->stray_first + i) % VSOCK_STRAYS_MAX];
                if (other->cid == stray.cid && other->port == stray.port && other->guest_port == stray.guest_port &&
                    other->type == stray.type)
                        return;
        }
        if (vsock->stray_count < VSOCK_STRAYS_MAX)
                vsock->strays[(vsock->stray_first + vsock->stray_count++) % VSOCK_STRAYS_MAX] = stray;
}

static enum vsock_event take_request(struct vsock *vsock, const struct vsock_packet *packet, const struct key *key,
                                     uint64_t hash, struct vsock_connection **ret) {
        struct vsock_connection *connection;
        bool is_known = packet->type == VSOCK_STREAM || (packet->type == VSOCK_SEQPACKET && vsock->has_seqpacket);
        if (!is_known || add(vsock, key, hash, packet->type, VSOCK_ASKED, &connection) < 0) {
                answer_stray(vsock, packet);
                return VSOCK_NOTHING;
        }
        take_credit(vsock, connection, packet);
        *ret = connection;
        return VSOCK_ASKS;
}

static enum vsock_event take_data(struct vsock *vsock, struct vsock_connection *connection,
                                  const struct vsock_packet *packet) {
        uint32_t waiting = connection->received - connection->forwarded;
        bool is_message = connection->type == VSOCK_SEQPACKET;
        if (connection->guest_shut & VSOCK_SHUT_SEND || waiting > connection->buffer ||
            packet->length > connection->buffer - waiting ||
            (is_message && packet->length > VSOCK_MESSAGE_MAX - connection->message_size))
                return end_by_guest(vsock, connection, true, VSOCK_RESET);
        connection->received += packet->length;
        if (is_message)
                connection->message_size =
                        packet->flags & VSOCK_END_OF_MESSAGE ? 0 : connection->message_size + packet->length;
        if (!(connection->shut & VSOCK_SHUT_RECEIVE))
                return VSOCK_DATA;
        vsock_forward(vsock, connection, packet->length); /* nobody wants it, and it was on its way */
        return VSOCK_NOTHING;
}

static enum vsock_event take_shutdown(struct vsock *vsock, struct vsock_connection *connection,
                                      const struct vsock_packet *packet) {
        uint32_t shut = connection->guest_shut | (packet->flags & VSOCK_SHUT_BOTH);
        if (shut == connection->guest_shut)
                return VSOCK_NOTHING;
        connection->guest_shut = shut;
        if (shut & VSOCK_SHUT_RECEIVE)
                connection->is_ready = connection->is_held = false;
        return shut == VSOCK_SHUT_BOTH ? end_by_guest(vsock, connection, true, VSOCK_CLOSED) : VSOCK_SHUT;
}

static enum vsock_event take_connected(struct vsock *vsock, struct vsock_connection *connection,
                                       const struct vsock_packet *packet) {
        switch (packet->operation) {
        case VSOCK_RW:
                return take_data(vsock, connection, packet);
        case VSOCK_SHUTDOWN:
                return take_shutdown(vsock, connection, packet);
        case VSOCK_CREDIT_REQUEST:
                vsock_owe(vsock, connection, VSOCK_CREDIT_UPDATE);
                return VSOCK_NOTHING;
        case VSOCK_CREDIT_UPDATE:
                return VSOCK_NOTHING;
        default: /* REQUEST, of a guest that has forgotten this connection; RESPONSE; what does not exist */
                return end_by_guest(vsock, connection, true, VSOCK_RESET);
        }
}

/* The host has closed it: data still comes, until the guest has heard of that. */
static void take_closing(struct vsock *vsock, struct vsock_connection *connection, const struct vsock_packet *packet) {
        if (packet->operation == VSOCK_SHUTDOWN)
                connection->guest_shut |= packet->flags & VSOCK_SHUT_BOTH;
        if (packet->operation == VSOCK_REQUEST || connection->guest_shut == VSOCK_SHUT_BOTH)
                (void)end_by_guest(vsock, connection, true, VSOCK_CLOSED);
}

static enum vsock_event take_for(struct vsock *vsock, struct vsock_connection *connection,
                                 const struct vsock_packet *packet) {
        if (packet->operation == VSOCK_RST) /* which is how a guest answers that the host shut both directions */
                return end_by_guest(vsock, connection, false,
                                    connection->shut_told == VSOCK_SHUT_BOTH ? VSOCK_CLOSED : VSOCK_RESET);
        if (connection->state == VSOCK_ASKED && packet->operation == VSOCK_REQUEST)
                return VSOCK_NOTHING; /* it is being decided */
        if (connection->state == VSOCK_ASKED && packet->operation != VSOCK_CREDIT_UPDATE)
                return end_by_guest(vsock, connection, true, VSOCK_RESET);
        if (connection->state == VSOCK_DIALLING) {
                bool is_sent = !(connection->owes & vsock_bit(VSOCK_REQUEST));
                if (packet->operation != VSOCK_RESPONSE || !is_sent)
                        return end_by_guest(vsock, connection, is_sent, VSOCK_RESET);
                connection->state = VSOCK_CONNECTED;
                take_credit(vsock, connection, packet);
                return VSOCK_ANSWERED;
        }
        take_credit(vsock, connection, packet);
        if (connection->state == VSOCK_CONNECTED)
                return take_connected(vsock, connection, packet);
        take_closing(vsock, connection, packet);
        return VSOCK_NOTHING;
}

enum vsock_event vsock_receive(struct vsock *vsock, const struct vsock_packet *packet, size_t payload,
                               struct vsock_connection **ret) {
        struct key key = {.cid = packet->target_cid, .port = packet->target_port, .guest_port = packet->source_port};
        uint64_t hash;
        if (packet->source_cid != vsock->guest_cid || packet->length > payload || packet->length > VSOCK_PAYLOAD_MAX)
                return VSOCK_NOTHING;
        struct vsock_connection *connection = find(vsock, &key, &hash);
        if (connection && connection->type != packet->type) {
                answer_stray(vsock, packet);
                return VSOCK_NOTHING;
        }
        if (connection) {
                enum vsock_event event = take_for(vsock, connection, packet);
                if (event != VSOCK_NOTHING) /* or it may be gone */
                        *ret = connection;
                return event;
        }
        if (packet->operation == VSOCK_REQUEST)
                return take_request(vsock, packet, &key, hash, ret);
        answer_stray(vsock, packet);
        return VSOCK_NOTHING;
}
