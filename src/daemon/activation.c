/* SPDX-License-Identifier: MIT */

/*
 * Services on demand. A service is *waiting* while its listening socket is
 * bound and watched, *running* while its program has the socket, *unbound* while
 * its address is another's, and *off* when its program was started too often.
 */

#include "daemon/activation.h"
#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/lend.h"
#include "daemon/probe.h"
#include "daemon/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define ON_DEMAND_BACKLOG 4096

/* service->shell. */
struct on_demand {
        struct source source;
        struct world *world;
        struct service *service;
        struct list link;
        int fd;                         /* the listening socket, or -1 while unbound */
        struct partition *partition;    /* where it is bound */
        struct service_definition used; /* as bound: what changes is noticed */
        struct list programs;           /* of program.link */
        unsigned program_count;
        int64_t starts_ms[ACTIVATION_STARTS_MAX]; /* the latest, in turn */
        unsigned start_count;
        int error; /* why it is unbound, as last logged */
        bool off;
        bool binding;
};

/* A program that runs. Outlives its service. */
struct program {
        struct child child;
        struct on_demand *on_demand; /* NULL once the service is forgotten */
        struct list link;
        char name[SERVICE_NAME_MAX + 1];
};

struct activation {
        struct world *world;
        struct list services; /* of on_demand.link */
        struct list orphans;  /* of program.link: their services are forgotten */
        struct timer retry;
};

static struct program *program_of(struct list *link) {
        return container_of(link, struct program, link);
}

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
        on_demand->fd = fd_close(on_demand->fd);
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
        bool watched = on_demand->source.fd >= 0;
        if (busy && watched)
                loop_remove(loop, &on_demand->source);
        else if (!busy && !watched && loop_add(loop, &on_demand->source, on_demand->fd, EPOLLIN) < 0)
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
        if (on_demand->error != verdict.error)
                log_write(LOG_LEVEL_WARNING, "service %s cannot be started on demand yet: %s", on_demand->used.name,
                          rule_sentence(verdict.rule));
        on_demand->error = verdict.error;
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
        on_demand->error = 0;
        return 0;
}

