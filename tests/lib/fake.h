/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A broker in a thread of the test: honest about one listener, until it is told
 * to misbehave. It speaks the wire and nothing else of hvsockd.
 *
 * The process's working directory becomes its directory, which $HVSOCK_SOCKET
 * names. Descriptors of the library's own connections are no leaks.
 */

#include <hvsock.h>
#include <stdatomic.h>

enum misdeed {
        HONEST,
        SILENT,           /* reads requests but hellos, and never answers */
        SILENT_AT_HELLO,
        WRONG_SERIAL,
        WRONG_TYPE,
        CUT_SHORT,
        GARBAGE,
        WRONG_MAJOR,
        NO_ERRNO,         /* refuses with a number that is none */
        EXTRA_DESCRIPTOR, /* answers rightly, with a descriptor that nobody asked for */
        TWO_DESCRIPTORS,
        HANGS_UP,         /* closes the connection when asked */
        CONNECTS_AND_HANGS_UP,
        REFUSES,          /* EACCES, RULE_CONNECT_DENIED, "because" */
        REFUSES_HELLO,    /* ENOBUFS, RULE_QUOTA, "too many" */
};

extern _Atomic enum misdeed fake_misdeed;
extern atomic_uint fake_misdeeds_left;  /* then it is honest again; UINT_MAX: always */
extern atomic_bool fake_revoked;        /* what WIRE_CHECK is told */
extern void (*_Atomic fake_at_check)(void); /* called before WIRE_CHECK is answered; may be NULL */
extern atomic_uint fake_connections;    /* accepted so far */
extern atomic_uint fake_requests[];     /* by type */
extern atomic_uint fake_closed_told;    /* ephemeral ids in requests */
extern _Atomic uint32_t fake_last_flags;
extern _Atomic uint16_t fake_minor;     /* of the wire: what it says that it speaks */
extern atomic_uint fake_lent_blocking;  /* sockets that came to be connected and would have let it wait */

void fake_start(void);
void fake_misbehave(enum misdeed misdeed, unsigned times);
/* Changes the counter of the revocation page. */
void fake_revoke(void);
/* The broker dies: all its connections end, its socket's file stays. fake_start() brings it back. */
void fake_die(void);
void fake_end(void); /* of the test: removes the directory */

extern const SOCKADDR_HV FAKE_ADDRESS; /* {LOOPBACK, a service} */
extern const GUID FAKE_PARTITION;

int fake_socket(int type);
int fake_listener(int type); /* bound to FAKE_ADDRESS, listening */
int fake_connect(int fd);
struct fake_pair {
        int listener, connector, acceptor;
};
struct fake_pair fake_pair(int type);
void fake_pair_close(struct fake_pair *pair); /* what is not -1 */
int fake_abort(int fd); /* SO_LINGER { 1, 0 } and hv_close() */
/* Dials, is accepted, says something, and closes both ends. */
void check_works(int listener, int fd);
/* One receive gives exactly this text. */
void check_receives(int fd, const char *expected);
