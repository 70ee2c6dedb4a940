/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The daemon's event loop: one thread, one epoll set, timers and children.
 *
 * A source is owned by its maker and lives inside the maker's struct. Callbacks
 * return 0, or a negative errno that ends the loop: only for faults of the
 * daemon itself, never for what a client did. A source may be removed from
 * inside any callback; events already fetched for it are dropped.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

struct source {
        int (*dispatch)(struct source *source, uint32_t events);
        int fd; /* -1 while not in the set; borrowed */
};

struct timer {
        int (*expire)(struct timer *timer);
        int64_t deadline_ms; /* loop_now_ms()'s clock; 0 while not armed */
        struct timer *next;
};

struct child {
        void (*exited)(struct child *child, int status); /* status as waitpid() gives it */
        pid_t pid; /* 0 while none */
        struct loop *loop;
        struct source source; /* its descriptor is the loop's */
};

int loop_new(struct loop **ret_loop);
struct loop *loop_free(struct loop *loop);

int loop_add(struct loop *loop, struct source *source, int fd, uint32_t events);
int loop_modify(struct loop *loop, struct source *source, uint32_t events);
/* Before the descriptor is closed: an epoll entry lives as long as the open file, not the number. */
void loop_remove(struct loop *loop, struct source *source);

void loop_arm(struct loop *loop, struct timer *timer, int64_t delay_ms);
void loop_disarm(struct loop *loop, struct timer *timer);
int loop_watch_child(struct loop *loop, struct child *child, pid_t pid);
/* Stops watching; the process goes on. */
void loop_forget_child(struct loop *loop, struct child *child);

int64_t loop_now_ms(void);      /* monotonic, as of this turn of the loop */
int64_t loop_wall_ms(void);     /* since the epoch */
int loop_run(struct loop *loop); /* until loop_stop(): 0, or the negative errno that ended it */
void loop_stop(struct loop *loop);
