/* SPDX-License-Identifier: MIT */

/* hvsock why: which rule would decide a connect, without connecting. */

#include "cli/management.h"
#include "cli/verb.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS_MAX 1024

/* Names are looked up here, where they belong, and not by the broker. */
static int add_user(struct json_object *parameters, const char *user) {
        char *end;
        errno = 0;
        unsigned long uid = strtoul(user, &end, 10);
        bool is_number = *user >= '0' && *user <= '9' && !*end && errno == 0 && uid < UINT32_MAX;
        const struct passwd *entry = is_number ? getpwuid((uid_t)uid) : getpwnam(user);
        if (!entry && !is_number)
                return fail(EXIT_NOT_FOUND, user, "no such user", "getent passwd");

        struct json_object *groups = json_object_new_array();
        if (entry) {
                gid_t ids[GROUPS_MAX];
                int count = GROUPS_MAX;
                uid = entry->pw_uid;
                if (getgrouplist(entry->pw_name, entry->pw_gid, ids, &count) >= 0)
                        for (int i = 0; i < count; i++)
                                json_object_array_add(groups, json_object_new_int64(ids[i]));
        }
        json_object_object_add(parameters, "uid", json_object_new_int64((int64_t)uid));
        json_object_object_add(parameters, "groups", groups);
        return EXIT_OK;
}

static int run_why(const struct invocation *invocation) {
        struct json_object *parameters = parameter("from", invocation->arguments[0]), *reply;
        add_text(parameters, "vmId", invocation->arguments[1]);
        add_text(parameters, "service", invocation->arguments[2]);
        add_flag(parameters, "passthru", is_given(invocation, "passthru"));
        const char *user = value_of(invocation, "user", NULL);
        int r = user ? add_user(parameters, user) : EXIT_OK;
        if (r != EXIT_OK) {
                json_object_put(parameters);
                return r;
        }
        r = management_call("Why", parameters, &reply);
        if (r != EXIT_OK)
                return r;

        bool allowed = field_bool(reply, "allowed");
        const char *next = field_text(reply, "next");
        if (is_given(invocation, "json")) {
                r = print_json(reply);
        } else {
                printf("%s%s%s: %s\n", colour(allowed ? COLOUR_GOOD : COLOUR_BAD), allowed ? "yes" : "no",
                       colour(COLOUR_NONE), printable(field_text(reply, "text")));
                if (!allowed)
                        printf("  the caller is told: %s\n", printable(field_text(reply, "error")));
                if (allowed && *field_text(reply, "guest"))
                        printf("  whether it listens there, the guest of %s says\n", printable(field_text(reply, "guest")));
                if (*next)
                        printf("  try: %s\n", printable(next));
                r = finish_output();
        }
        json_object_put(reply);
        return r == EXIT_OK && !allowed ? EXIT_FAILED : r;
}

static const struct verb_option options[] = {
        {"user", 'u', "USER", "judge as this user (a name or a number), not as the caller"},
        {"passthru", 0, NULL, "as with HVSOCKET_CONTAINER_PASSTHRU"},
        OPTION_JSON,
        OPTIONS_END,
};

const struct verb verb_why = {.name = "why",
                              .synopsis = "FROM TO SERVICE",
                              .summary = "say whether FROM may connect to SERVICE in TO, and by which rule",
                              .details = "Connects nothing. TO is what FROM would dial: a partition or a word.",
                              .options = options,
                              .arguments_min = 3,
                              .arguments_max = 3,
                              .offers = {OFFERS_PARTITIONS, OFFERS_ADDRESSES, OFFERS_SERVICES},
                              .run = run_why};
