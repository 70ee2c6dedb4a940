/* SPDX-License-Identifier: MIT */

/* Hybrid sockets: see hybrid.h. */

#include "daemon/hybrid.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/connector.h"
#include "daemon/discard.h"
#include "daemon/lend.h"
#include "daemon/partitions.h"
#include "daemon/place.h"
#include "daemon/probe.h"
#include "daemon/receive.h"
#include "daemon/vm_connect.h"
#include "daemon/watchdog.h"
#include "vm/hybrid_line.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct hybrid {
        struct source source;
        struct world *world;
        struct partition *partition;
        int fd;
        struct list waiting, asking; /* of visitor.link; who came first, first */
        unsigned waiting_count;
        int64_t pause_until_ms;      /* descriptors ran out; 0: they did not */
        struct timer timer;
};

/* A connection that is not a channel yet. */
struct visitor {
        struct source source;
        struct hybrid *hybrid;
        struct list link;
        struct client *client;
        int64_t due_ms;
        GUID service_id;
        struct vm_channel *vm_channel; /* NULL: its line has not come */
};

static struct visitor *visitor_of(struct list *link) {
        return container_of(link, struct visitor, link);
}

/* Its connection is taken from it, or to be closed. */
static int visitor_free(struct visitor *visitor) {
        struct hybrid *hybrid = visitor->hybrid;
        int fd = visitor->source.fd;
        loop_remove(hybrid->world->loop, &visitor->source);
        if (!visitor->vm_channel)
                hybrid->waiting_count--;
        if (!visitor->client->refusal.error)
                broker_client_closed(hybrid->world->broker, &visitor->client->caller);
        list_unlink(&visitor->link);
        free(visitor->client);
        free(visitor);
        return fd;
}

static void visitor_drop(struct visitor *visitor) {
        struct stranger stranger = visitor->client->stranger;
        discard(visitor_free(visitor), &stranger);
}

static struct connect_request ask_of(const struct visitor *visitor) {
        return (struct connect_request){
                .caller = &visitor->client->caller,
                .vm_id = visitor->hybrid->partition->vm_id,
                .service_id = visitor->service_id,
                .socket_type = SOCK_STREAM,
        };
}

static void refuse(struct visitor *visitor, const struct verdict *verdict) {
        struct broker *broker = visitor->hybrid->world->broker;
        const struct connect_request ask = ask_of(visitor);
        char text[WIRE_TEXT_SIZE];
        broker_explain(broker, ask.caller, &ask.vm_id, &ask.service_id, verdict, text, sizeof text);
        broker_refused(broker, ask.caller, &ask.vm_id, &ask.service_id, verdict);
        log_stranger(LOG_LEVEL_NOTICE, "%s", text);
        visitor_drop(visitor);
}

/* ---- the guest answers ---- */

/* On success the channel is in the books, and the guest's end of it waits for the visitor's connection. */
static struct verdict book(struct visitor *visitor, struct vm_channel *to) {
        struct client *client = visitor->client;
        struct world *world = client->world;
        const struct connect_request ask = ask_of(visitor);
        struct route route;
        struct channel *channel;
        struct verdict verdict = broker_route(world->broker, &ask, &route);
        if (verdict.error)
                return verdict;
        struct connector_name name = {};
        cleanup(freep) struct channel_shell *shell = calloc(1, sizeof *shell);
        struct process *process = shell ? process_get(world, client->caller.partition, 0) : NULL;
        if (!process)
                return lend_failed(-ENOMEM);
        int r = connector_name_seal(&name, world, &client->caller.partition->vm_id);
        if (!r)
                r = broker_opened(world->broker, &ask, &route, &name.ephemeral_id, loop_wall_ms(), &channel);
        if (r < 0) {
                process_release(world, process);
                return lend_failed(r);
        }
        probe_add_channel(world, channel, shell, process);
        shell = NULL;
        vm_channel_booked(to, channel, FROM_ACCEPTOR);
        return verdict;
}

static void on_answer(struct vm_channel *vm_channel, int error, void *waiting) {
        struct visitor *visitor = waiting;
        struct verdict verdict = error ? vm_verdict(error) : book(visitor, vm_channel);
        if (verdict.error) {
                if (!error)
                        vm_give_up(vm_channel);
                refuse(visitor, &verdict);
                return;
        }
        char line[HYBRID_LINE_MAX];
        size_t length = hybrid_line_format_ok((uint16_t)vm_channel->host_port, line);
        int fd = visitor_free(visitor);
        (void)send(fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL); /* one that is gone is seen by the thread */
        vm_give_end(vm_channel, &(struct vm_end){.fd = fd});
}

