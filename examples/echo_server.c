/* SPDX-License-Identifier: MIT */

/*
 * echo_server [SERVICE]: gives back what each client sends.
 *
 * SERVICE is a friendly name or a ServiceId; "HV Socket Demo" if it is left out.
 * Accepts from every partition that can reach this one: parent, children, itself.
 */

#include <errno.h>
#include <hvsock.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CLIENTS_MAX 1000 /* whoever comes then waits in the listener's queue */

/* What a client sent and has not been given back yet. */
struct echo {
        char bytes[4096];
        size_t length;
};

static int fail(const char *what) {
        int error = errno;
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        bool explained = hv_last_refusal(&refusal) == 0;
        fprintf(stderr, "%s: %s\n", what, strerror(error));
        if (explained)
                fprintf(stderr, "%s\n", refusal.text);
        if (!strcmp(refusal.rule_name, "not-registered"))
                fprintf(stderr, "  try: on the host: hvsock service add --id '<GUID>' '<NAME>'\n");
        else if (!explained && error == ENOENT)
                fprintf(stderr, "no service has this name\n  try: on the host: hvsock service add '%s'\n", what);
        else if (!explained && error == ENETDOWN)
                fprintf(stderr, "no hvsockd was found\n  try: hvsock doctor\n");
        return 1;
}

/* Takes from a client, or gives back, what can be moved without waiting. False: that was the last of it. */
static bool serve(struct pollfd *client, struct echo *echo) {
        int channel = (int)client->fd;
        ssize_t moved = echo->length ? hv_send(channel, echo->bytes, echo->length, 0)
                                     : hv_recv(channel, echo->bytes, sizeof echo->bytes, 0);
        if (moved <= 0)
                return moved < 0 && errno == EAGAIN;
        if (echo->length)
                memmove(echo->bytes, echo->bytes + moved, echo->length -= (size_t)moved);
        else
                echo->length = (size_t)moved;
        client->events = echo->length ? POLLOUT : POLLIN;
        return true;
}

int main(int argc, char **argv) {
        static struct pollfd polled[1 + CLIENTS_MAX]; /* the listener, then the clients */
        static struct echo echoes[1 + CLIENTS_MAX];
        const char *service = argc > 1 ? argv[1] : "HV Socket Demo";
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_WILDCARD};

        if (hv_service_by_name(service, &address.ServiceId) < 0)
                return fail(service);

        int listener = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
        if (listener < 0)
                return fail("socket");
        if (hv_bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
                return fail("bind");
        if (hv_listen(listener, SOMAXCONN) < 0)
                return fail("listen");
        printf("echo_server: listening as \"%s\"\n", service);
        fflush(stdout);

        polled[0].fd = listener;
        for (unsigned clients = 0, on = 1;;) {
                polled[0].events = clients < CLIENTS_MAX ? POLLIN : 0;
                if (hv_poll(polled, 1 + clients, -1) < 0)
                        return fail("poll");
                for (unsigned i = clients; i > 0; i--) /* downwards: the last one takes the place of who is gone */
                        if (polled[i].revents && !serve(&polled[i], &echoes[i])) {
                                hv_close((int)polled[i].fd);
                                polled[i] = polled[clients];
                                echoes[i] = echoes[clients--];
                        }
                if (!polled[0].revents)
                        continue;
                int channel = hv_accept(listener, NULL, NULL);
                if (channel < 0 || hv_ioctl(channel, FIONBIO, &on) < 0)
                        return fail("accept"); /* EINVAL: the service was disabled */
                polled[++clients] = (struct pollfd){.fd = channel, .events = POLLIN};
                echoes[clients].length = 0;
        }
}
