/* SPDX-License-Identifier: MIT */
#include "cli/names.h"

#include "base/guid.h"
#include "cli/advice.h"
#include "cli/report.h"
#include <errno.h>
#include <string.h>

int exit_code_of(int error) {
        switch (error) {
        case ENOENT:
        case EADDRNOTAVAIL:
                return EXIT_NOT_FOUND;
        case EACCES:
        case EPERM:
                return EXIT_DENIED;
        case ENETDOWN:
                return EXIT_NO_BROKER;
        case ETIMEDOUT:
                return EXIT_TIMED_OUT;
        default:
                return EXIT_FAILED;
        }
}

static int tell(const char *name, const char *absent, int error, const char *next) {
        if (error == ENETDOWN)
                return fail(EXIT_NO_BROKER, name, "no hvsockd was found to look it up", "hvsock doctor");
        return fail(exit_code_of(error), name, error == ENOENT ? absent : strerror(error), advice_on_host(next));
}

int partition_named(const char *text, GUID *ret_vm_id) {
        const GUID *word = guid_by_word(text);
        if (word) {
                *ret_vm_id = *word;
                return EXIT_OK;
        }
        if (guid_parse(text, ret_vm_id) == 0 || hv_partition_by_name(text, ret_vm_id) == 0)
                return EXIT_OK;
        return tell(text, "no such partition, seen from here", errno, "hvsock tree");
}

int service_named(const char *text, GUID *ret_service_id) {
        int r = guid_parse_service(text, ret_service_id);
        if (r == 0)
                return EXIT_OK;
        if (r == -ERANGE)
                return fail(EXIT_USAGE, text, "expected vsock: and a port from 0 to 2147483647", advice_help());
        if (hv_service_by_name(text, ret_service_id) == 0)
                return EXIT_OK;
        return tell(text, "no such service, or several bear this name", errno, "hvsock service list");
}
