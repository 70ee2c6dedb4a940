/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_WINSOCK_WINSOCK2_H
#define HVSOCK_WINSOCK_WINSOCK2_H

/*
 * Winsock for Hyper-V sockets on Linux: sources that were written for Windows
 * compile with these headers and talk through libhvsock. Sockets of other families
 * are the kernel's, and work in the same program.
 *
 *     cc server.c $(pkg-config --cflags --libs hvsock-winsock)
 *
 * What holds for every call:
 *
 * - It fails with SOCKET_ERROR, or INVALID_SOCKET, and WSAGetLastError() says why.
 *   The codes are those of Windows for the errno that libhvsock, or the kernel,
 *   failed with; <hvsock.h> documents these for Hyper-V sockets, and the lists below
 *   have what Winsock adds. Of every call: WSANOTINITIALISED without WSAStartup(),
 *   WSAENOTSOCK for what is no SOCKET, WSAENOBUFS for no memory, WSAEMFILE.
 * - A SOCKET is opaque, as on Windows: neither read(2) nor the hv_* calls take it.
 * - It may be called from any thread. None waits forever for the broker.
 * - Nothing is overlapped: a request that asks for that fails with WSAEOPNOTSUPP.
 * - Nothing raises SIGPIPE. SOCKETs are not inherited over exec. [hvsock]
 * - A signal handler that interrupts a call makes it fail with WSAEINTR. [hvsock]
 *
 * Sizes, options and constants have this system's values under Windows' names, since
 * only the source has to be the same. The exceptions are the WSA* codes, AF_HYPERV,
 * SOL_SOCKET (0xffff, so that the level 1 is HV_PROTOCOL_RAW) and what has its
 * number in <hvsocket.h>.
 *
 * Theory of operation. libc has most of these names with other types. Where this
 * header comes before <sys/socket.h>, libc's headers are included under names of no
 * use (hvsock_names_on.h), and the plain names are free for what is declared below,
 * which the linker knows as hvsock_winsock_*: no macro is left, and std::bind and
 * members called connect are nobody's business. Where <sys/socket.h> was first, as
 * after <hvsock.h>, those macros stay instead. Types, and select(), which <stdlib.h>
 * brings along, are macros always.
 */

#include <windows.h>

#ifndef _SYS_SOCKET_H
#define HVSOCK_WINSOCK_IS_FIRST
#include <hvsock_names_on.h>
#define poll hvsock_winsock_poll /* which no source for Windows means */
#endif
#include <arpa/inet.h>
#include <asm/ioctls.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#ifdef HVSOCK_WINSOCK_IS_FIRST
#undef HVSOCK_WINSOCK_IS_FIRST
#undef poll
#include <hvsock_names_off.h>
#else
#include <hvsock_names_on.h>
#endif

HVSOCK_WINSOCK_BEGIN

#ifndef AF_HYPERV
#define AF_HYPERV 34
#endif
#undef SOL_SOCKET
#define SOL_SOCKET 0xffff
#define SO_EXCLUSIVEADDRUSE (~SO_REUSEADDR) /* may be set, and is always so [Linux] */
#define TCP_NODELAY 1
#define SD_RECEIVE 0
#define SD_SEND 1
#define SD_BOTH 2

#define WSAAPI
#define WINSOCK_VERSION MAKEWORD(2, 2)
#define WSADESCRIPTION_LEN 256
#define WSASYS_STATUS_LEN 128

typedef UINT_PTR SOCKET;
typedef unsigned int GROUP;
#define INVALID_SOCKET ((SOCKET)~(SOCKET)0)
#define SOCKET_ERROR (-1)

/* Windows' `unsigned long` has 32 bits; ioctlsocket() takes either. */
typedef uint32_t hvsock_winsock_u_long;
#define u_long hvsock_winsock_u_long
typedef int hvsock_winsock_socklen_t;
#define socklen_t hvsock_winsock_socklen_t

/* As libc's, but with S_un. */
struct hvsock_winsock_in_addr {
        __extension__ union {
                ULONG s_addr;
                union {
                        struct {
                                UCHAR s_b1, s_b2, s_b3, s_b4;
                        } S_un_b;
                        struct {
                                USHORT s_w1, s_w2;
                        } S_un_w;
                        ULONG S_addr;
                } S_un;
        };
};
#define in_addr hvsock_winsock_in_addr
struct hvsock_winsock_sockaddr_in {
        sa_family_t sin_family;
        USHORT sin_port;
        struct in_addr sin_addr;
        CHAR sin_zero[8];
};
#define sockaddr_in hvsock_winsock_sockaddr_in

