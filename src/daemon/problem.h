/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What is wrong with the world's files: told to the log once, and to whoever
 * asks the management interface as long as it is so.
 */

#include "broker/registry.h"

struct problem {
        struct problem *next;
        bool is_error; /* what the file says is not in force; else it is, but for this */
        unsigned line; /* 0: the file as a whole */
        const char *path;
        char text[TEXT_EXPECTED_SIZE];
};

typedef void (*problem_each)(const struct problem *problem, void *userdata);

/* Logged, unless `known` holds the same. Without memory the log alone is told. "" is no directory. */
void problem_add(struct problem **list, const struct problem *known, bool is_error, const char *directory,
                 const char *file_name, const struct text_error *error);
void problem_add_notes(struct problem **list, const struct problem *known, const char *directory, const char *file_name,
                       const struct text_notes *notes);
/* Returns NULL. */
struct problem *problems_free(struct problem *list);
