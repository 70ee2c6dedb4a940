/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The ways to a service that are compared, behind one face: hvsock, plain
 * AF_UNIX, TCP on loopback, a pair of pipes, and a VM's guest's own sockets,
 * whose other end is hvsock's.
 *
 * Each operation is the transport's own system call or hv_*() call and nothing
 * else, so that what is timed is the transport. A failure ends the process with
 * a message: a benchmark that goes on after one measures something else.
 */

#include <hvsocket.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* Where a server listens: filled by whoever starts it. Listeners are numbered from 0. */
struct endpoint {
        char directory[PATH_MAX]; /* AF_UNIX: its sockets'; empty: they are abstract, and `salt` is in their names */
        GUID vm_id;               /* hvsock: what the client dials */
        char vhost_user[PATH_MAX]; /* a guest: the socket that it is attached to; then hvsock's services are ports */
        bool is_loopback;         /* hvsock: both in one partition, where no service has to be registered */
        uint32_t salt;            /* goes into names, so that others' are not met */
        uint16_t port;            /* TCP: set by the server, one listener only */
        unsigned first_listener;  /* what the numbers of listeners are counted from, where several servers share a world */
};

struct transport {
        const char *name;
        int (*listen)(struct endpoint *endpoint, unsigned listener);
        int (*dial)(const struct endpoint *endpoint, unsigned listener);
        int (*accept)(int fd);
        void (*send)(int fd, const void *buffer, size_t size);
        size_t (*receive)(int fd, void *buffer, size_t size); /* 0 at the end of the stream */
        void (*close)(int fd);
};

extern const struct transport transport_hvsock, transport_unix, transport_tcp, transport_pipe, transport_guest;
/* hvsock on one carrier: its sockets; shared memory; that, with readiness asked of the library. */
extern const struct transport transport_hvsock_unix, transport_hvsock_shm, transport_hvsock_library;
/* A program's own socket(AF_VSOCK), with libhvsock-preload in front of it. */
extern const struct transport transport_preloaded;

#define LISTEN_BACKLOG 128

/* The ServiceId of a listener, and where guests dial and are dialled; world.c registers both. */
GUID bench_service(unsigned listener);
#define BENCH_FIRST_PORT 5000u
#define BENCH_VM_CID 3u /* the VM's that processes play */
GUID bench_port_service(unsigned listener);

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
