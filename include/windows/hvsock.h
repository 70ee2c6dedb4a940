/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_WINDOWS_H
#define HVSOCK_WINDOWS_H

/*
 * libhvsock's calls on Windows itself: a source written to <hvsock.h> builds there, too.
 *
 * Put this directory on the compiler's path in the place of the one above, and
 * link ws2_32; there is nothing else to link or ship. Each call is the Winsock
 * function of its name, called as that one is, but that it returns -1 and sets
 * errno to what libhvsock sets it to; WSAGetLastError() has Windows' own code.
 * Winsock is started by the first call that needs it.
 *
 * Declared as on Linux: what is here, and nothing that Windows cannot do. What it
 * does differently all the same is in docs/porting.md. <hvsocket.h> is the SDK's;
 * names that an older one lacks are filled in.
 *
 * A descriptor is the SOCKET as an int: the handles of Windows have 32 bits that
 * count, on 64-bit systems too. Thread-safe, as Winsock is.
 */

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <initguid.h>

#include <hvsocket.h>

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#ifdef _MSC_VER
#pragma comment(lib, "ws2_32.lib")
#pragma comment(lib, "advapi32.lib")
typedef ptrdiff_t ssize_t;
#endif

#ifndef AF_HYPERV
#define AF_HYPERV 34
#endif
#ifndef HVSOCKET_HIGH_VTL
#define HVSOCKET_HIGH_VTL 0x08
#endif
#define SOL_HVSOCKET HV_PROTOCOL_RAW

#ifndef SHUT_RDWR
#define SHUT_RD 0x00
#define SHUT_WR 0x01
#define SHUT_RDWR 0x02
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Windows has no SIGPIPE */
#endif

/* Errors that <errno.h> lacks there have Linux's numbers, which it does not use. */
#ifndef ENOTUNIQ
#define ENOTUNIQ 76
#endif
#ifndef ESOCKTNOSUPPORT
#define ESOCKTNOSUPPORT 94
#endif

typedef unsigned long nfds_t;

/* Sets errno to what libhvsock's caller would find for Windows' last error. Returns -1. */
static inline int hv_windows_failed(void) {
        static const struct {
                int winsock, error;
        } errors[] = {
                {WSAEINTR, EINTR},
                {WSAEBADF, EBADF},
                {WSAEACCES, EACCES},
                {WSAEFAULT, EFAULT},
                {WSAEINVAL, EINVAL},
                {WSAEMFILE, EMFILE},
                {WSAEWOULDBLOCK, EAGAIN},
                {WSAEINPROGRESS, EINPROGRESS},
                {WSAEALREADY, EALREADY},
                {WSAENOTSOCK, ENOTSOCK},
                {WSAEMSGSIZE, EMSGSIZE},
                {WSAEPROTOTYPE, EPROTOTYPE},
                {WSAENOPROTOOPT, ENOPROTOOPT},
                {WSAEPROTONOSUPPORT, EPROTONOSUPPORT},
                {WSAESOCKTNOSUPPORT, ESOCKTNOSUPPORT},
                {WSAEOPNOTSUPP, EOPNOTSUPP},
                {WSAEAFNOSUPPORT, EAFNOSUPPORT},
                {WSAEADDRINUSE, EADDRINUSE},
                {WSAEADDRNOTAVAIL, EADDRNOTAVAIL},
                {WSAENETDOWN, ENETDOWN},
                {WSAENETUNREACH, ENETUNREACH},
                {WSAENETRESET, ECONNRESET},
                {WSAECONNABORTED, ECONNRESET},
                {WSAECONNRESET, ECONNRESET},
                {WSAENOBUFS, ENOBUFS},
                {WSAEISCONN, EISCONN},
                {WSAENOTCONN, ENOTCONN},
                {WSAESHUTDOWN, EPIPE},
                {WSAETIMEDOUT, ETIMEDOUT},
                {WSAECONNREFUSED, ECONNREFUSED},
                {WSAEHOSTUNREACH, EHOSTUNREACH},
                {WSASYSNOTREADY, ENETDOWN},
                {WSAVERNOTSUPPORTED, ENETDOWN},
                {WSANOTINITIALISED, ENETDOWN},
                {WSASERVICE_NOT_FOUND, ENOENT},
                {WSAHOST_NOT_FOUND, ENOENT},
        };
        int winsock = WSAGetLastError();
        errno = EIO;
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
                if (errors[i].winsock == winsock)
                        errno = errors[i].error;
        return -1;
}

