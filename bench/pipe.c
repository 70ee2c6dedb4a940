/* SPDX-License-Identifier: MIT */

/* A pipe each way, behind the face of a transport: two FIFOs, whose reading end stands for both. */

#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 1024

static int writing_end[DESCRIPTORS_MAX]; /* by the reading one */
static const struct endpoint *place;

static void name_fifo(const struct endpoint *endpoint, const char *which, char ret[PATH_MAX]) {
        int length = snprintf(ret, PATH_MAX, "%s/%s", endpoint->directory, which);

        if (length < 0 || length >= PATH_MAX)
                die("a path is too long");
}

static int pipe_listen(struct endpoint *endpoint, unsigned listener) {
        char there[PATH_MAX], back[PATH_MAX];

        name_fifo(endpoint, "there", there);
        name_fifo(endpoint, "back", back);
        if (mkfifo(there, 0600) < 0 || mkfifo(back, 0600) < 0)
                die("cannot make a pipe: %s", strerror(errno));
        place = endpoint;
        return 0;
}

/* Both ends open `there` first: opening waits for the other. */
static int open_both(const struct endpoint *endpoint, int flags) {
        char there[PATH_MAX], back[PATH_MAX];

        name_fifo(endpoint, "there", there);
        name_fifo(endpoint, "back", back);
        int first = open(there, flags | O_CLOEXEC);
        int second = open(back, (flags == O_RDONLY ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
        if (first < 0 || second < 0 || first >= DESCRIPTORS_MAX || second >= DESCRIPTORS_MAX)
                die("cannot open a pipe: %s", strerror(errno));
        int reading = flags == O_RDONLY ? first : second;
        writing_end[reading] = flags == O_RDONLY ? second : first;
        return reading;
}

static int pipe_dial(const struct endpoint *endpoint, unsigned listener) {
        return open_both(endpoint, O_WRONLY);
}

static int pipe_accept(int fd) {
        return open_both(place, O_RDONLY);
}

static void pipe_send(int fd, const void *buffer, size_t size) {
        const char *bytes = buffer;

        while (size > 0) {
                ssize_t written = write(writing_end[fd], bytes, size);
                if (written < 0)
                        die("cannot write to a pipe: %s", strerror(errno));
                bytes += written;
                size -= (size_t)written;
        }
}

static size_t pipe_receive(int fd, void *buffer, size_t size) {
        ssize_t received = read(fd, buffer, size);

        if (received < 0)
                die("cannot read from a pipe: %s", strerror(errno));
        return (size_t)received;
}

static void pipe_close(int fd) {
        close(writing_end[fd]);
        close(fd);
}

const struct transport transport_pipe = {
        "pipe", pipe_listen, pipe_dial, pipe_accept, pipe_send, pipe_receive, pipe_close,
};