typedef USHORT ADDRESS_FAMILY;
typedef struct in_addr IN_ADDR, *PIN_ADDR, *LPIN_ADDR;
typedef struct in6_addr IN6_ADDR, *PIN6_ADDR;
typedef struct sockaddr SOCKADDR, *PSOCKADDR, *LPSOCKADDR;
typedef struct sockaddr_in SOCKADDR_IN, *PSOCKADDR_IN, *LPSOCKADDR_IN;
typedef struct sockaddr_in6 SOCKADDR_IN6, *PSOCKADDR_IN6;
typedef struct sockaddr_storage SOCKADDR_STORAGE, *PSOCKADDR_STORAGE;
typedef struct linger LINGER, *PLINGER, *LPLINGER;
typedef struct hostent HOSTENT, *PHOSTENT, *LPHOSTENT;
typedef struct timeval TIMEVAL, *PTIMEVAL, *LPTIMEVAL;

typedef struct _WSABUF {
        ULONG len;
        CHAR *buf;
} WSABUF, *LPWSABUF;

/* Declared for what sources pass as NULL. */
typedef struct _OVERLAPPED {
        ULONG_PTR Internal, InternalHigh;
        DWORD Offset, OffsetHigh;
        HANDLE hEvent;
} OVERLAPPED, *LPOVERLAPPED, WSAOVERLAPPED, *LPWSAOVERLAPPED;
typedef struct _QualityOfService *LPQOS;
typedef struct _WSAPROTOCOL_INFOA *LPWSAPROTOCOL_INFOA;
typedef struct _WSAPROTOCOL_INFOW *LPWSAPROTOCOL_INFOW;
typedef void(CALLBACK *LPWSAOVERLAPPED_COMPLETION_ROUTINE)(DWORD, DWORD, LPWSAOVERLAPPED, DWORD);
typedef int(CALLBACK *LPCONDITIONPROC)(LPWSABUF, LPWSABUF, LPQOS, LPQOS, LPWSABUF, LPWSABUF, GROUP *, DWORD_PTR);

/* ---- errors ---- */

#define WSAEINTR 10004
#define WSAEBADF 10009
#define WSAEACCES 10013
#define WSAEFAULT 10014
#define WSAEINVAL 10022
#define WSAEMFILE 10024
#define WSAEWOULDBLOCK 10035
#define WSAEINPROGRESS 10036
#define WSAEALREADY 10037
#define WSAENOTSOCK 10038
#define WSAEDESTADDRREQ 10039
#define WSAEMSGSIZE 10040
#define WSAEPROTOTYPE 10041
#define WSAENOPROTOOPT 10042
#define WSAEPROTONOSUPPORT 10043
#define WSAESOCKTNOSUPPORT 10044
#define WSAEOPNOTSUPP 10045
#define WSAEPFNOSUPPORT 10046
#define WSAEAFNOSUPPORT 10047
#define WSAEADDRINUSE 10048
#define WSAEADDRNOTAVAIL 10049
#define WSAENETDOWN 10050
#define WSAENETUNREACH 10051
#define WSAENETRESET 10052
#define WSAECONNABORTED 10053
#define WSAECONNRESET 10054
#define WSAENOBUFS 10055
#define WSAEISCONN 10056
#define WSAENOTCONN 10057
#define WSAESHUTDOWN 10058
#define WSAETOOMANYREFS 10059
#define WSAETIMEDOUT 10060
#define WSAECONNREFUSED 10061
#define WSAELOOP 10062
#define WSAENAMETOOLONG 10063
#define WSAEHOSTDOWN 10064
#define WSAEHOSTUNREACH 10065
#define WSASYSNOTREADY 10091
#define WSAVERNOTSUPPORTED 10092
#define WSANOTINITIALISED 10093
#define WSASYSCALLFAILURE 10107 /* an errno that Winsock has nothing for */
#define WSAHOST_NOT_FOUND 11001
#define WSATRY_AGAIN 11002
#define WSANO_RECOVERY 11003
#define WSANO_DATA 11004
#define WSA_INVALID_HANDLE 6
#define WSA_NOT_ENOUGH_MEMORY 8
#define WSA_INVALID_PARAMETER 87
#define WSA_IO_PENDING 997

/* Why this thread's last call failed. A call that succeeds leaves it alone. [Windows] */
int WSAAPI WSAGetLastError(void) HVSOCK_WINSOCK_NAME(WSAGetLastError);
void WSAAPI WSASetLastError(int error) HVSOCK_WINSOCK_NAME(WSASetLastError);

