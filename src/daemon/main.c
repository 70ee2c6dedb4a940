/* SPDX-License-Identifier: MIT */

/* hvsockd: options, the default places of a world, signals, and the loop. */

#include "base/fd.h"
#include "base/log.h"
#include "daemon/config.h"
#include "daemon/discard.h"
#include "daemon/manage.h"
#include "daemon/notify.h"
#include "daemon/services.h"
#include "daemon/world.h"
#include "vm/holder.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

struct arguments {
        struct world_options options;
        char config[PATH_MAX];
        bool is_holder;
};

static const char help[] =
        "Usage: hvsockd [OPTION]...\n"
        "Governs a world of partitions whose programs talk over Hyper-V sockets.\n"
        "\n"
        "  --runtime DIR       sockets and listeners\n"
        "  --state DIR         partition definitions and the key\n"
        "  --services DIR      drop-ins of services; the first DIR given comes first and is written to\n"
        "  --config FILE       quotas\n"
        "  --host-label NAME   label of the host partition in a new world\n"
        "  --log-level LEVEL   error, warning, notice, info or debug\n"
        "  --version\n"
        "  --help\n"
        "\n"
        "Without options root governs the machine's world in /run/hvsock, /var/lib/hvsock and\n"
        "/etc/hvsock, and any other user one of their own in the XDG directories.\n";

__attribute__((format(printf, 2, 3)))
static int path_set(char path[PATH_MAX], const char *format, ...) {
        va_list arguments;
        va_start(arguments, format);
        int length = vsnprintf(path, PATH_MAX, format, arguments);
        va_end(arguments);
        if (length < PATH_MAX)
                return 0;
        log_write(LOG_LEVEL_ERROR, "path too long: %.60s…", path);
        return -ENAMETOOLONG;
}

/* The daemon changes its working directory. */
static int path_set_absolute(char path[PATH_MAX], const char *given) {
        char current[PATH_MAX];
        if (given[0] == '/')
                return path_set(path, "%s", given);
        if (!getcwd(current, sizeof current)) {
                log_write(LOG_LEVEL_ERROR, "working directory: %s", strerror(errno));
                return -errno;
        }
        return path_set(path, "%s/%s", current, given);
}

static int add_services(struct world_options *options, const char *format, const char *directory) {
        if (options->service_directory_count == SERVICE_DIRECTORIES_MAX) {
                log_write(LOG_LEVEL_ERROR, "at most %d service directories", SERVICE_DIRECTORIES_MAX);
                return -E2BIG;
        }
        char path[PATH_MAX];
        int length = snprintf(path, sizeof path, format[0] == '+' ? "%s/hvsock/services" : "%s", directory);
        if (length >= PATH_MAX)
                return -ENAMETOOLONG;
        return path_set_absolute(options->services[options->service_directory_count++], path);
}

static void clean_label(char label[HV_LABEL_SIZE]) {
        char name[HV_LABEL_SIZE] = "";
        (void)gethostname(name, sizeof name - 1);
        name[sizeof name - 1] = 0;
        for (char *at = name; *at; at++)
                if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *at))
                        *at = '-';
        strcpy(label, partition_label_is_valid(name) ? name : "host");
}

/* $NAME, or `fallback` in the home directory. */
static int xdg(const char *name, const char *fallback, char ret_path[PATH_MAX]) {
        const char *value = getenv(name), *home = getenv("HOME");
        if (value && value[0] == '/')
                return path_set(ret_path, "%s", value);
        if (fallback && home && home[0] == '/')
                return path_set(ret_path, "%s/%s", home, fallback);
        log_write(LOG_LEVEL_ERROR, "$%s is not set: pass --runtime, --state, --services and --config, or set it", name);
        return -ENOENT;
}

static int fill_machine(struct arguments *arguments) {
        struct world_options *options = &arguments->options;
        bool services = options->service_directory_count;
        int r = 0;
        if (!*options->runtime)
                r = path_set(options->runtime, "/run/hvsock");
        if (!r && !*options->state)
                r = path_set(options->state, "/var/lib/hvsock");
        if (!r && !*arguments->config)
                r = path_set(arguments->config, "/etc/hvsock/hvsockd.conf");
        static const char *const directories[] = {"/etc", "/run", "/usr/lib"};
        for (size_t i = 0; !r && !services && i < sizeof directories / sizeof directories[0]; i++)
                r = add_services(options, "+", directories[i]);
        return r;
}

