/* SPDX-License-Identifier: MIT */

/*
 * The sockets of a guest's program, as a transport: a process that listens or dials
 * here is a guest, with its driver, from then on.
 */

#include "guest.h"
#include "transport.h"

static struct guest *guest;

static struct guest *boot(const struct endpoint *endpoint) {
        if (!guest)
                guest = guest_start(endpoint->vhost_user);
        return guest;
}

/* There is but one listener, at whatever port it is dialled. */
static int guest_transport_listen(struct endpoint *endpoint, unsigned listener) {
        boot(endpoint);
        return 0;
}

static int guest_transport_dial(const struct endpoint *endpoint, unsigned listener) {
        return (int)guest_dial(boot(endpoint), BENCH_FIRST_PORT + endpoint->first_listener + listener);
}

static int guest_transport_accept(int fd) {
        return (int)guest_accept(guest);
}

static void guest_transport_send(int fd, const void *buffer, size_t size) {
        guest_send(guest, (unsigned)fd, buffer, size);
}

static size_t guest_transport_receive(int fd, void *buffer, size_t size) {
        return guest_receive(guest, (unsigned)fd, buffer, size);
}

static void guest_transport_close(int fd) {
        guest_close(guest, (unsigned)fd);
}

const struct transport transport_guest = {
        "guest",
        guest_transport_listen,
        guest_transport_dial,
        guest_transport_accept,
        guest_transport_send,
        guest_transport_receive,
        guest_transport_close,
};
