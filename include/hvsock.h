/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_H
#define HVSOCK_H

/*
 * libhvsock: Hyper-V sockets on Linux.
 *
 * What holds for every call:
 *
 * - It takes the arguments of its POSIX namesake (without hv_) and returns -1
 *   with errno set on failure. Where the documentation below is silent, the
 *   namesake's holds, its errors for wrong descriptors included: EBADF, and
 *   ENOTSOCK for what is no socket. Pointers must be valid unless it says that
 *   NULL is allowed. Results are untouched on failure.
 * - It may be called from any thread, on the same socket too, and after fork in
 *   the child. A child has its parent's sockets and talks to the broker by itself.
 * - No call is async-signal-safe, those whose namesakes are (hv_send, hv_close)
 *   included: they allocate memory and take locks.
 * - It never raises SIGPIPE, never logs, never exits, and installs no handlers.
 * - A descriptor is one open file from hv_socket() to hv_close(): poll, epoll,
 *   select and event loops work on it at any time, before connect too. It may be
 *   duplicated, and inherited over fork; dup(2), fcntl(2) and the kernel's poll and
 *   epoll are fine on it, bind(2), connect(2), ioctl(2) and setsockopt(2) are not.
 * - When it pays, and the peer uses this library too, a direction of a channel moves
 *   into memory that both ends map; the descriptor behaves as before. So a direction
 *   is used either through the calls below or natively, with read(2) and write(2),
 *   and never both ways; and before a channel that the calls below moved data
 *   through goes over exec or to another process by SCM_RIGHTS, it is detached: see
 *   hv_detach(). Native bytes among the library's reset a channel; who got the
 *   descriptor without the memory gets ECONNRESET.
 * - The library keeps up to 16 descriptors of its own, close-on-exec and never 0
 *   to 2. It notices when a program closes them, and opens others.
 *
 * The broker is found by $HVSOCK_SOCKET (a partition's socket, or the directory
 * that holds it as `control`); where that is not set, by the first of
 * $XDG_RUNTIME_DIR/hvsock/control and /run/hvsock/control that exists. A setuid
 * program looks at neither variable. Unless $HVSOCK_SOCKET names it, the broker
 * must run as root or as the caller's effective user. Which partition a process
 * is in depends on whose socket it holds, and on nothing it could say.
 *
 * Errors of every call that asks the broker (it says so below), beside its own:
 *
 *   ENETDOWN   there never was a broker, or not one to be trusted   [Windows 10050]
 *   ETIMEDOUT  there is one, and it did not answer in time; one that is being
 *              restarted is waited for                              [Windows 10060]
 *   EACCES     its socket may not be reached (hv_last_refusal() then knows of nothing)
 *   ENOBUFS    a quota of connections, or of descriptors in flight  [Windows 10055]
 *   EPROTO, EPROTONOSUPPORT  what answered is no broker, or of another major version
 *   ENOMEM, EMFILE, ENFILE   as everywhere
 *
 * Signals do not interrupt the wait for the broker, whatever SA_RESTART says: it
 * is bounded by its time-out.
 *
 * [Windows], [POSIX], [AF_UNIX] and [hvsock] say where a behaviour comes from:
 * from Windows' Hyper-V sockets, from POSIX and Linux, from the kind of socket
 * that is underneath, or from here.
 */

#include <hvsocket.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* The level of the HVSOCKET_* options. ("HV"; Windows' level 1 is SOL_SOCKET here.) */
#define SOL_HVSOCKET 0x4856

/* How long a connect, bind or listen waits for an answer unless told otherwise. [Windows] */
#define HV_CONNECT_TIMEOUT_DEFAULT_MS 2000

/* A connect of a non-blocking socket waits no longer, whatever it is told. [hvsock] */
#define HV_CONNECT_NONBLOCKING_MS 200

/* Options of hvsock's own, at the level SOL_HVSOCKET: see hv_setsockopt(). [hvsock] */
#define HVSOCKET_CARRIER 0x101
#define HVSOCKET_CARRIER_STATE 0x102
#define HVSOCKET_READINESS 0x103

