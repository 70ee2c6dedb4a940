/* SPDX-License-Identifier: MIT */
#pragma once

/* The mount namespace of a command that is one partition. 0 or -errno; nothing is told. */

#include <limits.h>
#include <stddef.h>

#define COVERS_MAX 20

/* Absolute paths of directories that the command shall find empty. Those that are not there do not matter. */
struct covers {
        size_t count;
        char paths[COVERS_MAX][PATH_MAX];
};

/* Tries namespace_enter() in a child: where half of it is forbidden, this process stays as it was. */
int namespace_probe(const char *directory, struct covers *covers);
/*
 * Covers all of `covers`, then binds `directory` in again at its own path, read-only. After a failure the process
 * is between two worlds and must end.
 */
int namespace_enter(const char *directory, struct covers *covers);
