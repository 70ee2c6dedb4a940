/* SPDX-License-Identifier: MIT */

/* What hvsock tells of a VM whose VMM is there: a fake one, with a fake guest (tests/vm/fake_guest.h). */

#include "../vm/fake_guest.h"
#include "shell.h"

#include "test.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ID "11111111-2222-3333-4444-555555555555"
#define RX_BUFFER 3776u

static struct sandbox sandbox;
static struct fake_guest guest;

static void begin(void) {
        sandbox_open(&sandbox, "--service vsock:5=Five");
        sh_text("hvsock vm add web01 --id " ID " --cid %u", FAKE_CID);
        fake_guest_start(&guest);
}

static void end(void) {
        fake_guest_free(&guest);
        sandbox_close(&sandbox);
}

static void plug(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int length = snprintf(address.sun_path, sizeof address.sun_path, "%.60s/runtime/" ID "/vhost-user",
                              sandbox.directory);
        check(length < (int)sizeof address.sun_path);
        guest.socket = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(guest.socket, (struct sockaddr *)&address, sizeof address));
        fake_realize(&guest);
}

static void start_driver(uint64_t features) {
        fake_driver_starts(&guest, features, 0, 0);
        fake_give_buffers(&guest, 16, RX_BUFFER);
        check_ok(eventfd_write(guest.kick_fds[VHOST_USER_RX], 1));
}

static void await_shown(const char *line) {
        await_success("hvsock vm show web01 | grep -x '%s'", line);
}

TEST(a_vm_whose_vmm_is_there_runs_once_its_driver_does) {
        begin();
        plug();
        await_shown("VMM        connected");
        await_shown("State      stopped");
        start_driver(VHOST_USER_FEATURES);
        await_shown("State      running");
        await_success("hvsock tree | grep 'web01 *vm .* running '");
        check_equal(sh_refused("hvsock vm remove web01"), 1);
        check(strstr(sh("hvsock vm remove web01")->err, "it is in use: its guest runs") != NULL);
        fake_driver_stops(&guest);
        await_shown("State      paused");
        close(guest.socket);
        guest.socket = -1;
        await_shown("VMM        not there");
        await_shown("State      stopped");
        sh_text("hvsock vm remove web01");
        end();
}

TEST(a_running_vm_shows_its_guests_features_and_memory) {
        begin();
        plug();
        start_driver(VHOST_USER_FEATURES);
        await_shown("Features   seqpacket indirect-descriptors event-index version-1");
        await_shown("Memory     16 MiB in 1 region");
        struct json_object *reply = sh_json("hvsock vm show web01 --json");
        check_string(text_at(reply, "/vm/state"), "running");
        check_string(text_at(reply, "/vm/problem"), "");
        check_string(text_at(reply, "/vm/features/0"), "seqpacket");
        check_equal(number_at(reply, "/vm/memory"), 16 << 20);
        check_equal(number_at(reply, "/vm/regions"), 1);
        json_object_put(reply);
        end();
}

TEST(a_driver_that_took_little_shows_little) {
        begin();
        plug();
        start_driver(VHOST_USER_FEATURE_PROTOCOL | VHOST_USER_FEATURE_VERSION_1);
        await_shown("Features   version-1");
        end();
}

TEST(what_is_wrong_is_told_with_what_to_do) {
        begin();
        plug();
        fake_driver_starts(&guest, VHOST_USER_FEATURES | UINT64_C(1) << 34, 0, 0);
        await_success("hvsock vm show web01 | grep '^Problem .* must not have packed=on'");
        await_shown("VMM        not there");
        check(strstr(sh("hvsock doctor")->out, "web01: the VMM negotiated what was not offered") != NULL);
        end();
}

/* Its driver writes where the VMM's own mapping is, and kicks. */
TEST(a_vmm_that_keeps_the_memory_to_itself_is_told_to_share_it) {
        begin();
        plug();
        fake_driver_starts(&guest, VHOST_USER_FEATURES, 0, 0);
        check_ok(eventfd_write(guest.kick_fds[VHOST_USER_RX], 1));
        await_success("hvsock vm show web01 | grep '^Problem .* share=on$'");
        end();
}

TEST(a_channel_from_a_guest_is_listed_with_the_guest_as_its_process) {
        begin();
        plug();
        start_driver(VHOST_USER_FEATURES);
        await_shown("State      running");
        pid_t server = sh_begin("exec hvsock nc -l vsock:5 </dev/null >/dev/null");
        await_success("hvsock ls | grep ^listening");
        const struct vsock_packet request = {.source_cid = FAKE_CID, .target_cid = VSOCK_CID_HOST, .source_port = 1000,
                                             .target_port = 5, .type = VSOCK_STREAM, .operation = VSOCK_REQUEST,
                                             .buffer_size = 65536};
        fake_send(&guest, &request, NULL, FAKE_SPLIT);
        check_ok(eventfd_write(guest.kick_fds[VHOST_USER_TX], 1));
        await_success("hvsock ls | grep '^[a-z]*/stream *web01 *(guest) *host *hvsock.*Five'");
        struct json_object *list = sh_json("hvsock ls --json");
        check(json_object_get_boolean(at(list, "/channels/0/fromGuest")));
        check(!json_object_get_boolean(at(list, "/channels/0/toGuest")));
        json_object_put(list);
        await_success("hvsock tree | grep 'web01 *vm .* running *- *1$'");
        close(guest.socket);
        guest.socket = -1;
        (void)sh_end(server);
        await_success("! hvsock ls | grep web01");
        end();
}

TEST(who_may_ask_a_guest_is_told_that_the_guest_has_the_last_word) {
        begin();
        plug();
        start_driver(VHOST_USER_FEATURES);
        await_shown("State      running");
        check(strstr(sh_text("hvsock why host web01 vsock:5"), "yes: ") != NULL);
        check(strstr(sh_text("hvsock why host web01 vsock:5"), "the guest of web01 says") != NULL);
        end();
}
