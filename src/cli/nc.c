/* SPDX-License-Identifier: MIT */

/* hvsock nc: standard input and output over a channel. */

#include "base/fd.h"
#include "base/guid.h"
#include "broker/verdict.h"
#include "cli/advice.h"
#include "cli/nc_pump.h"
#include "cli/names.h"
#include "cli/report.h"
#include "cli/verb.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAIT_FIRST_MS 10
#define WAIT_MAX_MS 200
#define BACKLOG 16

struct endpoint {
        SOCKADDR_HV address;
        int type; /* SOCK_STREAM or SOCK_SEQPACKET */
        bool is_verbose;
        enum hv_carrier carrier;
};

static void tell_address(const char *what, const SOCKADDR_HV *address) {
        char vm_id[HV_GUID_TEXT_SIZE], service_id[HV_GUID_TEXT_SIZE];
        const char *word = guid_word(&address->VmId);
        guid_format(&address->VmId, vm_id);
        guid_format(&address->ServiceId, service_id);
        fprintf(stderr, "hvsock: %s %s %s\n", what, word ? word : vm_id, service_id);
}

/* What the broker said of the last refusal tells more than the errno. */
static int tell_refusal(const char *what, const struct endpoint *endpoint) {
        int error = errno;
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        bool is_explained = hv_last_refusal(&refusal) == 0 && refusal.error == error && refusal.text[0];
        char next[RULE_ADVICE_SIZE] = "hvsock doctor";
        const char *why = strerror(error);
        if (error == ENETDOWN)
                why = "no hvsockd was found";
        if (is_explained) {
                why = refusal.text;
                rule_advice((enum rule)refusal.rule, &endpoint->address.ServiceId, next);
        }
        bool is_early = is_explained && (refusal.rule == RULE_NO_LISTENER || refusal.rule == RULE_BACKLOG_FULL);
        return fail(exit_code_of(error), what, why, is_early ? advice_again("", "--wait")
                                                 : *next  ? advice_on_host(next)
                                                          : advice_help());
}

static int new_socket(const struct endpoint *endpoint, int *ret_fd) {
        int fd = hv_socket(AF_HYPERV, endpoint->type | SOCK_CLOEXEC, HV_PROTOCOL_RAW);
        if (fd < 0)
                return fail(EXIT_FAILED, "socket", strerror(errno), NULL);
        *ret_fd = fd;
        return EXIT_OK;
}