static int fill_user(struct arguments *arguments) {
        struct world_options *options = &arguments->options;
        char path[PATH_MAX];
        int r = 0;
        if (!*options->runtime && !(r = xdg("XDG_RUNTIME_DIR", NULL, path)))
                r = path_set(options->runtime, "%.*s/hvsock", PATH_MAX - 16, path);
        if (!r && !*options->state && !(r = xdg("XDG_STATE_HOME", ".local/state", path)))
                r = path_set(options->state, "%.*s/hvsock", PATH_MAX - 16, path);
        if (!r && !*arguments->config && !(r = xdg("XDG_CONFIG_HOME", ".config", path)))
                r = path_set(arguments->config, "%.*s/hvsock/hvsockd.conf", PATH_MAX - 32, path);
        if (r < 0 || options->service_directory_count)
                return r;
        if (!(r = xdg("XDG_CONFIG_HOME", ".config", path)))
                r = add_services(options, "+", path);
        if (!r && getenv("XDG_RUNTIME_DIR") && !(r = xdg("XDG_RUNTIME_DIR", NULL, path)))
                r = add_services(options, "+", path);
        return r < 0 ? r : add_services(options, "+", "/usr/lib");
}

static int load_config(struct arguments *arguments) {
        cleanup(freep) char *text = NULL;
        size_t length;
        struct text_error error;
        struct text_notes notes;
        int r = file_read(AT_FDCWD, arguments->config, CONFIG_FILE_MAX, &text, &length);
        if (r == -ENOENT)
                return 0;
        if (r < 0) {
                log_write(LOG_LEVEL_ERROR, "%s: %s", arguments->config, strerror(-r));
                return r;
        }
        r = config_parse(text, length, &arguments->options.quotas, &error, &notes);
        if (r < 0)
                log_write(LOG_LEVEL_ERROR, "%s:%u: %s", arguments->config, error.line, error.expected);
        else
                problem_add_notes(&arguments->options.problems, NULL, "", arguments->config, &notes);
        return r;
}

static int fill(struct arguments *arguments) {
        struct world_options *options = &arguments->options;
        options->quotas = QUOTAS_DEFAULT;
        options->owner = (struct owner){.uid = geteuid(), .group_hvsock = CALLER_UNMAPPED};
        int r = geteuid() == 0 ? fill_machine(arguments) : fill_user(arguments);
        if (!r)
                r = load_config(arguments);
        if (geteuid() == 0)
                (void)world_principal_lookup(PRINCIPAL_GROUP, "hvsock", &options->owner.group_hvsock);
        if (!*options->host_label)
                clean_label(options->host_label);
        return r;
}

static int set_log_level(const char *word) {
        static const struct {
                const char *word;
                enum log_level level;
        } levels[] = {{"error", LOG_LEVEL_ERROR},
                      {"warning", LOG_LEVEL_WARNING},
                      {"notice", LOG_LEVEL_NOTICE},
                      {"info", LOG_LEVEL_INFO},
                      {"debug", LOG_LEVEL_DEBUG}};
        for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
                if (!strcmp(word, levels[i].word)) {
                        log_threshold = levels[i].level;
                        return 0;
                }
        log_write(LOG_LEVEL_ERROR, "unknown log level \"%s\": expected error, warning, notice, info or debug", word);
        return -EINVAL;
}

