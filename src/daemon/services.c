/* SPDX-License-Identifier: MIT */

/* Drop-ins: see services.h for what counts. */

#include "daemon/services.h"
#include "base/fd.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/log.h"
#include "daemon/activation.h"
#include "daemon/drop_in_watch.h"
#include "daemon/place.h"
#include "daemon/revoke.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

/* One ServiceId and the file that counts for it. */
struct drop_in {
        struct table_link link;
        GUID service_id;
        unsigned directory;        /* index of the directory the file is in */
        char file_name[NAME_MAX + 1];
        struct stat status;        /* as last read, to see whether it changed */
        bool seen;                 /* by the reading that goes on */
        struct service *service;   /* NULL while hidden or never right */
        struct service_problem *problem;
};

struct services {
        struct world *world;
        struct table drop_ins;                  /* by ServiceId */
        struct service_problem *name_problems;  /* files whose name is no ServiceId */
        struct service_problem *problems;       /* all, as listed */
        struct drop_in_watch *watch;
        struct timer debounce;
};

static struct drop_in *drop_in_of(struct table_link *link) {
        return link ? container_of(link, struct drop_in, link) : NULL;
}

static const char *directory_path(const struct services *services, unsigned directory) {
        return services->world->options.services[directory];
}

/* Problems. */

__attribute__((format(printf, 5, 6)))
static struct service_problem *problem_new(const struct services *services, unsigned directory, const char *file_name,
                                           unsigned line, const char *format, ...) {
        struct service_problem *problem = calloc(1, sizeof *problem);
        if (!problem)
                return NULL;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(problem->error.expected, sizeof problem->error.expected, format, arguments);
        va_end(arguments);
        problem->error.line = line;
        if (snprintf(problem->path, sizeof problem->path, "%s/%s", directory_path(services, directory), file_name) >=
            (int)sizeof problem->path)
                strcpy(problem->path, file_name);
        log_write(LOG_LEVEL_ERROR, "%s:%u: %s", problem->path, line, problem->error.expected);
        return problem;
}

static void name_problems_free(struct services *services) {
        while (services->name_problems) {
                struct service_problem *problem = services->name_problems;
                services->name_problems = problem->next;
                free(problem);
        }
        services->problems = NULL;
}

/* Strings all problems together for world_service_problems(). */
static void problems_link(struct services *services) {
        services->problems = services->name_problems;
        for (struct table_link *link = NULL; (link = table_next(&services->drop_ins, link));) {
                struct service_problem *problem = drop_in_of(link)->problem;
                if (problem) {
                        problem->next = services->problems;
                        services->problems = problem;
                }
        }
}

const struct service_problem *world_service_problems(const struct world *world) {
        return world->services->problems;
}

/* One drop-in. */

static struct drop_in *drop_in_find(const struct services *services, const GUID *service_id) {
        uint64_t hash = table_hash(&services->drop_ins, service_id, sizeof *service_id);
        for (struct table_link *link = NULL; (link = table_find(&services->drop_ins, hash, link));)
                if (guid_equal(&drop_in_of(link)->service_id, service_id))
                        return drop_in_of(link);
        return NULL;
}

static struct drop_in *drop_in_get(struct services *services, const GUID *service_id) {
        struct drop_in *drop_in = drop_in_find(services, service_id);
        if (drop_in)
                return drop_in;
        drop_in = calloc(1, sizeof *drop_in);
        if (!drop_in)
                return NULL;
        drop_in->service_id = *service_id;
        uint64_t hash = table_hash(&services->drop_ins, service_id, sizeof *service_id);
        if (table_insert(&services->drop_ins, &drop_in->link, hash) < 0) {
                free(drop_in);
                return NULL;
        }
        return drop_in;
}

static void drop_in_hide(struct services *services, struct drop_in *drop_in) {
        if (!drop_in->service)
                return;
        log_write(LOG_LEVEL_INFO, "service %s is no longer registered", drop_in->service->definition.name);
        activation_forget(services->world, drop_in->service);
        registry_remove(services->world->broker, drop_in->service);
        drop_in->service = NULL;
}