/* ---- beginning and end ---- */

typedef struct WSAData {
        WORD wVersion, wHighVersion;
        unsigned short iMaxSockets, iMaxUdpDg; /* 0: ask nobody [Windows] */
        char *lpVendorInfo;
        char szDescription[WSADESCRIPTION_LEN + 1], szSystemStatus[WSASYS_STATUS_LEN + 1];
} WSADATA, *LPWSADATA;

/*
 * Each WSAStartup() counts, and each WSACleanup() takes one back. Without any, all other
 * calls fail with WSANOTINITIALISED; sockets that are open stay open [Windows closes them],
 * until the process ends. wVersion is what was asked for, at most 2.2. Returns the
 * error, not SOCKET_ERROR [Windows].
 *
 *   WSAVERNOTSUPPORTED  a version before 1.0
 *   WSAEFAULT           no place for the result
 */
int WSAAPI WSAStartup(WORD version, LPWSADATA ret_data) HVSOCK_WINSOCK_NAME(WSAStartup);
int WSAAPI WSACleanup(void) HVSOCK_WINSOCK_NAME(WSACleanup);

/* ---- sockets ---- */

/*
 * Makes a socket, which closesocket() closes: hv_socket(3) where `family` is AF_HYPERV.
 * WSASocket() with protocol information fails with WSAEOPNOTSUPP, and with
 * other flags than these two, which change nothing, with WSAEINVAL.
 *
 *   WSAEAFNOSUPPORT, WSAESOCKTNOSUPPORT, WSAEPROTOTYPE  see hv_socket()
 */
#define WSA_FLAG_OVERLAPPED 0x01
#define WSA_FLAG_NO_HANDLE_INHERIT 0x80
SOCKET WSAAPI socket(int family, int type, int protocol) HVSOCK_WINSOCK_NAME(socket);
SOCKET WSAAPI WSASocketA(int family, int type, int protocol, LPWSAPROTOCOL_INFOA information, GROUP group, DWORD flags)
        HVSOCK_WINSOCK_NAME(WSASocketA);
SOCKET WSAAPI WSASocketW(int family, int type, int protocol, LPWSAPROTOCOL_INFOW information, GROUP group, DWORD flags)
        HVSOCK_WINSOCK_NAME(WSASocketW);
#ifdef UNICODE
#define WSASocket WSASocketW
#else
#define WSASocket WSASocketA
#endif

/* hv_bind(3), hv_listen(3): WSAEINVAL, WSAEACCES, WSAEADDRINUSE, WSAEADDRNOTAVAIL, WSAENOBUFS, WSAENETDOWN, WSAETIMEDOUT. */
int WSAAPI bind(SOCKET s, const struct sockaddr *name, int length) HVSOCK_WINSOCK_NAME(bind);
int WSAAPI listen(SOCKET s, int backlog) HVSOCK_WINSOCK_NAME(listen);

/*
 * hv_accept(3). The new socket is non-blocking where its listener is [Windows], and
 * SO_RCVTIMEO does not end the wait [Windows]. A condition function, which
 * WSAAccept() could ask, fails with WSAEOPNOTSUPP [hvsock].
 *
 *   WSAEWOULDBLOCK  none waits, and the socket is non-blocking
 *   WSAEINVAL       it does not listen; or was closed meanwhile; or its service was disabled
 *   WSAEFAULT       an address that is wanted has less room than a SOCKADDR_HV
 */
SOCKET WSAAPI accept(SOCKET s, struct sockaddr *ret_address, int *length) HVSOCK_WINSOCK_NAME(accept);
SOCKET WSAAPI WSAAccept(SOCKET s, struct sockaddr *ret_address, int *length, LPCONDITIONPROC condition, DWORD_PTR data)
        HVSOCK_WINSOCK_NAME(WSAAccept);

/*
 * hv_connect(3): to another partition of this machine the answer is there at once, on
 * a non-blocking socket, too; to a VM's guest that is WSAEWOULDBLOCK, then select()
 * finds it writable, or exceptional where it failed [Windows], and SO_ERROR says why.
 * WSAConnect() has no data to pass, and no quality of service: WSAEOPNOTSUPP.
 *
 *   WSAEWOULDBLOCK, WSAEALREADY, WSAEISCONN, WSAEADDRNOTAVAIL, WSAEACCES, WSAEINVAL, WSAECONNREFUSED,
 *   WSAETIMEDOUT, WSAEHOSTUNREACH, WSAEPROTOTYPE, WSAENOBUFS, WSAENETDOWN, WSAEAFNOSUPPORT
 */
