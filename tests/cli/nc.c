/* SPDX-License-Identifier: MIT */

/* hvsock nc, and what ls, stat and monitor show of it. */

#include "shell.h"

#include "test.h"
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FAMILY "--vm web01 --container web01/db --service Echo"

/* The shell's own words for: wait until somebody listens to Echo. */
#define LISTENING "hvsock ls --json | grep -q '\"state\": \"listening\"'"

TEST(bytes_go_both_ways_and_each_end_closes_its_own_direction) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        sh_text("cd %s && head -c 5000000 /dev/urandom >there && head -c 3000001 /dev/urandom >back",
                sandbox.directory);
        pid_t server = sh_begin("cd %s && exec hvsock run web01 -- sh -c 'exec hvsock nc -l Echo <back >there.got'",
                                sandbox.directory);
        sh_text("cd %s && hvsock nc --wait web01 Echo <there >back.got", sandbox.directory);
        check_equal(sh_end(server), 0);
        sh_text("cd %s && cmp there there.got && cmp back back.got", sandbox.directory);
        sandbox_close(&sandbox);
}

TEST(an_end_that_has_closed_its_input_still_receives) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        /* The server answers only when it has seen the end of what the client sends. */
        pid_t server =
                sh_begin("cd %s && mkfifo in && { cat in; } | hvsock nc -l Echo | { md5sum >in; }", sandbox.directory);
        check_string(sh_text("printf hello | hvsock nc --wait loopback Echo"), "5d41402abc4b2a76b9719d911017c592  -");
        check_equal(sh_end(server), 0);
        sandbox_close(&sandbox);
}

TEST(nc_ends_when_the_peer_is_gone_though_its_input_is_open) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        sh_text("mkfifo %s/open", sandbox.directory);
        pid_t server = sh_begin("exec hvsock nc -l Echo 0<>%s/open", sandbox.directory);
        pid_t client = sh_begin("exec hvsock nc --wait Echo 0<>%s/open", sandbox.directory);
        await_success("hvsock ls --json | grep -q '\"state\": \"open\"'");
        must(kill(server, SIGKILL));
        check_equal(sh_end(client), 0);
        sh_end(server);
        sandbox_close(&sandbox);
}

TEST(every_direction_of_the_tutorial_works) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        static const struct {
                const char *server, *client, *dialled;
        } ways[] = {{"web01", "host", "web01"},       {"host", "web01", "parent"}, {"web01", "web01/db", "parent"},
                    {"web01", "web01/db", "silohost"}, {"web01/db", "web01", "db"}, {"web01", "web01", "loopback"}};
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
                pid_t server = sh_begin("echo hello | hvsock run %s -- hvsock nc -l Echo >/dev/null", ways[i].server);
                check_string(sh_text("hvsock run %s -- hvsock nc --wait %s Echo </dev/null", ways[i].client,
                                     ways[i].dialled),
                             "hello");
                check_equal(sh_end(server), 0);
        }
        sandbox_close(&sandbox);
}

TEST(data_goes_the_way_that_is_asked_for) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        static const char *const ways[] = {"auto", "unix", "shm"};
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
                pid_t server = sh_begin("head -c 3000000 /dev/zero | hvsock nc -l --carrier %s Echo >/dev/null", ways[i]);
                check_string(sh_text("hvsock nc --wait --carrier %s Echo </dev/null | wc -c", ways[i]), "3000000");
                check_equal(sh_end(server), 0);
        }
        check_equal(sh_refused("hvsock nc --carrier pigeon Echo </dev/null"), 2);
        sandbox_close(&sandbox);
}

TEST(messages_of_seqpacket_arrive) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        pid_t server = sh_begin("head -c 1000000 /dev/zero | hvsock nc -l --seqpacket Echo >/dev/null");
        check_string(sh_text("hvsock nc --wait --seqpacket Echo </dev/null | wc -c"), "1000000");
        check_equal(sh_end(server), 0);
        server = sh_begin("exec hvsock nc -l --seqpacket Echo </dev/null");
        await_success(LISTENING);
        check_equal(sh_refused("hvsock nc Echo </dev/null"), 1);
        sh_text("hvsock nc --seqpacket Echo </dev/null");
        check_equal(sh_end(server), 0);
        sandbox_close(&sandbox);
}