/* ---- the line ---- */

static void arm_timer(struct hybrid *hybrid) {
        int64_t due_ms = hybrid->pause_until_ms;
        struct list *const lists[] = {&hybrid->waiting, &hybrid->asking};
        for (unsigned i = 0; i < 2; i++) {
                int64_t first_ms = list_is_empty(lists[i]) ? 0 : visitor_of(lists[i]->next)->due_ms;
                if (first_ms && (!due_ms || first_ms < due_ms))
                        due_ms = first_ms;
        }
        if (due_ms)
                loop_arm(hybrid->world->loop, &hybrid->timer, due_ms > loop_now_ms() ? due_ms - loop_now_ms() : 0);
        else
                loop_disarm(hybrid->world->loop, &hybrid->timer);
}

static void ask_guest(struct visitor *visitor) {
        struct hybrid *hybrid = visitor->hybrid;
        struct world *world = hybrid->world;
        const struct connect_request ask = ask_of(visitor);
        struct route route;
        struct verdict verdict = visitor->client->refusal;
        if (!verdict.error)
                verdict = lend_ask_route(world, &ask, &route);
        if (!verdict.error)
                verdict = vm_verdict(-vm_dial(vm_of(hybrid->partition), VSOCK_CID_HOST, route.port, SOCK_STREAM,
                                              on_answer, visitor, &visitor->vm_channel));
        if (verdict.error) {
                refuse(visitor, &verdict);
                return;
        }
        hybrid->waiting_count--;
        list_unlink(&visitor->link);
        list_append(&hybrid->asking, &visitor->link);
        visitor->due_ms = loop_now_ms() + HYBRID_ANSWER_MS;
        (void)loop_modify(world->loop, &visitor->source, 0); /* whether it hangs up is always told */
}

/* Takes the line out, and nothing behind it. Descriptors that came with it are nobody's. */
static int take_line(struct visitor *visitor, size_t length) {
        struct stranger_packet packet;
        int r = stranger_receive_bytes(visitor->source.fd, length, &packet);
        for (unsigned i = 0; i < packet.fd_count; i++)
                discard(packet.fds[i], &visitor->client->stranger);
        return r;
}