int WSAAPI connect(SOCKET s, const struct sockaddr *name, int length) HVSOCK_WINSOCK_NAME(connect);
int WSAAPI WSAConnect(SOCKET s, const struct sockaddr *name, int length, LPWSABUF caller_data, LPWSABUF callee_data,
                      LPQOS quality, LPQOS group_quality) HVSOCK_WINSOCK_NAME(WSAConnect);

/* hv_shutdown(3): WSAENOTCONN, WSAEINVAL. */
int WSAAPI shutdown(SOCKET s, int how) HVSOCK_WINSOCK_NAME(shutdown);

/* hv_close(3). Wakes the threads that accept on it [Windows]; those that receive wake at shutdown(), not here [Linux]. */
int WSAAPI closesocket(SOCKET s) HVSOCK_WINSOCK_NAME(closesocket);

/* hv_getsockname(3). WSAEFAULT: less room than a SOCKADDR_HV. WSAENOTCONN: no peer. */
int WSAAPI getsockname(SOCKET s, struct sockaddr *ret_address, int *length) HVSOCK_WINSOCK_NAME(getsockname);
int WSAAPI getpeername(SOCKET s, struct sockaddr *ret_address, int *length) HVSOCK_WINSOCK_NAME(getpeername);

/* ---- data ---- */

/*
 * hv_send(3), hv_recv(3), and the kernel's for other sockets. Through WSASend() and
 * WSARecv() at most 1024 buffers (WSAEMSGSIZE); *flags says nothing afterwards.
 *
 *   WSAEWOULDBLOCK  it would have to wait, and the socket is non-blocking
 *   WSAETIMEDOUT    SO_RCVTIMEO or SO_SNDTIMEO ran out [Windows]
 *   WSAECONNRESET   the peer aborted or vanished
 *   WSAESHUTDOWN    sending after SD_SEND, or to one who shut down receiving
 *   WSAENOTCONN     not connected
 *   WSAEMSGSIZE     a message that is too long; receiving: the rest of the datagram is lost [Windows]
 *   WSAEOPNOTSUPP   an overlapped request; MSG_OOB on a Hyper-V socket
 *   WSAEFAULT       no place for the number of bytes, or for the flags
 *   WSAEINVAL       a negative length
 */
int WSAAPI send(SOCKET s, const char *buffer, int length, int flags) HVSOCK_WINSOCK_NAME(send);
int WSAAPI recv(SOCKET s, char *buffer, int length, int flags) HVSOCK_WINSOCK_NAME(recv);
int WSAAPI sendto(SOCKET s, const char *buffer, int length, int flags, const struct sockaddr *to, int to_length)
        HVSOCK_WINSOCK_NAME(sendto);
int WSAAPI recvfrom(SOCKET s, char *buffer, int length, int flags, struct sockaddr *ret_from, int *from_length)
        HVSOCK_WINSOCK_NAME(recvfrom);
int WSAAPI WSASend(SOCKET s, LPWSABUF buffers, DWORD count, LPDWORD ret_sent, DWORD flags, LPWSAOVERLAPPED overlapped,
                   LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) HVSOCK_WINSOCK_NAME(WSASend);
int WSAAPI WSARecv(SOCKET s, LPWSABUF buffers, DWORD count, LPDWORD ret_received, LPDWORD flags, LPWSAOVERLAPPED overlapped,
                   LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) HVSOCK_WINSOCK_NAME(WSARecv);

/* ---- waiting ---- */

/*
 * A set is a list of SOCKETs, of which as many are looked at as it counts: a source may
 * define FD_SETSIZE before it includes this header; else it is 64 [Windows].
 */
#pragma push_macro("__FD_SETSIZE")
#undef __FD_SETSIZE
#define __FD_SETSIZE 0
#if FD_SETSIZE == 0 /* libc's, and not the source's own */
#undef FD_SETSIZE
#ifdef HVSOCK_WINSOCK_FD_SETSIZE_IS_KEPT
#pragma pop_macro("FD_SETSIZE")
#else
#define FD_SETSIZE 64
#endif
#endif
#pragma pop_macro("__FD_SETSIZE")

typedef struct hvsock_winsock_fd_set {
        u_int fd_count;
        SOCKET fd_array[FD_SETSIZE];
} hvsock_winsock_fd_set, FD_SET, *PFD_SET, *LPFD_SET;
#define fd_set hvsock_winsock_fd_set

