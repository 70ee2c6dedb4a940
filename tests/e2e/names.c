/* SPDX-License-Identifier: MIT */

/* What sockets are called, before and after; who a program is; names, and vsock ports. */

#include "program.h"
#include "test.h"

static bool same(const GUID *a, const GUID *b) {
        return hv_guid_equal(a, b);
}

/* A connect and its accept; both ends' names. */
struct meeting {
        int listener, connected, accepted;
        SOCKADDR_HV listener_name, connector_name, connector_peer, accepted_name, accepted_peer, accept_said;
};

static struct meeting meet(struct program *from, const GUID *dialled, struct program *to, const GUID *bound) {
        struct meeting meeting = {.listener = (int)must(serve(to, bound, &ECHO))};
        meeting.connected = (int)must(dial(from, dialled, &ECHO));
        meeting.accepted = (int)must(accept_address(to, meeting.listener, &meeting.accept_said));
        must(own_name(to, meeting.listener, &meeting.listener_name));
        must(own_name(from, meeting.connected, &meeting.connector_name));
        must(peer_name(from, meeting.connected, &meeting.connector_peer));
        must(own_name(to, meeting.accepted, &meeting.accepted_name));
        must(peer_name(to, meeting.accepted, &meeting.accepted_peer));
        return meeting;
}

static void part(struct meeting *meeting, struct program *from, struct program *to) {
        must(close_in(from, meeting->connected));
        must(close_in(to, meeting->accepted));
        must(close_in(to, meeting->listener));
}

static void check_names(struct world *world, const char *from, const GUID *dialled, const char *to, const GUID *bound,
                        const GUID *dial_back) {
        struct program *connector = program_in(world, from), *acceptor = program_in(world, to);
        struct meeting meeting = meet(connector, dialled, acceptor, bound);
        const SOCKADDR_HV *names = &meeting.listener_name;
        for (unsigned i = 0; i < 6; i++) {
                check_equal(names[i].Family, AF_HYPERV);
                check_equal(names[i].Reserved, 0);
        }
        check(same(&meeting.listener_name.VmId, bound));
        check(same(&meeting.listener_name.ServiceId, &ECHO));
        check(same(&meeting.connector_peer.VmId, dialled));
        check(same(&meeting.connector_peer.ServiceId, &ECHO));
        check(same(&meeting.accepted_peer.VmId, dial_back));
        check(same(&meeting.accepted_peer.ServiceId, &meeting.connector_name.ServiceId));
        check(!same(&meeting.connector_name.ServiceId, &ECHO));
        check(!same(&meeting.connector_name.ServiceId, &HV_GUID_ZERO));
        check(same(&meeting.accepted_name.VmId, dial_back));
        check(same(&meeting.accepted_name.ServiceId, &ECHO));
        check(same(&meeting.accept_said.VmId, &meeting.accepted_peer.VmId));
        check(same(&meeting.accept_said.ServiceId, &meeting.accepted_peer.ServiceId));
        part(&meeting, connector, acceptor);
}

TEST(a_connectors_peer_is_what_it_dialled_and_an_acceptors_is_where_it_would_dial_back) {
        struct world *world = world_family();
        const GUID *web01 = world_id(world, "web01"), *db = world_id(world, "web01/db"), *box = world_id(world, "box");
        check_names(world, "host", web01, "web01", &HV_GUID_WILDCARD, &HV_GUID_PARENT);
        check_names(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, web01);
        check_names(world, "web01", &HV_GUID_PARENT, "host", web01, web01);
        check_names(world, "web01/db", &HV_GUID_PARENT, "web01", &HV_GUID_CHILDREN, db);
        check_names(world, "web01", db, "web01/db", &HV_GUID_SILOHOST, &HV_GUID_PARENT);
        check_names(world, "box", &HV_GUID_SILOHOST, "host", &HV_GUID_CHILDREN, box);
        check_names(world, "web01", &HV_GUID_LOOPBACK, "web01", &HV_GUID_WILDCARD, &HV_GUID_LOOPBACK);
        check_names(world, "web01", web01, "web01", &HV_GUID_WILDCARD, &HV_GUID_LOOPBACK);
        check_names(world, "host", &HV_GUID_LOOPBACK, "host", &HV_GUID_LOOPBACK, &HV_GUID_LOOPBACK);
        world_end(world);
}

