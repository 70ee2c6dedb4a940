/* SPDX-License-Identifier: MIT */

/*
 * echo_server [SERVICE]: gives back what each client sends.
 *
 * SERVICE is a friendly name or a ServiceId; "HV Socket Demo" if it is left out.
 * Accepts from every partition that can reach this one: parent, children, itself.
 */

#include <errno.h>
#include <hvsock.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *what) {
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        int error = errno;
        perror(what);
        if (hv_last_refusal(&refusal) == 0 && refusal.text[0])
                fprintf(stderr, "%s\n", refusal.text);
        if (!strcmp(refusal.rule_name, "not-registered"))
                fprintf(stderr, "  try: on the host: hvsock service add --id '<GUID>' '<NAME>'\n");
        else if (error == ENOENT)
                fprintf(stderr, "no service has this name\n  try: on the host: hvsock service add '%s'\n", what);
        else if (error == ENETDOWN)
                fprintf(stderr, "no hvsockd was found\n  try: hvsock doctor\n");
        return 1;
}

static void echo(int channel) {
        char bytes[4096];
        ssize_t length;
        while ((length = hv_recv(channel, bytes, sizeof bytes, 0)) > 0)
                for (ssize_t done = 0, sent; done < length; done += sent)
                        if ((sent = hv_send(channel, bytes + done, (size_t)(length - done), 0)) < 0)
                                return;
}

int main(int argc, char **argv) {
        const char *service = argc > 1 ? argv[1] : "HV Socket Demo";
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_WILDCARD};

        if (hv_guid_parse(service, &address.ServiceId) < 0 && hv_service_by_name(service, &address.ServiceId) < 0)
                return fail(service);

        int listener = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
        if (listener < 0)
                return fail("socket");
        if (hv_bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
                return fail("bind");
        if (hv_listen(listener, SOMAXCONN) < 0)
                return fail("listen");
        printf("echo_server: listening as \"%s\"\n", service);
        fflush(stdout);

        signal(SIGCHLD, SIG_IGN); /* the children's ends need no attention */
        for (;;) {
                SOCKADDR_HV peer;
                socklen_t length = sizeof peer;
                int channel = hv_accept(listener, (struct sockaddr *)&peer, &length);
                if (channel < 0)
                        return fail("accept"); /* EINVAL: the service was disabled */
                if (fork() == 0) {
                        hv_close(listener);
                        echo(channel);
                        hv_close(channel);
                        return 0;
                }
                hv_close(channel);
        }
}
