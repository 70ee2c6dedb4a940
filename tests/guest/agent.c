/* SPDX-License-Identifier: MIT */

/*
 * The test guest's init: a program inside the guest that does what the host asks of it, one line at a time, on the
 * second serial port. The first one is the kernel's.
 *
 * It says `booted`, and `ready CID` once its vsock device is there. Then it answers each line with one that begins with
 * `ok` or `failed`. TYPE is stream or seqpacket.
 *
 *     echo CID PORT TYPE COUNT BYTES   COUNT connections at once, each of which sends BYTES and wants them back
 *     refused CID PORT TYPE            ok ERROR: how a connect failed
 *     say CID PORT TEXT                on a stream; `| ` and what the peer answers
 *     serve PORT TYPE                  listens, and sends back what comes, from now on
 *     send WHERE SIZE BYTES            BYTES in pieces of SIZE; WHERE is vsock:PORT or tcp:PORT of the host, or the path of
 *                                      a device
 *     take WHERE SIZE BYTES            the same in the other direction
 *     run COMMAND                      a shell's; its output comes first, each line behind `| `
 *     poweroff, reboot
 *
 * Whatever it is told, it opens vsock sockets only if it is process 1: on the machine of whoever builds it, it is
 * no such process, and does nothing at all.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CONTROL "/dev/ttyS1"
#define MODULES "/modules"
#define DEVICE_WAIT_MS 10000
#define CONNECTIONS_MAX 512
#define MESSAGE_SIZE 60000 /* of SOCK_SEQPACKET: more than one packet holds in the other direction */
#define PIECE_SIZE 100000  /* of a stream: more than a packet */

static pthread_attr_t thread_attributes;

/* ---- data that tells its place ---- */

static uint8_t pattern(uint32_t seed, uint64_t offset) {
        uint64_t mixed = (offset / 8 + 1) * 0x9e3779b97f4a7c15u + seed * 0xbf58476d1ce4e5b9u;
        return (uint8_t)((mixed ^ mixed >> 29) >> offset % 8 * 8);
}

/* ---- connections that want their data back ---- */

struct dialogue {
        struct sockaddr_vm peer;
        int type;
        uint32_t seed;
        uint64_t bytes;
        int fd;
        pthread_t thread;
        char failure[96]; /* empty: none */
};

static int open_connection(const struct sockaddr_vm *peer, int type) {
        int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (const struct sockaddr *)peer, sizeof *peer) < 0) {
                int error = errno;
                close(fd);
                errno = error;
                return -1;
        }
        return fd;
}

static uint64_t piece_of(const struct dialogue *dialogue, uint64_t offset) {
        uint64_t piece = dialogue->type == SOCK_STREAM ? PIECE_SIZE : MESSAGE_SIZE, left = dialogue->bytes - offset;
        return left < piece ? left : piece;
}

/*
 * A thread of its own, because it may have to wait: a message for which there is too little credit is sent in part by
 * a Linux that must not wait, which then says EAGAIN.
 */
static void *send_all(void *argument) {
        struct dialogue *dialogue = argument;
        uint8_t *bytes = malloc(PIECE_SIZE);
        const char *failure = bytes ? NULL : "memory";
        for (uint64_t sent = 0; !failure && sent < dialogue->bytes;) {
                uint64_t wanted = piece_of(dialogue, sent);
                for (uint64_t i = 0; i < wanted; i++)
                        bytes[i] = pattern(dialogue->seed, sent + i);
                ssize_t size = send(dialogue->fd, bytes, wanted, MSG_NOSIGNAL);
                if (size < 0)
                        failure = strerrorname_np(errno);
                else
                        sent += (uint64_t)size;
        }
        if (!failure && shutdown(dialogue->fd, SHUT_WR) < 0)
                failure = strerrorname_np(errno);
        free(bytes);
        return (void *)failure;
}

