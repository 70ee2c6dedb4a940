/* SPDX-License-Identifier: MIT */

/* The event loop. */

#include "daemon/loop.h"
#include "base/fd.h"
#include "base/list.h"
#include "test.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

static struct loop *loop;
static char order[16];

static void note(char what) {
        size_t length = strlen(order);
        check(length + 1 < sizeof order);
        order[length] = what;
}

/* An eventfd that is readable from the start, and what its dispatch does. */
struct probe {
        struct source source;
        int fd;
        char name;
        struct probe *removes;
        bool stops;
};

static int probe_dispatch(struct source *source, uint32_t events) {
        struct probe *probe = container_of(source, struct probe, source);
        note(probe->name);
        loop_remove(loop, &probe->source);
        if (probe->removes)
                loop_remove(loop, &probe->removes->source);
        if (probe->stops)
                loop_stop(loop);
        return 0;
}

static void probe_add(struct probe *probe, char name) {
        *probe = (struct probe){.source = {.dispatch = probe_dispatch, .fd = -1}, .name = name};
        probe->fd = (int)must(eventfd(1, EFD_CLOEXEC));
        check_ok(loop_add(loop, &probe->source, probe->fd, EPOLLIN));
}

struct alarm {
        struct timer timer;
        char name;
        unsigned again;
        bool stops;
};

static int alarm_expire(struct timer *timer) {
        struct alarm *alarm = container_of(timer, struct alarm, timer);
        note(alarm->name);
        if (alarm->again && alarm->again--)
                loop_arm(loop, timer, 0);
        if (alarm->stops)
                loop_stop(loop);
        return 0;
}

static void alarm_arm(struct alarm *alarm, char name, int64_t delay_ms) {
        alarm->timer.expire = alarm_expire;
        alarm->name = name;
        loop_arm(loop, &alarm->timer, delay_ms);
}

TEST(timers_expire_in_the_order_of_their_deadlines) {
        struct alarm first = {}, second = {}, third = {.stops = true};
        check_ok(loop_new(&loop));
        alarm_arm(&third, '3', 30);
        alarm_arm(&first, '1', 0);
        alarm_arm(&second, '2', 10);
        check_ok(loop_run(loop));
        check_string(order, "123");
        loop_free(loop);
}

TEST(a_disarmed_timer_does_not_expire) {
        struct alarm kept = {.stops = true}, dropped = {};
        check_ok(loop_new(&loop));
        alarm_arm(&dropped, 'x', 0);
        alarm_arm(&kept, 'k', 5);
        loop_disarm(loop, &dropped.timer);
        loop_disarm(loop, &dropped.timer);
        check_ok(loop_run(loop));
        check_string(order, "k");
        loop_free(loop);
}

TEST(a_timer_that_arms_itself_without_delay_lets_descriptors_have_their_turn) {
        struct alarm greedy = {.again = 1};
        struct probe probe;
        check_ok(loop_new(&loop));
        probe_add(&probe, 'p');
        probe.stops = true;
        alarm_arm(&greedy, 't', 0);
        check_ok(loop_run(loop));
        check(strchr(order, 'p'));
        fd_close(probe.fd);
        loop_disarm(loop, &greedy.timer);
        loop_free(loop);
}

TEST(an_event_already_fetched_for_a_removed_source_is_dropped) {
        struct probe one, other;
        struct alarm end = {.stops = true};
        check_ok(loop_new(&loop));
        probe_add(&one, 'a');
        probe_add(&other, 'b');
        one.removes = &other;
        other.removes = &one;
        alarm_arm(&end, '.', 5);
        check_ok(loop_run(loop));
        check(!strcmp(order, "a.") || !strcmp(order, "b."));
        fd_close(one.fd);
        fd_close(other.fd);
        loop_free(loop);
}

static int fail_dispatch(struct source *source, uint32_t events) {
        return -ENOMEM;
}

TEST(a_negative_return_ends_the_loop) {
        struct source source = {.dispatch = fail_dispatch, .fd = -1};
        int fd = (int)must(eventfd(1, EFD_CLOEXEC));
        check_ok(loop_new(&loop));
        check_ok(loop_add(loop, &source, fd, EPOLLIN));
        check_equal(loop_run(loop), -ENOMEM);
        loop_remove(loop, &source);
        fd_close(fd);
        loop_free(loop);
}

static int exit_status;

static void child_exited(struct child *child, int status) {
        check_equal(child->pid, 0);
        exit_status = status;
        loop_stop(loop);
}

static pid_t child_that_exits_with(int code) {
        pid_t pid = (pid_t)must(fork());
        if (!pid)
                _exit(code);
        return pid;
}

TEST(a_child_that_exits_is_reaped_and_its_status_told) {
        struct child child = {.exited = child_exited};
        check_ok(loop_new(&loop));
        pid_t pid = child_that_exits_with(7);
        check_ok(loop_watch_child(loop, &child, pid));
        check_ok(loop_run(loop));
        check(WIFEXITED(exit_status));
        check_equal(WEXITSTATUS(exit_status), 7);
        check_errno(waitpid(pid, NULL, 0), ECHILD);
        loop_free(loop);
}

TEST(a_child_that_is_killed_tells_by_which_signal) {
        struct child child = {.exited = child_exited};
        check_ok(loop_new(&loop));
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                pause();
                _exit(0);
        }
        check_ok(loop_watch_child(loop, &child, pid));
        must(kill(pid, SIGKILL));
        check_ok(loop_run(loop));
        check(WIFSIGNALED(exit_status));
        check_equal(WTERMSIG(exit_status), SIGKILL);
        loop_free(loop);
}

TEST(a_forgotten_child_goes_on) {
        struct child child = {.exited = child_exited};
        check_ok(loop_new(&loop));
        pid_t pid = child_that_exits_with(3);
        check_ok(loop_watch_child(loop, &child, pid));
        loop_forget_child(loop, &child);
        int status;
        check_equal(must(waitpid(pid, &status, 0)), pid);
        check_equal(WEXITSTATUS(status), 3);
        loop_free(loop);
}
