/* SPDX-License-Identifier: MIT */

/* What libraries ask, one function a type of request, and how they are answered. */

#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/rings.h"
#include "daemon/clients.h"
#include "daemon/discard.h"
#include "daemon/lend.h"
#include "daemon/partitions.h"
#include "daemon/penalty.h"
#include "daemon/probe.h"
#include "daemon/vm_channel.h"
#include "daemon/vm_parked.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static struct wire_header reply_header(const struct wire_header *request) {
        return (struct wire_header){.major = WIRE_MAJOR,
                                    .minor = WIRE_MINOR,
                                    .type = request->type | WIRE_REPLY,
                                    .serial = request->serial};
}

/* A client whose queue is full has not read what it asked for: -ENOBUFS, which closes it. */
static int reply_send(struct client *client, const struct wire_reply *reply, int fd) {
        uint8_t packet[WIRE_PACKET_MAX];
        int r = packet_send(client->source.fd, packet, wire_encode_reply(reply, packet), fd, MSG_DONTWAIT);
        return r == -EAGAIN ? -ENOBUFS : r;
}

int request_unknown(struct client *client, const struct wire_header *header) {
        struct wire_reply reply = {.header = reply_header(header), .error = ENOSYS};
        snprintf(reply.text, sizeof reply.text, "the broker does not know requests of type %u", header->type);
        return reply_send(client, &reply, -1);
}

static void refuse(struct client *client, const struct wire_request *request, const struct verdict *verdict,
                   struct wire_reply *reply) {
        struct broker *broker = client->world->broker;
        reply->error = (uint32_t)verdict->error;
        reply->rule = verdict->rule;
        broker_explain(broker, &client->caller, &request->vm_id, &request->service_id, verdict, reply->text,
                       sizeof reply->text);
        broker_refused(broker, &client->caller, &request->vm_id, &request->service_id, verdict);
        log_stranger(LOG_LEVEL_NOTICE, "%s", reply->text);
}

/* A question without an answer is no refusal. */
static void answer_none(struct wire_reply *reply, int error) {
        reply->error = (uint32_t)error;
        snprintf(reply->text, sizeof reply->text, "%s", strerror(error));
}

static int serve_hello(struct client *client, struct wire_reply *reply) {
        const struct partition *partition = client->caller.partition;
        cleanup(fd_closep) int page_fd = -1;
        int r = partition_revocations(client->world, partition, &page_fd);
        if (r < 0) {
                log_stranger(LOG_LEVEL_ERROR, "cannot open the revocation page of %s: %s", partition->label, strerror(-r));
                reply->error = (uint32_t)-r;
                return reply_send(client, reply, -1);
        }
        reply->vm_id = partition->vm_id;
        if (partition->parent)
                reply->parent_vm_id = partition->parent->vm_id;
        reply->kind = partition->kind;
        strcpy(reply->label, partition->label);
        return reply_send(client, reply, page_fd);
}

static struct verdict serve_bind(struct client *client, const struct wire_request *request, int fd,
                                 struct wire_reply *reply) {
        struct listener *listener;
        struct verdict verdict = lend_bind(client, request, fd, &listener);
        if (!verdict.error) {
                reply->vm_id = listener->vm_id;
                reply->service_id = listener->service_id;
        }
        return verdict;
}

static struct verdict serve_connect(struct client *client, const struct wire_request *request, int fd,
                                    struct wire_reply *reply, bool *ret_is_parked) {
        vm_parked_closed(client, request->closed, request->closed_count);
        probe_closed(client, request->closed, request->closed_count);
        struct verdict verdict = lend_connect(client, request, fd, &reply->service_id, ret_is_parked);
        if (!verdict.error)
                reply->vm_id = request->vm_id;
        return verdict;
}

/* A sibling's label counts too where both see siblings. */
static struct partition *partition_seen(struct client *client, const char *name) {
        const struct broker *broker = client->world->broker;
        struct partition *self = client->caller.partition, *found = partition_by_name(broker, self, name);
        if (!found && self->parent && self->sees_siblings)
                found = partition_by_name(broker, self->parent, name);
        return found && partition_is_seen(found, self) ? found : NULL;
}

static int serve_resolve_partition(struct client *client, const struct wire_request *request, struct wire_reply *reply) {
        const struct partition *partition = partition_seen(client, request->name);
        if (partition)
                reply->vm_id = partition->vm_id;
        else
                answer_none(reply, ENOENT);
        return reply_send(client, reply, -1);
}

/* Of the words, those that name a partition. */
static struct partition *partition_asked_for(struct client *client, const GUID *vm_id, uint32_t cid) {
        const struct broker *broker = client->world->broker;
        struct partition *self = client->caller.partition, *found;
        bool by_cid = guid_is_zero(vm_id);
        if (by_cid ? cid == CID_LOCAL : guid_equal(vm_id, &HV_GUID_LOOPBACK))
                return self;
        if (by_cid ? cid == CID_HOST && self->parent : guid_equal(vm_id, &HV_GUID_PARENT))
                return self->parent;
        if (guid_equal(vm_id, &HV_GUID_SILOHOST) && !by_cid)
                return self->kind == HV_PARTITION_CONTAINER ? self->parent : NULL;
        found = by_cid ? partition_by_cid(broker, cid) : partition_by_id(broker, vm_id);
        return found && (found == self->parent || partition_is_seen(found, self)) ? found : NULL;
}

