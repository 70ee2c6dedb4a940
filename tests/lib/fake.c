/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include "base/fd.h"
#include "broker/verdict.h"
#include "test.h"
#include "wire/message.h"
#include "wire/name.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CLIENTS_MAX 128

const SOCKADDR_HV FAKE_ADDRESS = {.Family = AF_HYPERV,
                                  .VmId = {0xe0e16197, 0xdd56, 0x4a10, {0x91, 0x95, 0x5e, 0xe7, 0xa1, 0x55, 0xa8, 0x38}},
                                  .ServiceId = {0xfa4e, 1, 2, {3}}};
const GUID FAKE_PARTITION = {0x9a271710, 7, 7, {7}};

_Atomic enum misdeed fake_misdeed;
atomic_uint fake_misdeeds_left, fake_connections, fake_requests[WIRE_TYPE_MAX + 1], fake_closed_told,
        fake_lent_blocking;
atomic_bool fake_revoked;
void (*_Atomic fake_at_check)(void);
_Atomic uint32_t fake_last_flags;
_Atomic uint16_t fake_minor = WIRE_MINOR;

static char directory[64];
static pthread_t thread;
static int stop_fd = -1, listen_fd = -1;
static struct sockaddr_un listener_address;
static socklen_t listener_length;

static enum misdeed next_misdeed(void) {
        enum misdeed misdeed = atomic_load(&fake_misdeed);
        if (misdeed == HONEST || !atomic_load(&fake_misdeeds_left))
                return HONEST;
        if (atomic_load(&fake_misdeeds_left) != UINT_MAX)
                atomic_fetch_sub(&fake_misdeeds_left, 1);
        return misdeed;
}

static int bind_lent(const struct wire_request *request, int fd) {
        struct listener_name name = {.partition_id = FAKE_PARTITION,
                                     .vm_id = request->vm_id,
                                     .service_id = request->service_id,
                                     .socket_type = (int)request->socket_type,
                                     .pid = (uint32_t)getpid()};
        listener_length = listener_name_encode(&name, &listener_address);
        unlink(listener_address.sun_path);
        return bind(fd, (struct sockaddr *)&listener_address, listener_length) < 0 ? errno : 0;
}

static int connect_lent(const struct wire_request *request, int fd, GUID *ret_ephemeral_id) {
        static uint32_t count;
        struct connector_name name = {.dial_back_vm_id = HV_GUID_LOOPBACK,
                                      .ephemeral_id = {++count, (uint16_t)getpid(), 3, {4}},
                                      .dialled_vm_id = request->vm_id,
                                      .pid = 4321,
                                      .uid = 1234,
                                      .gid = 5678};
        struct sockaddr_un address;
        socklen_t length = connector_name_encode(&name, &address);
        if (bind(fd, (struct sockaddr *)&address, length) < 0 && errno != EINVAL)
                return errno;
        *ret_ephemeral_id = name.ephemeral_id;
        return connect(fd, (struct sockaddr *)&listener_address, listener_length) < 0 ? errno : 0;
}

static void serve(const struct wire_request *request, int fd, struct wire_reply *reply, int *page_fd) {
        switch (request->header.type) {
        case WIRE_HELLO:
                reply->vm_id = FAKE_PARTITION;
                reply->kind = HV_PARTITION_VM;
                strcpy(reply->label, "fake");
                *page_fd = open("revocations", O_RDONLY | O_CLOEXEC);
                break;
        case WIRE_BIND:
                reply->error = (uint32_t)bind_lent(request, fd);
                break;
        case WIRE_CONNECT:
                reply->error = (uint32_t)connect_lent(request, fd, &reply->service_id);
                break;
        case WIRE_CHECK:
                if (fake_at_check)
                        fake_at_check();
                reply->error = atomic_load(&fake_revoked) ? EINVAL : 0;
                reply->rule = reply->error ? RULE_DISABLED : 0;
                break;
        case WIRE_RESOLVE_PARTITION:
        case WIRE_RESOLVE_SERVICE:
                reply->error = strcmp(request->name, "known") ? ENOENT : 0;
                reply->vm_id = reply->service_id = FAKE_PARTITION;
                break;
        }
}

