/* SPDX-License-Identifier: MIT */

/* The registry while everything runs: services switched off and on, added, edited, broken and removed. */

#include "program.h"
#include "test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct json_object *set_enabled(struct world *world, bool enabled) {
        return manage(world, "SetServiceEnabled", "{\"service\":\"" ECHO_NAME "\",\"enabled\":%s}",
                      enabled ? "true" : "false");
}

static void switch_service(struct world *world, bool enabled) {
        json_object_put(set_enabled(world, enabled));
}

TEST(disabling_a_service_wakes_its_listener_with_einval) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        static struct call call;
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        begin_accept(host, listener);
        check(await(program_is_asleep(host)));
        struct json_object *reply = set_enabled(world, false);
        check_equal(number_at(reply, "/listenersEnded"), 1);
        json_object_put(reply);
        check_errno(program_finish(host, &call), EINVAL);
        check_errno(dial(program_in(world, "web01"), &HV_GUID_PARENT, &ECHO), EINVAL);
        must(close_in(host, listener));
        world_end(world);
}

static long call_nonblocking_accept(struct call *call) {
        return hv_accept4(call->fd, NULL, NULL, SOCK_NONBLOCK);
}

TEST(a_listener_in_poll_sees_that_its_service_was_disabled) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        static struct call call;
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        switch_service(world, false);
        check_errno(accept_from(host, listener), EINVAL); /* polls first */
        call = (struct call){.function = call_nonblocking_accept, .fd = listener};
        check_errno(program_do(host, &call), EINVAL);
        must(close_in(host, listener));
        world_end(world);
}

TEST(disabling_a_service_resets_its_channels_at_their_next_call) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        char text[8];
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(web01, connected, host, listener);
        switch_service(world, false);
        check_errno(send_text(web01, connected, "x"), ECONNRESET);
        check_errno(receive_text(host, accepted, text, sizeof text), ECONNRESET);
        for (unsigned i = 0; i < 3; i++) {
                check_errno(receive_text(web01, connected, text, sizeof text), ECONNRESET);
                check_errno(send_text(host, accepted, "x"), ECONNRESET);
        }
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(other_services_channels_are_untouched) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        GUID service_id = service_numbered(30);
        world_write_service(world, &service_id, "Bystander", "");
        world_await_service(world, &service_id, "/name", "Bystander");
        char text[32];
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &service_id));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
        int accepted = check_meets(web01, connected, host, listener);
        switch_service(world, false);
        must(send_text(web01, connected, "still here"));
        check_equal(must(receive_text(host, accepted, text, sizeof text)), 10);
        int second = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
        must(close_in(host, check_meets(web01, second, host, listener)));
        must(close_in(web01, second));
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(enabled_again_it_works_for_new_sockets) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        switch_service(world, false);
        check_errno(serve(program_in(world, "web01"), &HV_GUID_WILDCARD, &ECHO), EINVAL);
        switch_service(world, true);
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_CHILDREN, &ECHO), 0);
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &ECHO), 0);
        must(close_in(host, listener));
        world_end(world);
}

/* A program that never calls libhvsock on its channel: only the descriptor is the library's. */
static long call_native_write(struct call *call) {
        return write(call->fd, call->bytes, call->size);
}

static long call_native_read(struct call *call) {
        return read(call->fd, call->bytes, sizeof call->bytes);
}

TEST(a_channel_that_only_native_calls_touch_is_listed_as_remaining) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        static struct call call;
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = (int)must(accept_from(host, listener));
        struct json_object *reply = set_enabled(world, false);
        check_equal(number_at(reply, "/channelsRemaining"), 1);
        json_object_put(reply);

        call = (struct call){.function = call_native_write, .fd = connected, .bytes = "x", .size = 1};
        check_equal(must(program_do(web01, &call)), 1);
        call = (struct call){.function = call_native_read, .fd = accepted};
        check_equal(must(program_do(host, &call)), 1);

        reply = manage(world, "ListChannels", "{}");
        check_equal(length_at(reply, "/channels"), 1);
        check_string(text_at(reply, "/channels/0/state"), "remaining");
        json_object_put(reply);
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_channel_that_ended_with_its_service_is_no_longer_listed_as_remaining) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = (int)must(accept_from(host, listener));
        struct json_object *reply = manage(world, "ListChannels", "{}");
        check_string(text_at(reply, "/channels/0/state"), "open");
        json_object_put(reply);
        reply = set_enabled(world, false);
        check_equal(number_at(reply, "/channelsRemaining"), 1);
        json_object_put(reply);
        reply = manage(world, "ListChannels", "{}");
        check_string(text_at(reply, "/channels/0/state"), "remaining");
        json_object_put(reply);

        /* The acceptor's next call ends it; both still hold their descriptors. */
        check_errno(send_text(host, accepted, "too late"), ECONNRESET);
        reply = manage(world, "ListChannels", "{}");
        check_equal(length_at(reply, "/channels"), 1);
        check_string(text_at(reply, "/channels/0/state"), "ended");
        json_object_put(reply);
        json_object_put(set_enabled(world, true));
        reply = set_enabled(world, false);
        check_equal(number_at(reply, "/channelsRemaining"), 0);
        json_object_put(reply);
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

