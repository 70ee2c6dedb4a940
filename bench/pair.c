/* SPDX-License-Identifier: MIT */
#include "pair.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SECONDS 120 /* after which a pair is taken for hung */

struct order {
        enum task task;
        unsigned count;
        size_t size;
};

static uint64_t now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void receive_all(const struct transport *transport, int fd, void *buffer, size_t size) {
        char *bytes = buffer;

        while (size > 0) {
                size_t received = transport->receive(fd, bytes, size);
                if (received == 0)
                        die("%s: the stream ended too early", transport->name);
                bytes += received;
                size -= received;
        }
}

static bool next_order(int control, struct order *ret) {
        return recv(control, ret, sizeof *ret, 0) == sizeof *ret && ret->task != TASK_END;
}

static void answer(int control, uint64_t value) {
        if (send(control, &value, sizeof value, MSG_NOSIGNAL) < 0)
                exit(1);
}

static void serve_one(const struct transport *transport, const struct order *order, int fd) {
        static char buffer[MESSAGE_MAX];

        for (unsigned i = 0; i < order->count; i++) {
                receive_all(transport, fd, buffer, order->size);
                if (order->task == TASK_ECHO)
                        transport->send(fd, buffer, order->size);
        }
        if (order->task == TASK_TRANSFER)
                transport->send(fd, "", 1);
        transport->close(fd);
}

__attribute__((noreturn)) static void server_main(const struct transport *transport, struct endpoint endpoint,
                                                  unsigned listeners, int control) {
        int *fds = calloc(listeners, sizeof *fds);
        struct order order;
        unsigned next = 0;

        if (!fds)
                die("no memory");
        for (unsigned i = 0; i < listeners; i++)
                fds[i] = transport->listen(&endpoint, i);
        answer(control, endpoint.port);

        while (next_order(control, &order)) {
                if (order.task == TASK_ECHO || order.task == TASK_TRANSFER) {
                        serve_one(transport, &order, transport->accept(fds[0]));
                        continue;
                }
                for (unsigned i = 0; i < order.count; i++) {
                        int fd = transport->accept(fds[next++ % listeners]);
                        transport->send(fd, "", 1);
                        if (order.task == TASK_CONNECT)
                                transport->close(fd);
                }
        }
        exit(0);
}

static int open_one(const struct transport *transport, const struct endpoint *endpoint, unsigned listener) {
        char byte;

        int fd = transport->dial(endpoint, listener);
        receive_all(transport, fd, &byte, 1);
        return fd;
}

static void exchange(const struct transport *transport, const struct order *order, int fd, uint32_t *samples) {
        static char buffer[MESSAGE_MAX];

        for (unsigned i = 0; i < order->count; i++) {
                uint64_t before = now_ns();
                transport->send(fd, buffer, order->size);
                if (order->task == TASK_TRANSFER)
                        continue;
                receive_all(transport, fd, buffer, order->size);
                samples[i] = (uint32_t)(now_ns() - before);
        }
        if (order->task == TASK_TRANSFER)
                receive_all(transport, fd, buffer, 1);
}

__attribute__((noreturn)) static void client_main(const struct transport *transport, const struct endpoint *endpoint,
                                                  unsigned listeners, int control, uint32_t *samples) {
        struct order order;
        unsigned next = 0;

        while (next_order(control, &order)) {
                uint64_t start = now_ns();
                if (order.task == TASK_ECHO || order.task == TASK_TRANSFER) {
                        int fd = transport->dial(endpoint, 0);
                        start = now_ns();
                        exchange(transport, &order, fd, samples);
                        answer(control, now_ns() - start);
                        transport->close(fd);
                        continue;
                }
                for (unsigned i = 0; i < order.count; i++) {
                        uint64_t before = now_ns();
                        int fd = open_one(transport, endpoint, next++ % listeners);
                        if (order.task == TASK_HOLD)
                                continue;
                        transport->close(fd);
                        samples[i] = (uint32_t)(now_ns() - before);
                }
                answer(control, now_ns() - start);
        }
        exit(0);
}

/* In the child: *ret_control is its end; returns 0. In the parent: the parent's end, and the child's pid. */
static pid_t start_process(const char *world, int *ret_control) {
        int ends[2];
        pid_t parent = getpid();

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                die("cannot make a socket pair: %s", strerror(errno));
        fflush(NULL);
        pid_t child = fork();
        if (child < 0)
                die("cannot fork: %s", strerror(errno));
        if (child > 0) {
                struct timeval limit = {.tv_sec = ANSWER_SECONDS};
                setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
                close(ends[1]);
                *ret_control = ends[0];
                return child;
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                exit(1);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        if (world)
                setenv("HVSOCK_SOCKET", world, 1);
        close(ends[0]);
        *ret_control = ends[1];
        return 0;
}

static uint64_t wait_answer(const struct pair *pair, int control, const char *which) {
        uint64_t value;

        if (recv(control, &value, sizeof value, 0) != sizeof value)
                die("the %s %s gave no answer", pair->transport->name, which);
        return value;
}

void pair_start(struct pair *pair, const struct transport *transport, const struct endpoint *endpoint,
                unsigned listeners, const char *server_world, const char *client_world) {
        struct endpoint complete = *endpoint;
        int control;

        *pair = (struct pair){.transport = transport};
        pair->samples = mmap(NULL, SAMPLES_MAX * sizeof *pair->samples, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (pair->samples == MAP_FAILED)
                die("no memory");

        pair->server = start_process(server_world, &control);
        if (pair->server == 0)
                server_main(transport, complete, listeners, control);
        pair->server_control = control;
        complete.port = (uint16_t)wait_answer(pair, control, "server");

        pair->client = start_process(client_world, &control);
        if (pair->client == 0)
                client_main(transport, &complete, listeners, control, pair->samples);
        pair->client_control = control;
}

void pair_end(struct pair *pair) {
        struct order end = {.task = TASK_END};

        /* A closed socket alone would not do: processes started later have it too. */
        send(pair->client_control, &end, sizeof end, MSG_NOSIGNAL);
        send(pair->server_control, &end, sizeof end, MSG_NOSIGNAL);
        close(pair->client_control);
        close(pair->server_control);
        waitpid(pair->client, NULL, 0);
        waitpid(pair->server, NULL, 0);
        munmap(pair->samples, SAMPLES_MAX * sizeof *pair->samples);
}

uint64_t pair_run(struct pair *pair, enum task task, unsigned count, size_t size) {
        struct order order = {.task = task, .count = count, .size = size};

        if (send(pair->server_control, &order, sizeof order, MSG_NOSIGNAL) < 0 ||
            send(pair->client_control, &order, sizeof order, MSG_NOSIGNAL) < 0)
                die("a %s process ended too early", pair->transport->name);
        return wait_answer(pair, pair->client_control, "client");
}

static void place(pid_t pid, int cpu) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(pid, sizeof set, &set) < 0)
                die("cannot pin a process to a core: %s", strerror(errno));
}

void pair_place(const struct pair *pair, int client_cpu, int server_cpu) {
        place(pair->client, client_cpu);
        place(pair->server, server_cpu);
}
