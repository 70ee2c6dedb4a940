/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hvsock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

void die(const char *format, ...) {
        va_list values;

        fprintf(stderr, "%s: ", program_invocation_short_name);
        va_start(values, format);
        vfprintf(stderr, format, values);
        va_end(values);
        fputc('\n', stderr);
        exit(1);
}

/* Plain sockets: AF_UNIX and TCP differ in their addresses alone. */

static int plain_listen(int fd, const void *address, socklen_t length) {
        if (fd < 0 || bind(fd, address, length) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
                die("cannot listen: %s", strerror(errno));
        return fd;
}

static int plain_dial(int fd, const void *address, socklen_t length) {
        if (fd < 0 || connect(fd, address, length) < 0)
                die("cannot connect: %s", strerror(errno));
        return fd;
}

static int plain_accept(int fd) {
        int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (accepted < 0)
                die("cannot accept: %s", strerror(errno));
        return accepted;
}

static void plain_send(int fd, const void *buffer, size_t size) {
        const char *bytes = buffer;

        while (size > 0) {
                ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
                if (sent < 0)
                        die("cannot send: %s", strerror(errno));
                bytes += sent;
                size -= (size_t)sent;
        }
}

static size_t plain_receive(int fd, void *buffer, size_t size) {
        ssize_t received = recv(fd, buffer, size, 0);

        if (received < 0)
                die("cannot receive: %s", strerror(errno));
        return (size_t)received;
}

static void plain_close(int fd) {
        close(fd);
}

static struct sockaddr_un unix_address(const struct endpoint *endpoint, unsigned listener) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        if (!*endpoint->directory) {
                snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "hvsock-bench-%x-%u", endpoint->salt,
                         endpoint->first_listener + listener);
                return address;
        }
        int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%u", endpoint->directory, endpoint->first_listener + listener);
        if (length < 0 || (size_t)length >= sizeof address.sun_path)
                die("%s is too long a path for a socket", endpoint->directory);
        return address;
}

static int unix_listen(struct endpoint *endpoint, unsigned listener) {
        struct sockaddr_un address = unix_address(endpoint, listener);

        return plain_listen(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), &address, sizeof address);
}

static int unix_dial(const struct endpoint *endpoint, unsigned listener) {
        struct sockaddr_un address = unix_address(endpoint, listener);

        return plain_dial(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), &address, sizeof address);
}

const struct transport transport_unix = {
        "AF_UNIX", unix_listen, unix_dial, plain_accept, plain_send, plain_receive, plain_close,
};

static int tcp_socket(void) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
                die("cannot make a TCP socket: %s", strerror(errno));
        return fd;
}

static int tcp_listen(struct endpoint *endpoint, unsigned listener) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;

        int fd = plain_listen(tcp_socket(), &address, sizeof address);
        if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                die("cannot ask for the port: %s", strerror(errno));
        endpoint->port = ntohs(address.sin_port);
        return fd;
}

static int tcp_dial(const struct endpoint *endpoint, unsigned listener) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(endpoint->port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };

        return plain_dial(tcp_socket(), &address, sizeof address);
}

const struct transport transport_tcp = {
        "TCP", tcp_listen, tcp_dial, plain_accept, plain_send, plain_receive, plain_close,
};

GUID bench_service(unsigned listener) {
        GUID service = {0x6265636e, 0x6873, 0x4b6f, {0x8f, 0x1d, 0, 0, 0, 0, 0, 0}};

        service.Data4[6] = (uint8_t)(listener >> 8);
        service.Data4[7] = (uint8_t)listener;
        return service;
}

GUID bench_port_service(unsigned listener) {
        GUID service = HV_GUID_VSOCK_TEMPLATE;

        service.Data1 = BENCH_FIRST_PORT + listener;
        return service;
}

static GUID service_of(const struct endpoint *endpoint, unsigned listener) {
        if (*endpoint->vhost_user)
                return bench_port_service(endpoint->first_listener + listener);
        GUID service = bench_service(endpoint->first_listener + listener);

        service.Data1 ^= endpoint->salt;
        return service;
}

static int hvsock_listen(struct endpoint *endpoint, unsigned listener) {
        SOCKADDR_HV address = {AF_HYPERV, 0,
                               endpoint->is_loopback    ? HV_GUID_LOOPBACK
                               : *endpoint->vhost_user ? HV_GUID_CHILDREN
                                                       : HV_GUID_PARENT,
                               service_of(endpoint, listener)};
        int fd = hv_socket(AF_HYPERV, SOCK_STREAM | SOCK_CLOEXEC, HV_PROTOCOL_RAW);

        if (fd < 0 || hv_bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || hv_listen(fd, LISTEN_BACKLOG) < 0)
                die("cannot listen: %s", strerror(errno));
        return fd;
}

static int hvsock_dial(const struct endpoint *endpoint, unsigned listener) {
        SOCKADDR_HV address = {AF_HYPERV, 0, endpoint->vm_id, service_of(endpoint, listener)};
        int fd = hv_socket(AF_HYPERV, SOCK_STREAM | SOCK_CLOEXEC, HV_PROTOCOL_RAW);

        if (fd < 0 || hv_connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
                die("cannot connect: %s", strerror(errno));
        return fd;
}

static int hvsock_accept(int fd) {
        int accepted = hv_accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (accepted < 0)
                die("cannot accept: %s", strerror(errno));
        return accepted;
}

static void hvsock_send(int fd, const void *buffer, size_t size) {
        const char *bytes = buffer;

        while (size > 0) {
                ssize_t sent = hv_send(fd, bytes, size, 0);
                if (sent < 0)
                        die("cannot send: %s", strerror(errno));
                bytes += sent;
                size -= (size_t)sent;
        }
}

static size_t hvsock_receive(int fd, void *buffer, size_t size) {
        ssize_t received = hv_recv(fd, buffer, size, 0);

        if (received < 0)
                die("cannot receive: %s", strerror(errno));
        return (size_t)received;
}

static void hvsock_close(int fd) {
        hv_close(fd);
}

const struct transport transport_hvsock = {
        "hvsock", hvsock_listen, hvsock_dial, hvsock_accept, hvsock_send, hvsock_receive, hvsock_close,
};

static int on_carrier(int fd, uint32_t carrier, uint32_t readiness) {
        if (hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CARRIER, &carrier, sizeof carrier) < 0 ||
            hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_READINESS, &readiness, sizeof readiness) < 0)
                die("cannot choose a carrier: %s", strerror(errno));
        return fd;
}

#define TRANSPORT_ON_CARRIER(name, text, carrier, readiness)                                         \
        static int hvsock_##name##_dial(const struct endpoint *endpoint, unsigned listener) {                 \
                return on_carrier(hvsock_dial(endpoint, listener), carrier, readiness);               \
        }                                                                                             \
        static int hvsock_##name##_accept(int fd) {                                                           \
                return on_carrier(hvsock_accept(fd), carrier, readiness);                             \
        }                                                                                             \
        const struct transport transport_hvsock_##name = {                                           \
                text, hvsock_listen, hvsock_##name##_dial, hvsock_##name##_accept, hvsock_send, hvsock_receive, hvsock_close, \
        }

TRANSPORT_ON_CARRIER(unix, "hvsock-unix", HV_CARRIER_UNIX, HV_READINESS_KERNEL);
TRANSPORT_ON_CARRIER(shm, "hvsock-shm", HV_CARRIER_SHM, HV_READINESS_KERNEL);
TRANSPORT_ON_CARRIER(library, "hvsock-shm, library", HV_CARRIER_SHM, HV_READINESS_LIBRARY);
