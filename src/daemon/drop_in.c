/* SPDX-License-Identifier: MIT */

/* One drop-in. */

#include "daemon/drop_in.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/activation.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *drop_in_directory(const struct world *world, unsigned directory) {
        return world->options.services[directory];
}

struct service_problem *problem_new(const struct world *world, unsigned directory, const char *file_name, unsigned line,
                                    const char *format, ...) {
        struct service_problem *problem = calloc(1, sizeof *problem);
        if (!problem)
                return NULL;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(problem->error.expected, sizeof problem->error.expected, format, arguments);
        va_end(arguments);
        problem->error.line = line;
        if (snprintf(problem->path, sizeof problem->path, "%s/%s", drop_in_directory(world, directory), file_name) >=
            (int)sizeof problem->path)
                strcpy(problem->path, file_name);
        log_write(LOG_LEVEL_ERROR, "%s:%u: %s", problem->path, line, problem->error.expected);
        return problem;
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

int drop_in_load(struct world *world, struct drop_in *drop_in, int directory_fd, struct revoked *ret_revoked) {
        cleanup(freep) char *text = NULL;
        struct service_definition definition;
        struct text_error error = {};
        struct stat status;
        size_t length;
        if (fstatat(directory_fd, drop_in->file_name, &status, 0) < 0) {
                int r = -errno;
                drop_in->status = (struct stat){};
                if (!drop_in->problem)
                        drop_in->problem = problem_new(world, drop_in->directory, drop_in->file_name, 0,
                                                       "expected a file that can be read: %s", strerror(-r));
                return r;
        }
        if (is_same_file(&status, &drop_in->status))
                return 0;
        drop_in->status = status;
        free(drop_in->problem);
        drop_in->problem = NULL;
        if (status.st_size == 0 && !S_ISFIFO(status.st_mode)) {
                drop_in_hide(world, drop_in);
                return 0;
        }
        int r = file_read(directory_fd, drop_in->file_name, SERVICE_FILE_MAX, &text, &length);
        if (!r)
                r = service_parse(&drop_in->service_id, text, length, world_principal_lookup, &definition, &error);
        else
                snprintf(error.expected, sizeof error.expected, "expected a file of at most %u bytes that can be read: %s",
                         SERVICE_FILE_MAX, strerror(-r));
        if (!r) {
                snprintf(definition.source, sizeof definition.source, "%s/%s", drop_in_directory(world, drop_in->directory),
                         drop_in->file_name);
                r = drop_in_apply(world, drop_in, &definition, ret_revoked);
                if (r == -ENOSPC)
                        snprintf(error.expected, sizeof error.expected, "expected at most %u services", SERVICES_MAX);
                else if (r < 0)
                        snprintf(error.expected, sizeof error.expected, "expected to add the service: %s", strerror(-r));
        }
        if (r < 0)
                drop_in->problem =
                        problem_new(world, drop_in->directory, drop_in->file_name, error.line, "%s", error.expected);
        return r;
}
