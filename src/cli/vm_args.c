/* SPDX-License-Identifier: MIT */

/*
 * hvsock vm args: what a VM's VMM is started with.
 *
 * One option a line, each but the last ended by " \", so that a shell takes it all
 * behind the VMM's name, and a program that cuts at blanks and drops the
 * backslashes has the words, where no path holds what a shell must be shielded from.
 */

#include "cli/advice.h"
#include "cli/management.h"
#include "cli/partition.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define MEMORY_DEFAULT "1G"
#define MEMORY_SIZE 16
#define MEMORY_DIGITS_MAX 9
#define VALUE_SIZE 512

/* "512M": with its unit, since VMMs do not agree on what a bare number counts. */
static int take_memory(const char *text, char ret_memory[MEMORY_SIZE]) {
        size_t digits = strspn(text, "0123456789");
        char unit = (char)toupper((unsigned char)text[digits]);
        bool is_zero = strspn(text, "0") == digits;
        if (is_zero || digits > MEMORY_DIGITS_MAX || (unit && (!strchr("KMG", unit) || text[digits + 1])))
                return fail(EXIT_USAGE, text, "expected a size, such as 512M or 4G", advice_help());
        snprintf(ret_memory, MEMORY_SIZE, "%.*s%c", (int)digits, text, unit ? unit : 'M');
        return EXIT_OK;
}

/* A value in a list that commas part: QEMU wants each comma in it twice, others want quotes around it. */
static void put_doubled(const char *text, char byte, char ret_text[VALUE_SIZE]) {
        char *at = ret_text, *end = ret_text + VALUE_SIZE - 2;
        for (; *text && at < end; text++) {
                *at++ = *text;
                if (*text == byte)
                        *at++ = byte;
        }
        *at = 0;
}

static void print_option(const char *name, const char *value, bool is_last) {
        printf("%s %s%s\n", name, printable(quoted(value)), is_last ? "" : " \\");
}

static void print_qemu(struct json_object *partition, const char *memory, const char *bus) {
        char socket[VALUE_SIZE], value[VALUE_SIZE + 64];
        print_option("-uuid", field_text(partition, "id"), false);
        print_option("-m", memory, false);
        snprintf(value, sizeof value, "memory-backend-memfd,id=hvsock-memory,size=%s,share=on", memory);
        print_option("-object", value, false);
        print_option("-machine", "memory-backend=hvsock-memory", false); /* goes with any other -machine */
        put_doubled(field_text(partition, "socket"), ',', socket);
        snprintf(value, sizeof value, "socket,id=hvsock,path=%s", socket);
        print_option("-chardev", value, false);
        snprintf(value, sizeof value, "vhost-user-vsock-pci,id=hvsock-device,chardev=hvsock%s%s", bus ? ",bus=" : "",
                 bus ? bus : "");
        print_option("-device", value, true);
}

static void print_cloud_hypervisor(struct json_object *partition, const char *memory) {
        char socket[VALUE_SIZE], value[VALUE_SIZE + 64];
        snprintf(value, sizeof value, "uuid=%s", field_text(partition, "id"));
        print_option("--platform", value, false);
        snprintf(value, sizeof value, "size=%s", memory);
        print_option("--memory", value, false);
        const char *path = field_text(partition, "hybrid"), *quote = strpbrk(path, ",\"[]") ? "\"" : "";
        put_doubled(path, '"', socket);
        snprintf(value, sizeof value, "cid=%lld,socket=%s%s%s", (long long)field_int(partition, "cid"), quote, socket,
                 quote);
        print_option("--vsock", value, true);
}

static int print_arguments(struct json_object *partition, const char *vmm, const char *memory, const char *bus) {
        const char *name = field_text(partition, "path"), *socket = field_text(partition, "socket");
        bool is_hybrid = *field_text(partition, "hybrid");
        char anew[ADVICE_SIZE];
        snprintf(anew, sizeof anew, "hvsock vm remove %s && hvsock vm add %s --id %s --cid %lld%s", quoted(name),
                 quoted(name), field_text(partition, "id"), (long long)field_int(partition, "cid"),
                 is_hybrid ? "" : " --hybrid '<PATH>'");
        if (!partition_is_reached_as_vm(partition))
                return fail(EXIT_FAILED, name, "it is simulated: no VMM comes for it", "hvsock run --help");
        if (!vmm)
                vmm = is_hybrid ? "cloud-hypervisor" : "qemu";
        bool is_qemu = strcmp(vmm, "qemu") == 0;
        if (!is_qemu && strcmp(vmm, "cloud-hypervisor") != 0)
                return fail(EXIT_USAGE, vmm, "expected qemu or cloud-hypervisor", advice_help());
        if (is_qemu && is_hybrid)
                return fail(EXIT_FAILED, name, "it was added with --hybrid, which QEMU does not speak", anew);
        if (!is_qemu && !is_hybrid)
                return fail(EXIT_FAILED, name, "it was added without --hybrid, and that is all that Cloud Hypervisor's "
                                               "--vsock speaks", anew);
        if (strlen(socket) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
                return fail(EXIT_FAILED, socket,
                            "longer than the path of a socket can be, so no VMM can connect to it; hvsockd needs a "
                            "shorter directory",
                            "hvsockd --help");
        if (bus && !is_qemu)
                return fail(EXIT_USAGE, bus, "only QEMU has a --bus", advice_help());
        if (is_qemu)
                print_qemu(partition, memory, bus);
        else
                print_cloud_hypervisor(partition, memory);
        return finish_output();
}

static int run_vm_args(const struct invocation *invocation) {
        char memory[MEMORY_SIZE];
        struct json_object *reply;
        int r = take_memory(value_of(invocation, "memory", MEMORY_DEFAULT), memory);
        if (r == EXIT_OK)
                r = partition_get(invocation->arguments[0], "vm", &reply);
        if (r != EXIT_OK)
                return r;
        r = print_arguments(field(reply, "partition"), value_of(invocation, "vmm", NULL), memory,
                            value_of(invocation, "bus", NULL));
        json_object_put(reply);
        return r;
}

static const struct verb_option options[] = {
        {"vmm", 0, "VMM", "for qemu (the default), or for cloud-hypervisor", OFFERS_VMMS},
        {"memory", 0, "SIZE", "of the guest, " MEMORY_DEFAULT " by default; the VMM must share it"},
        {"bus", 0, "BUS", "of QEMU: where the device is plugged in, as \"bus=BUS\""},
        OPTIONS_END,
};

const struct verb verb_vm_args = {
        .name = "vm args",
        .synopsis = "VM",
        .summary = "print the arguments that a virtual machine's VMM needs",
        .details = "As lines for a shell, behind the VMM's own: a -machine among these goes with what they say.\n"
                   "With --hybrid VMs the default is cloud-hypervisor.",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
        .offers = {OFFERS_VMS},
        .run = run_vm_args};
