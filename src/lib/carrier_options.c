/* SPDX-License-Identifier: MIT */

/* What is asked of the way that a socket's data goes: by options, by the environment, by hv_detach(). */

#include "lib/carrier.h"
#include "lib/holders.h"
#include "lib/state.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t default_carrier(void) {
        static _Atomic uint32_t known; /* and one */
        if (!known) {
                const char *asked = secure_getenv("HVSOCK_CARRIER");
                known = 1u + (!asked                      ? HV_CARRIER_AUTO
                              : strcmp(asked, "unix") == 0 ? HV_CARRIER_UNIX
                              : strcmp(asked, "shm") == 0  ? HV_CARRIER_SHM
                                                           : HV_CARRIER_AUTO);
        }
        return known - 1;
}

void carrier_own(int fd) {
        holders_own(fd);
        if (default_carrier() != HV_CARRIER_SHM)
                channel_begins(fd);
}

void carrier_disown(int fd) {
        holders_disown(fd);
}

static uint32_t asked_carrier(const struct socket_state *state) {
        return state->flags & STATE_CARRIER_ASKED ? state->carrier : default_carrier();
}

void carrier_begin(struct channel *channel, int fd) {
        struct socket_state state;
        state_read(fd, &state);
        channel->carrier = holders_flag(fd, IS_PINNED) ? HV_CARRIER_UNIX : asked_carrier(&state);
        channel->was_told = state.flags & STATE_READINESS_LIBRARY;
        channel->asks_library = channel->was_told;
}

void carrier_pin(struct channel *channel, int fd) {
        holders_set_flag(fd, IS_PINNED, 1);
        if (channel)
                channel->carrier = HV_CARRIER_UNIX;
}

int carrier_set_option(int fd, int option, uint32_t value) {
        struct socket_state *state;
        if (value > (option == HVSOCKET_CARRIER ? HV_CARRIER_SHM : HV_READINESS_LIBRARY))
                return -EINVAL;
        int r = option == HVSOCKET_CARRIER_STATE ? -ENOPROTOOPT : state_begin(fd, &state);
        if (r < 0)
                return r;
        if (option == HVSOCKET_CARRIER) {
                state->flags |= STATE_CARRIER_ASKED;
                state->carrier = value;
        } else {
                state->flags = value ? state->flags | STATE_READINESS_LIBRARY : state->flags & ~STATE_READINESS_LIBRARY;
        }
        state_end();
        struct channel *channel = channel_find(fd);
        if (channel && option == HVSOCKET_CARRIER && !holders_flag(fd, IS_PINNED))
                channel->carrier = value;
        if (channel && option == HVSOCKET_READINESS) {
                channel->was_told = value;
                channel->asks_library = value;
        }
        return 0;
}

int carrier_get_option(int fd, int option, int *ret) {
        struct socket_state state;
        state_read(fd, &state);
        switch (option) {
        case HVSOCKET_CARRIER:
                *ret = holders_flag(fd, IS_PINNED) ? HV_CARRIER_UNIX : (int)asked_carrier(&state);
                break;
        case HVSOCKET_READINESS:
                *ret = (state.flags & STATE_READINESS_LIBRARY) != 0;
                break;
        default:
                *ret = (holders_flag(fd, SENDS_THROUGH_RING) ? HV_SENDS_SHM : 0) |
                       (holders_flag(fd, RECEIVES_THROUGH_RING) ? HV_RECEIVES_SHM : 0);
        }
        return 0;
}