TEST(two_connectors_have_different_ephemeral_service_ids) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        SOCKADDR_HV names[2];
        int listener = (int)must(serve(host, &HV_GUID_LOOPBACK, &ECHO)), connected[2];
        for (unsigned i = 0; i < 2; i++) {
                connected[i] = (int)must(dial(host, &HV_GUID_LOOPBACK, &ECHO));
                must(own_name(host, connected[i], &names[i]));
        }
        check(!same(&names[0].ServiceId, &names[1].ServiceId));
        must(close_in(host, connected[0]));
        must(close_in(host, connected[1]));
        must(close_in(host, listener));
        world_end(world);
}

TEST(an_accepted_socket_is_named_though_its_peer_is_gone) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        SOCKADDR_HV name, peer;
        must(own_name(web01, connected, &name));
        must(close_in(web01, connected));
        int accepted = (int)must(accept_address(host, listener, &peer));
        check(same(&peer.VmId, world_id(world, "web01")));
        check(same(&peer.ServiceId, &name.ServiceId));
        must(peer_name(host, accepted, &peer));
        check(same(&peer.ServiceId, &name.ServiceId));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_new_socket_has_no_peer_and_an_empty_name) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        SOCKADDR_HV name;
        int fd = (int)must(open_socket(host, SOCK_STREAM));
        check_errno(peer_name(host, fd, &name), ENOTCONN);
        must(own_name(host, fd, &name));
        check_equal(name.Family, AF_HYPERV);
        check(same(&name.VmId, &HV_GUID_ZERO));
        check(same(&name.ServiceId, &HV_GUID_ZERO));
        must(close_in(host, fd));
        world_end(world);
}

TEST(a_bound_socket_has_its_name_before_it_listens) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        SOCKADDR_HV name;
        int fd = (int)must(open_socket(host, SOCK_STREAM));
        must(bind_to(host, fd, &HV_GUID_CHILDREN, &ECHO));
        must(own_name(host, fd, &name));
        check(same(&name.VmId, &HV_GUID_CHILDREN));
        check(same(&name.ServiceId, &ECHO));
        check_errno(peer_name(host, fd, &name), ENOTCONN);
        must(close_in(host, fd));
        world_end(world);
}

TEST(bound_to_service_zero_a_socket_gets_an_ephemeral_one_and_can_still_connect) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        SOCKADDR_HV name;
        int listener = (int)must(serve(host, &HV_GUID_LOOPBACK, &ECHO));
        int fd = (int)must(open_socket(host, SOCK_STREAM));
        must(bind_to(host, fd, &HV_GUID_ZERO, &HV_GUID_ZERO));
        must(own_name(host, fd, &name));
        check(!same(&name.ServiceId, &HV_GUID_ZERO));
        must(connect_to(host, fd, &HV_GUID_LOOPBACK, &ECHO));
        must(close_in(host, check_meets(host, fd, host, listener)));
        must(close_in(host, fd));
        must(close_in(host, listener));
        world_end(world);
}

TEST(bound_to_service_zero_a_socket_can_listen_under_its_ephemeral_service_id) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        SOCKADDR_HV name, later;
        int fd = (int)must(open_socket(host, SOCK_STREAM));
        must(bind_to(host, fd, &HV_GUID_LOOPBACK, &HV_GUID_ZERO));
        must(own_name(host, fd, &name));
        must(listen_with(host, fd, 4));
        must(own_name(host, fd, &later));
        check(same(&name.ServiceId, &later.ServiceId));
        int connected = (int)must(dial(host, &HV_GUID_LOOPBACK, &name.ServiceId));
        must(close_in(host, check_meets(host, connected, host, fd)));
        must(close_in(host, connected));
        must(close_in(host, fd));
        world_end(world);
}

/* ---- vsock ports ---- */

