/* SPDX-License-Identifier: MIT */

/* One line for a refusal: who asked for what, and which rule refused. */

#include "base/guid.h"
#include "broker/internal.h"
#include "broker/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The well-known word, or "web01/db (GUID)"; the GUID alone when the caller must not learn whose it is. */
static void describe_vm_id(const struct broker *broker, const GUID *vm_id, bool is_hidden, char *ret_text,
                           size_t size) {
        char guid[HV_GUID_TEXT_SIZE], path[256];
        const char *word = guid_word(vm_id);
        const struct partition *partition = is_hidden ? NULL : partition_by_id(broker, vm_id);
        guid_format(vm_id, guid);
        if (word) {
                snprintf(ret_text, size, "%s", word);
        } else if (partition) {
                partition_path(partition, path, sizeof path);
                snprintf(ret_text, size, "%s (%s)", path, guid);
        } else {
                snprintf(ret_text, size, "%s", guid);
        }
}

static void describe_caller(const struct caller *caller, char *ret_text, size_t size) {
        static const char *const kinds[] = {
                [HV_PARTITION_HOST] = "host", [HV_PARTITION_VM] = "vm", [HV_PARTITION_CONTAINER] = "container"};
        char guid[HV_GUID_TEXT_SIZE], path[256], user[32] = "an unmapped user", process[32] = "";
        bool is_guest = caller->partition->reach == REACH_VM; /* who asks in it, its kernel does not tell */
        partition_path(caller->partition, path, sizeof path);
        guid_format(&caller->partition->vm_id, guid);
        if (is_guest)
                strcpy(user, "a program of its guest");
        else if (caller->uid != CALLER_UNMAPPED)
                snprintf(user, sizeof user, "user %" PRIu32, caller->uid);
        if (caller->pid && !is_guest) /* a connect that is only supposed has no process */
                snprintf(process, sizeof process, "process %" PRIu32 " of ", caller->pid);
        snprintf(ret_text, size, "%s %s (%s), %s%s", kinds[caller->partition->kind], path, guid, process, user);
}

void broker_explain(const struct broker *broker, const struct caller *caller, const GUID *vm_id, const GUID *service_id,
                    const struct verdict *verdict, char *ret_text, size_t size) {
        char who[400], where[340], guid[HV_GUID_TEXT_SIZE], name[SERVICE_NAME_MAX + 4] = "";
        const struct service *service = registry_by_id(broker, service_id);
        describe_caller(caller, who, sizeof who);
        describe_vm_id(broker, vm_id, verdict->rule == RULE_UNKNOWN_PARTITION, where, sizeof where);
        guid_format(service_id, guid);
        if (service)
                snprintf(name, sizeof name, "\"%s\" ", service->definition.name);
        bool has_cause = verdict->rule == RULE_EXEC_FAILED && service;
        snprintf(ret_text, size, "%s%s%s [%s]: %s, to %s, service %s(%s)", rule_sentence(verdict->rule),
                 has_cause ? ": " : "", has_cause ? service->cannot_start : "", rule_name(verdict->rule), who, where, name,
                 guid);
        text_make_printable(ret_text); /* the end may have been cut within a character */
}
