/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How a socket of ours is known: by a mark in the socket itself, so that dup,
 * fork, exec and SCM_RIGHTS carry it wherever the socket goes.
 *
 * It is the value of SO_MAX_PACING_RATE, 64 bits that mean nothing to AF_UNIX and
 * that no program can set through this library; libhvsock leaves such a value alone
 * (lib/holders.h). Beside the family that was asked for it holds what the kernel's
 * AF_VSOCK would remember and the names of the socket do not say.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
        MARK_VSOCK = 0x01,      /* asked for as AF_VSOCK; else as AF_HYPERV */
        MARK_CHOSEN = 0x02,     /* bound to VMADDR_PORT_ANY, and `port` is what was chosen: the broker has not heard of it */
        MARK_BOUND_OWN = 0x04,  /* bound to the partition's own CID by its number: VMADDR_CID_ANY to the broker */
        MARK_BOUND_LOCAL = 0x08, /* with MARK_CHOSEN: to VMADDR_CID_LOCAL */
};

struct mark {
        uint8_t flags;
        uint8_t error; /* 0, or the errno of a non-blocking connect that nobody was told */
        uint32_t port;
};

/* Whether it is a socket of ours. Keeps errno. */
bool mark_read(int fd, struct mark *ret);
/* 0 or -errno. */
int mark_write(int fd, const struct mark *mark);
