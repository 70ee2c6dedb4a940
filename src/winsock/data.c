/* SPDX-License-Identifier: MIT */

/* Data. What Hyper-V sockets do in one call goes straight to it; the rest is a sendmsg or a recvmsg. */

#include "winsock/winsock.h"

#include <sys/uio.h>

#define BUFFERS_MAX 1024 /* as many as the kernel takes */

static int transmit(SOCKET s, struct iovec *vector, size_t count, int flags, const struct sockaddr *to, socklen_t to_length) {
        struct msghdr message = {.msg_name = (void *)to, .msg_namelen = to_length, .msg_iov = vector, .msg_iovlen = count};
        ssize_t sent = CALL(s, sendmsg, &message, flags | MSG_NOSIGNAL);
        return sent < 0 ? fail_waiting(s) : (int)sent;
}

static int receive(SOCKET s, struct iovec *vector, size_t count, int flags, struct sockaddr *ret_from, int *from_length) {
        struct msghdr message = {.msg_name = from_length ? ret_from : NULL,
                                 .msg_namelen = from_length ? (socklen_t)*from_length : 0,
                                 .msg_iov = vector,
                                 .msg_iovlen = count};
        ssize_t received = CALL(s, recvmsg, &message, flags);
        if (received < 0)
                return fail_waiting(s);
        if (from_length)
                *from_length = (int)message.msg_namelen;
        return message.msg_flags & MSG_TRUNC ? fail_with(WSAEMSGSIZE) : (int)received;
}

int hvsock_winsock_send(SOCKET s, const char *buffer, int length, int flags) {
        return hvsock_winsock_sendto(s, buffer, length, flags, NULL, 0);
}

int hvsock_winsock_sendto(SOCKET s, const char *buffer, int length, int flags, const struct sockaddr *to, int to_length) {
        if (length < 0)
                return fail_with(WSAEINVAL);
        if (!is_hyperv(s))
                return transmit(s, &(struct iovec){(void *)buffer, (size_t)length}, 1, flags, to, (socklen_t)to_length);
        ssize_t sent = hv_send(descriptor_of(s), buffer, (size_t)length, flags);
        return sent < 0 ? fail_waiting(s) : (int)sent;
}

int hvsock_winsock_recv(SOCKET s, char *buffer, int length, int flags) {
        return hvsock_winsock_recvfrom(s, buffer, length, flags, NULL, NULL);
}

int hvsock_winsock_recvfrom(SOCKET s, char *buffer, int length, int flags, struct sockaddr *ret_from, int *from_length) {
        if (length < 0)
                return fail_with(WSAEINVAL);
        if (!is_hyperv(s))
                return receive(s, &(struct iovec){buffer, (size_t)length}, 1, flags, ret_from, from_length);
        ssize_t received = hv_recv(descriptor_of(s), buffer, (size_t)length, s & IS_SEQPACKET ? flags | MSG_TRUNC : flags);
        if (received < 0)
                return fail_waiting(s);
        return received > length ? fail_with(WSAEMSGSIZE) : (int)received;
}

/* The WSA* code of what cannot be, or 0. */
static int take_buffers(const WSABUF *buffers, DWORD count, const void *overlapped, bool has_routine, struct iovec *ret_vector) {
        if (overlapped || has_routine)
                return WSAEOPNOTSUPP;
        if (count > BUFFERS_MAX)
                return WSAEMSGSIZE;
        for (DWORD i = 0; i < count; i++)
                ret_vector[i] = (struct iovec){buffers[i].buf, buffers[i].len};
        return 0;
}

int WSASend(SOCKET s, LPWSABUF buffers, DWORD count, LPDWORD ret_sent, DWORD flags, LPWSAOVERLAPPED overlapped,
            LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
        struct iovec vector[BUFFERS_MAX];
        int error = take_buffers(buffers, count, overlapped, routine, vector);
        if (!error && !ret_sent)
                error = WSAEFAULT;
        if (error)
                return fail_with(error);
        int sent = transmit(s, vector, count, (int)flags, NULL, 0);
        if (sent < 0)
                return SOCKET_ERROR;
        *ret_sent = (DWORD)sent;
        return 0;
}

int WSARecv(SOCKET s, LPWSABUF buffers, DWORD count, LPDWORD ret_received, LPDWORD flags, LPWSAOVERLAPPED overlapped,
            LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
        struct iovec vector[BUFFERS_MAX];
        int error = take_buffers(buffers, count, overlapped, routine, vector);
        if (!error && (!ret_received || !flags))
                error = WSAEFAULT;
        if (error)
                return fail_with(error);
        int received = receive(s, vector, count, (int)*flags, NULL, NULL);
        if (received < 0)
                return SOCKET_ERROR;
        *ret_received = (DWORD)received;
        *flags = 0;
        return 0;
}
