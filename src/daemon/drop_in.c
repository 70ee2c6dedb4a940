/* SPDX-License-Identifier: MIT */

/* One drop-in. */

#include "daemon/drop_in.h"
#include "base/fd.h"
#include "base/log.h"
#include "broker/text.h"
#include "daemon/activation.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *drop_in_directory(const struct world *world, unsigned directory) {
        return world->options.services[directory];
}

void drop_in_hide(struct world *world, struct drop_in *drop_in) {
        if (!drop_in->service)
                return;
        log_write(LOG_LEVEL_INFO, "service %s is no longer registered", drop_in->service->definition.name);
        activation_forget(world, drop_in->service);
        registry_remove(world->broker, drop_in->service);
        drop_in->service = NULL;
}

/* Into the registry; a service that this disables loses what it has open. */
static int drop_in_apply(struct world *world, struct drop_in *drop_in, const struct service_definition *definition,
                         struct revoked *ret_revoked) {
        bool was_disabled = drop_in->service && !drop_in->service->definition.enabled;
        int r = registry_put(world->broker, definition, &drop_in->service);
        if (r < 0)
                return r;
        if (!definition->enabled && !was_disabled) {
                *ret_revoked = revoke_service(world, &definition->service_id);
                log_write(LOG_LEVEL_INFO, "service %s is disabled: ended %u listeners, %u channels remain", definition->name,
                          ret_revoked->listeners_ended, ret_revoked->channels_remaining);
        } else {
                log_write(LOG_LEVEL_INFO, "service %s from %s", definition->name, definition->source);
        }
        activation_update(world, drop_in->service);
        return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
               a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int drop_in_read(struct world *world, struct drop_in *drop_in, int directory_fd, const struct problem *known,
                        struct revoked *ret_revoked, struct text_error *error) {
        cleanup(freep) char *text = NULL;
        struct service_definition definition;
        struct text_notes notes;
        size_t length;
        const char *directory = drop_in_directory(world, drop_in->directory);
        int r = file_read(directory_fd, drop_in->file_name, SERVICE_FILE_MAX, &text, &length);
        if (r < 0) {
                (void)text_expected(error->expected, "expected a file of at most %u bytes that can be read: %s",
                                    SERVICE_FILE_MAX, strerror(-r));
                return r;
        }
        r = service_parse(&drop_in->service_id, text, length, world_principal_lookup, &definition, error, &notes);
        problem_add_notes(&drop_in->problems, known, directory, drop_in->file_name, &notes);
        if (r < 0)
                return r;
        snprintf(definition.source, sizeof definition.source, "%s/%s", directory, drop_in->file_name);
        r = drop_in_apply(world, drop_in, &definition, ret_revoked);
        error->line = 0;
        if (r == -ENOSPC)
                (void)text_expected(error->expected, "expected at most %u services", SERVICES_MAX);
        else if (r < 0)
                (void)text_expected(error->expected, "expected to add the service: %s", strerror(-r));
        return r;
}

int drop_in_load(struct world *world, struct drop_in *drop_in, int directory_fd, struct revoked *ret_revoked) {
        struct text_error error = {};
        struct stat status;
        int r = fstatat(directory_fd, drop_in->file_name, &status, 0) < 0 ? -errno : 0;
        if (r < 0) {
                status = (struct stat){};
                (void)text_expected(error.expected, "expected a file that can be read: %s", strerror(-r));
        } else if (is_same_file(&status, &drop_in->status)) {
                return 0;
        }
        struct problem *known = drop_in->problems;
        drop_in->problems = NULL;
        drop_in->status = status;
        if (!r && status.st_size == 0 && !S_ISFIFO(status.st_mode))
                drop_in_hide(world, drop_in);
        else if (!r)
                r = drop_in_read(world, drop_in, directory_fd, known, ret_revoked, &error);
        if (r < 0) {
                problem_add(&drop_in->problems, known, true, drop_in_directory(world, drop_in->directory),
                            drop_in->file_name, &error);
                drop_in->status = (struct stat){}; /* a user or a descriptor that was missing may be there the next time */
        }
        problems_free(known);
        return r;
}