static inline int hv_windows_result(int result) {
        return result == SOCKET_ERROR ? hv_windows_failed() : result;
}

static inline int hv_windows_refuse(int winsock) {
        WSASetLastError(winsock);
        return hv_windows_failed();
}

static inline int hv_windows_size(size_t size) {
        return size > INT_MAX ? INT_MAX : (int)size;
}

/* Sockets. */

static inline int hv_socket(int domain, int type, int protocol) {
        static volatile LONG started; /* started twice does no harm: it is counted, and ends with the process */
        WSADATA data;
        int error = started ? 0 : WSAStartup(MAKEWORD(2, 2), &data);
        if (error)
                return hv_windows_refuse(error);
        started = 1;
        SOCKET opened = socket(domain, type, protocol);
        return opened == INVALID_SOCKET ? hv_windows_failed() : (int)opened;
}

static inline int hv_bind(int fd, const struct sockaddr *address, socklen_t length) {
        return hv_windows_result(bind((SOCKET)fd, address, length));
}

static inline int hv_listen(int fd, int backlog) {
        return hv_windows_result(listen((SOCKET)fd, backlog));
}

/* On Windows an accepted socket has its listener's mode; here, as on Linux, it blocks. */
static inline int hv_accept(int fd, struct sockaddr *ret_address, socklen_t *length) {
        u_long nonblocking = 0;
        SOCKET accepted = accept((SOCKET)fd, ret_address, length);
        if (accepted == INVALID_SOCKET)
                return hv_windows_failed();
        ioctlsocket(accepted, (long)FIONBIO, &nonblocking);
        return (int)accepted;
}

static inline int hv_connect(int fd, const struct sockaddr *address, socklen_t length) {
        int result = hv_windows_result(connect((SOCKET)fd, address, length));
        if (result < 0 && WSAGetLastError() == WSAEWOULDBLOCK)
                errno = EINPROGRESS;
        return result;
}

/* A time-out of SO_SNDTIMEO or SO_RCVTIMEO is EAGAIN. */
static inline ssize_t hv_windows_moved(int result) {
        if (result == SOCKET_ERROR && WSAGetLastError() == WSAETIMEDOUT)
                WSASetLastError(WSAEWOULDBLOCK);
        return hv_windows_result(result);
}

static inline ssize_t hv_send(int fd, const void *buffer, size_t size, int flags) {
        return hv_windows_moved(send((SOCKET)fd, (const char *)buffer, hv_windows_size(size), flags));
}

static inline ssize_t hv_recv(int fd, void *buffer, size_t size, int flags) {
        return hv_windows_moved(recv((SOCKET)fd, (char *)buffer, hv_windows_size(size), flags));
}

static inline ssize_t hv_read(int fd, void *buffer, size_t size) {
        return hv_recv(fd, buffer, size, 0);
}

static inline ssize_t hv_write(int fd, const void *buffer, size_t size) {
        return hv_send(fd, buffer, size, 0);
}

static inline int hv_shutdown(int fd, int how) {
        return hv_windows_result(shutdown((SOCKET)fd, how));
}

static inline int hv_close(int fd) {
        return hv_windows_result(closesocket((SOCKET)fd));
}

static inline int hv_getsockname(int fd, struct sockaddr *ret_address, socklen_t *length) {
        return hv_windows_result(getsockname((SOCKET)fd, ret_address, length));
}

static inline int hv_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length) {
        return hv_windows_result(getpeername((SOCKET)fd, ret_address, length));
}

/* FIONREAD and FIONBIO, each with an int *. */
static inline int hv_ioctl(int fd, unsigned long request, ...) {
        va_list arguments;
        va_start(arguments, request);
        u_long *value = (u_long *)va_arg(arguments, void *);
        va_end(arguments);
        return hv_windows_result(ioctlsocket((SOCKET)fd, (long)request, value));
}

/* Windows' time-outs are milliseconds; these take a struct timeval, as on Linux. */
static inline int hv_windows_is_timeout(int level, int option) {
        return level == SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO);
}

static inline int hv_setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
        DWORD milliseconds;
        if (hv_windows_is_timeout(level, option)) {
                struct timeval timeout;
                if (length < (socklen_t)sizeof timeout)
                        return hv_windows_refuse(WSAEINVAL);
                memcpy(&timeout, value, sizeof timeout);
                milliseconds = (DWORD)timeout.tv_sec * 1000 + (DWORD)(timeout.tv_usec + 999) / 1000;
                value = &milliseconds;
                length = (socklen_t)sizeof milliseconds;
        }
        return hv_windows_result(setsockopt((SOCKET)fd, level, option, (const char *)value, length));
}

