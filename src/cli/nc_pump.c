/* SPDX-License-Identifier: MIT */

/*
 * The two directions of nc.
 *
 * Theory of operation. Each direction is a thread that blocks in its own calls,
 * so a full pipe on one side never stops the other, and neither standard input
 * nor output is made non-blocking: their open files are shared with the shell.
 * The sending thread sleeps in poll on standard input and on the channel, of
 * which it wants only POLLHUP: the peer has closed altogether, and what is typed
 * would go nowhere. A peer that has only shut down its writing causes none, so
 * sending goes on.
 *
 * A terminal that is standard input belongs to the foreground. In the background
 * nothing is read from it, so that nobody stops this process (SIGTTIN is
 * ignored) and the other direction goes on; what was typed meanwhile is read
 * once this process is in the foreground. Nothing tells of that moment, so the
 * terminal is asked now and then.
 */

#include "cli/nc_pump.h"

#include "cli/report.h"
#include <errno.h>
#include <fcntl.h>
#include <hvsock.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_SIZE (256u * 1024) /* a message of SOCK_SEQPACKET fits, too */

#define TERMINAL_ASKED_MS 200

struct sending {
        int fd;
        size_t chunk;
        char *buffer;
        int error; /* of the channel */
        int input_error;
};

static int send_all(int fd, const char *bytes, size_t length) {
        while (length > 0) {
                ssize_t sent = hv_send(fd, bytes, length, 0);
                if (sent < 0 && errno == EINTR)
                        continue;
                if (sent < 0)
                        return errno;
                bytes += sent;
                length -= (size_t)sent;
        }
        return 0;
}

static bool is_in_background(void) {
        pid_t foreground = tcgetpgrp(STDIN_FILENO); /* -1 when it is no terminal */
        return foreground > 0 && foreground != getpgrp();
}

static void *send_input(void *argument) {
        struct sending *sending = argument;
        for (;;) {
                bool waits = is_in_background();
                struct pollfd wanted[] = {{.fd = waits ? -1 : STDIN_FILENO, .events = POLLIN}, {.fd = sending->fd}};
                if (poll(wanted, 2, waits ? TERMINAL_ASKED_MS : -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        sending->input_error = errno;
                        break;
                }
                bool is_alone = wanted[1].revents;
                if (is_alone && !wanted[0].revents)
                        return NULL;
                if (!wanted[0].revents)
                        continue;
                ssize_t length = read(STDIN_FILENO, sending->buffer, sending->chunk);
                if (length > 0 && is_alone) {
                        sending->error = EPIPE;
                        return NULL;
                }
                if (length < 0 && (errno == EINTR || errno == EAGAIN || (errno == EIO && is_in_background())))
                        continue;
                if (length < 0)
                        sending->input_error = errno;
                if (length <= 0)
                        break;
                sending->error = send_all(sending->fd, sending->buffer, (size_t)length);
                if (sending->error)
                        return NULL;
        }
        hv_shutdown(sending->fd, SHUT_WR);
        return NULL;
}

/* 0, or the errno of the channel; *ret_output_error is that of standard output. */
static int receive_output(int fd, char *buffer, int *ret_output_error) {
        for (;;) {
                ssize_t length = hv_recv(fd, buffer, CHUNK_SIZE, 0);
                if (length < 0 && errno == EINTR)
                        continue;
                if (length <= 0)
                        return length < 0 ? errno : 0;
                for (ssize_t done = 0; done < length;) {
                        ssize_t written = write(STDOUT_FILENO, buffer + done, (size_t)(length - done));
                        if (written < 0 && errno == EAGAIN) {
                                /* Somebody else made it non-blocking. */
                                struct pollfd room = {.fd = STDOUT_FILENO, .events = POLLOUT};
                                poll(&room, 1, -1);
                        } else if (written < 0 && errno != EINTR) {
                                *ret_output_error = errno;
                                return 0;
                        }
                        done += written > 0 ? written : 0;
                }
        }
}

/* Tells whoever reads it that no more comes. The number stays taken, so that no other file gets it. */
static void end_output(void) {
        int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (nothing >= 0) {
                dup2(nothing, STDOUT_FILENO);
                close(nothing);
        }
}

int nc_pump(int fd, int socket_type, bool keeps_output) {
        char *buffer = malloc(CHUNK_SIZE * 2);
        /* A message has to fit the peer's idea of one; a stream has no such thing. */
        struct sending sending = {.fd = fd,
                                  .chunk = socket_type == SOCK_SEQPACKET ? HV_SEQPACKET_MAX : CHUNK_SIZE,
                                  .buffer = buffer ? buffer + CHUNK_SIZE : NULL};
        pthread_t sender;
        signal(SIGTTIN, SIG_IGN);
        int r = buffer ? pthread_create(&sender, NULL, send_input, &sending) : ENOMEM;
        if (r != 0) {
                free(buffer);
                hv_close(fd);
                return fail(EXIT_FAILED, "nc", strerror(r), NULL);
        }

        int output_error = 0, error = receive_output(fd, buffer, &output_error);
        if (output_error) /* nobody reads: nothing is left to do, and the sender may sleep for ever */
                exit(fail(EXIT_FAILED, "standard output", strerror(output_error), NULL));
        if (error)
                hv_shutdown(fd, SHUT_RDWR);
        if (!keeps_output)
                end_output();
        pthread_join(sender, NULL);
        /* The peer's data may have ended long before the peer did: it may have gone without reading ours. */
        if (!error && hv_recv(fd, buffer, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET)
                error = ECONNRESET;
        hv_close(fd);
        free(buffer);

        if (sending.input_error)
                return fail(EXIT_FAILED, "standard input", strerror(sending.input_error), NULL);
        if (error || sending.error)
                return fail(EXIT_FAILED, "channel",
                            error == ECONNRESET || sending.error ? "the peer is gone; what was sent last may be lost"
                                                                 : strerror(error),
                            "hvsock ls");
        return EXIT_OK;
}