/* A parent is the host of whoever asks, whatever its own parent calls it. */
static int serve_resolve_cid(struct client *client, const struct wire_request *request, struct wire_reply *reply) {
        const struct partition *self = client->caller.partition;
        const struct partition *partition = partition_asked_for(client, &request->vm_id, request->cid);
        if (partition) {
                reply->vm_id = partition->vm_id;
                reply->cid = partition == self->parent ? CID_HOST : (uint32_t)partition->cid;
        } else {
                answer_none(reply, ENOENT);
        }
        return reply_send(client, reply, -1);
}

static int serve_resolve_service(struct client *client, const struct wire_request *request, struct wire_reply *reply) {
        struct service *service;
        int r = registry_by_name(client->world->broker, request->name, &service);
        if (r < 0)
                answer_none(reply, -r);
        else
                reply->service_id = service->definition.service_id;
        return reply_send(client, reply, -1);
}

/* The requests that are judged: a verdict with an error has a rule. */
static struct verdict judge(struct client *client, const struct wire_request *request, int fd, struct wire_reply *reply,
                            bool *ret_is_parked) {
        const struct broker *broker = client->world->broker;
        const struct verdict held_up = {.error = ENOBUFS, .rule = RULE_HELD_UP};
        if (fd >= 0 && penalty_lasts(client->world->penalties, &client->stranger, OFFENCE_CONNECT, loop_now_ms()))
                return held_up;
        switch (request->header.type) {
        case WIRE_BIND:
                return fd < 0 ? lend_failed(-EBADF) : serve_bind(client, request, fd, reply);
        case WIRE_CONNECT:
                return fd < 0 ? lend_failed(-EBADF) : serve_connect(client, request, fd, reply, ret_is_parked);
        case WIRE_LISTEN:
                return broker_listen(broker, &client->caller, &request->vm_id, &request->service_id);
        default:
                return broker_check(broker, &client->caller, &request->service_id);
        }
}

/*
 * A Unix socket that neither listens nor was connected has nothing queued, datagrams apart. Nobody may be asked to
 * receive: who is receiving already keeps others waiting for as long as it likes.
 */
static bool is_empty_socket(int fd) {
        int domain, type, listens;
        socklen_t size = sizeof domain, no_address = 0;
        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type != SOCK_DGRAM &&
               getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && !listens &&
               getpeername(fd, &(struct sockaddr){}, &no_address) < 0 && errno == ENOTCONN;
}

void request_close_lent(const struct client *client, int fd) {
        struct penalties *penalties = client->world->penalties;
        if (penalty_lasts(penalties, &client->stranger, OFFENCE_CLOSE, loop_now_ms()))
                discard(fd, &client->stranger);
        else if (watchdog_close_descriptor(fd))
                penalty_impose(penalties, &client->stranger, OFFENCE_CLOSE, loop_now_ms());
}

/* To what was judged. */
static int answer(struct client *client, const struct wire_request *request, int fd, const struct verdict *verdict,
                  struct wire_reply *reply) {
        if (fd >= 0 && (!verdict->error || is_empty_socket(fd)))
                request_close_lent(client, fd);
        else
                discard(fd, &client->stranger);
        if (verdict->error)
                refuse(client, request, verdict, reply);
        return reply_send(client, reply, -1);
}

int request_serve(struct client *client, const struct wire_request *request, int fd) {
        struct wire_reply reply = {.header = reply_header(&request->header)};
        if (client->refusal.error) {
                discard(fd, &client->stranger);
                refuse(client, request, &client->refusal, &reply);
                (void)reply_send(client, &reply, -1);
                return -ENOBUFS;
        }
        if (wire_request_descriptors(request->header.type) == 0) {
                discard(fd, &client->stranger);
                fd = -1;
        }
        switch (request->header.type) {
        case WIRE_HELLO:
                return serve_hello(client, &reply);
        case WIRE_RESOLVE_PARTITION:
                return serve_resolve_partition(client, request, &reply);
        case WIRE_RESOLVE_SERVICE:
                return serve_resolve_service(client, request, &reply);
        case WIRE_RESOLVE_CID:
                return serve_resolve_cid(client, request, &reply);
        case WIRE_CLOSED:
                vm_parked_closed(client, request->closed, request->closed_count);
                probe_closed(client, request->closed, request->closed_count);
                return 0;
        case WIRE_RING:
                ring_told(client, request, fd);
                discard(fd, &client->stranger);
                return 0;
        case WIRE_SUSPEND:
                if (!vm_parked_survives(client, &request->service_id, request->flags & WIRE_SUSPEND_SURVIVES))
                        vm_suspend_told(client, request);
                return reply_send(client, &reply, -1);
        }
        bool is_parked = false;
        struct verdict verdict = judge(client, request, fd, &reply, &is_parked);
        return is_parked ? 0 : answer(client, request, fd, &verdict, &reply);
}

int request_answer_connect(struct client *client, const struct wire_request *request, int fd,
                           const struct verdict *verdict, const GUID *ephemeral_id) {
        struct wire_reply reply = {.header = reply_header(&request->header)};
        if (!verdict->error) {
                reply.vm_id = request->vm_id;
                reply.service_id = *ephemeral_id;
        }
        return answer(client, request, fd, verdict, &reply);
}