static inline int hv_getsockopt(int fd, int level, int option, void *ret_value, socklen_t *length) {
        DWORD milliseconds;
        socklen_t size = (socklen_t)sizeof milliseconds;
        if (hv_windows_is_timeout(level, option)) {
                struct timeval timeout;
                if (*length < (socklen_t)sizeof timeout)
                        return hv_windows_refuse(WSAEINVAL);
                if (getsockopt((SOCKET)fd, level, option, (char *)&milliseconds, &size) == SOCKET_ERROR)
                        return hv_windows_failed();
                timeout.tv_sec = (long)(milliseconds / 1000);
                timeout.tv_usec = (long)(milliseconds % 1000 * 1000);
                memcpy(ret_value, &timeout, sizeof timeout);
                *length = (socklen_t)sizeof timeout;
                return 0;
        }
        int result = hv_windows_result(getsockopt((SOCKET)fd, level, option, (char *)ret_value, length));
        if (result == 0 && level == SOL_SOCKET && option == SO_ERROR && *(int *)ret_value) {
                WSASetLastError(*(int *)ret_value);
                hv_windows_failed();
                *(int *)ret_value = errno;
        }
        return result;
}

static inline int hv_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms) {
        return hv_windows_result(WSAPoll(descriptors, count, timeout_ms));
}

/* GUIDs: the texts and ports that libhvsock knows. */

#define HV_GUID_TEXT_SIZE 37
#define HV_PORT_MAX 0x7FFFFFFFu

static inline int hv_guid_equal(const GUID *a, const GUID *b) {
        return !memcmp(a, b, sizeof *a);
}

static inline char *hv_guid_format(const GUID *guid, char ret_text[HV_GUID_TEXT_SIZE]) {
        const unsigned char *tail = guid->Data4;
        snprintf(ret_text, HV_GUID_TEXT_SIZE, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", (unsigned long)guid->Data1,
                 guid->Data2, guid->Data3, tail[0], tail[1], tail[2], tail[3], tail[4], tail[5], tail[6], tail[7]);
        return ret_text;
}

static inline int hv_guid_parse(const char *text, GUID *ret_guid) {
        static const char digits[] = "0123456789abcdefABCDEF";
        unsigned char bytes[16];
        size_t length = strlen(text);
        if (length == 38 && text[0] == '{' && text[37] == '}') {
                text++;
                length -= 2;
        }
        if (length != 36 && length != 32)
                return hv_windows_refuse(WSAEINVAL);
        for (int i = 0; i < 32; i++) {
                if (length == 36 && (i == 8 || i == 12 || i == 16 || i == 20) && *text++ != '-')
                        return hv_windows_refuse(WSAEINVAL);
                const char *digit = *text ? strchr(digits, *text++) : NULL;
                if (!digit)
                        return hv_windows_refuse(WSAEINVAL);
                int value = (int)(digit - digits) < 16 ? (int)(digit - digits) : (int)(digit - digits) - 6;
                bytes[i / 2] = (unsigned char)(i % 2 ? bytes[i / 2] | value : value << 4);
        }
        ret_guid->Data1 = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
        ret_guid->Data2 = (uint16_t)(bytes[4] << 8 | bytes[5]);
        ret_guid->Data3 = (uint16_t)(bytes[6] << 8 | bytes[7]);
        memcpy(ret_guid->Data4, bytes + 8, 8);
        return 0;
}

static inline int hv_service_from_port(uint32_t port, GUID *ret_service) {
        if (port > HV_PORT_MAX)
                return hv_windows_refuse(WSAEINVAL);
        *ret_service = HV_GUID_VSOCK_TEMPLATE;
        ret_service->Data1 = port;
        return 0;
}

static inline int hv_service_to_port(const GUID *service, uint32_t *ret_port) {
        GUID expected = HV_GUID_VSOCK_TEMPLATE;
        expected.Data1 = service->Data1;
        if (service->Data1 > HV_PORT_MAX || !hv_guid_equal(service, &expected))
                return hv_windows_refuse(WSAEINVAL);
        *ret_port = (uint32_t)service->Data1;
        return 0;
}

