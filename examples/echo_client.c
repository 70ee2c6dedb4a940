/* SPDX-License-Identifier: MIT */

/*
 * echo_client PARTITION MESSAGE [SERVICE]: sends MESSAGE, prints what comes back.
 *
 * PARTITION is "parent", "loopback", the name of a child ("web01") or its VmId.
 * SERVICE is a friendly name or a ServiceId; "HV Socket Demo" if it is left out.
 */

#include <errno.h>
#include <hvsock.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what) {
        int error = errno;
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        bool explained = hv_last_refusal(&refusal) == 0;
        fprintf(stderr, "%s: %s\n", what, strerror(error));
        if (explained)
                fprintf(stderr, "%s\n", refusal.text);
        if (!strcmp(refusal.rule_name, "not-registered"))
                fprintf(stderr, "  try: on the host: hvsock service add --id '<GUID>' '<NAME>'\n");
        else if (!explained && error == ENOENT)
                fprintf(stderr, "nothing has this name\n  try: on the host: hvsock tree; hvsock service list\n");
        else if (!explained && error == ENETDOWN)
                fprintf(stderr, "no hvsockd was found\n  try: hvsock doctor\n");
        return 1;
}

int main(int argc, char **argv) {
        if (argc < 3 || argc > 4) {
                fprintf(stderr, "usage: echo_client PARTITION MESSAGE [SERVICE]\n");
                return 2;
        }
        const char *service = argc > 3 ? argv[3] : "HV Socket Demo";
        SOCKADDR_HV address = {.Family = AF_HYPERV};

        if (hv_partition_by_name(argv[1], &address.VmId) < 0)
                return fail(argv[1]);
        if (hv_service_by_name(service, &address.ServiceId) < 0)
                return fail(service);

        int channel = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
        if (channel < 0)
                return fail("socket");
        if (hv_connect(channel, (struct sockaddr *)&address, sizeof address) < 0)
                return fail("connect");
        if (hv_send(channel, argv[2], strlen(argv[2]), 0) < 0)
                return fail("send");
        if (hv_shutdown(channel, SHUT_WR) < 0) /* no more from here; the answer still arrives */
                return fail("shutdown");

        char bytes[4096];
        ssize_t length;
        while ((length = hv_recv(channel, bytes, sizeof bytes, 0)) > 0)
                fwrite(bytes, 1, (size_t)length, stdout);
        if (length < 0)
                return fail("recv");
        putchar('\n');
        return hv_close(channel) < 0 ? fail("close") : 0;
}