static void refuse(struct wire_reply *reply, uint32_t error, enum rule rule, const char *text) {
        reply->error = error;
        reply->rule = rule;
        strcpy(reply->text, text);
}

static void send_two_descriptors(int client, const uint8_t *packet, size_t length) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(2 * sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        struct iovec vector = {.iov_base = (void *)packet, .iov_len = length};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        int two[] = {stop_fd, stop_fd};
        memcpy(CMSG_DATA(&control.header), two, sizeof two);
        sendmsg(client, &message, MSG_NOSIGNAL);
}

/* Returns whether the client stays. */
static bool answer(int client) {
        uint8_t packet[WIRE_PACKET_MAX];
        size_t length;
        cleanup(fd_closep) int fd = -1;
        cleanup(fd_closep) int page_fd = -1;
        struct wire_request request;
        if (packet_receive(client, packet, sizeof packet, 0, &length, &fd, NULL) || !length)
                return false;
        if (wire_decode_request(packet, length, &request))
                return false;
        atomic_fetch_add(&fake_requests[request.header.type], 1);
        atomic_fetch_add(&fake_closed_told, request.closed_count);
        if (request.header.type == WIRE_CLOSED || request.header.type == WIRE_RING)
                return true;
        if (request.header.type == WIRE_CONNECT)
                atomic_fetch_add(&fake_lent_blocking, !(fcntl(fd, F_GETFL) & O_NONBLOCK));
        bool is_hello = request.header.type == WIRE_HELLO;
        if (!is_hello)
                atomic_store(&fake_last_flags, request.flags);
        enum misdeed wanted = atomic_load(&fake_misdeed);
        bool at_hello = wanted == SILENT_AT_HELLO || wanted == REFUSES_HELLO;
        enum misdeed misdeed = at_hello == is_hello ? next_misdeed() : HONEST;
        if (misdeed == SILENT || misdeed == SILENT_AT_HELLO)
                return true;
        if (misdeed == HANGS_UP)
                return false;

        struct wire_reply reply = {.header = request.header};
        reply.header.type |= WIRE_REPLY;
        reply.header.minor = atomic_load(&fake_minor);
        if (misdeed == REFUSES)
                refuse(&reply, EACCES, RULE_CONNECT_DENIED, "because");
        else if (misdeed == REFUSES_HELLO)
                refuse(&reply, ENOBUFS, RULE_QUOTA, "too many");
        else if (misdeed == NO_ERRNO)
                refuse(&reply, WIRE_ERROR_MAX + 1, RULE_QUOTA, "a number");
        else
                serve(&request, fd, &reply, &page_fd);
        fd = fd_close(fd); /* what was lent is given back before it is said so */
        if (misdeed == CONNECTS_AND_HANGS_UP)
                return false;
        reply.header.serial += misdeed == WRONG_SERIAL;
        reply.header.type += misdeed == WRONG_TYPE;
        reply.header.major += misdeed == WRONG_MAJOR;
        length = wire_encode_reply(&reply, packet);
        length -= misdeed == CUT_SHORT;
        if (misdeed == GARBAGE)
                memset(packet, 0x5a, length);
        if (misdeed == TWO_DESCRIPTORS)
                send_two_descriptors(client, packet, length);
        else
                (void)packet_send(client, packet, length, misdeed == EXTRA_DESCRIPTOR ? stop_fd : page_fd, 0);
        return true;
}

static void *run(void *unused) {
        struct pollfd descriptors[CLIENTS_MAX + 2] = {{.fd = stop_fd, .events = POLLIN}, {.fd = listen_fd, .events = POLLIN}};
        nfds_t count = 2;
        for (;;) {
                if (poll(descriptors, count, -1) < 0) /* seteuid() interrupts every thread */
                        continue;
                if (descriptors[0].revents)
                        break;
                for (nfds_t i = count; i-- > 2;)
                        if (descriptors[i].revents && !answer(descriptors[i].fd)) {
                                close(descriptors[i].fd);
                                descriptors[i] = descriptors[--count];
                        }
                if (descriptors[1].revents && count < CLIENTS_MAX + 2) {
                        int client = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
                        if (client >= 0) {
                                atomic_fetch_add(&fake_connections, 1);
                                descriptors[count++] = (struct pollfd){.fd = client, .events = POLLIN};
                        }
                }
        }
        while (count-- > 2)
                close(descriptors[count].fd);
        return NULL;
}