enum hv_carrier {
        HV_CARRIER_AUTO = 0, /* shared memory, when it pays and the peer uses this library, too */
        HV_CARRIER_UNIX = 1, /* the kernel's socket, always */
        HV_CARRIER_SHM = 2,  /* shared memory as soon as the peer shows that it uses this library */
};

#define HV_SENDS_SHM 0x1
#define HV_RECEIVES_SHM 0x2

enum hv_readiness {
        HV_READINESS_KERNEL = 0,  /* poll, select and epoll of the kernel are exact */
        HV_READINESS_LIBRARY = 1, /* only hv_poll, hv_epoll_* and receives are: the peer tells the kernel less, and is quicker */
};

#define HV_SEQPACKET_MAX 65536 /* bytes in a message unless SO_SNDBUF is larger */

/*
 * Makes a socket, which the caller closes with hv_close(). Asks nobody: that
 * there is no broker is found out by bind and connect.
 *
 * `domain` is AF_HYPERV, `type` SOCK_STREAM or SOCK_SEQPACKET with SOCK_NONBLOCK
 * and SOCK_CLOEXEC or-ed in, `protocol` HV_PROTOCOL_RAW.
 *
 *   EAFNOSUPPORT     another domain                                 [Windows 10047]
 *   ESOCKTNOSUPPORT  another type; SOCK_DGRAM and SOCK_RAW too      [Windows 10044]
 *   EPROTOTYPE       another protocol; 0 is not taken for it        [Windows 10041]
 *   EMFILE, ENFILE, ENOMEM
 */
int hv_socket(int domain, int type, int protocol);

/*
 * Binds a socket to a SOCKADDR_HV: `VmId` says from whom connections are taken,
 * `ServiceId` which service this is. Asks the broker (HVSOCKET_CONNECT_TIMEOUT
 * bounds the wait), which decides and binds. `length` may be more than the 36
 * bytes that are looked at. A ServiceId of zero asks for a random one, without
 * asking the broker; it is the socket's name until it connects, and if it listens.
 *
 *   EINVAL         short address, Reserved not 0, or the socket is bound (also by a call that timed
 *                  out, whose broker was late) or connected        [Windows 10022]
 *   EAFNOSUPPORT   another family; or no socket of hv_socket()      [Windows 10047]
 *   EACCES         the caller is not among those who may bind; or passthru without the right to it  [Windows 10013]
 *   EADDRINUSE     the same {VmId, ServiceId} is bound in this partition, or the
 *                  ServiceId belongs to another of its users        [Windows 10048]
 *   EADDRNOTAVAIL  this partition cannot accept from that VmId      [Windows 10049]
 *   ENOBUFS        a quota                                          [Windows 10055]
 */
int hv_bind(int fd, const struct sockaddr *address, socklen_t length);

/*
 * Lets a bound socket take connections; again to change the backlog. Asks the
 * broker. `backlog` is the kernel's: n lets n + 1 wait [AF_UNIX].
 *
 *   EINVAL  not bound (POSIX has EDESTADDRREQ), connected, or the service is disabled  [Windows 10022]
 *   EACCES  the service is not registered, and its VmId lets other partitions in  [Windows 10013]
 *
 * Where the ServiceId was zero in hv_bind(), the errors of a bind as well.
 */
int hv_listen(int fd, int backlog);

/*
 * Takes the first connection that waits; the caller closes it with hv_close().
 * *ret_address, unless NULL, gets the address at which this partition would dial
 * the connector back, with the connector's ephemeral ServiceId: cut to *length,
 * which then says 36 [POSIX]. hv_accept4() sets SOCK_NONBLOCK and SOCK_CLOEXEC;
 * nothing is inherited from the listener [POSIX]. A listener outlives the broker,
 * and gets connections again when that is back.
 *
 *   EAGAIN  none waits, and the socket is non-blocking or SO_RCVTIMEO ran out
 *   EINTR   a signal handler ran
 *   EINVAL  the socket does not listen; or its service was disabled, for good; or bad flags or *length
 *   EMFILE, ENFILE, ENOMEM, ENOBUFS
 */
int hv_accept(int fd, struct sockaddr *ret_address, socklen_t *length);
int hv_accept4(int fd, struct sockaddr *ret_address, socklen_t *length, int flags);

