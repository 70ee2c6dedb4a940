/* SPDX-License-Identifier: MIT */

/* hvsock id: the GUID of a name, or of the partition that this shell is in. */

#include "base/guid.h"
#include "cli/advice.h"
#include "cli/names.h"
#include "cli/report.h"
#include "cli/verb.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_only_a_services(const char *name) {
        GUID id;
        return guid_parse(name, &id) < 0 && hv_partition_by_name(name, &id) < 0 && hv_service_by_name(name, &id) == 0;
}

static int run_id(const struct invocation *invocation) {
        GUID id;
        char text[HV_GUID_TEXT_SIZE];
        if (invocation->argument_count == 0) {
                struct hv_partition self = {.struct_size = sizeof self};
                if (hv_self(&self) < 0)
                        return fail(exit_code_of(errno), "this partition",
                                    errno == ENETDOWN ? "no hvsockd was found" : strerror(errno), "hvsock doctor");
                id = self.vm_id;
        } else {
                const char *name = invocation->arguments[0];
                bool is_service = is_given(invocation, "service");
                if (!is_service && is_only_a_services(name))
                        return fail(EXIT_NOT_FOUND, name, "no partition bears this name; a service does",
                                    advice_again("", "-s"));
                int r = is_service ? service_named(name, &id) : partition_named(name, &id);
                if (r != EXIT_OK)
                        return r;
        }
        guid_format(&id, text);
        puts(text);
        return finish_output();
}

static const struct verb_option options[] = {
        {"service", 's', NULL, "NAME is a service: its friendly name or vsock:PORT", OFFERS_SERVICES},
        OPTIONS_END,
};

const struct verb verb_id = {.name = "id",
                             .synopsis = "[NAME]",
                             .summary = "print the GUID of a partition or a service; of this partition without NAME",
                             .options = options,
                             .arguments_max = 1,
                             .offers = {OFFERS_PARTITIONS},
                             .run = run_id};
