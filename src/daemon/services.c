/* SPDX-License-Identifier: MIT */

/* Drop-ins: see services.h for what counts. */

#include "daemon/services.h"
#include "base/fd.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/log.h"
#include "broker/key_file.h"
#include "daemon/drop_in.h"
#include "daemon/drop_in_watch.h"
#include "daemon/place.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

struct services {
        struct world *world;
        struct table drop_ins;                  /* by ServiceId */
        struct problem *name_problems;          /* files whose name is no ServiceId */
        struct problem *old_name_problems;      /* while they are read again */
        struct drop_in_watch *watch;
        struct timer debounce;
};

static struct drop_in *drop_in_of(struct table_link *link) {
        return link ? container_of(link, struct drop_in, link) : NULL;
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

static void drop_in_free(struct services *services, struct drop_in *drop_in) {
        table_remove(&services->drop_ins, &drop_in->link);
        problems_free(drop_in->problems);
        free(drop_in);
}

/* All drop-ins. */

static void add_name_problem(struct services *services, unsigned directory, const char *file_name, const char *expected) {
        struct text_error error = {};
        strcpy(error.expected, expected);
        problem_add(&services->name_problems, services->old_name_problems, true,
                    drop_in_directory(services->world, directory), file_name, &error);
}

/* No change will tell when there are descriptors or memory again. */
static void note_shortage(struct services *services, int error) {
        if (error == -EMFILE || error == -ENFILE || error == -ENOMEM)
                loop_arm(services->world->loop, &services->debounce, SERVICES_RETRY_MS);
}

static void read_file(struct services *services, unsigned directory, int directory_fd, const char *file_name) {
        GUID service_id;
        struct revoked ignored;
        if (!key_file_is_named_so(file_name))
                return;
        if (key_file_guid(file_name, &service_id) < 0 || guid_is_zero(&service_id)) {
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
        note_shortage(services, drop_in_load(services->world, drop_in, directory_fd, &ignored));
}

/* What nobody can look at is as it was, and so is each service that it has. */
static void keep_directory(struct services *services, unsigned index, int error) {
        char expected[TEXT_EXPECTED_SIZE];
        (void)text_expected(expected, "expected a directory that can be read: %s", strerror(-error));
        add_name_problem(services, index, "", expected);
        for (struct table_link *link = NULL; (link = table_next(&services->drop_ins, link));)
                if (drop_in_of(link)->directory == index)
                        drop_in_of(link)->seen = true;
}

static void read_directory(struct services *services, unsigned index) {
        DIR *directory = opendir(drop_in_directory(services->world, index));
        if (!directory) {
                if (errno == ENOENT)
                        return;
                note_shortage(services, -errno);
                keep_directory(services, index, -errno);
                return;
        }
        for (struct dirent *entry; (entry = readdir(directory));)
                read_file(services, index, dirfd(directory), entry->d_name);
        closedir(directory);
}

void services_reload(struct world *world) {
        struct services *services = world->services;
        loop_disarm(world->loop, &services->debounce);
        services->old_name_problems = services->name_problems;
        services->name_problems = NULL;
        for (struct table_link *link = NULL; (link = table_next(&services->drop_ins, link));)
                drop_in_of(link)->seen = false;
        for (unsigned i = 0; i < world->options.service_directory_count; i++)
                read_directory(services, i);
        for (struct table_link *link = table_next(&services->drop_ins, NULL), *next; link; link = next) {
                next = table_next(&services->drop_ins, link);
                struct drop_in *drop_in = drop_in_of(link);
                if (!drop_in->seen) {
                        drop_in_hide(services->world, drop_in);
                        drop_in_free(services, drop_in);
                }
        }
        services->old_name_problems = problems_free(services->old_name_problems);
}

static void tell_problems(const struct problem *problems, problem_each each, void *userdata) {
        for (; problems; problems = problems->next)
                each(problems, userdata);
}

void services_problems(const struct world *world, const GUID *service_id, problem_each each, void *userdata) {
        const struct services *services = world->services;
        if (service_id) {
                const struct drop_in *drop_in = drop_in_find(services, service_id);
                tell_problems(drop_in ? drop_in->problems : NULL, each, userdata);
                return;
        }
        tell_problems(services->name_problems, each, userdata);
        for (struct table_link *link = NULL; (link = table_next(&services->drop_ins, link));)
                tell_problems(drop_in_of(link)->problems, each, userdata);
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
        const char *path = drop_in_directory(services->world, 0);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
                *ret_fd = fd;
                return 0;
        }
        return errno == ENOENT ? place_directory(path, 0755, ret_fd) : -errno;
}

/* What it says is for its writer to mend: nobody else knows who may use a service that was never in force. */
static int check_known(const struct drop_in *drop_in, struct text_error *ret_error) {
        for (const struct problem *problem = drop_in->problems; problem && !drop_in->service; problem = problem->next)
                if (problem->is_error)
                        return text_expected(ret_error->expected, "expected line %u of %s to be mended first: %s",
                                             problem->line, drop_in->file_name, problem->text);
        return 0;
}

/* The text that a new one is to keep comments and unknown keys of; NULL when there is none. */
static char *old_text(const struct services *services, const struct drop_in *drop_in) {
        char *text = NULL;
        size_t length;
        cleanup(fd_closep) int fd = open(drop_in_directory(services->world, drop_in->directory), O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (!drop_in->file_name[0] || fd < 0 || file_read(fd, drop_in->file_name, SERVICE_FILE_MAX, &text, &length) < 0)
                return NULL;
        return text;
}

static int save(struct world *world, const struct service_definition *definition, struct drop_in *drop_in,
                struct revoked *ret_revoked, struct text_error *ret_error) {
        struct services *services = world->services;
        struct service_definition checked;
        struct text_notes notes;
        cleanup(freep) char *text = NULL, *old = old_text(services, drop_in);
        cleanup(fd_closep) int directory_fd = -1;
        int r = check_known(drop_in, ret_error);
        if (!r)
                r = service_format(definition, old, &text);
        if (r < 0)
                return r;
        r = service_parse(&definition->service_id, text, strlen(text), world_principal_lookup, &checked, ret_error, &notes);
        if (r < 0)
                return r;
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
        return r < 0 ? r : drop_in_load(services->world, drop_in, directory_fd, ret_revoked);
}

static int save_service(struct world *world, const struct service_definition *definition, struct service **ret,
                        struct revoked *ret_revoked, struct text_error *ret_error) {
        struct services *services = world->services;
        struct service_definition complete = *definition;
        int r = guid_is_zero(&complete.service_id) ? guid_new(&complete.service_id) : 0;
        if (r < 0)
                return r;
        struct drop_in *drop_in = drop_in_get(services, &complete.service_id);
        if (!drop_in)
                return -ENOMEM;
        r = save(world, &complete, drop_in, ret_revoked, ret_error);
        if (!drop_in->service && !drop_in->problems) {
                drop_in_free(services, drop_in);
                return r < 0 ? r : -EIO;
        }
        if (!r && ret)
                *ret = drop_in->service;
        return r;
}

int world_save_service(struct world *world, const struct service_definition *definition, struct service **ret,
                       struct text_error *ret_error) {
        struct revoked ignored;
        return save_service(world, definition, ret, &ignored, ret_error);
}

int world_set_service_enabled(struct world *world, struct service *service, bool enabled, unsigned *ret_listeners_ended,
                              unsigned *ret_channels_remaining, struct text_error *ret_error) {
        struct service_definition definition = service->definition;
        struct revoked revoked = {};
        definition.enabled = enabled;
        int r = save_service(world, &definition, NULL, &revoked, ret_error);
        if (r < 0)
                return r;
        *ret_listeners_ended = revoked.listeners_ended;
        *ret_channels_remaining = revoked.channels_remaining;
        return 0;
}

static bool has_file_for(DIR *directory, const GUID *service_id) {
        GUID named;
        for (struct dirent *entry; (entry = readdir(directory));)
                if (key_file_guid(entry->d_name, &named) == 0 && guid_equal(&named, service_id))
                        return true;
        return false;
}

/* Whether a directory after the first has a file for this ServiceId, in whatever case. */
static bool is_defined_below(const struct services *services, const GUID *service_id) {
        bool found = false;
        for (unsigned i = 1; i < services->world->options.service_directory_count && !found; i++) {
                DIR *directory = opendir(drop_in_directory(services->world, i));
                found = directory && has_file_for(directory, service_id);
                if (directory)
                        closedir(directory);
        }
        return found;
}

int world_remove_service(struct world *world, const GUID *service_id) {
        struct services *services = world->services;
        struct drop_in *drop_in = drop_in_find(services, service_id);
        cleanup(fd_closep) int directory_fd = -1;
        bool is_there = drop_in && (drop_in->service || drop_in->problems);
        int r = is_there ? open_first(services, &directory_fd) : -ENOENT;
        if (r < 0)
                return r;
        if (is_defined_below(services, service_id)) {
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
        problems_free(services->name_problems);
        for (struct table_link *link; (link = table_next(&services->drop_ins, NULL));)
                drop_in_free(services, drop_in_of(link));
        table_deinit(&services->drop_ins);
        free(services);
        world->services = NULL;
}