/*
 * Connects to the service `ServiceId` in the partition `VmId`. Asks the broker,
 * for as long as HVSOCKET_CONNECT_TIMEOUT says. The answer is there when the call
 * returns, on a non-blocking socket too, unless the peer is a VM's guest [hvsock]. A
 * broker that is slow, or being restarted, holds such a call up for at most
 * HV_CONNECT_NONBLOCKING_MS. poll, epoll (edge-triggered too) and SO_ERROR then
 * say what a program that expects EINPROGRESS waits for.
 *
 * A guest is not waited for: EINPROGRESS, and the socket is writable once it has
 * answered, or has not within HV_CONNECT_TIMEOUT_DEFAULT_MS, whatever
 * HVSOCKET_CONNECT_TIMEOUT says. SO_ERROR, or another hv_connect(), then tells the
 * result: 0 or an error, after which the socket is of no use [POSIX]. Until then
 * sends fail with EAGAIN, and setting SO_SNDBUF fails with EALREADY. The process
 * that began it must live on.
 *
 * After a refusal or a time-out the socket may try again, with the same VmId; one
 * that timed out may find itself connected (EISCONN), since a broker that was
 * late may have done what it was asked. Of two threads that connect one socket,
 * one succeeds. A blocking socket is non-blocking until the call returns: whoever
 * shares it must neither close it nor change that flag meanwhile.
 *
 *   EINVAL         short address, Reserved not 0, a ServiceId of zero; the service is disabled; the socket
 *                  listens, is bound to a real ServiceId, or has tried another VmId  [Windows 10022]
 *   EAFNOSUPPORT   another family
 *   EISCONN        the socket is connected, or was
 *   EINPROGRESS    a guest has been asked, and the socket is non-blocking  [Windows 10035]
 *   EALREADY       it has not answered yet                         [Windows 10037]
 *   EADDRNOTAVAIL  a VmId for listeners; PARENT on the root; an unknown VmId, or one out of reach  [Windows 10049]
 *   EACCES         the service is not registered, and the channel would leave the partition; the caller may
 *                  not connect to it; or passthru without the right to it  [Windows 10013]
 *   EHOSTUNREACH   the VM does not run                              [Windows 10065]
 *   ECONNREFUSED   nobody listens, or nobody who accepts from here; wildcard binds are not allowed; backlog
 *                  full  [Windows 10061]
 *   EPROTOTYPE     a stream met a SOCK_SEQPACKET listener, or the reverse  [Windows 10041]
 *   ENOBUFS        a quota                                          [Windows 10055]
 */
int hv_connect(int fd, const struct sockaddr *address, socklen_t length);

/*
 * Moving bytes. A stream keeps order and loses nothing: what was sent before a
 * close or half-close arrives, then 0. What is no orderly end is an error: when
 * the peer aborted, or died with data unread, what had arrived is given, then
 * ECONNRESET, and that from every further call [Windows, POSIX]. On
 * SOCK_SEQPACKET one call is one message; what does not fit the buffer is lost,
 * and MSG_TRUNC works [POSIX].
 *
 * Flags: MSG_DONTWAIT, MSG_NOSIGNAL (always on), MSG_MORE; receiving MSG_PEEK,
 * MSG_WAITALL, MSG_TRUNC. msg_name is not looked at; hv_recvmsg() sets its length
 * and that of the control data to 0. Reading no bytes at all with hv_read() or
 * hv_readv() is 0 at once [POSIX].
 *
 *   EAGAIN      it would have to wait, or SO_RCVTIMEO or SO_SNDTIMEO ran out
 *   ECONNRESET  the peer aborted or vanished, or closed and is sent to; or the service was disabled  [Windows 10054]
 *   EPIPE       sending after SHUT_WR, or to one who shut down reading  [Windows 10058]
 *   ENOTCONN    not connected
 *   EMSGSIZE    longer than HV_SEQPACKET_MAX and than SO_SNDBUF allows; nothing was sent
 *   EOPNOTSUPP  MSG_OOB; hv_sendmsg() with control data
 *   EINTR, EINVAL (bad vector), ENOBUFS, ENOMEM
 */
