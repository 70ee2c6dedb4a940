/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The vhost-user protocol, from the back-end's side: what the front-end's messages
 * do to the state of the device.
 *
 * Theory of operation. vhost_user_take() takes one message with its descriptors,
 * changes the state, and gives the answer, if there is to be one, and what changed.
 * It receives and sends nothing; vhost_user_socket.h does. A ring runs while it has
 * a size, addresses that lie in memory, a kick descriptor, and is enabled, in whatever order
 * they came; it is asked anew after every message. So a front-end that comes in
 * the middle of its protocol, as QEMU does after a back-end was lost, is served like
 * any other, and memory may be set again under a running ring.
 *
 * A ring that was stopped and that starts at the same index was paused; one that
 * starts elsewhere has a driver that begins anew.
 *
 * The front-end is a stranger: each message's size is what its type wants, a value
 * that was not offered is refused, and descriptors are counted. -EPROTO ends the
 * connection; `problem` says why, for people.
 */

#include "vm/virtqueue.h"

#define VHOST_USER_RINGS_MAX 3u
enum vhost_user_ring_index { VHOST_USER_RX, VHOST_USER_TX, VHOST_USER_EVENT }; /* of the last one nothing is used */

#define VHOST_USER_HEADER_SIZE 12u
#define VHOST_USER_PAYLOAD_MAX 280u
#define VHOST_USER_TABLE_MAX 8u /* regions in one message, and descriptors */

#define VHOST_USER_FEATURE_SEQPACKET (UINT64_C(1) << 1)
#define VHOST_USER_FEATURE_INDIRECT (UINT64_C(1) << 28)
#define VHOST_USER_FEATURE_EVENT_INDEX (UINT64_C(1) << 29)
#define VHOST_USER_FEATURE_PROTOCOL (UINT64_C(1) << 30)
#define VHOST_USER_FEATURE_VERSION_1 (UINT64_C(1) << 32)
#define VHOST_USER_FEATURES                                                                                   \
        (VHOST_USER_FEATURE_SEQPACKET | VHOST_USER_FEATURE_INDIRECT | VHOST_USER_FEATURE_EVENT_INDEX |        \
         VHOST_USER_FEATURE_PROTOCOL | VHOST_USER_FEATURE_VERSION_1)

#define VHOST_USER_PROTOCOL_MQ (UINT64_C(1) << 0)
#define VHOST_USER_PROTOCOL_REPLY_ACK (UINT64_C(1) << 3)
#define VHOST_USER_PROTOCOL_CONFIG (UINT64_C(1) << 9)
#define VHOST_USER_PROTOCOL_MEM_SLOTS (UINT64_C(1) << 15)
#define VHOST_USER_PROTOCOL_FEATURES                                                                          \
        (VHOST_USER_PROTOCOL_MQ | VHOST_USER_PROTOCOL_REPLY_ACK | VHOST_USER_PROTOCOL_CONFIG |                \
         VHOST_USER_PROTOCOL_MEM_SLOTS)

enum vhost_user_request {
        VHOST_USER_GET_FEATURES = 1,
        VHOST_USER_SET_FEATURES = 2,
        VHOST_USER_SET_OWNER = 3,
        VHOST_USER_SET_MEM_TABLE = 5,
        VHOST_USER_SET_VRING_NUM = 8,
        VHOST_USER_SET_VRING_ADDR = 9,
        VHOST_USER_SET_VRING_BASE = 10,
        VHOST_USER_GET_VRING_BASE = 11,
        VHOST_USER_SET_VRING_KICK = 12,
        VHOST_USER_SET_VRING_CALL = 13,
        VHOST_USER_SET_VRING_ERR = 14,
        VHOST_USER_GET_PROTOCOL_FEATURES = 15,
        VHOST_USER_SET_PROTOCOL_FEATURES = 16,
        VHOST_USER_GET_QUEUE_NUM = 17,
        VHOST_USER_SET_VRING_ENABLE = 18,
        VHOST_USER_GET_CONFIG = 24,
        VHOST_USER_SET_CONFIG = 25,
        VHOST_USER_GET_MAX_MEM_SLOTS = 36,
        VHOST_USER_ADD_MEM_REG = 37,
        VHOST_USER_REM_MEM_REG = 38,
};

#define VHOST_USER_VERSION 1u     /* in the flags, with */
#define VHOST_USER_VERSION_MASK 3u
#define VHOST_USER_IS_REPLY 4u
#define VHOST_USER_NEED_REPLY 8u
#define VHOST_USER_NO_DESCRIPTOR 0x100u /* in the payload of KICK, CALL, ERR */

struct vhost_user_message {
        uint32_t request, flags, size; /* of the payload, at most VHOST_USER_PAYLOAD_MAX */
        uint8_t payload[VHOST_USER_PAYLOAD_MAX];
};

