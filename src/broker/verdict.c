/* SPDX-License-Identifier: MIT */

/* The rules' names, sentences and advice. */

#include "broker/verdict.h"

#include "base/guid.h"
#include <stdio.h>
#include <string.h>

/* In the advice, the word SERVICE stands for the ServiceId. */
static const struct {
        const char *name, *sentence, *advice;
} rules[] = {
        [RULE_ALLOWED] = {"allowed", "allowed", ""},
        [RULE_NOT_REGISTERED] = {"not-registered",
                                 "the service is not registered, and the channel would cross a partition boundary",
                                 "hvsock service add --id SERVICE '<NAME>'"},
        [RULE_DISABLED] = {"disabled", "the service is disabled", "hvsock service enable SERVICE"},
        [RULE_BIND_DENIED] = {"bind-denied",
                              "the caller is not among those who may bind the service",
                              "hvsock service show SERVICE"},
        [RULE_CONNECT_DENIED] = {"connect-denied",
                                 "the caller is not among those who may connect to the service",
                                 "hvsock service show SERVICE"},
        [RULE_LISTENERS_ONLY] = {"listeners-only",
                                 "that VmId is for listeners; nobody can be dialled there",
                                 "hvsock tree"},
        [RULE_NO_PARENT] = {"no-parent", "the host has no parent", "hvsock tree"},
        [RULE_NO_SILO_HOST] = {"no-silo-host", "only a container has a silo host", "hvsock tree"},
        [RULE_UNKNOWN_PARTITION] = {"unknown-partition",
                                    "no such partition, or one that the caller cannot address",
                                    "hvsock tree"},
        [RULE_NOT_BINDABLE] = {"not-bindable", "nobody can listen at that VmId", ""},
        [RULE_NOT_RUNNING] = {"not-running", "the virtual machine is not running", "hvsock vm list"},
        [RULE_NO_LISTENER] = {"no-listener", "nobody listens to the service there", "hvsock ls"},
        [RULE_LISTENER_EXCLUDES] = {"listener-excludes", "the listener's VmId excludes the caller", "hvsock ls"},
        [RULE_WILDCARD_FORBIDDEN] = {"wildcard-forbidden",
                                     "the service does not allow wildcard binds, and the listener is one",
                                     "hvsock service show SERVICE"},
        [RULE_BACKLOG_FULL] = {"backlog-full", "the listener's backlog is full", ""},
        [RULE_ADDRESS_IN_USE] = {"address-in-use",
                                 "another socket of this partition is bound to the same address",
                                 "hvsock ls"},
        [RULE_ANOTHER_USERS] = {"another-users",
                                "in this partition the service belongs to another user now",
                                "hvsock ls"},
        [RULE_SOCKET_TYPE] = {"socket-type",
                              "one end is a stream, the other keeps message boundaries",
                              "hvsock ls"},
        [RULE_QUOTA] = {"quota", "a quota is used up", "hvsock stat"},
        [RULE_PASSTHRU_DENIED] = {"passthru-denied",
                                  "only a container that was added with --passthru may pass through",
                                  ""},
        [RULE_BAD_ADDRESS] = {"bad-address", "a ServiceId is needed, and it was zero", ""},
        [RULE_EXEC_FAILED] = {"exec-failed", "the service's program cannot be started", "hvsock service show SERVICE"},
        [RULE_HELD_UP] = {"held-up", "the caller made the broker wait, and is not served for a while", ""},
        [RULE_DESCRIPTOR] = {"descriptor", "what was lent is no socket that can be bound or connected in this way", ""},
        [RULE_ALREADY_NAMED] = {"already-named", "the socket has dialled another VmId before: a new one is needed", ""},
        [RULE_BROKER_FAILED] = {"broker-failed", "the broker could not do what it allowed", ""},
        [RULE_NOT_A_PORT] = {"not-a-port",
                             "a virtual machine has vsock ports, and the ServiceId is none: dial vsock:PORT",
                             "hvsock id --service vsock:1024"},
};
_Static_assert(sizeof rules / sizeof *rules == RULE_COUNT, "every rule has a name");

const char *rule_name(enum rule rule) {
        return (unsigned)rule < RULE_COUNT ? rules[rule].name : NULL;
}

const char *rule_sentence(enum rule rule) {
        return (unsigned)rule < RULE_COUNT ? rules[rule].sentence : "";
}

void rule_advice(enum rule rule, const GUID *service_id, char ret_text[RULE_ADVICE_SIZE]) {
        const char *advice = (unsigned)rule < RULE_COUNT ? rules[rule].advice : "", *word = strstr(advice, "SERVICE");
        char guid[HV_GUID_TEXT_SIZE] = "";
        size_t before = word ? (size_t)(word - advice) : strlen(advice);
        if (word)
                guid_format(service_id, guid);
        snprintf(ret_text, RULE_ADVICE_SIZE, "%.*s%s%s", (int)before, advice, guid,
                 word ? word + strlen("SERVICE") : "");
}