static void hear_line(struct visitor *visitor, uint32_t events) {
        char line[HYBRID_LINE_MAX];
        watchdog_guard();
        ssize_t size = recv(visitor->source.fd, line, sizeof line, MSG_PEEK | MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        ssize_t length = size > 0 ? hybrid_line_parse_connect(line, (size_t)size, &visitor->service_id) : size;
        if (length > 0 && take_line(visitor, (size_t)length) == 0) {
                ask_guest(visitor);
        } else if (length || !size || events & (EPOLLRDHUP | EPOLLHUP)) {
                if (length)
                        log_stranger(LOG_LEVEL_NOTICE, "process %u sent no CONNECT line to the hybrid socket of VM %s",
                                     visitor->client->caller.pid, visitor->hybrid->partition->label);
                visitor_drop(visitor);
        }
}

/* Only edges come while the line has not, since what was peeked at stays. */
static int visitor_dispatch(struct source *source, uint32_t events) {
        struct visitor *visitor = container_of(source, struct visitor, source);
        struct hybrid *hybrid = visitor->hybrid;
        if (visitor->vm_channel) {
                vm_give_up(visitor->vm_channel);
                visitor_drop(visitor);
        } else {
                hear_line(visitor, events);
        }
        arm_timer(hybrid);
        return 0;
}

/* ---- connections ---- */

static int visitor_new(struct hybrid *hybrid, int fd) {
        struct world *world = hybrid->world;
        cleanup(freep) struct visitor *visitor = calloc(1, sizeof *visitor);
        if (!visitor)
                return -ENOMEM;
        *visitor = (struct visitor){.source = {.dispatch = visitor_dispatch, .fd = -1}, .hybrid = hybrid};
        int r = client_new(world, broker_root(world->broker), fd, &visitor->client);
        if (!r && discard_is_clogged(&visitor->client->stranger))
                r = -EBUSY;
        if (!r)
                r = loop_add(world->loop, &visitor->source, fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
        if (r < 0) {
                free(visitor->client);
                return r;
        }
        visitor->client->refusal = broker_client_opened(world->broker, &visitor->client->caller);
        visitor->due_ms = loop_now_ms() + HYBRID_LINE_MS;
        hybrid->waiting_count++;
        list_append(&hybrid->waiting, &visitor->link);
        hear_line(visitor, 0);
        visitor = NULL;
        if (hybrid->waiting_count > HYBRID_WAITING_MAX)
                visitor_drop(visitor_of(hybrid->waiting.next));
        return 0;
}

static void pause_accepting(struct hybrid *hybrid) {
        log_stranger(LOG_LEVEL_WARNING, "out of descriptors: new clients of the hybrid socket of VM %s wait",
                     hybrid->partition->label);
        hybrid->pause_until_ms = loop_now_ms() + ACCEPT_PAUSE_MS;
        (void)loop_modify(hybrid->world->loop, &hybrid->source, 0);
}

static void accept_all(struct hybrid *hybrid) {
        const struct partition *host = broker_root(hybrid->world->broker);
        for (unsigned accepted = 0; accepted < CLIENTS_PER_WAKE_UP; accepted++) {
                int fd = accept4(hybrid->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                                pause_accepting(hybrid);
                        return;
                }
                bool fits = client_leaves_room(fd);
                if (!fits || visitor_new(hybrid, fd) < 0)
                        client_discard(hybrid->world, host, fd);
                if (!fits) {
                        pause_accepting(hybrid);
                        return;
                }
        }
}

static int hybrid_dispatch(struct source *source, uint32_t events) {
        struct hybrid *hybrid = container_of(source, struct hybrid, source);
        accept_all(hybrid);
        arm_timer(hybrid);
        return 0;
}

static int hybrid_expire(struct timer *timer) {
        struct hybrid *hybrid = container_of(timer, struct hybrid, timer);
        int64_t now_ms = loop_now_ms();
        while (!list_is_empty(&hybrid->waiting) && visitor_of(hybrid->waiting.next)->due_ms <= now_ms)
                visitor_drop(visitor_of(hybrid->waiting.next));
        while (!list_is_empty(&hybrid->asking) && visitor_of(hybrid->asking.next)->due_ms <= now_ms) {
                struct visitor *visitor = visitor_of(hybrid->asking.next);
                vm_give_up(visitor->vm_channel);
                visitor_drop(visitor);
        }
        if (hybrid->pause_until_ms && hybrid->pause_until_ms <= now_ms) {
                hybrid->pause_until_ms = 0;
                (void)loop_modify(hybrid->world->loop, &hybrid->source, EPOLLIN);
        }
        arm_timer(hybrid);
        return 0;
}

/* ---- beginning and end ---- */

int hybrid_attach(struct world *world, struct partition *partition, int directory_fd, struct hybrid **ret) {
        struct hybrid *hybrid = malloc(sizeof *hybrid);
        if (!hybrid)
                return -ENOMEM;
        *hybrid = (struct hybrid){
                .source = {.dispatch = hybrid_dispatch, .fd = -1},
                .world = world,
                .partition = partition,
                .fd = -1,
                .waiting = LIST_INIT(hybrid->waiting),
                .asking = LIST_INIT(hybrid->asking),
                .timer = {.expire = hybrid_expire},
        };
        int r = place_socket(directory_fd, "vsock", SOCK_STREAM, 0666, world->listeners_fd, &hybrid->fd);
        if (!r)
                r = loop_add(world->loop, &hybrid->source, hybrid->fd, EPOLLIN);
        if (r < 0) {
                watchdog_closep(&hybrid->fd);
                free(hybrid);
                return r;
        }
        *ret = hybrid;
        return 0;
}

void hybrid_detach(struct hybrid *hybrid) {
        if (!hybrid)
                return;
        loop_disarm(hybrid->world->loop, &hybrid->timer);
        loop_remove(hybrid->world->loop, &hybrid->source);
        watchdog_closep(&hybrid->fd);
        while (!list_is_empty(&hybrid->waiting))
                visitor_drop(visitor_of(hybrid->waiting.next));
        while (!list_is_empty(&hybrid->asking)) {
                struct visitor *visitor = visitor_of(hybrid->asking.next);
                vm_give_up(visitor->vm_channel);
                visitor_drop(visitor);
        }
        free(hybrid);
}