ssize_t hv_send(int fd, const void *buffer, size_t size, int flags);
ssize_t hv_recv(int fd, void *buffer, size_t size, int flags);
ssize_t hv_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t hv_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t hv_read(int fd, void *buffer, size_t size);
ssize_t hv_write(int fd, const void *buffer, size_t size);
ssize_t hv_readv(int fd, const struct iovec *vector, int count);
ssize_t hv_writev(int fd, const struct iovec *vector, int count);

/*
 * Moving bytes without copying them: the program writes into the memory that the
 * peer reads, and reads what the peer wrote. A span is contiguous, also where the
 * memory's end lies in it. Where a direction is not in shared memory they work all
 * the same, on a buffer of the library's; hv_reserve() also where one copy by the
 * library is quicker than none, see hv_reserve(3). [hvsock]
 *
 * hv_reserve() waits until there is room for `size` bytes, and returns how many may
 * be written at *ret_span: on a stream at least `size`, on SOCK_SEQPACKET `size`,
 * the longest that the message may be. hv_commit() sends the first `size` of them,
 * and returns how many it sent: all, but that a non-blocking socket that is not in
 * shared memory may take fewer. 0 gives the reservation up. In between, every other
 * send on the socket fails with EBUSY; another hv_reserve() takes its place.
 *
 * hv_peek() waits until something can be received, and returns how much lies at
 * *ret_span: of a stream as much as has arrived, or the next message; 0 at the end.
 * hv_consume() takes the first `size` bytes of it, or the message. In between the
 * span stays as it is, however often hv_peek() is called, as long as no other call
 * receives. The peer can still write there: what is checked has to be copied first.
 *
 * Flags: MSG_DONTWAIT. Errors as for hv_send() and hv_recv(), and
 *
 *   EMSGSIZE  hv_reserve() of nothing, or of more than HV_RESERVE_MAX or SO_SNDBUF allow
 *   EBUSY     something is reserved
 *   EINVAL    more is committed than was reserved, or consumed than there is
 */
#define HV_RESERVE_MAX 65536

ssize_t hv_reserve(int fd, size_t size, void **ret_span, int flags);
ssize_t hv_commit(int fd, size_t size);
ssize_t hv_peek(int fd, const void **ret_span, int flags);
int hv_consume(int fd, size_t size);

/*
 * Each request takes an int *.
 *
 *   FIONREAD  bytes that can be received now; of SOCK_SEQPACKET the next message's
 *   SIOCOUTQ  what the peer has not received yet, in bytes of memory with the kernel's
 *             own overhead: 0 means all was received, any other value is no exact count [AF_UNIX]
 *   FIONBIO   non-zero: non-blocking
 *
 *   EINVAL  another request; FIONREAD of a listening socket
 */
int hv_ioctl(int fd, unsigned long request, ...);

/*
 * Ends one direction (SHUT_RD, SHUT_WR) or both (SHUT_RDWR). After SHUT_WR the
 * peer gets what was sent, then the end, and may still send. After SHUT_RD this
 * end receives what had arrived, then the end; the peer's sends fail with EPIPE
 * [AF_UNIX; on Windows they succeed]. A listening socket that is shut down wakes
 * those who accept, with EINVAL [Linux].
 *
 *   ENOTCONN  neither connected nor listening
 *   EINVAL    another `how`
 *   ENOMEM
 */
int hv_shutdown(int fd, int how);

/*
 * Closes the descriptor, at once. What was sent before arrives, then the end,
 * unless there is data that this end did not receive: then it is a reset [POSIX].
 * With SO_LINGER { 1, 0 } it is an abort: the peer gets ECONNRESET, and the
 * channel ends for this socket's other descriptors too [hvsock; elsewhere the
 * last one counts]. It must have been set by hv_setsockopt(), in this process or
 * before its fork. An abort needs a free descriptor; without one it is a close.
 *
 * close(2) does the same, but that it never aborts, and that the memory of a
 * channel that was in shared memory is given back when its number is used again:
 * by hv_socket() or hv_accept(), or by something else than these calls. To have
 * dup2(2) make it another channel's is for numbers closed by hv_close() alone.
 */
int hv_close(int fd);

