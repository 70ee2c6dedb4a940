/* SPDX-License-Identifier: MIT */
#pragma once

/* Walking through a caller's vector of buffers while bytes are copied from or to it. */

#include "ring/copy.h"
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct span_walk {
        const struct iovec *vector;
        size_t at;   /* bytes of *vector that are behind */
        size_t left; /* bytes in all that are ahead */
};

static inline struct span_walk span_walk(const struct iovec *vector, size_t count) {
        struct span_walk walk = {.vector = vector};
        for (size_t i = 0; i < count; i++)
                walk.left += vector[i].iov_len;
        return walk;
}

/* The next bytes that lie together, at most `size`. */
static inline uint8_t *span_next(struct span_walk *walk, size_t size, size_t *ret_size) {
        while (walk->at == walk->vector->iov_len) {
                walk->vector++;
                walk->at = 0;
        }
        size_t here = walk->vector->iov_len - walk->at;
        uint8_t *bytes = (uint8_t *)walk->vector->iov_base + walk->at;
        *ret_size = here < size ? here : size;
        walk->at += *ret_size;
        walk->left -= *ret_size;
        return bytes;
}

static inline void span_copy_out(struct span_walk *walk, uint8_t *to, size_t size, bool is_past_caches) {
        for (size_t part; size; to += part, size -= part) {
                const uint8_t *from = span_next(walk, size, &part);
                copy_into_ring(to, from, part, is_past_caches);
        }
}

static inline void span_copy_in(struct span_walk *walk, const uint8_t *from, size_t size) {
        for (size_t part; size; from += part, size -= part) {
                uint8_t *to = span_next(walk, size, &part);
                memcpy(to, from, part);
        }
}