static void pause_ms(unsigned ms) {
        struct timespec pause = {.tv_nsec = (long)ms * 1000000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

/* A listener may still come: nobody listens yet, its VM has not started, its broker is restarting. */
static bool may_come(int error) {
        return error == ECONNREFUSED || error == EHOSTUNREACH || error == ETIMEDOUT || error == ENETDOWN;
}

static int pump(int fd, const struct endpoint *endpoint, bool keeps) {
        uint32_t carrier = endpoint->carrier;
        if (carrier != HV_CARRIER_AUTO && hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CARRIER, &carrier, sizeof carrier) < 0)
                return fail(EXIT_FAILED, "--carrier", strerror(errno), NULL);
        return nc_pump(fd, endpoint->type, keeps);
}

static int run_connect(const struct endpoint *endpoint, bool waits) {
        for (unsigned ms = WAIT_FIRST_MS;; ms = ms * 2 < WAIT_MAX_MS ? ms * 2 : WAIT_MAX_MS) {
                int fd = -1, r = new_socket(endpoint, &fd);
                if (r != EXIT_OK)
                        return r;
                if (hv_connect(fd, (const struct sockaddr *)&endpoint->address, sizeof endpoint->address) == 0) {
                        if (endpoint->is_verbose)
                                tell_address("connected to", &endpoint->address);
                        return pump(fd, endpoint, false);
                }
                int error = errno;
                if (!waits || !may_come(error)) {
                        r = tell_refusal("connect", endpoint);
                        hv_close(fd);
                        return r;
                }
                hv_close(fd);
                pause_ms(ms);
        }
}

static int run_listen(const struct endpoint *endpoint, bool keeps) {
        int listen_fd = -1, r = new_socket(endpoint, &listen_fd);
        if (r != EXIT_OK)
                return r;
        if (hv_bind(listen_fd, (const struct sockaddr *)&endpoint->address, sizeof endpoint->address) < 0 ||
            hv_listen(listen_fd, keeps ? BACKLOG : 0) < 0) {
                r = tell_refusal("listen", endpoint);
                hv_close(listen_fd);
                return r;
        }
        if (endpoint->is_verbose)
                tell_address("listening on", &endpoint->address);
        do {
                SOCKADDR_HV peer;
                socklen_t length = sizeof peer;
                int fd = hv_accept4(listen_fd, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);
                if (fd < 0) {
                        r = fail(EXIT_FAILED, "accept",
                                 errno == EINVAL ? "the service was disabled" : strerror(errno), "hvsock service list");
                        break;
                }
                if (!keeps) {
                        hv_close(listen_fd);
                        listen_fd = -1;
                }
                if (endpoint->is_verbose)
                        tell_address("connection from", &peer);
                r = pump(fd, endpoint, keeps);
        } while (keeps);
        if (listen_fd >= 0)
                hv_close(listen_fd);
        return r;
}

static const char *const carriers[] = {[HV_CARRIER_AUTO] = "auto", [HV_CARRIER_UNIX] = "unix", [HV_CARRIER_SHM] = "shm"};

static int carrier_named(const char *name, enum hv_carrier *ret) {
        for (enum hv_carrier i = HV_CARRIER_AUTO; i <= HV_CARRIER_SHM; i++)
                if (!strcmp(name, carriers[i])) {
                        *ret = i;
                        return EXIT_OK;
                }
        return fail(EXIT_USAGE, name, "is no carrier: auto, unix or shm", "hvsock nc --help");
}

static int run_nc(const struct invocation *invocation) {
        bool listens = is_given(invocation, "listen");
        bool names_partition = invocation->argument_count == 2;
        struct endpoint endpoint = {
                .address = {.Family = AF_HYPERV, .VmId = listens ? HV_GUID_WILDCARD : HV_GUID_LOOPBACK},
                .type = is_given(invocation, "seqpacket") ? SOCK_SEQPACKET : SOCK_STREAM,
                .is_verbose = is_given(invocation, "verbose"),
        };
        if (is_given(invocation, "keep") && !listens)
                return fail(EXIT_USAGE, "--keep", "goes with --listen", "hvsock nc --help");

        int r = carrier_named(value_of(invocation, "carrier", "auto"), &endpoint.carrier);
        if (r == EXIT_OK && names_partition)
                r = partition_named(invocation->arguments[0], &endpoint.address.VmId);
        if (r == EXIT_OK)
                r = service_named(invocation->arguments[names_partition], &endpoint.address.ServiceId);
        if (r != EXIT_OK)
                return r;
        return listens ? run_listen(&endpoint, is_given(invocation, "keep"))
                       : run_connect(&endpoint, is_given(invocation, "wait"));
}

static const struct verb_option options[] = {
        {"listen", 'l', NULL, "listen, and take one connection"},
        {"keep", 'k', NULL, "with -l: take one connection after the other"},
        {"wait", 'w', NULL, "until there is a listener, try again"},
        {"seqpacket", 0, NULL, "SOCK_SEQPACKET: each read of standard input is a message"},
        {"carrier", 0, "WAY", "auto (default), unix or shm: which way the data goes", OFFERS_CARRIERS},
        {"verbose", 'v', NULL, "say on standard error what is connected"},
        OPTIONS_END,
};

const struct verb verb_nc = {
        .name = "nc",
        .synopsis = "[PARTITION] SERVICE",
        .summary = "connect standard input and output to a service, or be that service",
        .details = "PARTITION is what is dialled, loopback when left out; with -l, whom to accept from, wildcard when\n"
                   "left out. The end of standard input closes one direction only; hvsock ends when the peer has\n"
                   "closed and all that came is written.",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 2,
        .offers = {OFFERS_ADDRESSES_AND_SERVICES, OFFERS_SERVICES},
        .run = run_nc};
