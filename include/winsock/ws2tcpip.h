/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_WINSOCK_WS2TCPIP_H
#define HVSOCK_WINSOCK_WS2TCPIP_H

/*
 * Names and addresses of the Internet, for the other sockets of a program. The calls
 * are libc's own, from <netdb.h> and <arpa/inet.h>: getaddrinfo() returns an EAI_*
 * of this system, and leaves WSAGetLastError() alone.
 */

#include <winsock2.h>

typedef struct addrinfo ADDRINFOA, *PADDRINFOA;

#define InetPtonA inet_pton
#define InetNtopA inet_ntop
#define gai_strerrorA gai_strerror

#endif
