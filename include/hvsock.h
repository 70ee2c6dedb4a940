/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_H
#define HVSOCK_H

/*
 * libhvsock: Hyper-V sockets on Linux.
 *
 * Each hv_*() call takes the arguments of its POSIX namesake, returns -1 with
 * errno on failure, may be called from any thread, and never raises SIGPIPE.
 * The descriptor that hv_socket() returns is one open file until hv_close():
 * poll, epoll, select and event loops work on it at any time. The library
 * never logs, never exits and installs no handlers.
 *
 * The broker is found by $HVSOCK_SOCKET (a partition's socket, or the directory
 * that holds it; ignored in setuid programs), else in the user's runtime
 * directory, else in /run/hvsock.
 */

#include <hvsocket.h>
#include <poll.h>
#include <stddef.h>
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

/* How long a connect, bind or listen waits for an answer unless told otherwise. */
#define HV_CONNECT_TIMEOUT_DEFAULT_MS 2000

#define HV_SEQPACKET_MAX 65536 /* bytes in a message unless SO_SNDBUF is larger */

int hv_socket(int domain, int type, int protocol);
int hv_bind(int fd, const struct sockaddr *address, socklen_t length);
int hv_listen(int fd, int backlog);
int hv_accept(int fd, struct sockaddr *ret_address, socklen_t *length);
int hv_accept4(int fd, struct sockaddr *ret_address, socklen_t *length, int flags);
int hv_connect(int fd, const struct sockaddr *address, socklen_t length);

ssize_t hv_send(int fd, const void *buffer, size_t size, int flags);
ssize_t hv_recv(int fd, void *buffer, size_t size, int flags);
ssize_t hv_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t hv_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t hv_read(int fd, void *buffer, size_t size);
ssize_t hv_write(int fd, const void *buffer, size_t size);
ssize_t hv_readv(int fd, const struct iovec *vector, int count);
ssize_t hv_writev(int fd, const struct iovec *vector, int count);

int hv_ioctl(int fd, unsigned long request, ...);
int hv_shutdown(int fd, int how);
int hv_close(int fd);
int hv_getsockname(int fd, struct sockaddr *ret_address, socklen_t *length);
int hv_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length);
int hv_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int hv_getsockopt(int fd, int level, int option, void *ret_value, socklen_t *length);
int hv_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms);
int hv_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout);

/* GUIDs. */

#define HV_GUID_TEXT_SIZE 37 /* 36 characters and the NUL */

int hv_guid_parse(const char *text, GUID *ret_guid);
char *hv_guid_format(const GUID *guid, char ret_text[HV_GUID_TEXT_SIZE]);
int hv_guid_equal(const GUID *a, const GUID *b);

/* vsock ports: ServiceId pppppppp-facb-11e6-bd58-64006a7986d3, 0..0x7FFFFFFF. */

#define HV_PORT_MAX 0x7FFFFFFFu

int hv_service_from_port(uint32_t port, GUID *ret_service);
int hv_service_to_port(const GUID *service, uint32_t *ret_port);

/* Names. */

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

int hv_last_refusal(struct hv_refusal *ret_refusal);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
