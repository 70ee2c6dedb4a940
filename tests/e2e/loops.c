/* SPDX-License-Identifier: MIT */

/* Programs with loops of their own, libuv's or a plain select, echo through rings: also when the rings are full. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <sys/select.h>
#include <unistd.h>
#ifdef HAS_LIBUV
#include <uv.h>
#endif

#define LOT (8u << 20)

/* One end of a program that echoes: what it has read, and not yet written. */
struct echo {
        int fd;
        uint8_t bytes[100000];
        size_t begin, end;
        bool has_ended;
        unsigned waits; /* times it could not write */
};

static void echo_read(struct echo *echo) {
        ssize_t got = hv_recv(echo->fd, echo->bytes, sizeof echo->bytes, 0);
        if (got < 0)
                check_equal(errno, EAGAIN);
        else if (!got)
                echo->has_ended = true;
        else
                echo->end = (size_t)got;
}

static void echo_write(struct echo *echo) {
        ssize_t sent = hv_send(echo->fd, echo->bytes + echo->begin, echo->end - echo->begin, 0);
        if (sent < 0) {
                check_equal(errno, EAGAIN);
                echo->waits++;
                return;
        }
        echo->begin += (size_t)sent;
        if (echo->begin == echo->end)
                echo->begin = echo->end = 0;
}

static long converse(void *argument) {
        int fd = *(int *)argument;
        static uint8_t out[50000], in[50000];
        uint64_t sent = 0, heard = 0;
        while (sent < LOT || heard < sent) {
                /* It sends far ahead of what it receives, so that the other side's ring fills. */
                while (sent < LOT && sent - heard < 3u << 20) {
                        uint64_t position = sent;
                        fill_sequence(&position, out, sizeof out);
                        ssize_t done = hv_send(fd, out, sizeof out, MSG_DONTWAIT);
                        if (done < 0)
                                break;
                        sent += (uint64_t)done;
                }
                ssize_t got = hv_recv(fd, in, sizeof in, MSG_DONTWAIT);
                if (got < 0) {
                        struct pollfd descriptor = {.fd = fd, .events = (short)(POLLIN | (sent < LOT ? POLLOUT : 0))};
                        check(must(poll(&descriptor, 1, WORLD_WAIT_MS)) == 1);
                        continue;
                }
                check_sequence(&heard, in, (size_t)got);
        }
        must(hv_shutdown(fd, SHUT_WR));
        return (long)(sent - heard);
}

TEST(a_plain_select_loop_echoes_through_rings) {
        struct pair pair = ring_pair(SOCK_STREAM);
        static struct echo echo;
        echo.fd = pair.acceptor;
        set_nonblocking(pair.acceptor, true);
        struct thread *thread = thread_start(converse, &pair.connector);
        while (!echo.has_ended || echo.end) {
                fd_set readable, writable;
                struct timeval limit = {.tv_sec = WORLD_WAIT_MS / 1000};
                FD_ZERO(&readable);
                FD_ZERO(&writable);
                FD_SET(pair.acceptor, echo.end ? &writable : &readable);
                check(must(select(pair.acceptor + 1, &readable, &writable, NULL, &limit)) == 1);
                if (FD_ISSET(pair.acceptor, &readable))
                        echo_read(&echo);
                if (FD_ISSET(pair.acceptor, &writable))
                        echo_write(&echo);
        }
        check_equal(must(thread_join(thread)), 0);
        pair_close(&pair);
}

#ifdef HAS_LIBUV

static void watch(uv_poll_t *handle);

static void ready(uv_poll_t *handle, int status, int events) {
        struct echo *echo = handle->data;
        check_equal(status, 0);
        if (events & UV_READABLE && !echo->end)
                echo_read(echo);
        if (events & UV_WRITABLE && echo->end)
                echo_write(echo);
        if (echo->has_ended && !echo->end)
                uv_close((uv_handle_t *)handle, NULL);
        else
                watch(handle);
}

static void watch(uv_poll_t *handle) {
        const struct echo *echo = handle->data;
        check_equal(uv_poll_start(handle, echo->end ? UV_WRITABLE : UV_READABLE, ready), 0);
}

TEST(a_libuv_loop_echoes_through_rings) {
        struct pair pair = ring_pair(SOCK_STREAM);
        static struct echo echo;
        uv_loop_t loop;
        uv_poll_t handle;
        echo.fd = pair.acceptor;
        check_equal(uv_loop_init(&loop), 0);
        check_equal(uv_poll_init(&loop, &handle, pair.acceptor), 0);
        handle.data = &echo;
        watch(&handle);
        struct thread *thread = thread_start(converse, &pair.connector);
        check_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
        check_equal(must(thread_join(thread)), 0);
        check_equal(uv_loop_close(&loop), 0);
        uv_library_shutdown(); /* which closes what it keeps open for signals */
        pair_close(&pair);
}

#else

TEST(a_libuv_loop_echoes_through_rings) {
        test_skip("libuv is not installed");
}

#endif
