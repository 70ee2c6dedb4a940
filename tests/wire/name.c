/* SPDX-License-Identifier: MIT */

/* Kernel names: the kernel takes them, gives them back, and nothing else passes for one. */

#include "wire/name.h"

#include "base/guid.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const GUID A = {0x01020304, 0x0506, 0x0708, {9, 10, 11, 12, 13, 14, 15, 16}};
static const GUID B = {0xa1a2a3a4, 0xb1b2, 0xc1c2, {1, 2, 3, 4, 5, 6, 7, 8}};
static const GUID C = {0xffffffff, 0xffff, 0x0000, {0xff}};

static struct connector_name connector(void) {
        return (struct connector_name){.flags = CONNECTOR_ENDED,
                                       .dial_back_vm_id = A,
                                       .ephemeral_id = B,
                                       .dialled_vm_id = C,
                                       .pid = 0x01020304,
                                       .uid = 0x11121314,
                                       .gid = 0x21222324,
                                       .tag = 0x3132333435363738};
}

static struct listener_name listener(void) {
        return (struct listener_name){
                .partition_id = A, .vm_id = B, .service_id = C, .socket_type = SOCK_STREAM, .pid = 4194304};
}

static void check_same_connector(const struct connector_name *a, const struct connector_name *b) {
        check_equal(a->flags, b->flags);
        check(guid_equal(&a->dial_back_vm_id, &b->dial_back_vm_id));
        check(guid_equal(&a->ephemeral_id, &b->ephemeral_id));
        check(guid_equal(&a->dialled_vm_id, &b->dialled_vm_id));
        check(a->pid == b->pid && a->uid == b->uid && a->gid == b->gid && a->tag == b->tag);
}

TEST(the_kernel_gives_a_connectors_name_back) {
        struct connector_name name = connector(), got;
        struct sockaddr_un address, told;
        socklen_t length = connector_name_encode(&name, &address), told_length = sizeof told;
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(fd, (struct sockaddr *)&address, length));
        must(getsockname(fd, (struct sockaddr *)&told, &told_length));
        check_equal(told_length, length);
        check_ok(connector_name_decode(&told, told_length, &got));
        check_same_connector(&got, &name);
        close(fd);
}

TEST(a_connectors_name_is_laid_out_as_documented) {
        static const uint8_t expected[1 + CONNECTOR_NAME_SIZE] = {
                0, 'h', 'v', 1, 1,
                4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16,
                0xa4, 0xa3, 0xa2, 0xa1, 0xb2, 0xb1, 0xc2, 0xc1, 1, 2, 3, 4, 5, 6, 7, 8,
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0,
                4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21,
                0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 0, 0, 0, 0,
        };
        struct connector_name name = connector();
        struct sockaddr_un address;
        check_equal(connector_name_encode(&name, &address), 2 + sizeof expected);
        check(!memcmp(address.sun_path, expected, sizeof expected));
}

TEST(only_a_connectors_name_passes_for_one) {
        struct connector_name name = connector(), got = connector();
        struct sockaddr_un address;
        socklen_t length = connector_name_encode(&name, &address);
        got.pid = 77;
        for (socklen_t other = 0; other <= sizeof address; other++)
                if (other != length)
                        check_equal(connector_name_decode(&address, other, &got), -EINVAL);
        /* The leading NUL, "hv", the version, an unknown flag, the reserved field. */
        static const unsigned offsets[] = {0, 1, 2, 3, 4, 73, 76};
        for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
                address.sun_path[offsets[i]] ^= 0x42;
                check_equal(connector_name_decode(&address, length, &got), -EINVAL);
                address.sun_path[offsets[i]] ^= 0x42;
        }
        address.sun_family = AF_INET;
        check_equal(connector_name_decode(&address, length, &got), -EINVAL);
        check_equal(got.pid, 77);
}

TEST(the_tag_covers_every_field_but_itself_and_the_partition) {
        struct connector_name name = connector();
        uint8_t bytes[CONNECTOR_TAGGED_SIZE], other[CONNECTOR_TAGGED_SIZE];
        connector_name_tagged_bytes(&name, &A, bytes);
#define check_covered(field)                                                  \
        do {                                                                  \
                struct connector_name changed = name;                         \
                ((uint8_t *)&changed.field)[sizeof changed.field - 1] ^= 1;   \
                connector_name_tagged_bytes(&changed, &A, other);             \
                check(memcmp(bytes, other, sizeof bytes));                    \
        } while (0)
        check_covered(flags);
        check_covered(dial_back_vm_id);
        check_covered(ephemeral_id);
        check_covered(dialled_vm_id);
        check_covered(pid);
        check_covered(uid);
        check_covered(gid);
        connector_name_tagged_bytes(&name, &B, other);
        check(memcmp(bytes, other, sizeof bytes));
        name.tag ^= 1;
        connector_name_tagged_bytes(&name, &A, other);
        check(!memcmp(bytes, other, sizeof bytes));
}

