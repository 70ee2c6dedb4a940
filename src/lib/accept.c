/* SPDX-License-Identifier: MIT */

/*
 * hv_accept(). The kernel's accept gives the connector's name, in which the
 * broker wrote the peer's address. Who else could connect is nobody: the socket's
 * file lies in a directory that is the broker's alone.
 */

#include "base/fd.h"
#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/hint.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/state.h"
#include "lib/suspend.h"
#include <hvsock.h>

static bool is_listener(int fd) {
        struct endpoint endpoint;
        return endpoint_read(fd, &endpoint) == 0 && endpoint.role == ROLE_BOUND;
}

static int accept_channel(int fd, int flags, struct connector_name *ret_peer) {
        for (;;) {
                struct sockaddr_un address;
                socklen_t length = sizeof address;
                cleanup(fd_closep) int accepted = accept4(fd, (struct sockaddr *)&address, &length, flags);
                channel_forget(accepted);
                if (accepted < 0)
                        return errno == EOPNOTSUPP ? -EINVAL : -errno;
                if (connector_name_decode(&address, length, ret_peer) < 0) {
                        if (!is_listener(fd))
                                return -EINVAL;
                        continue;
                }
                if (ret_peer->flags & CONNECTOR_ENDED) {
                        (void)state_set(fd, STATE_RESET);
                        (void)shutdown(fd, SHUT_RDWR); /* for those who wait beside this thread, and after it */
                        return -EINVAL;
                }
                int on = 1;
                (void)setsockopt(accepted, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on); /* so that the peer's abort is seen */
                carrier_own(accepted);
                hint_set(accepted, HINT_NO_CONNECTOR, NULL);
                return fd_take(accepted);
        }
}

int hv_accept4(int fd, struct sockaddr *ret_address, socklen_t *length, int flags) {
        struct connector_name peer;
        if (ret_address && (!length || *length > INT32_MAX))
                return posix_result(-EINVAL);
        revocation_check();
        int accepted = accept_channel(fd, flags, &peer);
        if (accepted >= 0) {
                suspend_accepted(fd, accepted);
                (void)address_give(&peer.dial_back_vm_id, &peer.ephemeral_id, ret_address, length);
        }
        return posix_result(accepted);
}

int hv_accept(int fd, struct sockaddr *ret_address, socklen_t *length) {
        return hv_accept4(fd, ret_address, length, 0);
}
