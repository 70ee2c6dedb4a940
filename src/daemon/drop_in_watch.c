/* SPDX-License-Identifier: MIT */

/* inotify on the drop-in directories. */

#include "daemon/drop_in_watch.h"
#include "base/fd.h"
#include "base/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define WATCH_ATTEMPTS_MAX 16 /* directories that appear while a watch is being placed */

/* IN_CREATE is for links; a file that is being written tells by IN_CLOSE_WRITE that it is complete. */
#define DIRECTORY_EVENTS \
        (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define ABOVE_EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)

struct drop_in_watch {
        struct source source;
        struct loop *loop;
        int fd;
        const char (*directories)[PATH_MAX];
        unsigned count;
        int watches[SERVICE_DIRECTORIES_MAX]; /* -1: none */
        bool is_above[SERVICE_DIRECTORIES_MAX];
        drop_in_changed changed;
        void *userdata;
};

/* A plain file that was just made and is still being written. */
static bool is_unfinished(const struct drop_in_watch *watch, const struct inotify_event *event) {
        if (event->mask != IN_CREATE)
                return false;
        for (unsigned i = 0; i < watch->count; i++) {
                char path[PATH_MAX + NAME_MAX + 2];
                struct stat status;
                if (watch->watches[i] != event->wd || watch->is_above[i])
                        continue;
                snprintf(path, sizeof path, "%s/%s", watch->directories[i], event->name);
                if (lstat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1)
                        return true;
        }
        return false;
}

static int watch_dispatch(struct source *source, uint32_t events) {
        struct drop_in_watch *watch = container_of(source, struct drop_in_watch, source);
        char buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)]
                __attribute__((aligned(__alignof__(struct inotify_event))));
        bool changed = false;
        ssize_t length = read(watch->fd, buffer, sizeof buffer);
        for (char *at = buffer; length > 0 && at < buffer + length;) {
                const struct inotify_event *event = (const struct inotify_event *)at;
                changed |= !is_unfinished(watch, event);
                at += sizeof *event + event->len;
        }
        if (changed)
                watch->changed(watch->userdata);
        return 0;
}

/* The directory itself, or the nearest above it. */
static int place_watch(const struct drop_in_watch *watch, const char *directory, bool *ret_above) {
        for (unsigned attempt = 0; attempt < WATCH_ATTEMPTS_MAX; attempt++) {
                char path[PATH_MAX];
                int above = -1;
                strcpy(path, directory);
                int wd = inotify_add_watch(watch->fd, path, DIRECTORY_EVENTS | IN_ONLYDIR | IN_MASK_ADD);
                if (wd >= 0) {
                        *ret_above = false;
                        return wd;
                }
                /* Up to what exists, then down again if the part below it appeared before the watch did. */
                for (char *slash; above < 0 && (slash = strrchr(path, '/'));) {
                        *slash = 0;
                        above = inotify_add_watch(watch->fd, *path ? path : "/", ABOVE_EVENTS | IN_ONLYDIR | IN_MASK_ADD);
                        if (above >= 0) {
                                *slash = '/';
                                if (access(path, F_OK) < 0) {
                                        *ret_above = true;
                                        return above;
                                }
                        }
                }
                if (above < 0)
                        break;
        }
        return -1;
}

void drop_in_watch_renew(struct drop_in_watch *watch) {
        int placed[SERVICE_DIRECTORIES_MAX];
        for (unsigned i = 0; i < watch->count; i++)
                placed[i] = place_watch(watch, watch->directories[i], &watch->is_above[i]);
        for (unsigned i = 0; i < watch->count; i++) {
                bool kept = watch->watches[i] < 0;
                for (unsigned j = 0; j < watch->count; j++)
                        kept |= placed[j] == watch->watches[i];
                if (!kept)
                        (void)inotify_rm_watch(watch->fd, watch->watches[i]);
        }
        memcpy(watch->watches, placed, sizeof placed[0] * watch->count);
}

int drop_in_watch_new(struct loop *loop, const char (*directories)[PATH_MAX], unsigned count, drop_in_changed changed,
                      void *userdata, struct drop_in_watch **ret_watch) {
        struct drop_in_watch *watch = calloc(1, sizeof *watch);
        if (!watch)
                return -ENOMEM;
        *watch = (struct drop_in_watch){
                .source = {.dispatch = watch_dispatch, .fd = -1},
                .loop = loop,
                .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC),
                .directories = directories,
                .count = count,
                .changed = changed,
                .userdata = userdata,
        };
        for (unsigned i = 0; i < count; i++)
                watch->watches[i] = -1;
        int r = watch->fd < 0 ? -errno : loop_add(loop, &watch->source, watch->fd, EPOLLIN);
        if (r < 0) {
                drop_in_watch_free(watch);
                return r;
        }
        drop_in_watch_renew(watch);
        *ret_watch = watch;
        return 0;
}

struct drop_in_watch *drop_in_watch_free(struct drop_in_watch *watch) {
        if (watch) {
                loop_remove(watch->loop, &watch->source);
                fd_close(watch->fd);
                free(watch);
        }
        return NULL;
}