TEST(a_listeners_name_is_read_back_in_both_types_with_every_pid_there_can_be) {
        static const uint32_t pids[] = {0, 1, 9999, LISTENER_PID_MAX, LISTENER_PID_MAX + 1, UINT32_MAX};
        for (unsigned i = 0; i < sizeof pids / sizeof *pids; i++)
                for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_STREAM) {
                        struct listener_name name = listener(), got;
                        struct sockaddr_un address;
                        name.pid = pids[i];
                        name.socket_type = type;
                        check_ok(listener_name_decode(&address, listener_name_encode(&name, &address), &got));
                        check(guid_equal(&got.partition_id, &A) && guid_equal(&got.vm_id, &B));
                        check(guid_equal(&got.service_id, &C));
                        check_equal(got.socket_type, type);
                        check_equal(got.pid, pids[i] <= LISTENER_PID_MAX ? pids[i] : 0);
                }
}

TEST(the_longest_listeners_name_fits_and_the_kernel_gives_it_back) {
        char directory[] = "/tmp/hvsock-name-XXXXXX";
        check(mkdtemp(directory));
        must(chdir(directory));
        struct listener_name name = listener(), got;
        struct sockaddr_un address, told;
        name.pid = LISTENER_PID_MAX;
        socklen_t length = listener_name_encode(&name, &address), told_length = sizeof told;
        check_string(address.sun_path,
                     "0102030405060708090a0b0c0d0e0f10." "a1a2a3a4b1b2c1c20102030405060708."
                     "ffffffffffff0000ff00000000000000." "s4194304");
        check_equal(strlen(address.sun_path), LISTENER_NAME_MAX);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(fd, (struct sockaddr *)&address, length));
        must(getsockname(fd, (struct sockaddr *)&told, &told_length));
        check_ok(listener_name_decode(&told, told_length, &got));
        check_equal(got.pid, LISTENER_PID_MAX);
        must(unlink(address.sun_path));
        must(rmdir(directory));
        close(fd);
}

TEST(only_a_listeners_name_passes_for_one) {
        char good[128];
        struct listener_name name = listener(), got = listener();
        struct sockaddr_un address;
        listener_name_encode(&name, &address);
        strcpy(good, address.sun_path);
        check_ok(listener_name_parse(good, &got));
        got.pid = 77;

        static const struct {
                unsigned offset;
                char character;
        } wrong[] = {{0, 'g'}, {0, '.'}, {8, '-'}, {32, '-'}, {65, 0}, {98, '/'}, {99, 'x'}, {99, 'S'}, {100, '0'},
                     {100, '+'}, {100, ' '}, {106, 'a'}, {66, 'F'}, {100, 0}};
        for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                char bad[128];
                strcpy(bad, good);
                bad[wrong[i].offset] = wrong[i].character;
                check_equal(listener_name_parse(bad, &got), -EINVAL);
        }
        char longer[sizeof good + 1];
        snprintf(longer, sizeof longer, "%s0", good);
        check_equal(listener_name_parse(longer, &got), -EINVAL);
        check_equal(listener_name_parse("", &got), -EINVAL);
        check_equal(listener_name_parse("control", &got), -EINVAL);
        check_equal(got.pid, 77);
}

TEST(a_listeners_address_is_all_of_its_name_and_nothing_after_it) {
        struct listener_name name = listener(), got;
        struct sockaddr_un address;
        socklen_t length = listener_name_encode(&name, &address);
        check_equal(listener_name_decode(&address, length - 1, &got), -EINVAL);
        check_equal(listener_name_decode(&address, length + 1, &got), -EINVAL);
        check_equal(listener_name_decode(&address, 0, &got), -EINVAL);
        check_equal(listener_name_decode(&address, 2, &got), -EINVAL);
        address.sun_family = AF_INET;
        check_equal(listener_name_decode(&address, length, &got), -EINVAL);
}