/* 1 when --help or --version said all there is to do. */
static int parse(int argc, char **argv, struct arguments *arguments) {
        enum { RUNTIME = 256, STATE, SERVICES, CONFIG, HOST_LABEL, LOG_LEVEL, HOLD, VERSION, HELP };
        static const struct option known[] = {
                {"runtime", required_argument, NULL, RUNTIME},       {"state", required_argument, NULL, STATE},
                {"services", required_argument, NULL, SERVICES},     {"config", required_argument, NULL, CONFIG},
                {"host-label", required_argument, NULL, HOST_LABEL}, {"log-level", required_argument, NULL, LOG_LEVEL},
                {"hold", no_argument, NULL, HOLD},
                {"version", no_argument, NULL, VERSION},             {"help", no_argument, NULL, HELP},
                {},
        };
        struct world_options *options = &arguments->options;
        for (int option, r = 0; (option = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
                switch (option) {
                case RUNTIME:
                        r = path_set_absolute(options->runtime, optarg);
                        break;
                case STATE:
                        r = path_set_absolute(options->state, optarg);
                        break;
                case SERVICES:
                        r = add_services(options, "", optarg);
                        break;
                case CONFIG:
                        r = path_set_absolute(arguments->config, optarg);
                        break;
                case HOST_LABEL:
                        if (!partition_label_is_valid(optarg)) {
                                log_write(LOG_LEVEL_ERROR, "\"%s\" is no label: expected 1 to 63 of A-Z a-z 0-9 . _ - "
                                          "and no reserved word", optarg);
                                return -EINVAL;
                        }
                        strcpy(options->host_label, optarg);
                        break;
                case LOG_LEVEL:
                        r = set_log_level(optarg);
                        break;
                case HOLD:
                        arguments->is_holder = true;
                        break;
                case VERSION:
                        puts("hvsockd " HVSOCK_VERSION);
                        return 1;
                case HELP:
                        fputs(help, stdout);
                        return 1;
                default:
                        return -EINVAL;
                }
                if (r < 0)
                        return r;
        }
        if (optind < argc) {
                log_write(LOG_LEVEL_ERROR, "unexpected argument \"%s\": see hvsockd --help", argv[optind]);
                return -EINVAL;
        }
        return 0;
}

struct signals {
        struct source source;
        struct loop *loop;
        struct world *world;
};

static int on_signal(struct source *source, uint32_t events) {
        struct signals *signals = container_of(source, struct signals, source);
        struct signalfd_siginfo info;
        if (read(source->fd, &info, sizeof info) != sizeof info)
                return 0;
        if (info.ssi_signo == SIGHUP)
                services_reload(signals->world);
        else
                loop_stop(signals->loop);
        return 0;
}

static int watch_signals(struct signals *signals, int *ret_fd) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        signal(SIGPIPE, SIG_IGN);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        cleanup(fd_closep) int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        signals->source = (struct source){.dispatch = on_signal, .fd = -1};
        int r = loop_add(signals->loop, &signals->source, fd, EPOLLIN);
        if (!r)
                *ret_fd = fd_take(fd);
        return r;
}

/* To what the administrator allows; *ret_old is what programs are used to. */
static void raise_descriptor_limit(uint64_t *ret_old) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        *ret_old = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void discard_held(int fd, const GUID *vm_id) {
        const struct stranger stranger = vm_id ? stranger_of_vm(vm_id) : (struct stranger){};
        discard(fd, &stranger);
}

/* A process that hvsockd starts, and that outlives it. */
static int hold(void) {
        uint64_t old;
        signal(SIGPIPE, SIG_IGN);
        raise_descriptor_limit(&old);
        return holder_run(HOLDER_LISTEN_FD, &HOLDER_LIMITS, discard_held) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(struct arguments *arguments) {
        struct world *world = NULL;
        struct signals signals = {};
        cleanup(fd_closep) int signals_fd = -1;
        raise_descriptor_limit(&arguments->options.descriptor_limit);
        int r = loop_new(&signals.loop);
        if (r < 0)
                return r;
        int manage_fd = notify_take_socket("manage", SOCK_STREAM);
        arguments->options.control_fd = notify_take_socket("control", SOCK_SEQPACKET);
        r = watch_signals(&signals, &signals_fd);
        if (!r)
                r = world_open(&arguments->options, signals.loop, &world);
        if (!r) {
                signals.world = world;
                r = manage_open(world, fd_take(manage_fd));
        }
        if (!r) {
                log_write(LOG_LEVEL_INFO, "ready: %s", world->options.runtime);
                notify_send("READY=1");
                r = loop_run(signals.loop);
                notify_send("STOPPING=1");
                manage_close(world);
        }
        world_close(world);
        fd_close(manage_fd);
        loop_free(signals.loop);
        return r;
}

int main(int argc, char **argv) {
        static struct arguments arguments;
        int r = parse(argc, argv, &arguments);
        if (r)
                return r < 0 ? 2 : EXIT_SUCCESS;
        if (arguments.is_holder)
                return hold();
        if (fill(&arguments) < 0)
                return EXIT_FAILURE;
        r = run(&arguments);
        if (r < 0)
                log_write(LOG_LEVEL_ERROR, "hvsockd: %s", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