TEST(keep_takes_one_connection_after_the_other) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        pid_t server = sh_begin("cd %s && exec hvsock nc -lk loopback vsock:5000 </dev/null >got", sandbox.directory);
        for (int i = 0; i < 5; i++)
                sh_text("echo %d | hvsock nc --wait vsock:5000", i);
        await_success("test \"$(tr '\\n' ' ' <%s/got)\" = '0 1 2 3 4 '", sandbox.directory);
        must(kill(server, SIGTERM));
        check_equal(sh_end(server), 128 + SIGTERM);
        sandbox_close(&sandbox);
}

TEST(a_refusal_says_why_and_what_to_type) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        check_equal(sh_refused("hvsock nc web01 Echo </dev/null"), 1);
        check_equal(sh_refused("hvsock nc children Echo </dev/null"), 3);
        check_equal(sh_refused("hvsock nc web01 11111111-2222-3333-4444-555555555555 </dev/null"), 4);
        check(strstr(sh("hvsock nc web01 11111111-2222-3333-4444-555555555555 </dev/null")->err,
                     "hvsock service add --id 11111111-2222-3333-4444-555555555555") != NULL);
        check_equal(sh_refused("hvsock nc -l 11111111-2222-3333-4444-555555555555 </dev/null"), 4);
        check_equal(sh_refused("hvsock nc nowhere Echo </dev/null"), 3);
        check_equal(sh_refused("hvsock nc web01 Nothing </dev/null"), 3);
        check_equal(sh_refused("hvsock nc web01 vsock:2147483648 </dev/null"), 2);
        sandbox_close(&sandbox);
}

/* hvsock nc in the background of a terminal of its own, until it is put into the foreground. */
static void run_in_background(const char *output, int foreground_fd) {
        char byte;
        signal(SIGTTOU, SIG_IGN);
        pid_t pid = (pid_t)must(fork());
        if (pid == 0) {
                must(setpgid(0, 0));
                dup2((int)must(open(output, O_WRONLY | O_CREAT, 0600)), STDOUT_FILENO);
                execlp("hvsock", "hvsock", "nc", "--wait", "Echo", NULL);
                _exit(127);
        }
        setpgid(pid, pid);
        check_equal(read(foreground_fd, &byte, 1), 1);
        must(tcsetpgrp(STDIN_FILENO, pid));
        _exit(sh_end(pid));
}

TEST(in_the_background_of_a_terminal_it_goes_on_and_reads_when_in_the_foreground) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        char output[PATH_MAX + 8];
        snprintf(output, sizeof output, "%s/output", sandbox.directory);
        sh_text("mkfifo %s/in", sandbox.directory);
        pid_t server = sh_begin("cd %s && exec hvsock nc -l Echo <in >got", sandbox.directory);
        char path[PATH_MAX + 8];
        snprintf(path, sizeof path, "%s/in", sandbox.directory);
        int in = (int)must(open(path, O_WRONLY | O_CLOEXEC)), foreground[2], terminal;
        must(pipe2(foreground, O_CLOEXEC));
        pid_t session = (pid_t)must(forkpty(&terminal, NULL, NULL, NULL));
        if (session == 0) {
                close(in);
                run_in_background(output, foreground[0]);
        }
        must(write(terminal, "typed\n", 6));
        must(write(in, "first ", 6));
        await_success("grep first %s", output);
        must(write(in, "second", 6));
        await_success("grep second %s && ! test -s %s/got", output, sandbox.directory);
        must(write(foreground[1], "", 1));
        await_success("grep typed %s/got", sandbox.directory);
        close(in);
        must(write(terminal, "\004", 1)); /* the end of a terminal's input */
        check_equal(sh_end(session), 0);
        check_equal(sh_end(server), 0);
        close(terminal);
        close(foreground[0]);
        close(foreground[1]);
        sandbox_close(&sandbox);
}

TEST(a_closed_output_ends_it_and_the_peer_says_that_not_all_was_delivered) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        sh_text("head -c 10000000 /dev/zero >%s/zeros", sandbox.directory);
        pid_t server = sh_begin("exec hvsock nc -l Echo <%s/zeros >/dev/null 2>&1", sandbox.directory);
        check_string(sh_text("hvsock nc --wait Echo </dev/null 2>/dev/null | head -c 3 | wc -c"), "3");
        check_equal(sh_end(server), 1);
        sandbox_close(&sandbox);
}