static void try_bind(struct on_demand *on_demand) {
        struct world *world = on_demand->world;
        const struct service_definition *definition = &on_demand->used;
        if (on_demand->fd >= 0 || on_demand->off || on_demand->binding)
                return;
        struct partition *root = broker_root(world->broker);
        struct partition *partition =
                *definition->exec_partition ? partition_by_name(world->broker, root, definition->exec_partition) : root;
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

/* Programs. */

static void program_exited(struct child *child, int status) {
        struct program *program = container_of(child, struct program, child);
        struct on_demand *on_demand = program->on_demand;
        if (WIFEXITED(status) && WEXITSTATUS(status) == SPAWN_EXIT_EXEC)
                log_write(LOG_LEVEL_ERROR, "service %s: its program cannot be executed", program->name);
        else if (WIFEXITED(status) && WEXITSTATUS(status) == SPAWN_EXIT_USER)
                log_write(LOG_LEVEL_ERROR, "service %s: its user cannot be assumed", program->name);
        else if (WIFEXITED(status))
                log_stranger(WEXITSTATUS(status) ? LOG_LEVEL_NOTICE : LOG_LEVEL_DEBUG, "service %s exited with %d",
                             program->name, WEXITSTATUS(status));
        else
                log_stranger(LOG_LEVEL_NOTICE, "service %s was ended by signal %d", program->name, WTERMSIG(status));
        list_unlink(&program->link);
        free(program);
        if (on_demand) {
                on_demand->program_count--;
                watch(on_demand);
        }
}

static int start(struct on_demand *on_demand, struct spawn *request) {
        struct world *world = on_demand->world;
        struct program *program = calloc(1, sizeof *program);
        pid_t pid;
        if (!program)
                return -ENOMEM;
        request->command = on_demand->used.exec;
        request->user = on_demand->used.exec_user;
        request->descriptor_limit = world->options.descriptor_limit;
        int r = spawn(request, &pid);
        if (r < 0) {
                free(program);
                return r;
        }
        program->child = (struct child){.exited = program_exited};
        program->on_demand = on_demand;
        strcpy(program->name, on_demand->used.name);
        list_append(&on_demand->programs, &program->link);
        on_demand->program_count++;
        r = loop_watch_child(world->loop, &program->child, pid);
        if (r < 0) {
                /* Without a way to see it end it may not run. */
                (void)kill(pid, SIGKILL);
                (void)waitpid(pid, NULL, 0);
                list_unlink(&program->link);
                on_demand->program_count--;
                free(program);
        }
        return r;
}

/* Whether one more start now is within ACTIVATION_STARTS_MAX in ACTIVATION_STARTS_MS. */
static bool may_start(struct on_demand *on_demand) {
        int64_t now = loop_now_ms(), *oldest = &on_demand->starts_ms[on_demand->start_count % ACTIVATION_STARTS_MAX];
        if (on_demand->start_count >= ACTIVATION_STARTS_MAX && now - *oldest < ACTIVATION_STARTS_MS)
                return false;
        *oldest = now;
        on_demand->start_count++;
        return true;
}

static void start_listening_program(struct on_demand *on_demand) {
        char directory[PATH_MAX], socket_variable[PATH_MAX + 16], guid[HV_GUID_TEXT_SIZE];
        if (!may_start(on_demand)) {
                log_write(LOG_LEVEL_ERROR, "service %s was started %d times in %d s: off until its drop-in changes",
                          on_demand->used.name, ACTIVATION_STARTS_MAX, ACTIVATION_STARTS_MS / 1000);
                on_demand->off = true;
                unbind(on_demand);
                return;
        }
        guid_format(&on_demand->used.service_id, guid);
        world_partition_directory(on_demand->world, on_demand->partition, directory);
        snprintf(socket_variable, sizeof socket_variable, "HVSOCK_SOCKET=%s", directory);
        const char *environment[] = {socket_variable, NULL};
        struct spawn request = {
                .connection_fd = -1, .listen_fd = on_demand->fd, .listen_name = guid, .environment = environment};
        int r = start(on_demand, &request);
        if (r < 0)
                log_stranger(LOG_LEVEL_ERROR, "cannot start service %s: %s", on_demand->used.name, strerror(-r));
        else
                watch(on_demand);
}

static void start_connected_program(struct on_demand *on_demand) {
        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct connector_name peer;
        cleanup(fd_closep) int fd = accept4(on_demand->fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
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
        int r = start(on_demand, &request);
        if (r < 0)
                log_stranger(LOG_LEVEL_ERROR, "cannot start service %s: %s", on_demand->used.name, strerror(-r));
        else
                watch(on_demand);
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
                                                .programs = LIST_INIT(on_demand->programs)};
                list_append(&world->activation->services, &on_demand->link);
                service->shell = on_demand;
        } else if (!is_same_demand(&on_demand->used, definition)) {
                unbind(on_demand);
        }
        on_demand->used = *definition;
        on_demand->off = false;
        on_demand->start_count = 0;
        loop_arm(world->loop, &world->activation->retry, 0);
}

void activation_forget(struct world *world, struct service *service) {
        struct on_demand *on_demand = service->shell;
        if (!on_demand)
                return;
        unbind(on_demand);
        list_for_each_safe(link, &on_demand->programs) {
                program_of(link)->on_demand = NULL;
                list_unlink(link);
                list_append(&world->activation->orphans, link);
        }
        list_unlink(&on_demand->link);
        service->shell = NULL;
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
        list_for_each_safe(link, &activation->orphans) {
                loop_forget_child(world->loop, &program_of(link)->child);
                list_unlink(link);
                free(program_of(link));
        }
        loop_disarm(world->loop, &activation->retry);
        free(activation);
        world->activation = NULL;
}
