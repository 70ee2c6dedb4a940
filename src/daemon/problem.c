/* SPDX-License-Identifier: MIT */

/* What is wrong with the world's files. */

#include "daemon/problem.h"
#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_known(const struct problem *known, const struct problem *problem) {
        while (known && (strcmp(known->path, problem->path) || strcmp(known->text, problem->text)))
                known = known->next;
        return known;
}

void problem_add(struct problem **list, const struct problem *known, bool is_error, const char *directory,
                 const char *file_name, const struct text_error *error) {
        size_t size = strlen(directory) + strlen(file_name) + 2;
        struct problem *problem = malloc(sizeof *problem + size);
        if (!problem) {
                log_write(LOG_LEVEL_ERROR, "%s:%u: %s", file_name, error->line, error->expected);
                return;
        }
        *problem = (struct problem){.is_error = is_error, .line = error->line, .path = (char *)(problem + 1)};
        snprintf((char *)(problem + 1), size, "%s%s%s", directory, *directory ? "/" : "", file_name);
        memcpy(problem->text, error->expected, sizeof problem->text);
        if (!is_known(known, problem))
                log_write(is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s:%u: %s", problem->path, problem->line,
                          problem->text);
        while (*list)
                list = &(*list)->next;
        *list = problem;
}

void problem_add_notes(struct problem **list, const struct problem *known, const char *directory, const char *file_name,
                       const struct text_notes *notes) {
        for (unsigned i = 0; i < notes->count; i++)
                problem_add(list, known, false, directory, file_name, &notes->notes[i]);
}

struct problem *problems_free(struct problem *list) {
        while (list) {
                struct problem *problem = list;
                list = problem->next;
                free(problem);
        }
        return NULL;
}
