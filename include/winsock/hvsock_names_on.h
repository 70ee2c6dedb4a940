/* SPDX-License-Identifier: MIT */

/*
 * The names of libc's that Winsock has, too, with other types. Under these macros
 * libc declares nothing that is in Winsock's way, and what Winsock declares is not
 * in libc's: see <winsock2.h>, which says when. hvsock_names_off.h takes them back.
 */

#define accept hvsock_winsock_accept
#define bind hvsock_winsock_bind
#define connect hvsock_winsock_connect
#define getpeername hvsock_winsock_getpeername
#define getsockname hvsock_winsock_getsockname
#define getsockopt hvsock_winsock_getsockopt
#define inet_ntoa hvsock_winsock_inet_ntoa
#define listen hvsock_winsock_listen
#define recv hvsock_winsock_recv
#define recvfrom hvsock_winsock_recvfrom
#define send hvsock_winsock_send
#define sendto hvsock_winsock_sendto
#define setsockopt hvsock_winsock_setsockopt
#define shutdown hvsock_winsock_shutdown
#define socket hvsock_winsock_socket
