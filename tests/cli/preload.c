/* SPDX-License-Identifier: MIT */

/* hvsock run --preload and sandbox --preload: programs that never heard of hvsock. */

#include "shell.h"

#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT "5000"
#define FAMILY "--vm web01 --service 00001388-facb-11e6-bd58-64006a7986d3='Port 5000'"

static char scratch[PATH_MAX];

static void begin(struct sandbox *sandbox, const char *options) {
        if (sh("command -v python3")->code)
                test_skip("python3 is not installed");
        strcpy(scratch, sh_text("mktemp -d"));
        sandbox_open(sandbox, options);
}

static void end(struct sandbox *sandbox) {
        sandbox_close(sandbox);
        sh_text("rm -r %s", scratch);
}

/* What `hvsock vm show` says; valid as sh_text's. */
static const char *cid_of(const char *vm) {
        return sh_text("hvsock vm show %s --json | sed -n 's/.*\"cid\": \\([0-9]*\\).*/\\1/p'", vm);
}

/* Python, whose socket module knows AF_VSOCK. */
#define SERVER                                                                                                        \
        "python3 -c 'import socket; s = socket.socket(socket.AF_VSOCK); s.bind((socket.VMADDR_CID_ANY, " PORT "));"  \
        " s.listen(); c, peer = s.accept(); print(peer[0], c.recv(100).decode(), flush=True); c.sendall(b\"welcome\"); c.close()'"
#define CLIENT                                                                                          \
        "python3 -c 'import socket, sys; s = socket.socket(socket.AF_VSOCK);" \
        " s.connect((int(sys.argv[1]), " PORT ")); s.sendall(b\"hello\"); print(s.recv(100).decode())'"

TEST(python_talks_from_a_vm_to_its_host_and_back) {
        struct sandbox sandbox;
        char cid[16];
        begin(&sandbox, FAMILY);
        strcpy(cid, cid_of("web01"));
        pid_t server = sh_begin("hvsock run --preload host -- " SERVER " >%s/host", scratch);
        await_success("hvsock ls | grep -q listening");
        check_string(sh_text("hvsock run --preload web01 -- " CLIENT " 2"), "welcome");
        check_equal(sh_end(server), 0);
        char expected[32];
        snprintf(expected, sizeof expected, "%s hello", cid);
        check_string(sh_text("cat %s/host", scratch), expected);

        server = sh_begin("hvsock run --preload web01 -- " SERVER " >%s/guest", scratch);
        await_success("hvsock ls | grep -q listening");
        check_string(sh_text("hvsock run --preload host -- " CLIENT " %s", cid), "welcome");
        check_equal(sh_end(server), 0);
        check_string(sh_text("cat %s/guest", scratch), "2 hello");
        end(&sandbox);
}

/* Python knows no addresses of AF_HYPERV: libc's calls, which are what is preloaded. */
TEST(python_talks_on_af_hyperv_through_ctypes) {
        struct sandbox sandbox;
        begin(&sandbox, FAMILY);
        check_string(sh_text("hvsock run --preload web01 -- python3 -c '\n"
                             "import ctypes, os, struct, uuid\n"
                             "c = ctypes.CDLL(None)\n"
                             "address = struct.pack(\"<HH\", 34, 0) + b\"\".join(uuid.UUID(id).bytes_le for id in\n"
                             "    (\"e0e16197-dd56-4a10-9195-5ee7a155a838\", \"00001388-facb-11e6-bd58-64006a7986d3\"))\n"
                             "l, d = c.socket(34, 1, 1), c.socket(34, 1, 1)\n"
                             "assert not c.bind(l, address, 36) and not c.listen(l, 1) and not c.connect(d, address, 36)\n"
                             "a = c.accept(l, None, None)\n"
                             "os.write(d, b\"hello\")\n"
                             "print(os.read(a, 9).decode())'"),
                     "hello");
        end(&sandbox);
}

#define LONG_MIB 1024
#define USUAL_MIB 64

static void check_same(unsigned mib) {
        char size[32];
        check_equal(sh("cmp %s/sent %s/got", scratch, scratch)->code, 0);
        snprintf(size, sizeof size, "%llu", (unsigned long long)mib << 20);
        check_string(sh_text("stat -c %%s %s/got", scratch), size);
}