/* A GUID, or one of libhvsock's words. A VM's name is ENOENT: on Windows only the administrator's tools know it. */
static inline int hv_partition_by_name(const char *name, GUID *ret_vm_id) {
        static const struct {
                const char *word;
                const GUID *guid;
        } words[] = {
                {"parent", &HV_GUID_PARENT},     {"loopback", &HV_GUID_LOOPBACK}, {"children", &HV_GUID_CHILDREN},
                {"wildcard", &HV_GUID_WILDCARD}, {"zero", &HV_GUID_ZERO},         {"broadcast", &HV_GUID_BROADCAST},
                {"silohost", &HV_GUID_SILOHOST},
        };
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (!strcmp(words[i].word, name)) {
                        *ret_vm_id = *words[i].guid;
                        return 0;
                }
        return hv_guid_parse(name, ret_vm_id) == 0 ? 0 : hv_windows_refuse(*name ? WSAHOST_NOT_FOUND : WSAEINVAL);
}

/* The service that the host's registry has under this ElementName. In a guest, whose registry has none, ENOENT. */
static inline int hv_windows_service_by_element_name(const char *name, GUID *ret_service_id) {
        static const char path[] = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Virtualization\\GuestCommunicationServices";
        int found = 0;
        HKEY services;
        GUID service, first;
        if (RegOpenKeyExA(HKEY_LOCAL_MACHINE, path, 0, KEY_READ | KEY_WOW64_64KEY, &services) != ERROR_SUCCESS)
                return hv_windows_refuse(WSASERVICE_NOT_FOUND);
        for (DWORD i = 0;; i++) {
                char id[256], element[256];
                DWORD id_size = sizeof id, element_size = sizeof element;
                if (RegEnumKeyExA(services, i, id, &id_size, NULL, NULL, NULL, NULL) != ERROR_SUCCESS)
                        break;
                if (RegGetValueA(services, id, "ElementName", RRF_RT_REG_SZ, NULL, element, &element_size) ==
                            ERROR_SUCCESS &&
                    !strcmp(element, name) && hv_guid_parse(id, &service) == 0 && !found++)
                        first = service;
        }
        RegCloseKey(services);
        if (found == 1)
                *ret_service_id = first;
        else
                hv_windows_refuse(WSASERVICE_NOT_FOUND);
        if (found > 1)
                errno = ENOTUNIQ;
        return found == 1 ? 0 : -1;
}

static inline int hv_service_by_name(const char *name, GUID *ret_service_id) {
        const char *digits = name + 6;
        if (!*name)
                return hv_windows_refuse(WSAEINVAL);
        if (hv_guid_parse(name, ret_service_id) == 0)
                return 0;
        if (strncmp(name, "vsock:", 6) != 0)
                return hv_windows_service_by_element_name(name, ret_service_id);
        uint64_t port = 0;
        size_t length = strspn(digits, "0123456789");
        if (!length || length > 10 || digits[length])
                return hv_windows_refuse(WSAEINVAL);
        for (size_t i = 0; i < length; i++)
                port = port * 10 + (uint64_t)(digits[i] - '0');
        return hv_service_from_port(port > HV_PORT_MAX ? UINT32_MAX : (uint32_t)port, ret_service_id);
}

/* Why was I refused. No broker can tell here: the text is Windows' own on this thread's last error. */

#define HV_REFUSAL_TEXT_SIZE 512

struct hv_refusal {
        size_t struct_size; /* the caller sets sizeof(struct hv_refusal) */
        int error;          /* the errno that the call returned */
        int rule;           /* 0 */
        char rule_name[32]; /* empty */
        char text[HV_REFUSAL_TEXT_SIZE];
};

static inline int hv_last_refusal(struct hv_refusal *ret_refusal) {
        struct hv_refusal refusal = {sizeof refusal, 0, 0, "", ""};
        int winsock = WSAGetLastError();
        if (ret_refusal->struct_size < sizeof refusal)
                return hv_windows_refuse(WSAEINVAL);
        if (!winsock) {
                errno = ENOENT;
                return -1;
        }
        hv_windows_failed();
        refusal.error = errno;
        DWORD length = FormatMessageA(
                FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL,
                (DWORD)winsock, 0, refusal.text, HV_REFUSAL_TEXT_SIZE - 32, NULL);
        snprintf(refusal.text + length, HV_REFUSAL_TEXT_SIZE - length, "[Windows %d]", winsock);
        *ret_refusal = refusal;
        return 0;
}

#endif