static const char *receive_all(const struct dialogue *dialogue) {
        uint8_t *bytes = malloc(PIECE_SIZE);
        const char *failure = bytes ? NULL : "memory";
        uint64_t received = 0;
        while (!failure) {
                ssize_t size = recv(dialogue->fd, bytes, PIECE_SIZE, 0);
                if (size <= 0) {
                        failure = size < 0                         ? strerrorname_np(errno)
                                  : received < dialogue->bytes ? "an early end"
                                                               : NULL;
                        break;
                }
                for (ssize_t i = 0; !failure && i < size; i++)
                        if (bytes[i] != pattern(dialogue->seed, received + (uint64_t)i))
                                failure = "wrong bytes";
                if (!failure && dialogue->type == SOCK_SEQPACKET && (uint64_t)size != piece_of(dialogue, received))
                        failure = "a message cut or joined";
                received += (uint64_t)size;
        }
        free(bytes);
        return failure;
}

static void *run_dialogue(void *argument) {
        struct dialogue *dialogue = argument;
        const char *received;
        void *sent;
        pthread_t sender;
        dialogue->fd = open_connection(&dialogue->peer, dialogue->type);
        if (dialogue->fd < 0) {
                snprintf(dialogue->failure, sizeof dialogue->failure, "connect: %s", strerrorname_np(errno));
                return NULL;
        }
        if (pthread_create(&sender, &thread_attributes, send_all, dialogue)) {
                snprintf(dialogue->failure, sizeof dialogue->failure, "no thread");
        } else {
                received = receive_all(dialogue);
                if (received)
                        shutdown(dialogue->fd, SHUT_RDWR); /* so that the sender ends, too */
                pthread_join(sender, &sent);
                if (sent || received)
                        snprintf(dialogue->failure, sizeof dialogue->failure, "sent: %s, received: %s",
                                 sent ? (const char *)sent : "all", received ? received : "all");
        }
        close(dialogue->fd);
        return NULL;
}

static void command_echo(FILE *control, const struct sockaddr_vm *peer, int type, unsigned count, uint64_t bytes) {
        static struct dialogue dialogues[CONNECTIONS_MAX];
        unsigned failed = 0, started = 0;
        const char *failure = "";
        if (count > CONNECTIONS_MAX) {
                fprintf(control, "failed: at most %u connections\n", CONNECTIONS_MAX);
                return;
        }
        for (; started < count; started++) {
                dialogues[started] =
                        (struct dialogue){.peer = *peer, .type = type, .seed = started, .bytes = bytes};
                if (pthread_create(&dialogues[started].thread, &thread_attributes, run_dialogue, &dialogues[started]))
                        break;
        }
        for (unsigned i = 0; i < started; i++) {
                pthread_join(dialogues[i].thread, NULL);
                if (dialogues[i].failure[0]) {
                        failed++;
                        failure = dialogues[i].failure;
                }
        }
        if (failed || started < count)
                fprintf(control, "failed: %u of %u, %u not started: %s\n", failed, count, count - started, failure);
        else
                fprintf(control, "ok\n");
}

static void command_refused(FILE *control, const struct sockaddr_vm *peer, int type) {
        int fd = open_connection(peer, type);
        if (fd < 0) {
                fprintf(control, "ok %s\n", strerrorname_np(errno));
                return;
        }
        fprintf(control, "failed: connected\n");
        close(fd);
}

static void command_say(FILE *control, const struct sockaddr_vm *peer, const char *text) {
        char heard[512];
        size_t length = 0;
        ssize_t size = -1;
        int fd = open_connection(peer, SOCK_STREAM);
        if (fd >= 0 && send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0 && shutdown(fd, SHUT_WR) >= 0)
                while ((size = recv(fd, heard + length, sizeof heard - 1 - length, 0)) > 0)
                        length += (size_t)size;
        heard[length] = 0;
        if (size < 0)
                fprintf(control, "failed: %s\n", strerrorname_np(errno));
        else
                fprintf(control, "| %s\nok\n", heard);
        if (fd >= 0)
                close(fd);
}

/* ---- the echo server ---- */

