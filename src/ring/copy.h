/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Copying into a ring.
 *
 * Theory of operation. What a core has written stays in its own cache, from where
 * another core fetches it line by line. On AMD's processors that is slower than
 * memory: measured on one of Zen 4, a ring between two cores moves 8 GB/s, 2 if
 * they share no cache at all, but 16 if the sender's stores go past the caches.
 * On Intel's it is the other way round, and to a receiver on the same core
 * nothing is quicker than the cache. Short copies are best left there too: they
 * would wait for memory to have taken them before they may be published.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COPY_PAST_CACHES_MIN 2048u

#ifdef __SSE2__
#include <emmintrin.h>

#define COPY_LINE 64u

static inline bool copy_pays_past_caches(void) {
        return __builtin_cpu_is("amd");
}

/* What was copied past the caches is there for who sees what is stored from here on. */
static inline void copy_fence(void) {
        _mm_sfence();
}

/* A line at least. copy_fence() follows, at the latest before anybody is told. */
static inline void copy_past_caches(uint8_t *to, const uint8_t *from, size_t size) {
        size_t before = -(uintptr_t)to % COPY_LINE;
        memcpy(to, from, before);
        to += before, from += before, size -= before;
        for (; size >= COPY_LINE; to += COPY_LINE, from += COPY_LINE, size -= COPY_LINE)
                for (size_t i = 0; i < COPY_LINE; i += sizeof(__m128i))
                        _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
        memcpy(to, from, size);
}
#else
static inline void copy_fence(void) {
}

static inline bool copy_pays_past_caches(void) {
        return false;
}

static inline void copy_past_caches(uint8_t *to, const uint8_t *from, size_t size) {
        memcpy(to, from, size);
}
#endif

static inline void copy_into_ring(uint8_t *to, const uint8_t *from, size_t size, bool is_past_caches) {
        if (is_past_caches && size >= COPY_PAST_CACHES_MIN) {
                copy_past_caches(to, from, size);
                copy_fence();
        } else {
                memcpy(to, from, size);
        }
}