/* ---- files ---- */

TEST(a_drop_in_takes_effect_without_a_restart) {
        struct world *world = world_family();
        GUID service_id = service_numbered(31);
        struct program *web01 = program_in(world, "web01");
        check_errno(dial(web01, &HV_GUID_PARENT, &service_id), EACCES);
        world_write_service(world, &service_id, "Newcomer", "");
        world_await_service(world, &service_id, "/name", "Newcomer");
        check_errno(dial(web01, &HV_GUID_PARENT, &service_id), ECONNREFUSED);

        world_write_service(world, &service_id, "Newcomer", "Connect=containers\n");
        world_await_service(world, &service_id, "/connect", "containers");
        check_errno(dial(web01, &HV_GUID_PARENT, &service_id), EACCES);

        world_write_service(world, &service_id, "Newcomer", "Enabled=no\n");
        world_await_service(world, &service_id, "/enabled", "false");
        check_errno(dial(web01, &HV_GUID_PARENT, &service_id), EINVAL);
        world_end(world);
}

static bool refuses(struct program *program, const GUID *service_id, int error) {
        return dial(program, &HV_GUID_PARENT, service_id) < 0 && errno == error;
}

TEST(removing_a_drop_in_unregisters_its_service) {
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01");
        char path[PATH_MAX + 64], id[HV_GUID_TEXT_SIZE];
        check_errno(dial(web01, &HV_GUID_PARENT, &ECHO), ECONNREFUSED);
        snprintf(path, sizeof path, "%s/%s.conf", world->services, hv_guid_format(&ECHO, id));
        must(unlink(path));
        check(await(refuses(web01, &ECHO, EACCES)));
        world_end(world);
}

TEST(a_link_to_dev_null_masks_a_service) {
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01");
        char path[PATH_MAX + 64], beside[PATH_MAX + 80], id[HV_GUID_TEXT_SIZE];
        snprintf(path, sizeof path, "%s/%s.conf", world->services, hv_guid_format(&ECHO, id));
        snprintf(beside, sizeof beside, "%s.new", path);
        must(symlink("/dev/null", beside));
        must(rename(beside, path));
        check(await(refuses(web01, &ECHO, EACCES)));
        world_end(world);
}

TEST(disabling_by_editing_the_file_ends_listeners_too) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        static struct call call;
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        begin_accept(host, listener);
        check(await(program_is_asleep(host)));
        world_write_service(world, &ECHO, ECHO_NAME, "Enabled=no\n");
        check_errno(program_finish(host, &call), EINVAL);
        must(close_in(host, listener));
        world_end(world);
}

static const char *problem_with(struct world *world, struct json_object **ret_reply, const char *file) {
        struct json_object *reply = manage(world, "GetWorld", "{}"), *problems;
        check(json_object_object_get_ex(reply, "problems", &problems));
        const char *text = NULL;
        for (size_t i = 0; i < json_object_array_length(problems); i++) {
                const char *problem = json_object_to_json_string_ext(json_object_array_get_idx(problems, i),
                                                                     JSON_C_TO_STRING_NOSLASHESCAPE);
                if (strstr(problem, file))
                        text = problem;
        }
        *ret_reply = reply;
        return text;
}

static bool has_problem(struct world *world, const char *file, const char *line, const char *expected) {
        struct json_object *reply;
        const char *text = problem_with(world, &reply, file);
        bool has = text && strstr(text, line) && strstr(text, expected);
        json_object_put(reply);
        return has;
}

