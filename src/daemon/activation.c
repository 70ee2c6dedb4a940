/* SPDX-License-Identifier: MIT */

/*
 * Services on demand. A service is *waiting* while its listening socket is
 * bound and watched, *running* while its program has the socket, *unbound* while
 * its address is another's, and *held back* after its program failed.
 */

#include "daemon/on_demand.h"
#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "broker/text.h"
#include "daemon/lend.h"
#include "daemon/probe.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define ON_DEMAND_BACKLOG 4096

struct activation {
        struct world *world;
        struct list services; /* of on_demand.link */
        struct list orphans;  /* programs whose services are forgotten */
        struct timer retry;
};

static struct on_demand *on_demand_of(struct list *link) {
        return container_of(link, struct on_demand, link);
}

/* The listening socket. */

static void unbind(struct on_demand *on_demand) {
        struct world *world = on_demand->world;
        if (on_demand->fd < 0)
                return;
        struct listener *listener = broker_listener_find(world->broker, on_demand->partition, &HV_GUID_WILDCARD,
                                                         &on_demand->used.service_id);
        loop_remove(world->loop, &on_demand->source);
        watchdog_closep(&on_demand->fd);
        if (listener && listener->on_demand && !listener_is_alive(world, listener)) {
                on_demand->binding = true; /* it must not take its own place */
                listener_forget(world, listener);
                on_demand->binding = false;
        }
}

static void watch(struct on_demand *on_demand) {
        struct loop *loop = on_demand->world->loop;
        if (on_demand->fd < 0)
                return;
        bool busy = on_demand->used.exec_accept ? on_demand->program_count >= ACTIVATION_PROCESSES_MAX
                                                : on_demand->program_count > 0;
        bool waits = !busy && !on_demand->hold.deadline_ms, watched = on_demand->source.fd >= 0;
        if (!waits && watched)
                loop_remove(loop, &on_demand->source);
        else if (waits && !watched && loop_add(loop, &on_demand->source, on_demand->fd, EPOLLIN) < 0)
                unbind(on_demand);
}

static int ask(struct on_demand *on_demand, struct partition *partition, struct listener **ret_listener) {
        struct world *world = on_demand->world;
        struct caller self = {.partition = partition, .pid = (uint32_t)getpid(), .uid = geteuid(), .gid = getegid()};
        struct bind_request request = {
                .caller = &self,
                .vm_id = HV_GUID_WILDCARD,
                .service_id = on_demand->used.service_id,
                .socket_type = SOCK_STREAM,
                .on_demand = true,
                .now_ms = loop_wall_ms(),
        };
        struct verdict verdict;
        int r = lend_ask_bind(world, &request, &verdict, ret_listener);
        if (r < 0 || !verdict.error)
                return r;
        if (on_demand->unbound != verdict.rule)
                log_write(LOG_LEVEL_WARNING, "service %s cannot be started on demand yet: %s", on_demand->used.name,
                          rule_sentence(verdict.rule));
        on_demand->unbound = verdict.rule;
        return -verdict.error;
}

