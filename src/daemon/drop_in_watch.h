/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Watches directories by inotify, those that do not exist yet through the
 * nearest directory above them that does. Says only that something changed: the
 * owner reads the directories again and calls drop_in_watch_renew(), since a
 * directory may have appeared or gone.
 */

#include "daemon/world.h"

struct drop_in_watch;

typedef void (*drop_in_changed)(void *userdata);

/* The paths are borrowed. */
int drop_in_watch_new(struct loop *loop, const char (*directories)[PATH_MAX], unsigned count, drop_in_changed changed,
                      void *userdata, struct drop_in_watch **ret_watch);
struct drop_in_watch *drop_in_watch_free(struct drop_in_watch *watch);
void drop_in_watch_renew(struct drop_in_watch *watch);
