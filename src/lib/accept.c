/* SPDX-License-Identifier: MIT */

/*
 * Accepting: the kernel's accept, whose peer name is the peer's address.
 *
 * A connection whose name says "ended" is no channel: the broker ends this
 * listener with it, because its service was disabled.
 */

#include "lib/fail.h"
#include "lib/name.h"
#include "lib/revocation.h"
#include "lib/state.h"
#include <hvsock.h>

#include <unistd.h>

static void end_listener(int fd) {
        state_mark_reset(fd);
        (void)shutdown(fd, SHUT_RDWR);
}

int hv_accept4(int fd, struct sockaddr *ret_address, socklen_t *length, int flags) {
        if (ret_address && !length)
                return fail(-EFAULT);
        for (;;) {
                struct sockaddr_un peer;
                socklen_t peer_length = sizeof peer;
                struct connector_name name;
                revocation_look();
                int accepted = accept4(fd, (struct sockaddr *)&peer, &peer_length, flags);
                if (accepted < 0)
                        return -1;
                if (connector_name_decode(&peer, peer_length, &name)) {
                        close(accepted);
                        continue;
                }
                if (name.flags & CONNECTOR_ENDED) {
                        close(accepted);
                        end_listener(fd);
                        return fail(-EINVAL);
                }
                int one = 1;
                (void)setsockopt(accepted, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
                if (ret_address)
                        address_give(&name.dial_back_vm_id, &name.ephemeral_id, ret_address, length);
                return accepted;
        }
}

int hv_accept(int fd, struct sockaddr *ret_address, socklen_t *length) {
        return hv_accept4(fd, ret_address, length, 0);
}
