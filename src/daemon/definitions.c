/* SPDX-License-Identifier: MIT */

/* Partition definitions on disk. */

#include "daemon/definitions.h"
#include "base/fd.h"
#include "base/guid.h"
#include "broker/key_file.h"
#include "daemon/partition_file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME_SIZE (HV_GUID_TEXT_SIZE + sizeof ".conf" - 1)

static void file_name_of(const GUID *vm_id, char ret_name[FILE_NAME_SIZE]) {
        char guid[HV_GUID_TEXT_SIZE];
        guid_format(vm_id, guid);
        snprintf(ret_name, FILE_NAME_SIZE, "%s.conf", guid);
}

/* A partition has one file name, so that removing it removes its definition. */
static bool vm_id_of(const char *name, GUID *ret_vm_id) {
        char canonical[FILE_NAME_SIZE];
        if (key_file_guid(name, ret_vm_id) < 0)
                return false;
        file_name_of(ret_vm_id, canonical);
        return !strcmp(name, canonical);
}

int definition_save(int directory_fd, const struct partition_definition *definition) {
        char name[FILE_NAME_SIZE], text[PARTITION_TEXT_SIZE];
        file_name_of(&definition->vm_id, name);
        return file_replace(directory_fd, name, text, partition_format(definition, text), 0644);
}

int definition_add_cid(int directory_fd, const struct partition_definition *definition) {
        char name[FILE_NAME_SIZE];
        cleanup(freep) char *text = NULL, *longer = NULL;
        size_t length;
        file_name_of(&definition->vm_id, name);
        int r = file_read(directory_fd, name, PARTITION_FILE_MAX, &text, &length);
        if (r < 0)
                return r;
        bool ends = length && text[length - 1] == '\n';
        int longer_length = asprintf(&longer, "%s%sCid=%" PRIu64 "\n", text, ends ? "" : "\n", definition->cid);
        return longer_length < 0 ? -ENOMEM : file_replace(directory_fd, name, longer, (size_t)longer_length, 0644);
}

int definition_remove(int directory_fd, const GUID *vm_id) {
        char name[FILE_NAME_SIZE];
        file_name_of(vm_id, name);
        return unlinkat(directory_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int definition_read(int directory_fd, const char *name, struct partition_definition *ret,
                           struct text_error *ret_error, struct text_notes *ret_notes) {
        cleanup(freep) char *text = NULL;
        size_t length;
        GUID vm_id;
        if (!vm_id_of(name, &vm_id))
                return text_expected(ret_error->expected, "expected a file name <VmId>.conf, in lower case");
        int r = file_read(directory_fd, name, PARTITION_FILE_MAX, &text, &length);
        if (!r)
                return partition_parse(&vm_id, text, length, ret, ret_error, ret_notes);
        (void)text_expected(ret_error->expected, "expected a file of at most %u bytes that can be read: %s",
                            PARTITION_FILE_MAX, strerror(-r));
        return r;
}

static int definition_load(int directory_fd, const char *path, const char *name, struct problem **problems,
                           struct partition_definition *ret) {
        struct text_error error = {};
        struct text_notes notes = {};
        int r = definition_read(directory_fd, name, ret, &error, &notes);
        problem_add_notes(problems, NULL, path, name, &notes);
        if (r < 0)
                problem_add(problems, NULL, true, path, name, &error);
        return r;
}

int definitions_read(int directory_fd, const char *path, struct problem **problems, struct found **ret_found,
                     size_t *ret_count, size_t *ret_wrong) {
        struct found *found = NULL;
        size_t count = 0, room = 0, wrong = 0;
        int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);
        if (!directory) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        for (struct dirent *entry; (entry = readdir(directory));) {
                struct partition_definition definition;
                if (!key_file_is_named_so(entry->d_name))
                        continue;
                if (definition_load(directory_fd, path, entry->d_name, problems, &definition) < 0) {
                        wrong++;
                        continue;
                }
                if (count == room) {
                        room = room ? 2 * room : 16;
                        struct found *grown = reallocarray(found, room, sizeof *found);
                        if (!grown) {
                                r = -ENOMEM;
                                break;
                        }
                        found = grown;
                }
                found[count++] = (struct found){.definition = definition};
        }
        closedir(directory);
        if (r < 0) {
                free(found);
                return r;
        }
        *ret_found = found;
        *ret_count = count;
        *ret_wrong = wrong;
        return 0;
}
