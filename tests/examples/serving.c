/* SPDX-License-Identifier: MIT */

/* What the echo server promises to whoever begins with a copy of it. */

#include "cli/shell.h"

#include "test.h"
#include <errno.h>
#include <hvsock.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* The library's connection to the broker, which it keeps. */
bool test_keeps_descriptor(int fd) {
        int type = 0;
        socklen_t size = sizeof type;
        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

TEST(a_client_that_does_not_receive_holds_up_no_other) {
        static const char bytes[65536];
        struct sandbox sandbox;
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK};
        sandbox_open(&sandbox, "--service Echo");
        pid_t server = sh_begin("exec $HVSOCK_BUILD/examples/echo_server Echo >/dev/null");
        await_success("hvsock ls | grep -q listening");

        check_equal(hv_service_by_name("Echo", &address.ServiceId), 0);
        int stuck = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
        check_equal(hv_connect(stuck, (struct sockaddr *)&address, sizeof address), 0);
        /* Whoever is served after the buffers of both directions are full, is served while the server cannot send. */
        for (ssize_t sent = 1, more; sent;) {
                for (sent = 0; (more = hv_send(stuck, bytes, sizeof bytes, MSG_DONTWAIT)) > 0; sent += more)
                        ;
                check(errno == EAGAIN);
                check_string(sh_text("$HVSOCK_BUILD/examples/echo_client loopback hello Echo"), "hello");
        }
        check_equal(hv_close(stuck), 0);
        check_string(sh_text("$HVSOCK_BUILD/examples/echo_client loopback hello Echo"), "hello");
        check_equal(kill(server, SIGTERM), 0);
        sh_end(server);
        sandbox_close(&sandbox);
}

TEST(a_server_ends_when_its_service_is_disabled) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo");
        pid_t server = sh_begin("exec $HVSOCK_BUILD/examples/echo_server Echo >/dev/null 2>&1");
        await_success("hvsock ls | grep -q listening");
        sh_text("hvsock service disable Echo");
        check_equal(sh_end(server), 1);
        sandbox_close(&sandbox);
}