TEST(ls_shows_both_ends_the_service_and_the_process) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        sh_text("mkfifo %s/open", sandbox.directory);
        pid_t server = sh_begin("exec hvsock run web01 -- hvsock nc -l -k Echo 0<>%s/open", sandbox.directory);
        await_success(LISTENING);
        pid_t client = sh_begin("exec hvsock nc web01 Echo 0<>%s/open", sandbox.directory);
        await_success("hvsock ls --json | grep -q '\"state\": \"open\"'");

        struct json_object *ls = sh_json("hvsock ls --json");
        check_string(text_at(ls, "/listeners/0/partitionPath"), "web01");
        check_string(text_at(ls, "/listeners/0/vmIdName"), "wildcard");
        check_string(text_at(ls, "/listeners/0/serviceName"), "Echo");
        check_string(text_at(ls, "/listeners/0/command"), "hvsock");
        check_string(text_at(ls, "/channels/0/fromPath"), "host");
        check_string(text_at(ls, "/channels/0/toPath"), "web01");
        check_string(text_at(ls, "/channels/0/serviceName"), "Echo");
        check_string(text_at(ls, "/channels/0/fromCommand"), "hvsock");
        check_string(text_at(ls, "/channels/0/carrier"), "unix");
        check_string(text_at(ls, "/channels/0/type"), "stream");
        json_object_put(ls);
        sh_text("hvsock ls | grep 'open/.* hvsock\\[%d\\] *web01 *hvsock\\[%d\\] *Echo'", client, server);

        must(kill(server, SIGKILL));
        must(kill(client, SIGKILL));
        sh_end(server);
        sh_end(client);
        await_success("test \"$(hvsock ls)\" = ''");
        sandbox_close(&sandbox);
}

TEST(stat_counts_by_friendly_name) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        pid_t server = sh_begin("hvsock nc -l Echo </dev/null");
        sh_text("hvsock nc --wait Echo </dev/null");
        check_equal(sh_end(server), 0);
        sh("hvsock nc web01 Echo </dev/null");
        struct json_object *stat = sh_json("hvsock stat --json");
        check_string(text_at(stat, "/services/0/name"), "Echo");
        check_equal(number_at(stat, "/services/0/counters/channelsTotal"), 1);
        check_equal(number_at(stat, "/services/0/counters/channelsNow"), 0);
        check(number_at(stat, "/services/0/counters/refused/no-listener") >= 1);
        json_object_put(stat);
        check(strstr(sh_text("hvsock stat"), "no-listener") != NULL);
        check_equal(sh("timeout 5 hvsock stat --watch=0.1 --json | head -n 3 | grep -c services")->out[0], '3');
        check_equal(sh("timeout 5 hvsock stat --watch 0.1 --json | head -n 2 | grep -c services")->out[0], '2');
        sandbox_close(&sandbox);
}

/* An nc at each end of Echo. */
struct conversation {
        pid_t server, client;
        int to_client, to_server;        /* their standard inputs; the outputs are got-client and got-server */
        size_t from_client, from_server; /* sent so far */
};

static int open_input(const struct sandbox *sandbox, const char *name) {
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s/%s", sandbox->directory, name);
        return (int)must(open(path, O_WRONLY | O_CLOEXEC));
}

static struct conversation converse(const struct sandbox *sandbox, const char *carrier) {
        struct conversation both = {};
        sh_text("cd %s && rm -f in-* && mkfifo in-client in-server", sandbox->directory);
        both.server = sh_begin("cd %s && exec hvsock nc -l --carrier %s Echo <in-server >got-server", sandbox->directory,
                               carrier);
        both.client = sh_begin("cd %s && exec hvsock nc --wait --carrier %s Echo <in-client >got-client",
                               sandbox->directory, carrier);
        both.to_server = open_input(sandbox, "in-server");
        both.to_client = open_input(sandbox, "in-client");
        return both;
}

/* Waits until it has all arrived. */
static void say(const struct sandbox *sandbox, struct conversation *both, size_t from_client, size_t from_server) {
        static const char bytes[4096];
        check_equal(must(write(both->to_client, bytes, from_client)), from_client);
        check_equal(must(write(both->to_server, bytes, from_server)), from_server);
        both->from_client += from_client;
        both->from_server += from_server;
        await_success("cd %s && test $(wc -c <got-server) = %zu && test $(wc -c <got-client) = %zu", sandbox->directory,
                      both->from_client, both->from_server);
}

static void end_conversation(struct conversation *both) {
        must(close(both->to_client));
        must(close(both->to_server));
        check_equal(sh_end(both->client), 0);
        check_equal(sh_end(both->server), 0);
}

