/* SPDX-License-Identifier: MIT */

/* Why this thread's last bind, listen or connect was refused. */

#include "lib/refusal.h"

#include "broker/verdict.h"
#include "lib/fail.h"
#include <hvsock.h>

#include <stdio.h>
#include <string.h>

#define ERRNO_MAX 4095u

static _Thread_local struct hv_refusal last;

int refusal_keep(const struct wire_reply *reply) {
        if (!reply->error)
                return 0;
        /* A number that is no errno would come out of our callers as nonsense. */
        int error = reply->error <= ERRNO_MAX ? (int)reply->error : EPROTO;
        const char *name = rule_name((enum rule)reply->rule);
        last = (struct hv_refusal){.error = error, .rule = (int)reply->rule};
        snprintf(last.rule_name, sizeof last.rule_name, "%s", reply->rule == RULE_ALLOWED || !name ? "" : name);
        snprintf(last.text, sizeof last.text, "%s", reply->text);
        return -error;
}

int refusal_keep_local(int negative_errno, const char *text) {
        last = (struct hv_refusal){.error = -negative_errno};
        snprintf(last.text, sizeof last.text, "%s", text);
        return negative_errno;
}

int hv_last_refusal(struct hv_refusal *ret_refusal) {
        if (!ret_refusal || ret_refusal->struct_size < offsetof(struct hv_refusal, rule_name))
                return fail(-EINVAL);
        if (!last.error)
                return fail(-ENOENT);
        size_t size = ret_refusal->struct_size < sizeof last ? ret_refusal->struct_size : sizeof last;
        struct hv_refusal copy = last;
        copy.struct_size = size;
        memcpy(ret_refusal, &copy, size);
        return 0;
}
