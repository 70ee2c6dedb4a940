/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * For programs that know AF_VSOCK from <linux/vm_sockets.h> alone, and run with
 * libhvsock-preload in a sandbox's host: processes in its other partitions, and
 * what each test would write down again. See meson.build for how they are started.
 */

#include "test.h"
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sandbox: the host, and two simulated VMs in it. */
#define WEB01_CID 3
#define WEB02_CID 4
#define WEB01 "aaaaaaaa-0000-4000-8000-000000000003"
#define WEB02 "aaaaaaaa-0000-4000-8000-000000000004"

#define PORT 5000 /* registered, so that it can be reached from another partition; the others are not */

struct sockaddr_vm at(unsigned cid, unsigned port);
#define ADDRESS(cid, port) ((const struct sockaddr *)&(struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = (cid), .svm_port = (port)})
#define ADDRESS_SIZE ((socklen_t)sizeof(struct sockaddr_vm))

int new_socket(int type);
int listening(unsigned cid, unsigned port, int type);
int connected(unsigned cid, unsigned port, int type);
int accepted(int listener); /* without looking at the peer */
/* Both ends in this partition, through CID 1 and `port`. */
struct ends {
        int connector, acceptor;
};
struct ends connect_here(unsigned port, int type);
void ends_close(const struct ends *ends);

struct sockaddr_vm own_name(int fd);
struct sockaddr_vm peer_name(int fd);
void check_name(struct sockaddr_vm name, unsigned cid, unsigned port);
int option_of(int fd, int level, int option);

void give(int fd, const char *words);
void check_given(int fd, const char *words);
void check_end(int fd);
void check_talk(int one, int other); /* both ways */
int pass(int through, int fd); /* sends this descriptor along; with -1, receives one and returns it */

/* A process in that partition runs `body`; returns when that called ready(). */
pid_t begin_in(const char *vm_id, void (*body)(void));
void ready(void);
/* It ended well. */
void finish(pid_t pid);
/* From now on this process asks a broker that answers nothing, at a socket in a directory that is made from the template. */
int listen_in_silence(char *directory);

/* A command, without what is preloaded: `hvsock` is the one that was built. Its exit code. */
int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define count_of(array) (sizeof(array) / sizeof *(array))