static void shown_bytes(long long *ret_from_client, long long *ret_from_server) {
        struct json_object *ls = sh_json("hvsock ls --json"), *stat = sh_json("hvsock stat --json");
        *ret_from_client = number_at(ls, "/channels/0/bytesFromConnector");
        *ret_from_server = number_at(ls, "/channels/0/bytesFromAcceptor");
        check_equal(number_at(stat, "/services/0/counters/bytesFromConnectors"), *ret_from_client);
        check_equal(number_at(stat, "/services/0/counters/bytesFromAcceptors"), *ret_from_server);
        json_object_put(ls);
        json_object_put(stat);
}

TEST(bytes_through_shared_memory_are_counted_each_way_and_stay_counted) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        struct conversation both = converse(&sandbox, "shm");
        for (int i = 0; i < 4; i++)
                say(&sandbox, &both, 10, 20); /* both directions are in shared memory then */
        long long from_client, from_server, more_from_client, more_from_server;
        char expected[64];
        shown_bytes(&from_client, &from_server);
        check(from_client < 40 && from_server < 80); /* the first messages were not */
        say(&sandbox, &both, 1000, 3000);
        say(&sandbox, &both, 234, 0);
        shown_bytes(&more_from_client, &more_from_server);
        check_equal(more_from_client - from_client, 1234);
        check_equal(more_from_server - from_server, 3000);
        check_string(sh_text("hvsock ls | awk '/^open/ { print $NF }'"), "shm");
        snprintf(expected, sizeof expected, "%lld %lld", more_from_client, more_from_server);
        check_string(sh_text("hvsock stat | awk '/^host .*shm/ { print $(NF-1), $NF }'"), expected);
        end_conversation(&both);
        await_success("test \"$(hvsock ls)\" = ''");
        struct json_object *stat = sh_json("hvsock stat --json");
        check_equal(number_at(stat, "/services/0/counters/bytesFromConnectors"), more_from_client);
        check_equal(number_at(stat, "/services/0/counters/bytesFromAcceptors"), more_from_server);
        json_object_put(stat);
        check_string(sh_text("hvsock stat | awk '/^Echo/ { print $(NF-1), $NF }'"), expected);
        sandbox_close(&sandbox);
}

TEST(bytes_through_the_kernels_socket_are_nobodys_to_count) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        struct conversation both = converse(&sandbox, "unix");
        long long from_client, from_server;
        for (int i = 0; i < 4; i++)
                say(&sandbox, &both, 1000, 2000);
        shown_bytes(&from_client, &from_server);
        check_equal(from_client, 0);
        check_equal(from_server, 0);
        check_string(sh_text("hvsock ls | awk '/^open/ { print $NF }'"), "unix");
        check_string(sh_text("hvsock stat | awk '/^Echo/ { print $(NF-1), $NF }'"), "0 0");
        check(!strstr(sh_text("hvsock stat"), "CHANNEL FROM"));
        end_conversation(&both);
        sandbox_close(&sandbox);
}

TEST(monitor_sees_listen_open_refusal_and_close) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        pid_t monitor = sh_begin("exec hvsock monitor --json >%s/events", sandbox.directory);
        /* Refusals until the monitor shows one: it is watching now. */
        await_success("hvsock nc web01 Echo </dev/null 2>/dev/null; grep -q '\"kind\":\"refuse\"' %s/events",
                      sandbox.directory);
        pid_t server = sh_begin("hvsock run web01 -- hvsock nc -l Echo </dev/null");
        sh_text("hvsock nc --wait web01 Echo </dev/null");
        check_equal(sh_end(server), 0);
        await_success("grep -q '\"kind\":\"close\"' %s/events", sandbox.directory);
        check_string(sh_text("cd %s; for kind in listen open refuse close; do grep -c "
                             "\"\\\"kind\\\":\\\"$kind\\\".*Echo\" events "
                             ">/dev/null && echo $kind; done | tr '\\n' ' '",
                             sandbox.directory),
                     "listen open refuse close ");
        struct json_object *refusal = sh_json("grep refuse %s/events | head -n 1", sandbox.directory);
        check_string(text_at(refusal, "/rule"), "no-listener");
        check_string(text_at(refusal, "/error"), "ECONNREFUSED");
        check_string(text_at(refusal, "/fromPath"), "host");
        json_object_put(refusal);
        must(kill(monitor, SIGTERM));
        sh_end(monitor);
        sandbox_close(&sandbox);
}
