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

static bool next_order(int control, struct order *ret) {
        return recv(control, ret, sizeof *ret, 0) == sizeof *ret && ret->task != TASK_END;
}

static void answer(int control, uint64_t value) {
        if (send(control, &value, sizeof value, MSG_NOSIGNAL) < 0)
                exit(1);
}

__attribute__((noreturn)) static void server_main(const struct transport *transport, struct endpoint endpoint,
                                                  unsigned listeners, int control, struct findings *findings) {
        int channels[CHANNELS_MAX];
        unsigned open = 0;
        int *fds = calloc(listeners, sizeof *fds);
        struct order order;
        unsigned next = 0;

        if (!fds)
                die("no memory");
        for (unsigned i = 0; i < listeners; i++)
                fds[i] = transport->listen(&endpoint, i);
        answer(control, endpoint.port);

        while (next_order(control, &order)) {
                if (order.channels > 0) {
                        for (; open < order.channels; open++)
                                channels[open] = transport->accept(fds[0]);
                        exchange_as_server(transport, &order, channels, findings);
                        answer(control, 0);
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

__attribute__((noreturn)) static void client_main(const struct transport *transport, const struct endpoint *endpoint,
                                                  unsigned listeners, int control, struct findings *findings) {
        int channels[CHANNELS_MAX];
        struct order order;
        unsigned open = 0;
        unsigned next = 0;

        while (next_order(control, &order)) {
                if (order.channels > 0) {
                        for (; open < order.channels; open++)
                                channels[open] = transport->dial(endpoint, 0);
                        uint64_t begin = now_ns();
                        exchange_as_client(transport, &order, channels, findings);
                        answer(control, now_ns() - begin);
                        continue;
                }
                uint64_t start = now_ns();
                for (unsigned i = 0; i < order.count; i++) {
                        uint64_t before = now_ns();
                        int fd = open_one(transport, endpoint, next++ % listeners);
                        if (order.task == TASK_HOLD)
                                continue;
                        transport->close(fd);
                        findings->samples[i] = (uint32_t)(now_ns() - before);
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

static void start(struct pair *pair, const struct transport *client, const struct transport *server,
                  const struct endpoint *endpoint, unsigned listeners, const char *server_world, const char *client_world) {
        struct endpoint complete = *endpoint;
        int control;

        *pair = (struct pair){.transport = client};
        pair->findings = mmap(NULL, sizeof *pair->findings, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (pair->findings == MAP_FAILED)
                die("no memory");

        pair->server = start_process(server_world, &control);
        if (pair->server == 0)
                server_main(server, complete, listeners, control, pair->findings);
        pair->server_control = control;
        complete.port = (uint16_t)wait_answer(pair, control, "server");

        pair->client = start_process(client_world, &control);
        if (pair->client == 0)
                client_main(client, &complete, listeners, control, pair->findings);
        pair->client_control = control;
}

void pair_start(struct pair *pair, const struct transport *transport, const struct endpoint *endpoint,
                unsigned listeners, const char *server_world, const char *client_world) {
        start(pair, transport, transport, endpoint, listeners, server_world, client_world);
}

void pair_start_between(struct pair *pair, const struct transport *client, const struct transport *server,
                        const struct endpoint *endpoint, const char *server_world, const char *client_world) {
        start(pair, client, server, endpoint, 1, server_world, client_world);
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
        munmap(pair->findings, sizeof *pair->findings);
}

static uint64_t run(struct pair *pair, const struct order *order) {
        if (send(pair->server_control, order, sizeof *order, MSG_NOSIGNAL) < 0 ||
            send(pair->client_control, order, sizeof *order, MSG_NOSIGNAL) < 0)
                die("a %s process ended too early", pair->transport->name);
        uint64_t ns = wait_answer(pair, pair->client_control, "client");
        if (order->channels > 0)
                wait_answer(pair, pair->server_control, "server");
        return ns;
}

uint64_t pair_run(struct pair *pair, enum task task, unsigned count, size_t size) {
        bool is_connecting = task == TASK_CONNECT || task == TASK_HOLD;

        return run(pair, &(struct order){task, count, size, is_connecting ? 0 : 1});
}

uint64_t pair_run_over(struct pair *pair, enum task task, unsigned count, size_t size, unsigned channels) {
        return run(pair, &(struct order){task, count, size, channels});
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