TEST(a_broken_drop_in_is_reported_with_its_line_and_the_others_load) {
        struct world *world = world_new();
        GUID broken = service_numbered(32), fine = service_numbered(33);
        char id[HV_GUID_TEXT_SIZE];
        world_write_service(world, &ECHO, ECHO_NAME, "");
        world_write_service(world, &broken, "Broken", "WildcardBinds=maybe\n");
        world_start(world);
        hv_guid_format(&broken, id);
        check(has_problem(world, id, "3", "yes or no"));
        manage_refused(world, "NotFound", "GetService", "{\"service\":\"%s\"}", id);
        world_await_service(world, &ECHO, "/name", ECHO_NAME);

        world_write_service(world, &fine, "Fine", "");
        world_await_service(world, &fine, "/name", "Fine");
        world_write_service(world, &broken, "Mended", "WildcardBinds=no\n");
        world_await_service(world, &broken, "/name", "Mended");
        struct json_object *reply;
        check(!problem_with(world, &reply, id));
        json_object_put(reply);
        world_end(world);
}

TEST(a_misspelt_key_is_reported_and_kept) {
        struct world *world = world_family();
        char id[HV_GUID_TEXT_SIZE];
        hv_guid_format(&ECHO, id);
        world_write_service(world, &ECHO, ECHO_NAME, "Conect=vms\n");
        check(await(has_problem(world, id, ".conf:3\"", "did you mean \\\"Connect\\\"?")));
        json_object_put(manage(world, "SetServiceEnabled", "{\"service\":\"%s\",\"enabled\":false}", id));
        check(has_problem(world, id, ".conf:3\"", "warning"));
        struct json_object *reply = manage(world, "GetService", "{\"service\":\"%s\"}", id);
        check_equal(length_at(reply, "/service/problems"), 1);
        check_string(text_at(reply, "/service/problems/0/severity"), "warning");
        json_object_put(reply);
        world_write_service(world, &ECHO, ECHO_NAME, "Connect=vms\n");
        world_await_service(world, &ECHO, "/connect", "vms");
        check(!has_problem(world, id, "", ""));
        world_end(world);
}

TEST(mistakes_in_the_files_that_are_read_at_the_start_are_reported_until_they_are_mended) {
        struct world *world = world_new();
        world_define(world, "web01", "vm", "Sibling=yes\n");
        world_configure(world, "ChannelPerUser=7\n");
        world_start(world);
        check(has_problem(world, "/partitions/", "warning", "did you mean \\\"Siblings\\\"?"));
        check(has_problem(world, "hvsockd.conf:2", "warning", "did you mean \\\"ChannelsPerUser\\\"?"));
        check(has_problem(world, "hvsockd.conf:2", "warning", "then restart hvsockd"));
        json_object_put(manage(world, "RemovePartition", "{\"partition\":\"web01\"}"));
        check(!has_problem(world, "/partitions/", "", ""));
        world_end(world);
}

TEST(breaking_a_drop_in_while_it_is_in_use_is_reported_too) {
        struct world *world = world_family();
        char id[HV_GUID_TEXT_SIZE];
        hv_guid_format(&ECHO, id);
        world_write_service(world, &ECHO, ECHO_NAME, "Enabled=perhaps\n");
        check(await(has_problem(world, id, "3", "yes or no")));
        /* A mistake that writing it again would not mend is not written. */
        world_write_service(world, &ECHO, ECHO_NAME, "mistake\n");
        check(await(has_problem(world, id, "3", "Key=value")));
        manage_refused(world, "Invalid", "SetServiceEnabled", "{\"service\":\"%s\",\"enabled\":false}", id);
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &ECHO), 0);
        world_end(world);
}

TEST(services_added_through_management_are_written_and_take_effect) {
        struct world *world = world_family();
        char id[HV_GUID_TEXT_SIZE], path[PATH_MAX + 64];
        struct stat status;
        struct json_object *reply = manage(world, "AddService", "{\"name\":\"HV Socket Demo\"}");
        snprintf(id, sizeof id, "%s", text_at(reply, "/service/id"));
        json_object_put(reply);
        GUID service_id;
        must(hv_guid_parse(id, &service_id));
        snprintf(path, sizeof path, "%s/%s.conf", world->services, id);
        must(stat(path, &status));
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &service_id), 0);
        check_equal(service_counter(world, &service_id, "channelsTotal"), 1);
        json_object_put(manage(world, "RemoveService", "{\"service\":\"HV Socket Demo\"}"));
        check_errno(stat(path, &status), ENOENT);
        check_errno(dial(program_in(world, "web01"), &HV_GUID_PARENT, &service_id), EACCES);
        world_end(world);
}

