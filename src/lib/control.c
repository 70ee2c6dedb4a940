/* SPDX-License-Identifier: MIT */

/* Idle connections, and the loop that survives a broker's restart. */

#include "lib/control.h"

#include "lib/address.h"
#include "lib/connection.h"
#include <errno.h>
#include <hvsock.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

static struct connection *_Atomic idle[CONTROL_IDLE_MAX];
static atomic_bool met; /* this process has talked to a broker: if there is none now, it is restarting */

static struct connection *take_idle(void) {
        for (unsigned i = 0; i < CONTROL_IDLE_MAX; i++) {
                if (!atomic_load_explicit(&idle[i], memory_order_relaxed))
                        continue;
                struct connection *connection = atomic_exchange(&idle[i], NULL);
                if (connection && connection_is_ours(connection))
                        return connection;
                connection_close(connection);
        }
        return NULL;
}

static void give_back(struct connection *connection) {
        for (unsigned i = 0; i < CONTROL_IDLE_MAX; i++) {
                struct connection *none = NULL;
                if (atomic_compare_exchange_strong(&idle[i], &none, connection))
                        return;
        }
        connection_close(connection);
}

/* One try. *ret_was_idle: on a connection that may have died long ago. */
static int try_once(struct wire_request *request, int lent_fd, uint32_t wait_ms, struct wire_reply *ret_reply,
                    bool *ret_was_idle) {
        struct connection *connection = take_idle();
        *ret_was_idle = connection != NULL;
        if (!connection) {
                int64_t deadline_ms = monotonic_ms() + wait_ms;
                int r = connection_open(wait_ms, &connection, ret_reply);
                if (r < 0)
                        return r;
                atomic_store(&met, true);
                int64_t left_ms = deadline_ms - monotonic_ms();
                wait_ms = left_ms > 0 ? (uint32_t)left_ms : 1;
        }
        if (request->header.type == WIRE_CONNECT && connection->minor < WIRE_MINOR_OF_PARKING)
                request->flags &= WIRE_CONNECT_PASSTHRU;
        int r = connection_ask(connection, request, lent_fd, wait_ms, ret_reply);
        if (r < 0)
                connection_close(connection);
        else
                give_back(connection);
        return r;
}

static bool broker_is_away(int r) {
        return r == -ECONNRESET || r == -ECONNREFUSED || (r == -ENETDOWN && atomic_load(&met));
}

static void pause_ms(int64_t milliseconds) {
        struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
        nanosleep(&pause, NULL);
}

int control_ask(struct wire_request *request, int lent_fd, uint32_t timeout_ms, struct wire_reply *ret_reply) {
        if (!timeout_ms)
                timeout_ms = HV_CONNECT_TIMEOUT_DEFAULT_MS;
        int64_t deadline_ms = monotonic_ms() + timeout_ms, left_ms = timeout_ms;
        uint32_t retry_ms = CONTROL_RETRY_MIN_MS;
        for (;;) {
                bool was_idle;
                *ret_reply = (struct wire_reply){};
                int r = try_once(request, lent_fd, (uint32_t)left_ms, ret_reply, &was_idle);
                if (ret_reply->error)
                        return -(int)ret_reply->error;
                if (!broker_is_away(r))
                        return r;
                if (request->header.type == WIRE_CONNECT && socket_is_connected(lent_fd))
                        return 0;
                left_ms = deadline_ms - monotonic_ms();
                if (!was_idle && left_ms > 0) {
                        pause_ms(retry_ms < left_ms ? retry_ms : left_ms);
                        retry_ms = retry_ms * 2 < CONTROL_RETRY_MAX_MS ? retry_ms * 2 : CONTROL_RETRY_MAX_MS;
                        left_ms = deadline_ms - monotonic_ms();
                }
                if (left_ms <= 0)
                        return -ETIMEDOUT;
        }
}

void control_tell(struct wire_request *request, int lent_fd) {
        struct connection *connection = take_idle();
        struct wire_reply refusal;
        if (!connection && lent_fd >= 0 && connection_open(CONTROL_TELL_WAIT_MS, &connection, &refusal) < 0)
                return;
        if (!connection)
                return;
        bool is_understood = request->header.type != WIRE_RING || connection->minor >= WIRE_MINOR_OF_RING;
        if (is_understood && connection_tell(connection, request, lent_fd) < 0)
                connection_close(connection);
        else
                give_back(connection);
}