static void *echo_connection(void *argument) {
        int fd = (int)(intptr_t)argument;
        uint8_t *bytes = malloc(1 << 16);
        ssize_t size;
        while (bytes && (size = recv(fd, bytes, 1 << 16, 0)) > 0)
                for (ssize_t sent = 0, r; sent < size; sent += r)
                        if ((r = send(fd, bytes + sent, (size_t)(size - sent), MSG_NOSIGNAL)) <= 0)
                                goto done;
done:
        free(bytes);
        close(fd);
        return NULL;
}

static void *accept_all(void *argument) {
        int listener = (int)(intptr_t)argument;
        for (;;) {
                pthread_t thread;
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd >= 0 && pthread_create(&thread, &thread_attributes, echo_connection, (void *)(intptr_t)fd))
                        close(fd);
                else if (fd >= 0)
                        pthread_detach(thread);
        }
        return NULL;
}

static void command_serve(FILE *control, unsigned port, int type) {
        struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
        pthread_t thread;
        int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, CONNECTIONS_MAX) < 0 ||
            pthread_create(&thread, &thread_attributes, accept_all, (void *)(intptr_t)fd)) {
                fprintf(control, "failed: %s\n", strerrorname_np(errno));
                close(fd);
                return;
        }
        pthread_detach(thread);
        fprintf(control, "ok\n");
}

/* ---- one way ---- */

static int open_place(const char *place) {
        const char *colon = strchr(place, ':');
        unsigned port = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
        if (!strncmp(place, "vsock:", 6))
                return open_connection(&(struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port},
                                       SOCK_STREAM);
        if (strncmp(place, "tcp:", 4))
                return open(place, O_RDWR | O_CLOEXEC);
        struct sockaddr_in host = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(0x0a000202)}; /* of QEMU's user network */
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&host, sizeof host) < 0) {
                int error = errno;
                close(fd);
                errno = error;
                return -1;
        }
        return fd;
}

static void command_move(FILE *control, bool sends, const char *place, size_t size, unsigned long long bytes) {
        int fd = open_place(place);
        char *piece = calloc(1, size);
        ssize_t moved = fd >= 0 && piece ? 0 : -1;
        for (; moved >= 0 && bytes; bytes -= (size_t)moved) {
                size_t part = bytes < size ? (size_t)bytes : size;
                moved = sends ? write(fd, piece, part) : read(fd, piece, part);
                if (!moved)
                        break;
        }
        int error = moved < 0 ? errno : 0;
        free(piece);
        if (fd >= 0)
                close(fd); /* before the answer: what comes then is for who opens it next */
        if (error)
                fprintf(control, "failed: %s\n", strerrorname_np(error));
        else
                fprintf(control, bytes ? "failed: the end came early\n" : "ok\n");
}

/* ---- the rest ---- */

static void command_run(FILE *control, const char *command) {
        char line[512];
        FILE *output = popen(command, "r");
        if (!output) {
                fprintf(control, "failed: %s\n", strerrorname_np(errno));
                return;
        }
        while (fgets(line, sizeof line, output)) {
                line[strcspn(line, "\r\n")] = 0;
                fprintf(control, "| %s\n", line);
        }
        int status = pclose(output);
        if (status)
                fprintf(control, "failed: wait status %#x\n", status);
        else
                fprintf(control, "ok\n");
}

static void end(int how) {
        sync();
        reboot(how);
}