/*
 * The addresses of both ends, always a SOCKADDR_HV, cut to *length, which then
 * says 36 [POSIX]. They are in the socket, and need no broker.
 *
 *               own                                        peer
 *   new         zeros                                      ENOTCONN
 *   bound       as bound                                   ENOTCONN
 *   connector   {VmId under which the peer sees it,        as dialled
 *                its ephemeral ServiceId}
 *   accepted    {the peer's VmId, the service}             {VmId to dial back, the connector's ephemeral ServiceId}
 *
 * They stay when the peer has closed.
 *
 *   EINVAL  bad *length, or no socket of hv_socket()
 */
int hv_getsockname(int fd, struct sockaddr *ret_address, socklen_t *length);
int hv_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length);

/*
 * Options. At the level SOL_HVSOCKET each is a 32-bit unsigned integer; they
 * belong to the socket, not to the descriptor, and get lost in exec.
 *
 *   HVSOCKET_CONNECT_TIMEOUT     milliseconds that bind, listen and connect wait, to 300000; 0 is the
 *                                default, which reads as 2000 [Windows]
 *   HVSOCKET_CONTAINER_PASSTHRU  non-zero: a container stands in its VM's place; bind and connect judge it [Windows]
 *   HVSOCKET_CONNECTED_SUSPEND   non-zero: the channel survives that the VM at its other end is paused;
 *                                else it is reset then. An accepted socket has its listener's [Windows]
 *   HVSOCKET_HIGH_VTL            only 0: there are no VTLs here
 *   HVSOCKET_CARRIER             enum hv_carrier: which way data may go, from now on. What $HVSOCK_CARRIER says (auto,
 *                                unix or shm) where this was not set [hvsock]
 *   HVSOCKET_CARRIER_STATE       read only: HV_SENDS_SHM and HV_RECEIVES_SHM, for each direction that is in shared
 *                                memory [hvsock]
 *   HVSOCKET_READINESS           enum hv_readiness: whom the program asks whether the socket is readable [hvsock]
 *
 * At the level SOL_SOCKET:
 *
 *   SO_LINGER                  { 1, 0 }: see hv_close(). Else without effect: what was sent is in the kernel [AF_UNIX]
 *   SO_RCVTIMEO, SO_SNDTIMEO   struct timeval [POSIX]
 *   SO_SNDBUF                  bytes, doubled by the kernel [Linux]; at most half of net.core.wmem_max, which leaves an
 *                              abort its room. On SOCK_SEQPACKET it reads as the longest message, at least 65536
 *                              In shared memory it limits what the peer has not received, from 64 KiB to 1 MiB [hvsock]
 *   SO_RCVBUF                  kept; what was sent counts against the sender [AF_UNIX]. What it says when the peer moves
 *                              into shared memory limits that memory, from 64 KiB [hvsock]
 *   SO_RCVLOWAT, SO_PRIORITY, SO_KEEPALIVE, SO_REUSEADDR  the kernel's; the last two without effect
 *   SO_ERROR                   read only; a reset is told once, and stays one for the calls above [POSIX]
 *   SO_TYPE, SO_ACCEPTCONN, SO_COOKIE, SO_DOMAIN (AF_HYPERV), SO_PROTOCOL (HV_PROTOCOL_RAW)  read only
 *   SO_PEERCRED                read only, struct ucred: of an accepted socket the connecting process as the
 *                              broker saw it; of a connector the process that listens, as the kernel did
 *
 *   EINVAL       bad value or length
 *   ENOPROTOOPT  another level or option, or one that is read only
 *   EOPNOTSUPP   HVSOCKET_HIGH_VTL that is not 0
 *   ENOTCONN     SO_PEERCRED without a peer
 *   EFAULT       NULL for a result or its length
 *   ENOMEM
 */
int hv_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int hv_getsockopt(int fd, int level, int option, void *ret_value, socklen_t *length);

/*
 * poll(2) and select(2), for any descriptors. Event loops may as well use the
 * kernel's: these see at once that a service was disabled.
 */
int hv_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms);
int hv_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout);

/*
 * epoll_create1(2), epoll_ctl(2) and epoll_wait(2), with their arguments and
 * meaning, for any descriptors. A set looks at the memory of its channels before it
 * sleeps, and a channel in a set has HV_READINESS_LIBRARY until it is taken out of
 * it: the peer then sends without a system call, unless somebody sleeps. The
 * descriptor is a kernel's epoll descriptor, which hv_close() closes; but only
 * hv_epoll_wait() knows all that is ready, so it is not to be polled itself.
 * A child has a copy of the set as it was at the fork. [hvsock]
 *
 *   as the namesakes; and ENOMEM
 */