static void drop_in_free(struct services *services, struct drop_in *drop_in) {
        table_remove(&services->drop_ins, &drop_in->link);
        free(drop_in->problem);
        free(drop_in);
}

/* Into the registry; a service that this disables loses what it has open. */
static int drop_in_apply(struct services *services, struct drop_in *drop_in, const struct service_definition *definition,
                         struct revoked *ret_revoked) {
        struct world *world = services->world;
        bool was_enabled = drop_in->service && drop_in->service->definition.enabled;
        int r = registry_put(world->broker, definition, &drop_in->service);
        if (r < 0)
                return r;
        if (was_enabled && !definition->enabled) {
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

/* Reads the file that counts, unless it is as it was. A mistake in it is -EINVAL and a problem. */
static int drop_in_load(struct services *services, struct drop_in *drop_in, int directory_fd, struct revoked *ret_revoked) {
        cleanup(freep) char *text = NULL;
        struct service_definition definition;
        struct text_error error = {};
        struct stat status;
        size_t length;
        if (fstatat(directory_fd, drop_in->file_name, &status, 0) < 0) {
                int r = -errno;
                drop_in->status = (struct stat){};
                if (!drop_in->problem)
                        drop_in->problem = problem_new(services, drop_in->directory, drop_in->file_name, 0,
                                                       "expected a file that can be read: %s", strerror(-r));
                return r;
        }
        if (is_same_file(&status, &drop_in->status))
                return 0;
        drop_in->status = status;
        free(drop_in->problem);
        drop_in->problem = NULL;
        if (status.st_size == 0 && !S_ISFIFO(status.st_mode)) {
                drop_in_hide(services, drop_in);
                return 0;
        }
        int r = file_read(directory_fd, drop_in->file_name, SERVICE_FILE_MAX, &text, &length);
        if (!r)
                r = service_parse(&drop_in->service_id, text, length, world_principal_lookup, &definition, &error);
        else
                snprintf(error.expected, sizeof error.expected, "expected a file of at most %u bytes that can be read: %s",
                         SERVICE_FILE_MAX, strerror(-r));
        if (!r) {
                snprintf(definition.source, sizeof definition.source, "%s/%s", directory_path(services, drop_in->directory),
                         drop_in->file_name);
                r = drop_in_apply(services, drop_in, &definition, ret_revoked);
                if (r == -ENOSPC)
                        snprintf(error.expected, sizeof error.expected, "expected at most %u services", SERVICES_MAX);
                else if (r < 0)
                        snprintf(error.expected, sizeof error.expected, "expected to add the service: %s", strerror(-r));
        }
        if (r < 0)
                drop_in->problem =
                        problem_new(services, drop_in->directory, drop_in->file_name, error.line, "%s", error.expected);
        return r;
}

/* All drop-ins. */

/* A name that ends in .conf and does not begin with a dot. */
static bool is_drop_in_name(const char *name) {
        const char *dot = strrchr(name, '.');
        return name[0] != '.' && dot && !strcmp(dot, ".conf");
}

static bool service_id_of(const char *file_name, GUID *ret) {
        char stem[HV_GUID_TEXT_SIZE];
        size_t length = strlen(file_name) - strlen(".conf");
        if (length != sizeof stem - 1)
                return false;
        memcpy(stem, file_name, length);
        stem[length] = 0;
        return guid_parse(stem, ret) == 0 && !guid_is_zero(ret);
}

static void add_name_problem(struct services *services, unsigned directory, const char *file_name, const char *expected) {
        struct service_problem *problem = problem_new(services, directory, file_name, 0, "%s", expected);
        if (problem) {
                problem->next = services->name_problems;
                services->name_problems = problem;
        }
}

static void read_file(struct services *services, unsigned directory, int directory_fd, const char *file_name) {
        GUID service_id;
        struct revoked ignored;
        if (!is_drop_in_name(file_name))
                return;
        if (!service_id_of(file_name, &service_id)) {
                add_name_problem(services, directory, file_name, "expected a file name <ServiceId>.conf");
                return;
        }
        struct drop_in *drop_in = drop_in_get(services, &service_id);
        if (!drop_in)
                return;
        if (drop_in->seen) {
                if (drop_in->directory == directory)
                        add_name_problem(services, directory, file_name, "expected one file for a ServiceId");
                return;
        }
        drop_in->seen = true;
        drop_in->directory = directory;
        strcpy(drop_in->file_name, file_name);
        (void)drop_in_load(services, drop_in, directory_fd, &ignored);
}

static void read_directory(struct services *services, unsigned index) {
        const char *path = directory_path(services, index);
        DIR *directory = opendir(path);
        if (!directory) {
                if (errno != ENOENT)
                        log_write(LOG_LEVEL_ERROR, "%s: %s", path, strerror(errno));
                return;
        }
        for (struct dirent *entry; (entry = readdir(directory));)
                read_file(services, index, dirfd(directory), entry->d_name);
        closedir(directory);
}

void services_reload(struct world *world) {
        struct services *services = world->services;
        loop_disarm(world->loop, &services->debounce);
        name_problems_free(services);
        for (struct table_link *link = NULL; (link = table_next(&services->drop_ins, link));)
                drop_in_of(link)->seen = false;
        for (unsigned i = 0; i < world->options.service_directory_count; i++)
                read_directory(services, i);
        for (struct table_link *link = table_next(&services->drop_ins, NULL), *next; link; link = next) {
                next = table_next(&services->drop_ins, link);
                struct drop_in *drop_in = drop_in_of(link);
                if (!drop_in->seen) {
                        drop_in_hide(services, drop_in);
                        drop_in_free(services, drop_in);
                }
        }
        problems_link(services);
}

static int debounced(struct timer *timer) {
        struct services *services = container_of(timer, struct services, debounce);
        drop_in_watch_renew(services->watch);
        services_reload(services->world);
        return 0;
}

static void on_change(void *userdata) {
        struct services *services = userdata;
        if (!services->debounce.deadline_ms)
                loop_arm(services->world->loop, &services->debounce, SERVICES_DEBOUNCE_MS);
}

/* Changing. */

/* The first directory, made if it is missing. */
static int open_first(const struct services *services, int *ret_fd) {
        const char *path = directory_path(services, 0);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
                *ret_fd = fd;
                return 0;
        }
        return errno == ENOENT ? place_directory(path, 0755, ret_fd) : -errno;
}

/* The text that a new one is to keep comments and unknown keys of; NULL when there is none. */
static char *old_text(const struct services *services, const struct drop_in *drop_in) {
        char *text = NULL;
        size_t length;
        cleanup(fd_closep) int fd = open(directory_path(services, drop_in->directory), O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (!drop_in->file_name[0] || fd < 0 || file_read(fd, drop_in->file_name, SERVICE_FILE_MAX, &text, &length) < 0)
                return NULL;
        return text;
}

static int save(struct world *world, const struct service_definition *definition, struct drop_in *drop_in,
                struct revoked *ret_revoked) {
        struct services *services = world->services;
        struct service_definition checked;
        struct text_error error;
        cleanup(freep) char *text = NULL, *old = old_text(services, drop_in);
        cleanup(fd_closep) int directory_fd = -1;
        int r = service_format(definition, old, &text);
        if (r < 0)
                return r;
        r = service_parse(&definition->service_id, text, strlen(text), world_principal_lookup, &checked, &error);
        if (r < 0) {
                log_write(LOG_LEVEL_NOTICE, "not saving service %s: %s", definition->name, error.expected);
                return r;
        }
        r = open_first(services, &directory_fd);
        if (r < 0)
                return r;
        if (drop_in->directory != 0 || !drop_in->file_name[0]) {
                char guid[HV_GUID_TEXT_SIZE];
                guid_format(&definition->service_id, guid);
                snprintf(drop_in->file_name, sizeof drop_in->file_name, "%s.conf", guid);
                drop_in->directory = 0;
        }
        r = file_replace(directory_fd, drop_in->file_name, text, strlen(text), 0644);
        return r < 0 ? r : drop_in_load(services, drop_in, directory_fd, ret_revoked);
}

static int save_service(struct world *world, const struct service_definition *definition, struct service **ret,
                        struct revoked *ret_revoked) {
        struct services *services = world->services;
        struct service_definition complete = *definition;
        int r = guid_is_zero(&complete.service_id) ? guid_new(&complete.service_id) : 0;
        if (r < 0)
                return r;
        struct drop_in *drop_in = drop_in_get(services, &complete.service_id);
        if (!drop_in)
                return -ENOMEM;
        r = save(world, &complete, drop_in, ret_revoked);
        problems_link(services);
        if (!drop_in->service && !drop_in->problem) {
                drop_in_free(services, drop_in);
                return r < 0 ? r : -EIO;
        }
        if (!r && ret)
                *ret = drop_in->service;
        return r;
}

int world_save_service(struct world *world, const struct service_definition *definition, struct service **ret) {
        struct revoked ignored;
        return save_service(world, definition, ret, &ignored);
}

int world_set_service_enabled(struct world *world, struct service *service, bool enabled, unsigned *ret_listeners_ended,
                              unsigned *ret_channels_remaining) {
        struct service_definition definition = service->definition;
        struct revoked revoked = {};
        definition.enabled = enabled;
        int r = save_service(world, &definition, NULL, &revoked);
        if (r < 0)
                return r;
        *ret_listeners_ended = revoked.listeners_ended;
        *ret_channels_remaining = revoked.channels_remaining;
        return 0;
}

/* Whether a directory after the first has a file for this name. */
static bool is_defined_below(const struct services *services, const char *file_name) {
        for (unsigned i = 1; i < services->world->options.service_directory_count; i++) {
                cleanup(fd_closep) int fd = open(directory_path(services, i), O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (fd >= 0 && faccessat(fd, file_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                        return true;
        }
        return false;
}

int world_remove_service(struct world *world, struct service *service) {
        struct services *services = world->services;
        struct drop_in *drop_in = drop_in_find(services, &service->definition.service_id);
        cleanup(fd_closep) int directory_fd = -1;
        int r = drop_in ? open_first(services, &directory_fd) : -ENOENT;
        if (r < 0)
                return r;
        if (is_defined_below(services, drop_in->file_name)) {
                (void)unlinkat(directory_fd, ".mask.new", 0);
                if (symlinkat("/dev/null", directory_fd, ".mask.new") < 0 ||
                    renameat(directory_fd, ".mask.new", directory_fd, drop_in->file_name) < 0)
                        return -errno;
        } else if (unlinkat(directory_fd, drop_in->file_name, 0) < 0 && errno != ENOENT) {
                return -errno;
        }
        services_reload(world);
        return 0;
}

int services_open(struct world *world) {
        uint8_t key[16];
        struct services *services = calloc(1, sizeof *services);
        if (!services)
                return -ENOMEM;
        *services = (struct services){.world = world, .debounce = {.expire = debounced}};
        int r = getrandom(key, sizeof key, 0) == sizeof key ? table_init(&services->drop_ins, key) : -errno;
        if (r < 0) {
                free(services);
                return r;
        }
        world->services = services;
        r = drop_in_watch_new(world->loop, world->options.services, world->options.service_directory_count, on_change,
                              services, &services->watch);
        if (r < 0) {
                log_write(LOG_LEVEL_ERROR, "cannot watch the service directories: %s", strerror(-r));
                return r;
        }
        services_reload(world);
        return 0;
}

void services_close(struct world *world) {
        struct services *services = world->services;
        if (!services)
                return;
        loop_disarm(world->loop, &services->debounce);
        drop_in_watch_free(services->watch);
        name_problems_free(services);
        for (struct table_link *link; (link = table_next(&services->drop_ins, NULL));)
                drop_in_free(services, drop_in_of(link));
        table_deinit(&services->drop_ins);
        free(services);
        world->services = NULL;
}