static const char *text_of_drop_in(const struct world *world, const GUID *service_id) {
        static char text[4096];
        char id[HV_GUID_TEXT_SIZE], path[PATH_MAX + 64];
        hv_guid_format(service_id, id);
        snprintf(path, sizeof path, "%s/%s.conf", world->services, id);
        FILE *file = fopen(path, "re");
        check(file);
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
        return text;
}

TEST(what_was_edited_just_before_a_service_is_disabled_is_kept) {
        struct world *world = world_family();
        char id[HV_GUID_TEXT_SIZE];
        hv_guid_format(&ECHO, id);
        world_write_service(world, &ECHO, ECHO_NAME, "Connect=vms\n");
        json_object_put(manage(world, "SetServiceEnabled", "{\"service\":\"%s\",\"enabled\":false}", id));
        check(strstr(text_of_drop_in(world, &ECHO), "\nConnect=vms\n"));
        check(strstr(text_of_drop_in(world, &ECHO), "\nEnabled=no\n"));
        world_end(world);
}

TEST(a_mistake_that_keeps_a_service_out_of_force_is_not_written_over) {
        static const char lines[] = "Enabled=no\nConnect=user:root\nBind=anybody-at-all\n";
        struct world *world = world_new();
        GUID broken = service_numbered(32);
        char id[HV_GUID_TEXT_SIZE];
        world_write_service(world, &broken, "Broken", lines);
        world_start(world);
        hv_guid_format(&broken, id);
        manage_refused(world, "Invalid", "AddService", "{\"name\":\"Mine\",\"id\":\"%s\"}", id);
        manage_refused(world, "Invalid", "ImportServices",
                       "{\"text\":\"Windows Registry Editor Version 5.00\\n[HKEY_LOCAL_MACHINE\\\\SOFTWARE\\\\Microsoft\\\\"
                       "Windows NT\\\\CurrentVersion\\\\Virtualization\\\\GuestCommunicationServices\\\\%s]\\n"
                       "\\\"ElementName\\\"=\\\"Broken\\\"\"}", id);
        check(strstr(text_of_drop_in(world, &broken), lines));
        json_object_put(manage(world, "RemoveService", "{\"service\":\"%s\"}", id));
        json_object_put(manage(world, "AddService", "{\"name\":\"Mine\",\"id\":\"%s\"}", id));
        world_end(world);
}

/* ---- counters ---- */

TEST(counters_say_what_happened_by_service_and_partition_and_cause) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        check_errno(dial(web01, &HV_GUID_PARENT, &ECHO), ECONNREFUSED);
        check_errno(dial(web01, &HV_GUID_PARENT, &ECHO), ECONNREFUSED);
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO)), connected[3];
        for (unsigned i = 0; i < 3; i++)
                connected[i] = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        check_equal(service_counter(world, &ECHO, "listenersNow"), 1);
        check_equal(service_counter(world, &ECHO, "channelsNow"), 3);
        check_equal(service_counter(world, &ECHO, "channelsTotal"), 3);
        check_equal(service_counter(world, &ECHO, "refused/no-listener"), 2);
        check_equal(partition_counter(world, "web01", "refused/no-listener"), 2);
        check_equal(partition_counter(world, "web01", "channelsNow"), 3);
        check_equal(partition_counter(world, "host", "channelsNow"), 3);
        check_equal(partition_counter(world, "host", "listenersNow"), 1);
        check_equal(partition_counter(world, "web02", "channelsTotal"), 0);
        for (unsigned i = 0; i < 3; i++)
                must(close_in(web01, connected[i]));
        must(close_in(host, listener));
        world_check_quiet(world);
        check_equal(service_counter(world, &ECHO, "channelsNow"), 0);
        check_equal(service_counter(world, &ECHO, "channelsTotal"), 3);
        check_equal(service_counter(world, &ECHO, "listenersNow"), 0);
        check_equal(partition_counter(world, "web01", "channelsNow"), 0);
        check_equal(partition_counter(world, "host", "channelsNow"), 0);
        world_end(world);
}