static int bind_in(struct on_demand *on_demand, struct partition *partition) {
        struct world *world = on_demand->world;
        struct listener *listener = NULL;
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        int r = ask(on_demand, partition, &listener);
        if (r < 0)
                return r;
        struct process *process = process_get(world, partition, listener->pid);
        r = process ? probe_add_listener(world, listener, process) : -ENOMEM;
        if (r < 0) {
                broker_listener_gone(world->broker, listener);
                return r;
        }
        r = listener_bind_socket(world, listener, fd);
        if (!r && listen(fd, ON_DEMAND_BACKLOG) < 0)
                r = -errno;
        /* The program's own descriptor may wait in accept; the broker's, which shares its flags, may not. */
        if (!r && on_demand->used.exec_accept && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
                r = -errno;
        if (r < 0) {
                listener_forget(world, listener);
                return r;
        }
        on_demand->fd = fd_take(fd);
        on_demand->partition = partition;
        on_demand->unbound = RULE_ALLOWED;
        return 0;
}

/* Where it is to listen; NULL while there is no such partition. */
static struct partition *partition_of(const struct on_demand *on_demand) {
        const struct broker *broker = on_demand->world->broker;
        const char *name = on_demand->used.exec_partition;
        return *name ? partition_by_name(broker, broker_root(broker), name) : broker_root(broker);
}

static void try_bind(struct on_demand *on_demand) {
        struct world *world = on_demand->world;
        const struct service_definition *definition = &on_demand->used;
        if (on_demand->fd >= 0 || on_demand->binding)
                return;
        struct partition *partition = partition_of(on_demand);
        on_demand->binding = true;
        int r = partition ? bind_in(on_demand, partition) : -ENOENT;
        on_demand->binding = false;
        if (r < 0) {
                log_write(LOG_LEVEL_DEBUG, "service %s on demand: %s", definition->name, strerror(-r));
                loop_arm(world->loop, &world->activation->retry, ACTIVATION_RETRY_MS);
                return;
        }
        watch(on_demand);
}

static int retry(struct timer *timer) {
        struct activation *activation = container_of(timer, struct activation, retry);
        list_for_each(link, &activation->services)
                try_bind(on_demand_of(link));
        return 0;
}

/* Failures. */

/*
 * After each failure in a row the pause is twice as long. Connections wait
 * through the short ones; a long one ends those that wait, by a new listening
 * socket, and further connects are refused.
 */
static void hold_back(struct on_demand *on_demand) {
        int64_t pause = ACTIVATION_PAUSE_MIN_MS;
        for (unsigned i = 1; i < on_demand->failures && pause < ACTIVATION_PAUSE_MAX_MS; i++)
                pause *= 2;
        if (pause > ACTIVATION_PAUSE_MAX_MS)
                pause = ACTIVATION_PAUSE_MAX_MS;
        if (!on_demand->last.was_started && pause < ACTIVATION_PAUSE_REFUSE_MS)
                pause = ACTIVATION_PAUSE_REFUSE_MS;
        loop_arm(on_demand->world->loop, &on_demand->hold, pause);
        if (pause < ACTIVATION_PAUSE_REFUSE_MS)
                return;
        on_demand->refuses = true;
        unbind(on_demand);
        try_bind(on_demand);
        log_write(LOG_LEVEL_WARNING, "service %s is held back for %lld ms, its program failed (%u in a row): %s",
                  on_demand->used.name, (long long)pause, on_demand->failures, on_demand->last.cause);
}

static void let_go(struct on_demand *on_demand) {
        loop_disarm(on_demand->world->loop, &on_demand->hold);
        on_demand->refuses = false;
}

static int hold_over(struct timer *timer) {
        struct on_demand *on_demand = container_of(timer, struct on_demand, hold);
        let_go(on_demand);
        watch(on_demand);
        return 0;
}

void on_demand_failed(struct on_demand *on_demand, const struct failure *failure, bool is_early) {
        on_demand->last = *failure;
        on_demand->failures = is_early ? on_demand->failures + 1 : 1;
        if (is_early)
                hold_back(on_demand);
        watch(on_demand);
}

void on_demand_ended(struct on_demand *on_demand) {
        on_demand->failures = 0;
        watch(on_demand);
}

/* "" when it can be. */
static void why_not_started(const struct on_demand *on_demand, char ret_cause[TEXT_EXPECTED_SIZE]) {
        *ret_cause = 0;
        if (on_demand->refuses) {
                long long left = on_demand->hold.deadline_ms - loop_now_ms();
                (void)text_expected(ret_cause, "%.125s; the next try is in %lld s", on_demand->last.cause,
                                    left > 0 ? (left + 999) / 1000 : 0);
        } else if (on_demand->used.exec_accept || !on_demand->program_count) {
                (void)spawn_check(on_demand->used.exec, on_demand->used.exec_user, ret_cause);
        }
}

void activation_refresh(struct world *world, const GUID *service_id) {
        struct service *service = registry_by_id(world->broker, service_id);
        if (service && service->shell)
                why_not_started(service->shell, service->cannot_start);
}

const struct failure *activation_last_failure(const struct service *service) {
        const struct on_demand *on_demand = service->shell;
        return on_demand && on_demand->last.time_ms ? &on_demand->last : NULL;
}

static void tell_problem(const struct on_demand *on_demand, bool is_error, problem_each each, void *userdata,
                         const char *what, const char *why) {
        struct problem problem = {.is_error = is_error, .path = on_demand->used.source};
        (void)text_expected(problem.text, "%s: %s", what, why);
        each(&problem, userdata);
}

static void tell_problems(const struct on_demand *on_demand, problem_each each, void *userdata) {
        char cause[TEXT_EXPECTED_SIZE];
        why_not_started(on_demand, cause);
        if (!partition_of(on_demand))
                tell_problem(on_demand, true, each, userdata, "there is no partition",
                             on_demand->used.exec_partition);
        else if (on_demand->unbound)
                tell_problem(on_demand, true, each, userdata, "its program cannot listen",
                             rule_sentence(on_demand->unbound));
        if (*cause)
                tell_problem(on_demand, true, each, userdata, "its program cannot be started", cause);
        else if (on_demand->failures)
                tell_problem(on_demand, false, each, userdata, "its program failed", on_demand->last.cause);
}

void activation_problems(const struct world *world, const struct service *service, problem_each each, void *userdata) {
        if (service && service->shell)
                tell_problems(service->shell, each, userdata);
        if (!service)
                list_for_each(link, &world->activation->services)
                        tell_problems(on_demand_of(link), each, userdata);
}

/* Starting. */

static void start(struct on_demand *on_demand, struct spawn *request) {
        int r = program_start(on_demand, request);
        if (r < 0) {
                struct failure failure = {.time_ms = loop_wall_ms(), .exit_status = -1};
                if (spawn_check(on_demand->used.exec, on_demand->used.exec_user, failure.cause) == 0)
                        (void)text_expected(failure.cause, "%s", strerror(-r));
                log_stranger(LOG_LEVEL_ERROR, "cannot start service %s: %s", on_demand->used.name, failure.cause);
                if (request->connection_fd >= 0)
                        mark_send(request->connection_fd, SOCK_STREAM, false);
                on_demand_failed(on_demand, &failure, true);
        } else {
                watch(on_demand);
        }
}

static void start_listening_program(struct on_demand *on_demand) {
        char directory[PATH_MAX], socket_variable[PATH_MAX + 16], guid[HV_GUID_TEXT_SIZE];
        guid_format(&on_demand->used.service_id, guid);
        world_partition_directory(on_demand->world, on_demand->partition, directory);
        snprintf(socket_variable, sizeof socket_variable, "HVSOCK_SOCKET=%s", directory);
        const char *environment[] = {socket_variable, NULL};
        struct spawn request = {
                .connection_fd = -1, .listen_fd = on_demand->fd, .listen_name = guid, .environment = environment};
        start(on_demand, &request);
}

static void start_connected_program(struct on_demand *on_demand) {
        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct connector_name peer;
        cleanup(watchdog_closep) int fd = accept4(on_demand->fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
                loop_arm(on_demand->world->loop, &on_demand->hold, ACTIVATION_PAUSE_MIN_MS);
                watch(on_demand);
        }
        if (fd < 0 || connector_name_decode(&address, length, &peer) < 0 || (peer.flags & CONNECTOR_ENDED))
                return;
        char directory[PATH_MAX], socket_variable[PATH_MAX + 16], guid[HV_GUID_TEXT_SIZE];
        char vm_variable[64], service_variable[64], process_variable[32], user_variable[32];
        world_partition_directory(on_demand->world, on_demand->partition, directory);
        snprintf(socket_variable, sizeof socket_variable, "HVSOCK_SOCKET=%s", directory);
        guid_format(&peer.dial_back_vm_id, guid);
        snprintf(vm_variable, sizeof vm_variable, "HVSOCK_PEER_VMID=%s", guid);
        guid_format(&on_demand->used.service_id, guid);
        snprintf(service_variable, sizeof service_variable, "HVSOCK_SERVICEID=%s", guid);
        snprintf(process_variable, sizeof process_variable, "HVSOCK_PEER_PID=%u", peer.pid);
        snprintf(user_variable, sizeof user_variable, "HVSOCK_PEER_UID=%u", peer.uid);
        const char *environment[] = {socket_variable, vm_variable, service_variable, process_variable, user_variable, NULL};
        struct spawn request = {.connection_fd = fd, .listen_fd = -1, .environment = environment};
        start(on_demand, &request);
}

static int on_demand_dispatch(struct source *source, uint32_t events) {
        struct on_demand *on_demand = container_of(source, struct on_demand, source);
        if (on_demand->used.exec_accept)
                start_connected_program(on_demand);
        else
                start_listening_program(on_demand);
        return 0;
}

/* Services. */

static bool is_same_demand(const struct service_definition *a, const struct service_definition *b) {
        return !strcmp(a->exec, b->exec) && !strcmp(a->exec_user, b->exec_user) &&
               !strcmp(a->exec_partition, b->exec_partition) && a->exec_accept == b->exec_accept;
}

void activation_update(struct world *world, struct service *service) {
        struct on_demand *on_demand = service->shell;
        const struct service_definition *definition = &service->definition;
        if (!*definition->exec || !definition->enabled) {
                activation_forget(world, service);
                return;
        }
        if (!on_demand) {
                on_demand = calloc(1, sizeof *on_demand);
                if (!on_demand) {
                        log_write(LOG_LEVEL_ERROR, "out of memory: service %s is not started on demand", definition->name);
                        return;
                }
                *on_demand = (struct on_demand){.source = {.dispatch = on_demand_dispatch, .fd = -1},
                                                .world = world,
                                                .service = service,
                                                .fd = -1,
                                                .hold = {.expire = hold_over},
                                                .programs = LIST_INIT(on_demand->programs)};
                list_append(&world->activation->services, &on_demand->link);
                service->shell = on_demand;
        } else if (!is_same_demand(&on_demand->used, definition)) {
                unbind(on_demand);
                programs_orphan(on_demand, &world->activation->orphans);
                on_demand->program_count = 0; /* of what is started from now on */
                on_demand->last = (struct failure){};
        }
        on_demand->used = *definition;
        on_demand->failures = 0;
        let_go(on_demand);
        watch(on_demand);
        loop_arm(world->loop, &world->activation->retry, 0);
}

void activation_forget(struct world *world, struct service *service) {
        struct on_demand *on_demand = service->shell;
        if (!on_demand)
                return;
        unbind(on_demand);
        let_go(on_demand);
        programs_orphan(on_demand, &world->activation->orphans);
        list_unlink(&on_demand->link);
        service->shell = NULL;
        *service->cannot_start = 0;
        free(on_demand);
}

void activation_address_free(struct world *world, const GUID *service_id) {
        struct service *service = world->activation ? registry_by_id(world->broker, service_id) : NULL;
        if (service && service->shell)
                try_bind(service->shell);
}

void activation_leave(struct world *world, const struct partition *partition) {
        list_for_each(link, &world->activation->services)
                if (on_demand_of(link)->partition == partition) {
                        unbind(on_demand_of(link));
                        loop_arm(world->loop, &world->activation->retry, ACTIVATION_RETRY_MS);
                }
}

int activation_open(struct world *world) {
        struct activation *activation = calloc(1, sizeof *activation);
        if (!activation)
                return -ENOMEM;
        *activation = (struct activation){.world = world,
                                          .services = LIST_INIT(activation->services),
                                          .orphans = LIST_INIT(activation->orphans),
                                          .retry = {.expire = retry}};
        world->activation = activation;
        return 0;
}

void activation_close(struct world *world) {
        struct activation *activation = world->activation;
        if (!activation)
                return;
        list_for_each_safe(link, &activation->services)
                activation_forget(world, on_demand_of(link)->service);
        programs_forget(&activation->orphans, world->loop);
        loop_disarm(world->loop, &activation->retry);
        free(activation);
        world->activation = NULL;
}
