/* SPDX-License-Identifier: MIT */

/*
 * The programs that others start: by exec with an inherited descriptor, or by
 * the broker on demand. "pid" and "uid" are answered with those, "end" with an end.
 *
 *     helper names FD      prints the channel's own and peer address, then gives back what it reads
 *     helper inetd         the same for a channel on standard input and output, without the names
 *     helper listener      as systemd starts it: accepts on the first passed descriptor until a client says "end"
 */

#include <hvsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int give_back(int in, int out) {
        char bytes[4096];
        ssize_t length;
        while ((length = hv_read(in, bytes, sizeof bytes)) > 0) {
                if (length == 3 && !memcmp(bytes, "end", 3))
                        exit(0);
                if (length == 3 && !memcmp(bytes, "pid", 3))
                        length = snprintf(bytes, sizeof bytes, "%d", getpid());
                if (length == 3 && !memcmp(bytes, "uid", 3))
                        length = snprintf(bytes, sizeof bytes, "%u", geteuid());
                if (hv_write(out, bytes, (size_t)length) != length)
                        return 3;
        }
        return length < 0 ? 4 : 0;
}

static int print_names(int fd) {
        SOCKADDR_HV addresses[2];
        char text[4][HV_GUID_TEXT_SIZE], line[256];
        socklen_t length = sizeof *addresses;
        if (hv_getsockname(fd, (struct sockaddr *)&addresses[0], &length) < 0 ||
            hv_getpeername(fd, (struct sockaddr *)&addresses[1], &length) < 0)
                return 2;
        hv_guid_format(&addresses[0].VmId, text[0]);
        hv_guid_format(&addresses[0].ServiceId, text[1]);
        hv_guid_format(&addresses[1].VmId, text[2]);
        hv_guid_format(&addresses[1].ServiceId, text[3]);
        int size = snprintf(line, sizeof line, "%s %s %s %s\n", text[0], text[1], text[2], text[3]);
        if (hv_write(fd, line, (size_t)size) != size)
                return 3;
        return give_back(fd, fd);
}

static int listen_as_told(void) {
        const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
        if (!count || strcmp(count, "1") || !pid || atoi(pid) != getpid())
                return 5;
        for (;;) {
                int channel = hv_accept(3, NULL, NULL);
                if (channel < 0)
                        return 6;
                give_back(channel, channel);
                hv_close(channel);
        }
}

int main(int argc, char **argv) {
        if (argc == 3 && !strcmp(argv[1], "names"))
                return print_names(atoi(argv[2]));
        if (argc == 2 && !strcmp(argv[1], "inetd"))
                return give_back(STDIN_FILENO, STDOUT_FILENO);
        if (argc == 2 && !strcmp(argv[1], "listener"))
                return listen_as_told();
        fprintf(stderr, "helper: not started as it should be\n");
        return 2;
}
