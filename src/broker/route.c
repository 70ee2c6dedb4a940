/* SPDX-License-Identifier: MIT */

/*
 * Routes: what decides a connect.
 *
 * Of several reasons to refuse, the first in the order of this function is the
 * one that callers are told: the address, registration, disabled, permission, a
 * VM that is not running, listeners, the socket's type, quotas. Who listens in a
 * VM's guest, and with which type, the guest alone can say.
 */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>

static bool is_over_quota(const struct broker *broker, const struct caller *caller, const struct listener *listener) {
        const struct quotas *quotas = &broker->quotas;
        const struct user *user = user_find(broker, caller->uid, caller->partition);
        return caller->partition->opened_count >= quotas->channels_per_partition ||
               (user ? user->channels : 0) >= quotas->channels_per_user ||
               (listener && listener->channel_count >= quotas->channels_per_listener);
}

struct verdict broker_route(const struct broker *broker, const struct connect_request *request,
                            struct route *ret_route) {
        const struct caller *caller = request->caller;
        const struct service *service = registry_by_id(broker, &request->service_id);
        *ret_route = (struct route){.service = service};
        if (guid_is_zero(&request->service_id))
                return REFUSED(EINVAL, RULE_BAD_ADDRESS);

        struct resolution *resolution = &ret_route->resolution;
        struct verdict verdict =
                address_resolve(broker, caller->partition, &request->vm_id, request->passthru, resolution);
        if (verdict.error)
                return verdict;
        bool to_guest = resolution->target->reach == REACH_VM;
        uint32_t port = 0;
        if (to_guest && resolution->relation == RELATION_SELF) /* a guest talks to itself by itself */
                return REFUSED(EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        if (to_guest && guid_port(&request->service_id, &port) < 0)
                return REFUSED(EADDRNOTAVAIL, RULE_NOT_A_PORT);
        if (!service && resolution->target != caller->partition)
                return REFUSED(EACCES, RULE_NOT_REGISTERED);
        if (service && !service->definition.enabled)
                return REFUSED(EINVAL, RULE_DISABLED);
        if (!access_allows(service ? &service->definition.connect : &access_default, &broker->owner, caller))
                return REFUSED(EACCES, RULE_CONNECT_DENIED);
        if (!resolution->target->running)
                return REFUSED(EHOSTUNREACH, RULE_NOT_RUNNING);
        if (to_guest) {
                if (is_over_quota(broker, caller, NULL))
                        return REFUSED(ENOBUFS, RULE_QUOTA);
                ret_route->vm = resolution->target;
                ret_route->port = port;
                return ALLOWED;
        }

        enum rule why;
        bool wildcard_binds = !service || service->definition.wildcard_binds;
        struct listener *listener = listener_accepting(broker, resolution, &request->service_id, wildcard_binds, &why);
        if (!listener)
                return REFUSED(ECONNREFUSED, why);
        if (listener->on_demand && service && *service->cannot_start)
                return REFUSED(ECONNREFUSED, RULE_EXEC_FAILED);
        if (request->socket_type && request->socket_type != listener->socket_type)
                return REFUSED(EPROTOTYPE, RULE_SOCKET_TYPE);
        if (is_over_quota(broker, caller, listener))
                return REFUSED(ENOBUFS, RULE_QUOTA);
        ret_route->listener = listener;
        return ALLOWED;
}

struct verdict broker_check(const struct broker *broker, const struct caller *caller, const GUID *service_id) {
        const struct service *service = registry_by_id(broker, service_id);
        return service && !service->definition.enabled ? REFUSED(EINVAL, RULE_DISABLED) : ALLOWED;
}