TEST(a_vsock_port_is_a_service_like_any_other) {
        struct world *world = world_family();
        const uint32_t ports[] = {0, 1, 2761, HV_PORT_MAX};
        for (unsigned i = 0; i < sizeof ports / sizeof *ports; i++) {
                GUID service_id;
                uint32_t port;
                must(hv_service_from_port(ports[i], &service_id));
                check_equal(service_id.Data1, ports[i]);
                must(hv_service_to_port(&service_id, &port));
                check_equal(port, ports[i]);

                check_equal(reach(world, "host", &HV_GUID_LOOPBACK, "host", &HV_GUID_LOOPBACK, &service_id), 0);
                world_write_service(world, &service_id, "A port", "");
                world_await_service(world, &service_id, "/name", "A port");
                check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &service_id), 0);
        }
        world_end(world);
}

TEST(what_is_no_vsock_port_is_not_taken_for_one) {
        GUID service_id = {};
        uint32_t port = 77;
        check_errno(hv_service_from_port(HV_PORT_MAX + 1u, &service_id), EINVAL);
        check_errno(hv_service_to_port(&ECHO, &port), EINVAL);
        service_id = HV_GUID_VSOCK_TEMPLATE;
        service_id.Data1 = 0x80000000u;
        check_errno(hv_service_to_port(&service_id, &port), EINVAL);
        check_equal(port, 77);
}

/* ---- names of partitions and services, and oneself ---- */

static long call_self(struct call *call) {
        struct hv_partition *self = (struct hv_partition *)call->bytes;
        self->struct_size = sizeof *self;
        return hv_self(self);
}

static struct hv_partition self_in(struct program *program) {
        static struct call call;
        struct hv_partition self;
        call = (struct call){.function = call_self};
        must(program_do(program, &call));
        memcpy(&self, call.bytes, sizeof self);
        return self;
}

TEST(a_program_can_ask_who_it_is) {
        struct world *world = world_family();
        struct hv_partition self = self_in(program_in(world, "host"));
        check_equal(self.kind, HV_PARTITION_HOST);
        check(same(&self.vm_id, world_id(world, "host")));
        check(same(&self.parent_vm_id, &HV_GUID_ZERO));
        check_string(self.label, "host");

        self = self_in(program_in(world, "web01"));
        check_equal(self.kind, HV_PARTITION_VM);
        check(same(&self.vm_id, world_id(world, "web01")));
        check(same(&self.parent_vm_id, world_id(world, "host")));

        self = self_in(program_in(world, "web01/db"));
        check_equal(self.kind, HV_PARTITION_CONTAINER);
        check(same(&self.vm_id, world_id(world, "web01/db")));
        check(same(&self.parent_vm_id, world_id(world, "web01")));
        check_string(self.label, "db");
        world_end(world);
}

static long call_partition_by_name(struct call *call) {
        return hv_partition_by_name((const char *)call->bytes, &call->address.VmId);
}

static long call_service_by_name(struct call *call) {
        return hv_service_by_name((const char *)call->bytes, &call->address.ServiceId);
}

static const SOCKADDR_HV *named(struct program *program, long (*function)(struct call *), const char *name) {
        static struct call call;
        call = (struct call){.function = function};
        strcpy((char *)call.bytes, name);
        return program_do(program, &call) < 0 ? NULL : &call.address;
}

TEST(a_partition_has_a_name_for_those_who_can_address_it) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        const SOCKADDR_HV *address = named(host, call_partition_by_name, "web01");
        check(address && same(&address->VmId, world_id(world, "web01")));
        address = named(web01, call_partition_by_name, "db");
        check(address && same(&address->VmId, world_id(world, "web01/db")));
        check(!named(host, call_partition_by_name, "no-such"));
        check_equal(errno, ENOENT);
        check(!named(web01, call_partition_by_name, "web02"));
        check_equal(errno, ENOENT);
        world_end(world);
}

TEST(a_service_has_a_friendly_name) {
        struct world *world = world_family();
        struct program *db = program_in(world, "web01/db");
        const SOCKADDR_HV *address = named(db, call_service_by_name, ECHO_NAME);
        check(address && same(&address->ServiceId, &ECHO));
        check(!named(db, call_service_by_name, "No such service"));
        check_equal(errno, ENOENT);
        world_end(world);
}