/* A file from the connector to the listener, and one back, of so many MiB. */
static void check_socat(const char *connector, const char *listener, const char *cid, unsigned mib) {
        pid_t server = sh_begin("hvsock run --preload %s -- socat -u VSOCK-LISTEN:" PORT " CREATE:%s/got", listener, scratch);
        await_success("hvsock ls | grep -q listening");
        sh_text("hvsock run --preload %s -- socat -u OPEN:%s/sent VSOCK-CONNECT:%s:" PORT, connector, scratch, cid);
        check_equal(sh_end(server), 0);
        check_same(mib);

        server = sh_begin("hvsock run --preload %s -- socat -U VSOCK-LISTEN:" PORT " OPEN:%s/sent", listener, scratch);
        await_success("hvsock ls | grep -q listening");
        sh_text("hvsock run --preload %s -- socat -u VSOCK-CONNECT:%s:" PORT " CREATE:%s/got", connector, cid, scratch);
        check_equal(sh_end(server), 0);
        check_same(mib);
}

TEST(socat_moves_files_both_ways_between_two_vms_and_their_host) {
        unsigned mib = getenv("HVSOCK_LONG") ? LONG_MIB : USUAL_MIB;
        struct sandbox sandbox;
        if (sh("command -v socat")->code)
                test_skip("socat is not installed");
        begin(&sandbox, "--service vsock:" PORT);
        sh_text("hvsock vm add web01 --simulated --siblings && hvsock vm add web02 --simulated --siblings");
        sh_text("head -c %uM /dev/urandom >%s/sent", mib, scratch);
        check_socat("web01", "host", "2", mib);
        check_socat("host", "web01", cid_of("web01"), mib);
        check_socat("web01", "web02", cid_of("web02"), mib);
        end(&sandbox);
}

TEST(ncat_listens_and_connects_both_ways) {
        struct sandbox sandbox;
        char cid[16];
        if (sh("ncat --help | grep -q -e --vsock")->code)
                test_skip("there is no ncat that knows --vsock");
        begin(&sandbox, FAMILY);
        strcpy(cid, cid_of("web01"));
        for (int to_guest = 0; to_guest < 2; to_guest++) {
                pid_t server = sh_begin("echo from the listener | hvsock run --preload %s -- ncat --vsock -l " PORT " >%s/got",
                                        to_guest ? "web01" : "host", scratch);
                await_success("hvsock ls | grep -q listening");
                check_string(sh_text("echo to the listener | hvsock run --preload %s -- ncat --vsock %s " PORT,
                                     to_guest ? "host" : "web01", to_guest ? cid : "2"),
                             "from the listener");
                check_equal(sh_end(server), 0);
                check_string(sh_text("cat %s/got", scratch), "to the listener");
        }
        end(&sandbox);
}

TEST(a_sandboxs_command_and_what_it_starts_are_preloaded) {
        struct sandbox sandbox;
        begin(&sandbox, "");
        check_string(sh_text("hvsock sandbox --preload --service 00001388-facb-11e6-bd58-64006a7986d3=P -- sh -c '"
                             "python3 -c \"import socket; s = socket.socket(socket.AF_VSOCK); s.bind((1, " PORT ")); s.listen();"
                             " d = socket.socket(socket.AF_VSOCK); d.connect((1, " PORT ")); print(s.accept()[1][0])\"'"),
                     "1");
        end(&sandbox);
}

TEST(a_sandbox_in_a_preloaded_one_is_a_world_like_any_other) {
        struct sandbox sandbox;
        begin(&sandbox, "");
        check_string(sh_text("LD_PRELOAD=libm.so.6 hvsock sandbox --preload -- hvsock sandbox --preload -- "
                             "python3 -c \"import socket; s = socket.socket(socket.AF_VSOCK); s.bind((1, " PORT ")); s.listen();"
                             " d = socket.socket(socket.AF_VSOCK); d.connect((1, " PORT ")); print(s.accept()[1][0])\""),
                     "1");
        end(&sandbox);
}

static int filters(const char *run) {
        return atoi(sh_text("%s sed -n 's/^Seccomp_filters:[^0-9]*//p' /proc/self/status", run));
}

/* Not made before it is known that there is a filter. */
TEST(who_asks_the_kernel_itself_is_told_that_there_is_no_such_family) {
#ifndef __x86_64__
        test_skip("the number of socket(2) here is not known to the test");
#endif
        static const char *const families[] = {"34", "40", "34 + (1 << 32)", "40 + (7 << 40)"};
        struct sandbox sandbox;
        begin(&sandbox, FAMILY);
        check_equal(filters("hvsock run --preload web01 --"), filters("") + 1);
        for (size_t i = 0; i < sizeof families / sizeof *families; i++)
                for (int pair = 0; pair < 2; pair++)
                        check_string(sh_text("hvsock run --preload web01 -- python3 -c 'import ctypes\n"
                                             "c = ctypes.CDLL(None, use_errno=True)\n"
                                             "fds = (ctypes.c_int * 2)()\n"
                                             "print(c.syscall(ctypes.c_long(%d), ctypes.c_long(%s), ctypes.c_long(1), ctypes.c_long(0), fds),"
                                             " ctypes.get_errno())'", pair ? 53 : 41, families[i]),
                                     "-1 97"); /* EAFNOSUPPORT */
        check_string(sh_text("hvsock run --preload web01 -- python3 -c 'import socket; socket.socketpair(); socket.socket(); print(1)'"), "1");
        end(&sandbox);
}