static void obey(FILE *control, char *line) {
        char type_name[16], verb[8], place[256];
        unsigned cid, port, count;
        unsigned long long bytes;
        int skipped = 0;
        line[strcspn(line, "\r\n")] = 0;
        struct sockaddr_vm peer = {.svm_family = AF_VSOCK};
        if (sscanf(line, "echo %u %u %15s %u %llu", &cid, &port, type_name, &count, &bytes) == 5) {
                peer.svm_cid = cid;
                peer.svm_port = port;
                command_echo(control, &peer, strcmp(type_name, "stream") ? SOCK_SEQPACKET : SOCK_STREAM, count, bytes);
        } else if (sscanf(line, "refused %u %u %15s", &cid, &port, type_name) == 3) {
                peer.svm_cid = cid;
                peer.svm_port = port;
                command_refused(control, &peer, strcmp(type_name, "stream") ? SOCK_SEQPACKET : SOCK_STREAM);
        } else if (sscanf(line, "say %u %u %n", &cid, &port, &skipped) == 2 && skipped) {
                peer.svm_cid = cid;
                peer.svm_port = port;
                command_say(control, &peer, line + skipped);
        } else if (sscanf(line, "serve %u %15s", &port, type_name) == 2) {
                command_serve(control, port, strcmp(type_name, "stream") ? SOCK_SEQPACKET : SOCK_STREAM);
        } else if (sscanf(line, "%7[a-z] %255s %u %llu", verb, place, &count, &bytes) == 4 &&
                   (!strcmp(verb, "send") || !strcmp(verb, "take"))) {
                command_move(control, !strcmp(verb, "send"), place, count, bytes);
        } else if (sscanf(line, "run %n", &skipped) == 0 && skipped) {
                command_run(control, line + skipped);
        } else if (!strcmp(line, "poweroff")) {
                end(RB_POWER_OFF);
        } else if (!strcmp(line, "reboot")) {
                end(RB_AUTOBOOT);
        } else {
                fprintf(control, "failed: what is \"%s\"?\n", line);
        }
}

/* ---- being init ---- */

static void load_modules(void) {
        struct dirent **entries;
        int count = scandir(MODULES, &entries, NULL, alphasort);
        for (int i = 0; i < count; i++) {
                char path[512];
                snprintf(path, sizeof path, MODULES "/%s", entries[i]->d_name);
                int fd = open(path, O_RDONLY | O_CLOEXEC);
                if (entries[i]->d_name[0] != '.' && syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
                        fprintf(stderr, "%s: %m\n", path);
                close(fd);
        }
}

/* The device may come a moment after its driver. 0: it did not come. */
static unsigned await_cid(void) {
        unsigned cid = 0;
        for (int waited = 0; waited < DEVICE_WAIT_MS; waited += 10) {
                int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
                bool is_there = fd >= 0 && !ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) && cid > VMADDR_CID_HOST &&
                                cid != VMADDR_CID_ANY;
                if (fd >= 0)
                        close(fd);
                if (is_there)
                        return cid;
                usleep(10000);
        }
        return 0;
}

/* A line to programs, not to people: no echo, no translation. */
static int open_control(void) {
        struct termios attributes;
        int fd = open(CONTROL, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 || tcgetattr(fd, &attributes) < 0)
                return -1;
        cfmakeraw(&attributes);
        cfsetspeed(&attributes, B115200);
        return tcsetattr(fd, TCSANOW, &attributes) < 0 ? -1 : fd;
}

int main(void) {
        if (getpid() != 1) {
                fprintf(stderr, "this is init of a test guest, and no program for a host\n");
                return 1;
        }
        mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
        mount("proc", "/proc", "proc", 0, NULL);
        mount("sysfs", "/sys", "sysfs", 0, NULL);
        int console = open("/dev/console", O_RDWR);
        for (int fd = 0; console >= 0 && fd < 3; fd++)
                if (fd != console)
                        dup2(console, fd);
        signal(SIGPIPE, SIG_IGN);
        setenv("PATH", "/bin", 1);
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){4096, 4096});
        pthread_attr_init(&thread_attributes);
        pthread_attr_setstacksize(&thread_attributes, 64 << 10);
        load_modules();

        int fd = open_control();
        FILE *requests = fd < 0 ? NULL : fdopen(fd, "r"), *control = fd < 0 ? NULL : fdopen(dup(fd), "w");
        if (!requests || !control) {
                fprintf(stderr, "%s: %m\n", CONTROL);
                end(RB_POWER_OFF);
        }
        setvbuf(control, NULL, _IOLBF, 0);
        fprintf(control, "booted\n");
        unsigned cid = await_cid();
        if (cid)
                fprintf(control, "ready %u\n", cid);
        else
                fprintf(control, "failed: the vsock device did not come\n");
        for (char line[1024]; fgets(line, sizeof line, requests);)
                obey(control, line);
        end(RB_POWER_OFF);
}