static inline void hvsock_winsock_fd_add(SOCKET s, fd_set *set) {
        u_int i = 0;
        while (i < set->fd_count && set->fd_array[i] != s)
                i++;
        if (i < FD_SETSIZE && i == set->fd_count)
                set->fd_array[set->fd_count++] = s;
}

static inline void hvsock_winsock_fd_remove(SOCKET s, fd_set *set) {
        u_int kept = 0;
        for (u_int i = 0; i < set->fd_count; i++)
                if (set->fd_array[i] != s)
                        set->fd_array[kept++] = set->fd_array[i];
        set->fd_count = kept;
}

static inline int hvsock_winsock_fd_is_set(SOCKET s, const fd_set *set) {
        for (u_int i = 0; i < set->fd_count; i++)
                if (set->fd_array[i] == s)
                        return 1;
        return 0;
}

#undef FD_ZERO
#undef FD_SET
#undef FD_CLR
#undef FD_ISSET
#define FD_ZERO(set) ((void)((set)->fd_count = 0))
#define FD_SET(s, set) hvsock_winsock_fd_add((s), (set)) /* where there is no room, nothing [Windows] */
#define FD_CLR(s, set) hvsock_winsock_fd_remove((s), (set))
#define FD_ISSET(s, set) hvsock_winsock_fd_is_set((s), (set))

/*
 * Waits until a socket of a set is ready, and leaves the ready ones in their sets: to be
 * read, to be written, and those that have failed or have something out of band.
 * A connect that failed is in the last of these, if it is asked about there, and not
 * among those to be written [Windows]. `count` is not looked at [Windows]. Returns how
 * many are ready; 0: the time ran out, which is counted in whole milliseconds.
 *
 *   WSAEINVAL    all sets are empty, or a bad time
 *   WSAENOTSOCK  one is no socket
 */
#define select hvsock_winsock_select
int WSAAPI select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, const struct timeval *timeout)
        HVSOCK_WINSOCK_NAME(select);

/*
 * poll(2) for SOCKETs. Returns how many have something in `revents`, POLLNVAL too; 0:
 * the time ran out. One that is INVALID_SOCKET gets POLLNVAL, and does not count [Windows].
 *
 *   WSAEINVAL  there is nothing to wait for
 */
#undef POLLIN
#undef POLLOUT
#define POLLIN (POLLRDNORM | 0x001) /* both, so that a source may look for either [Windows] */
#define POLLOUT (POLLWRNORM | 0x004)
typedef struct hvsock_winsock_pollfd {
        SOCKET fd;
        SHORT events, revents;
} WSAPOLLFD, *PWSAPOLLFD, *LPWSAPOLLFD;
#define pollfd hvsock_winsock_pollfd
int WSAAPI WSAPoll(LPWSAPOLLFD descriptors, ULONG count, INT timeout_ms) HVSOCK_WINSOCK_NAME(WSAPoll);

/* ---- options ---- */

/*
 * FIONBIO: a value that is not 0 makes it non-blocking. FIONREAD: the bytes that can be
 * received now. The value is a u_long; an `unsigned long` is one on Windows, and is taken.
 *
 *   WSAEINVAL  another command
 *   WSAEFAULT  no value
 */
int WSAAPI hvsock_winsock_ioctlsocket(SOCKET s, long command, void *value, size_t size)
        HVSOCK_WINSOCK_NAME(ioctlsocket);
#define ioctlsocket(s, command, value) hvsock_winsock_ioctlsocket((s), (command), (value), sizeof *(value))

/*
 * hv_setsockopt(3). The HVSOCKET_* options have the level HV_PROTOCOL_RAW (1), as on
 * Windows; that is no level of other sockets. SO_RCVTIMEO and SO_SNDTIMEO are a DWORD of
 * milliseconds, 0 without end; SO_ERROR is a WSA* code. All else is as on Linux.
 *
 *   WSAENOPROTOOPT  another level or option, or one that is read only
 *   WSAEINVAL       bad value or length
 *   WSAEFAULT       no value, or no place for one
 */
int WSAAPI setsockopt(SOCKET s, int level, int option, const char *value, int length) HVSOCK_WINSOCK_NAME(setsockopt);
int WSAAPI getsockopt(SOCKET s, int level, int option, char *ret_value, int *length) HVSOCK_WINSOCK_NAME(getsockopt);

/* libc's own, for the struct above. */
char *inet_ntoa(struct in_addr address) __asm__("inet_ntoa");

HVSOCK_WINSOCK_END

#endif