#define RAW "$HVSOCK_BUILD/tests/cli/raw_sockets"

TEST(nor_is_there_one_by_any_other_way_into_the_kernel) {
        struct sandbox sandbox;
        char way[32], call[32], domain[32], outcome[32];
        begin(&sandbox, FAMILY);
        const char *line = sh("hvsock run --preload web01 -- " RAW)->out;
        check(*line);
        for (; *line; line = strchr(line, '\n') + 1) {
                check_equal(sscanf(line, "%31s %31s %31s %31s", way, call, domain, outcome), 4);
                check_string(outcome, !strncmp(call, "AF_", 3) ? "made" : !strcmp(call, "io_uring_setup") ? "EPERM" : "EAFNOSUPPORT");
        }
        if (!strcmp(way, "native"))
                printf("skipped: this machine has no 32-bit system calls\n");
        end(&sandbox);
}

/* It is not run, and said why. */
static void check_refused(const char *command, const char *why) {
        check_equal(sh("hvsock run --preload web01 -- %s", command)->code, 126);
        check(strstr(sh("hvsock run --preload web01 -- %s", command)->err, why) != NULL);
        check_equal(sh("hvsock run web01 -- %s --version >/dev/null 2>&1", "true")->code, 0);
}

TEST(what_cannot_be_preloaded_is_not_run_and_said_to_be_so) {
        struct sandbox sandbox;
        char path[PATH_MAX + 16];
        begin(&sandbox, FAMILY);
        sh_text("cd %s && echo 'int main(void) { return 0; }' >a.c && ${CC:-cc} -static -o static a.c && ${CC:-cc} -static-pie -o pie a.c && "
                "${CC:-cc} -o mine a.c && cp mine setuid && chmod u+s setuid && cp mine setgid && chmod g+s setgid && "
                "cp mine unreadable && ${CC:-cc} -o musl -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1 a.c && "
                "printf '\\177ELF\\001\\001\\001' >narrow && head -c 100 /dev/zero >>narrow && "
                "printf '#!%%s/static\\n' $PWD >script && printf '#! %%s/script -x\\n' $PWD >nested && chmod +x narrow script nested", scratch);
        static const struct {
                const char *name, *why;
        } refused[] = {{"static", "statically linked"}, {"pie", "statically linked"},   {"setuid", "setuid"},
                       {"setgid", "setgid"},            {"musl", "another C library"},  {"narrow", "another kind of machine"},
                       {"script", "statically linked"}, {"nested", "statically linked"}};
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
                snprintf(path, sizeof path, "%s/%s", scratch, refused[i].name);
                check_refused(path, refused[i].why);
        }
        check_equal(sh("hvsock run --preload web01 -- %s/mine", scratch)->code, 0);
        check_string(sh_text("cd %s && printf 'echo from a shell\\n' >plain && chmod +x plain && hvsock run --preload web01 -- ./plain", scratch),
                     "from a shell");
        check_string(sh_text("PATH=%s:$PATH hvsock run --preload web01 -- mine && echo found", scratch), "found");
        check_equal(sh("hvsock run --preload web01 -- /nowhere/command")->code, 127);
        check_equal(sh("hvsock run --preload web01 -- %s/a.c", scratch)->code, 126);
        check_equal(sh_refused("hvsock run --preload web01 -- %s/static", scratch), 126);
        end(&sandbox);
}

TEST(what_is_preloaded_already_stays_so_and_other_sockets_are_the_kernels) {
        struct sandbox sandbox;
        begin(&sandbox, FAMILY);
        check_string(sh_text("LD_PRELOAD=/nowhere/other.so hvsock run --preload web01 -- sh -c 'echo ${LD_PRELOAD##*/}' 2>/dev/null"), "other.so");
        check(strstr(sh_text("hvsock run --preload web01 -- sh -c 'echo $LD_PRELOAD'"), "libhvsock-preload.so") != NULL);
        check_string(sh_text("hvsock sandbox --preload -- hvsock run --preload host -- sh -c 'echo $LD_PRELOAD' | grep -o libhvsock-preload"),
                     "libhvsock-preload");
        check_equal(sh("hvsock run web01 -- sh -c 'test -z \"$LD_PRELOAD\"'")->code, 0);
        check_equal(sh("hvsock run --preload web01 -- grep -q 'NoNewPrivs:.*1' /proc/self/status")->code, 0);
        end(&sandbox);
}