int hv_epoll_create1(int flags);
int hv_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int hv_epoll_wait(int epoll_fd, struct epoll_event *ret_events, int max, int timeout_ms);

/*
 * Takes a channel back to the kernel's socket, for good and both ways: from then on
 * the descriptor may be read and written natively, inherited over exec, and passed
 * to other processes. Needed before any of that once data was moved with the calls
 * above, since they may have taken the channel into shared memory. What was sent
 * before arrives in order, and the peer need not do anything. [hvsock]
 *
 *   EAGAIN    something has arrived that must be received first, or the peer was in the
 *             middle of a send for a second: the channel is not taken into shared
 *             memory any more, but still has to be received from before this is called again
 *   EBUSY     another thread is receiving
 *   EBADF, ENOTSOCK
 */
int hv_detach(int fd);

/* GUIDs. Pure. */

#define HV_GUID_TEXT_SIZE 37 /* 36 characters and the NUL */

/* 36 characters with dashes, in braces or not, or 32 without dashes; any case. EINVAL for all other text. */
int hv_guid_parse(const char *text, GUID *ret_guid);
/* Lower case, dashes, no braces. Returns `ret_text`. */
char *hv_guid_format(const GUID *guid, char ret_text[HV_GUID_TEXT_SIZE]);
int hv_guid_equal(const GUID *a, const GUID *b); /* 1 or 0 */

/* vsock ports: ServiceId pppppppp-facb-11e6-bd58-64006a7986d3, 0..0x7FFFFFFF. EINVAL for any other. [Windows] */

#define HV_PORT_MAX 0x7FFFFFFFu

int hv_service_from_port(uint32_t port, GUID *ret_service);
int hv_service_to_port(const GUID *service, uint32_t *ret_port);

/*
 * Names. A partition: a GUID; parent, loopback, children, wildcard, zero,
 * broadcast or silohost; or a label or a path of labels ("web01/db") as seen from
 * the caller's partition. A service: a GUID; "vsock:PORT", in decimal; or the
 * ElementName of a registered one. Only what is neither a GUID nor a word nor a
 * port asks the broker.
 *
 *   ENOENT    there is none, or none that the caller can see
 *   ENOTUNIQ  several services bear the name
 *   EINVAL    empty, longer than 255 bytes, or a bad port
 */
int hv_partition_by_name(const char *name, GUID *ret_vm_id);
int hv_service_by_name(const char *name, GUID *ret_service_id);

/* Who am I. */

enum hv_partition_kind {
        HV_PARTITION_HOST = 1,
        HV_PARTITION_VM = 2,
        HV_PARTITION_CONTAINER = 3,
};

#define HV_LABEL_SIZE 64 /* 63 characters and the NUL */

struct hv_partition {
        size_t struct_size; /* the caller sets sizeof(struct hv_partition) */
        GUID vm_id;
        GUID parent_vm_id; /* all zero on the root */
        int kind;          /* enum hv_partition_kind */
        char label[HV_LABEL_SIZE];
};

/* The caller's partition. Asks the broker. struct_size then says how much was filled. EINVAL: it was not set. */
int hv_self(struct hv_partition *ret_partition);

/* Why was I refused. */

#define HV_REFUSAL_TEXT_SIZE 512

struct hv_refusal {
        size_t struct_size; /* the caller sets sizeof(struct hv_refusal) */
        int error;          /* the errno that the call returned */
        int rule;           /* which rule decided; its name is in rule_name */
        char rule_name[32]; /* as in hvsock-errors(7) */
        char text[HV_REFUSAL_TEXT_SIZE]; /* both addresses, the service's name, the rule */
};

/*
 * Why the broker refused this thread's last hv_bind(), hv_listen() or
 * hv_connect(). Asks nobody. struct_size as above.
 *
 *   ENOENT  it did not: that call succeeded, or failed without the broker's word
 *   EINVAL  struct_size was not set
 */
int hv_last_refusal(struct hv_refusal *ret_refusal);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
