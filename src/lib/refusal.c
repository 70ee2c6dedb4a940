/* SPDX-License-Identifier: MIT */

/* The last refusal, one a thread. */

#include "lib/refusal.h"

#include "broker/verdict.h"
#include "lib/posix.h"
#include <hvsock.h>
#include <stdio.h>
#include <string.h>

_Static_assert(WIRE_TEXT_SIZE == HV_REFUSAL_TEXT_SIZE, "a reply's text fits");

static _Thread_local struct hv_refusal last; /* error 0: none */

void refusal_clear(void) {
        last.error = 0;
}

void refusal_keep(const struct wire_reply *reply) {
        if (reply->rule == RULE_ALLOWED)
                return;
        const char *name = rule_name(reply->rule);
        last.error = (int)reply->error;
        last.rule = (int)reply->rule;
        snprintf(last.rule_name, sizeof last.rule_name, "%s", name ? name : "");
        memcpy(last.text, reply->text, sizeof last.text);
}

int hv_last_refusal(struct hv_refusal *ret_refusal) {
        if (ret_refusal->struct_size < offsetof(struct hv_refusal, text) + sizeof last.text)
                return posix_result(-EINVAL);
        if (!last.error)
                return posix_result(-ENOENT);
        size_t size = ret_refusal->struct_size < sizeof last ? ret_refusal->struct_size : sizeof last;
        last.struct_size = size;
        memcpy(ret_refusal, &last, size);
        return 0;
}
