/* SPDX-License-Identifier: MIT */

/* All verbs, in the order of --help. */

#include "cli/verb.h"

extern const struct verb verb_sandbox, verb_run, verb_service_add, verb_service_remove, verb_service_enable,
        verb_service_disable, verb_service_list, verb_service_show, verb_service_import, verb_service_export,
        verb_vm_add, verb_vm_args, verb_vm_remove, verb_vm_list, verb_vm_show, verb_container_add, verb_container_remove,
        verb_container_list, verb_container_show, verb_id, verb_tree, verb_ls, verb_monitor, verb_why, verb_stat,
        verb_nc, verb_bench, verb_doctor, verb_completion, verb_help, verb_complete;

const struct verb *const verbs[] = {
        &verb_sandbox,         &verb_run,
        &verb_service_add,     &verb_service_remove,    &verb_service_enable,  &verb_service_disable,
        &verb_service_list,    &verb_service_show,      &verb_service_import,  &verb_service_export,
        &verb_vm_add,          &verb_vm_args,           &verb_vm_remove,       &verb_vm_list,
        &verb_vm_show,
        &verb_container_add,   &verb_container_remove,  &verb_container_list,  &verb_container_show,
        &verb_id,              &verb_tree,              &verb_ls,              &verb_monitor,
        &verb_why,             &verb_stat,              &verb_nc,              &verb_bench,
        &verb_doctor,          &verb_completion,        &verb_help,            &verb_complete,
        NULL,
};
