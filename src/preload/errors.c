/* SPDX-License-Identifier: MIT */

/*
 * The table of errno values. The kernel's AF_VSOCK knows neither services nor
 * permissions: whoever is not let in finds nobody there, as over the virtio
 * transport, where a refusal of any kind is a reset; and a CID without a machine
 * behind it is no device. What is not in the table stays as it is.
 */

#include "preload/errors.h"

#include "broker/verdict.h"
#include <errno.h>
#include <stddef.h>

#define ANY_RULE (-1)
#define NO_RULE 0 /* the library's own finding */

static const struct {
        enum vsock_call call;
        int error, rule, vsock_error;
} table[] = {
        {VSOCK_CONNECT, ECONNREFUSED, ANY_RULE, ECONNRESET},      /* nobody listens, or not for this partition */
        {VSOCK_CONNECT, EPROTOTYPE, ANY_RULE, ECONNRESET},        /* a listener of the other type */
        {VSOCK_CONNECT, EACCES, NO_RULE, ENODEV},                 /* the broker's socket is not for this process */
        {VSOCK_CONNECT, EACCES, ANY_RULE, ECONNRESET},            /* not registered, or not permitted */
        {VSOCK_CONNECT, EINVAL, RULE_DISABLED, ECONNRESET},
        {VSOCK_CONNECT, EADDRNOTAVAIL, ANY_RULE, ENODEV},         /* no partition, or none that can be addressed */
        {VSOCK_CONNECT, EHOSTUNREACH, ANY_RULE, ENODEV},          /* the VM does not run */
        {VSOCK_CONNECT, ENETDOWN, ANY_RULE, ENODEV},              /* no broker: a kernel without a transport */
        {VSOCK_CONNECT, EPROTO, NO_RULE, ENODEV},                 /* what answered is no broker */
        {VSOCK_CONNECT, EPROTONOSUPPORT, NO_RULE, ENODEV},
        {VSOCK_BIND, ENETDOWN, ANY_RULE, EADDRNOTAVAIL},          /* the same: there is no CID to bind to */
        {VSOCK_BIND, EPROTO, NO_RULE, EADDRNOTAVAIL},
        {VSOCK_BIND, EPROTONOSUPPORT, NO_RULE, EADDRNOTAVAIL},
        {VSOCK_LISTEN, ENETDOWN, ANY_RULE, EADDRNOTAVAIL},        /* where bind left the broker to listen */
        {VSOCK_LISTEN, EPROTO, NO_RULE, EADDRNOTAVAIL},
        {VSOCK_LISTEN, EPROTONOSUPPORT, NO_RULE, EADDRNOTAVAIL},
};

int vsock_error(enum vsock_call call, int error, int rule) {
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
                if (table[i].call == call && table[i].error == error && (table[i].rule == ANY_RULE || table[i].rule == rule))
                        return table[i].vsock_error;
        return error;
}