enum vhost_user_problem {
        VHOST_USER_FINE,
        VHOST_USER_BAD_MESSAGE,
        VHOST_USER_UNKNOWN_MESSAGE,
        VHOST_USER_BAD_DESCRIPTORS,
        VHOST_USER_NOT_OFFERED,    /* `refused_features` */
        VHOST_USER_BAD_MEMORY,
        VHOST_USER_BAD_RING,
        VHOST_USER_NO_MEMORY,
        VHOST_USER_BROKEN_QUEUE,   /* for the owner: what lies in a queue cannot be, it is served no more */
        VHOST_USER_LOST,           /* for the owner: the process that served it died, and nobody can go on */
        VHOST_USER_PRIVATE_MEMORY, /* for the owner to find out: virtqueue_is_blank() */
};
/* A sentence for people, with what to do. */
const char *vhost_user_problem_text(enum vhost_user_problem problem);

struct vhost_user_ring {
        struct virtqueue queue;   /* while it runs */
        uint64_t descriptors, used, available; /* the front-end's virtual addresses */
        uint16_t size, base;
        uint16_t stopped_at;      /* the index that it was at when it stopped last */
        int kick_fd, call_fd;     /* owned; -1: none */
        bool has_addresses, has_kick; /* has_kick without kick_fd: it is never told of anything new */
        bool is_enabled, is_running;
        bool was_stopped;         /* stopped_at counts */
        bool is_resumed;          /* it runs since, and began where it had stopped */
};

struct vhost_user {
        struct guest_memory memory;
        struct vhost_user_ring rings[VHOST_USER_RINGS_MAX];
        uint64_t guest_cid;
        uint64_t features, protocol_features; /* as negotiated; the latter: as offered, until then */
        uint64_t protocol_features_offered;
        uint64_t refused_features;
        enum vhost_user_problem problem;
};

/*
 * `offered` are some of VHOST_USER_PROTOCOL_FEATURES. A VMM that listens, and to which a new back-end connects after a
 * crash, must not be offered MEM_SLOTS: it would send the newcomer only what changed of the memory since.
 */
void vhost_user_init(struct vhost_user *device, uint64_t guest_cid, uint64_t offered);
/* The front-end is gone: closes and unmaps all, as vhost_user_init() made it. */
void vhost_user_reset(struct vhost_user *device);

struct vhost_user_changes {
        unsigned started, stopped; /* rings, a bit each: by now, and their kick descriptors */
        unsigned call;             /* rings with another call descriptor: who may have missed a call is called */
        bool memory;               /* pointers of before are void */
};

/*
 * One message. The descriptors are taken in any case. 0; -EPROTO: it is the last
 * one, and no ring runs any more. *ret_reply is to be sent if *ret_has_reply, after -EPROTO too.
 */
int vhost_user_take(struct vhost_user *device, const struct vhost_user_message *message, const int *fds,
                    unsigned fd_count, struct vhost_user_message *ret_reply, bool *ret_has_reply,
                    struct vhost_user_changes *ret_changes);

/*
 * For a successor, after the death of the process that had the device: all that the front-end had said. Descriptors are
 * kept apart, in the order of vhost_user_descriptors().
 */
#define VHOST_USER_SAVED_ADDRESSES 1u
#define VHOST_USER_SAVED_KICK 2u
#define VHOST_USER_SAVED_KICK_FD 4u
#define VHOST_USER_SAVED_CALL_FD 8u
#define VHOST_USER_SAVED_ENABLED 16u
#define VHOST_USER_SAVED_RUNNING 32u
#define VHOST_USER_SAVED_STOPPED 64u
#define VHOST_USER_SAVED_ALL 127u

struct vhost_user_saved {
        uint64_t guest_cid, features, protocol_features;
        uint32_t region_count, reserved;
        struct guest_region_definition regions[GUEST_REGIONS_MAX];
        struct {
                uint64_t descriptors, used, available;
                uint16_t size, base, stopped_at, reserved;
                uint32_t flags, reserved2;
        } rings[VHOST_USER_RINGS_MAX];
};

#define VHOST_USER_DESCRIPTORS_MAX (GUEST_REGIONS_MAX + 2 * VHOST_USER_RINGS_MAX)

void vhost_user_save(const struct vhost_user *device, struct vhost_user_saved *ret);
/* The device's descriptors, which stay its own. Returns how many. */
unsigned vhost_user_descriptors(const struct vhost_user *device, int ret_fds[VHOST_USER_DESCRIPTORS_MAX]);
/*
 * A device as vhost_user_init() made it becomes the one that was saved. Rings that ran go on at the used index, as it
 * stands in guest memory: chains are given back in order, so what the predecessor had taken and not yet given back is
 * there once more. The descriptors are taken in any case. -EPROTO: it cannot have been so, and the device is as before.
 */
int vhost_user_restore(struct vhost_user *device, const struct vhost_user_saved *saved, const int *fds,
                       unsigned fd_count, struct vhost_user_changes *ret_changes);