void fake_start(void) {
        if (!directory[0]) {
                strcpy(directory, "/tmp/hvsock-lib-XXXXXX");
                check(mkdtemp(directory));
                must(chdir(directory));
                must(setenv("HVSOCK_SOCKET", directory, 1));
                int fd = (int)must(open("revocations", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
                must(ftruncate(fd, 4096));
                close(fd);
        }
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "control"};
        snprintf(address.sun_path, sizeof address.sun_path, "%s/control", directory);
        unlink(address.sun_path);
        listen_fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        must(bind(listen_fd, (struct sockaddr *)&address, sizeof address));
        must(listen(listen_fd, 128));
        stop_fd = (int)must(eventfd(0, EFD_CLOEXEC));
        check_ok(pthread_create(&thread, NULL, run, NULL));
}

void fake_misbehave(enum misdeed misdeed, unsigned times) {
        atomic_store(&fake_misdeeds_left, times);
        atomic_store(&fake_misdeed, misdeed);
}

void fake_revoke(void) {
        uint64_t counter;
        int fd = (int)must(open("revocations", O_RDWR | O_CLOEXEC));
        check_equal(must(pread(fd, &counter, sizeof counter, 0)), sizeof counter);
        counter++;
        check_equal(must(pwrite(fd, &counter, sizeof counter, 0)), sizeof counter);
        close(fd);
}

void fake_die(void) {
        must(eventfd_write(stop_fd, 1));
        check_ok(pthread_join(thread, NULL));
        close(listen_fd);
        close(stop_fd);
}

void fake_end(void) {
        fake_die();
        DIR *entries = opendir(directory);
        check(entries);
        for (struct dirent *entry; (entry = readdir(entries));)
                if (entry->d_name[0] != '.')
                        must(unlink(entry->d_name));
        closedir(entries);
        must(rmdir(directory));
}

int fake_socket(int type) {
        return (int)must(hv_socket(AF_HYPERV, type, HV_PROTOCOL_RAW));
}

int fake_listener(int type) {
        int fd = fake_socket(type);
        must(hv_bind(fd, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS));
        must(hv_listen(fd, 8));
        return fd;
}

int fake_connect(int fd) {
        return hv_connect(fd, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS);
}

struct fake_pair fake_pair(int type) {
        struct fake_pair pair = {.listener = fake_listener(type), .connector = fake_socket(type)};
        must(fake_connect(pair.connector));
        pair.acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
        return pair;
}

void fake_pair_close(struct fake_pair *pair) {
        int all[] = {pair->connector, pair->acceptor, pair->listener};
        for (unsigned i = 0; i < 3; i++)
                if (all[i] >= 0)
                        must(hv_close(all[i]));
}

int fake_abort(int fd) {
        struct linger linger = {.l_onoff = 1};
        must(hv_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        return hv_close(fd);
}

void check_works(int listener, int fd) {
        char byte = 'x';
        must(fake_connect(fd));
        int accepted = (int)must(hv_accept(listener, NULL, NULL));
        check_equal(must(hv_send(fd, &byte, 1, 0)), 1);
        check_equal(must(hv_recv(accepted, &byte, 1, 0)), 1);
        must(hv_close(fd));
        must(hv_close(accepted));
}

void check_receives(int fd, const char *expected) {
        char text[64] = "";
        check_equal(must(hv_recv(fd, text, sizeof text, 0)), strlen(expected));
        check(!memcmp(text, expected, strlen(expected)));
}

bool test_keeps_descriptor(int fd) {
        struct sockaddr_un peer = {};
        socklen_t length = sizeof peer - 1;
        return !getpeername(fd, (struct sockaddr *)&peer, &length) && peer.sun_family == AF_UNIX &&
               strstr(peer.sun_path, "/control");
}
