/* SPDX-License-Identifier: MIT */

/*
 * Connects from guests: to listeners of the host, and to guests of other VMs.
 *
 * The broker is asked as for any other connect, in the name of the VM's root, and any
 * refusal is a RST for the guest. To a listener the broker makes a connector's socket
 * itself, and gives the thread that; to another VM's guest it does what it does for a
 * program's connect, and both ends are threads'.
 */

#include "daemon/vm_connect.h"

#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/connector.h"
#include "daemon/lend.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <sys/socket.h>

struct asking {
        struct vm_channel *from, *to;
        struct caller caller;
        struct connect_request ask;
};

static struct caller caller_of(const struct vm *vm) {
        return (struct caller){.partition = vm->partition};
}

static void refuse(struct vm_channel *from, const struct connect_request *ask, const struct verdict *verdict) {
        struct broker *broker = from->vm->world->broker;
        char text[WIRE_TEXT_SIZE];
        broker_explain(broker, ask->caller, &ask->vm_id, &ask->service_id, verdict, text, sizeof text);
        broker_refused(broker, ask->caller, &ask->vm_id, &ask->service_id, verdict);
        log_stranger(LOG_LEVEL_NOTICE, "%s", text);
        vm_refuse(from);
}

/* A connector's socket in the name of the VM's root. */
static int make_socket(struct vm *vm, const struct connect_request *ask, const struct route *route,
                       struct connector_name *ret_name, struct channel_shell *shell, int *ret_fd) {
        struct connector_name name = {.dial_back_vm_id = route->resolution.dial_back_vm_id, .dialled_vm_id = ask->vm_id};
        cleanup(fd_closep) int fd = socket(AF_UNIX, ask->socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        shell->network = probe_network(vm->world);
        int r = connector_name_make(vm->world, vm->partition, fd, &name, shell);
        if (r < 0)
                return r;
        *ret_name = name;
        *ret_fd = fd_take(fd);
        return 0;
}

/* ---- to a listener ---- */

static struct verdict connect_host(struct vm_channel *from, const struct connect_request *ask, struct route *route) {
        struct vm *vm = from->vm;
        struct world *world = vm->world;
        struct connector_name name;
        struct channel *channel;
        cleanup(watchdog_closep) int fd = -1; /* who accepted it may have sent something already */
        cleanup(freep) struct channel_shell *shell = calloc(1, sizeof *shell);
        struct process *process = shell ? process_get(world, vm->partition, 0) : NULL;
        if (!process)
                return lend_failed(-ENOMEM);
        int r = make_socket(vm, ask, route, &name, shell, &fd);
        struct verdict verdict = r < 0 ? lend_failed(r) : lend_connect_named(world, NULL, ask, fd, route);
        if (!verdict.error) {
                r = broker_opened(world->broker, ask, route, &name.ephemeral_id, loop_wall_ms(), &channel);
                verdict = r < 0 ? lend_failed(r) : (struct verdict){};
        }
        if (verdict.error) {
                process_release(world, process);
                return verdict;
        }
        probe_add_channel(world, channel, shell, process);
        shell = NULL;
        vm_channel_booked(from, channel, FROM_CONNECTOR);
        vm_give_end(from, &(struct vm_end){.fd = fd_take(fd)});
        return verdict;
}

/* ---- to another VM's guest ---- */

static struct verdict open_asking(struct asking *asking, struct vm_channel *to) {
        struct vm_channel *from = asking->from;
        struct vm *vm = from->vm;
        struct world *world = vm->world;
        struct route route;
        struct connector_name name;
        struct channel *channel;
        struct verdict verdict = broker_route(world->broker, &asking->ask, &route);
        if (verdict.error)
                return verdict;
        if (!route.vm || vm_of(route.vm) != to->vm)
                return vm_verdict(EHOSTUNREACH);
        cleanup(fd_closep) int fd = -1;
        cleanup(freep) struct channel_shell *shell = calloc(1, sizeof *shell);
        struct process *process = shell ? process_get(world, vm->partition, 0) : NULL;
        if (!process)
                return lend_failed(-ENOMEM);
        int r = make_socket(vm, &asking->ask, &route, &name, shell, &fd);
        if (!r) {
                struct vm_opening opening = {.world = world, .ask = &asking->ask, .route = &route, .fd = fd,
                                             .ephemeral_id = &name.ephemeral_id, .shell = shell, .process = process,
                                             .is_of_guest = true};
                r = vm_channel_open(&opening, to, &channel);
        }
        if (r < 0) {
                process_release(world, process);
                return lend_failed(r);
        }
        shell = NULL;
        vm_channel_booked(from, channel, FROM_CONNECTOR);
        vm_give_end(from, &(struct vm_end){.fd = fd_take(fd), .has_records = asking->ask.socket_type == SOCK_SEQPACKET});
        return verdict;
}

static void on_answer(struct vm_channel *to, int error, void *waiting) {
        struct asking *asking = waiting;
        struct vm *vm = asking->from->vm;
        asking->from->left = NULL;
        struct verdict verdict = vm_verdict(vm->partition ? error : EHOSTUNREACH);
        if (!verdict.error)
                verdict = open_asking(asking, to);
        if (!error && verdict.error)
                vm_give_up(to);
        if (verdict.error && vm->partition)
                refuse(asking->from, &asking->ask, &verdict);
        else if (verdict.error)
                vm_refuse(asking->from);
        free(asking);
}

static void on_left(struct vm_channel *from, void *waiting) {
        struct asking *asking = waiting;
        vm_give_up(asking->to);
        free(asking);
}

static struct verdict connect_sibling(struct vm_channel *from, const struct connect_request *ask,
                                      const struct route *route) {
        struct asking *asking = malloc(sizeof *asking);
        if (!asking)
                return lend_failed(-ENOMEM);
        *asking = (struct asking){.from = from, .caller = *ask->caller, .ask = *ask};
        asking->ask.caller = &asking->caller;
        int r = vm_dial(vm_of(route->vm), from->vm->partition->cid, route->port, ask->socket_type, on_answer, asking,
                        &asking->to);
        if (r < 0) {
                free(asking);
                return vm_verdict(-r);
        }
        from->left = on_left;
        from->waiting = asking;
        return (struct verdict){};
}

/* ---- what the guest asks ---- */

/* The address of a CID and a port, as seen from this VM. */
static void address_of(const struct vm *vm, const struct vm_message *request, GUID *ret_vm_id, GUID *ret_service_id) {
        const struct partition *other = partition_by_cid(vm->world->broker, request->cid);
        *ret_service_id = HV_GUID_VSOCK_TEMPLATE;
        ret_service_id->Data1 = request->port;
        GUID nobody = HV_GUID_VSOCK_TEMPLATE; /* no partition's VmId */
        nobody.Data1 = (uint32_t)request->cid;
        *ret_vm_id = request->cid == VSOCK_CID_HOST ? HV_GUID_PARENT : other ? other->vm_id : nobody;
}

void vm_asked(struct vm_channel *from, const struct vm_message *request) {
        struct vm *vm = from->vm;
        const struct caller caller = caller_of(vm);
        struct connect_request ask = {.caller = &caller,
                                      .socket_type = request->type == VSOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET};
        struct route route;
        address_of(vm, request, &ask.vm_id, &ask.service_id);
        struct verdict verdict = lend_ask_route(vm->world, &ask, &route);
        if (!verdict.error)
                verdict = route.vm ? connect_sibling(from, &ask, &route) : connect_host(from, &ask, &route);
        if (verdict.error)
                refuse(from, &ask, &verdict);
}
