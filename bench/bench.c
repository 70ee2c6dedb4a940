/* SPDX-License-Identifier: MIT */

/*
 * hvsock-bench: hvsock beside plain AF_UNIX and TCP on loopback, in one run.
 *
 * Starts its own hvsockd in a temporary directory; what is installed or running
 * on the machine is neither used nor disturbed. Prints, judges nothing: its
 * exit status is 0 whatever the figures are.
 */

#include "bench.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define RUNS 7
#define RUNS_QUICK 5

static const char usage[] =
        "hvsock-bench [OPTION]...\n"
        "\n"
        "Compares hvsock with plain AF_UNIX, pipes and TCP on loopback, side by side.\n"
        "\n"
        "  --only PARTS    of connects, curve, channels, comparisons, guests, crowd; separated by commas\n"
        "  --quick         a tenth of the work, five runs\n"
        "  --json FILE     the results as JSON too\n"
        "  --charts DIR    where the SVG charts go (default: beside this program)\n"
        "  --hvsockd FILE  the broker to measure (default: the one built with this program)\n"
        "  --help          this text\n";

static char scratch[PATH_MAX];
static pid_t scratch_owner;

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        return remove(path);
}

static void remove_scratch(void) {
        if (scratch_owner == getpid())
                nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void end_at_signal(int number) {
        /* Only to interrupt a wait or a write, which then dies in order: what was made is removed at exit. */
}

static void make_scratch(struct bench *bench) {
        snprintf(scratch, sizeof scratch, "%s/hvsock-bench-XXXXXX", P_tmpdir);
        if (!mkdtemp(scratch))
                die("cannot make a temporary directory: %s", strerror(errno));
        scratch_owner = getpid();
        atexit(remove_scratch);
        if (chmod(scratch, 0755) < 0)
                die("cannot open up %s: %s", scratch, strerror(errno));
        snprintf(bench->scratch, sizeof bench->scratch, "%s", scratch);
}

static void join(char ret_path[PATH_MAX], const char *directory, const char *name) {
        int length = snprintf(ret_path, PATH_MAX, "%s/%s", directory, name);

        if (length < 0 || length >= PATH_MAX)
                die("a path is too long");
}

void bench_directory(const struct bench *bench, const char *name, char ret_path[PATH_MAX]) {
        if (ferror(stdout))
                die("nobody reads what is found");
        join(ret_path, bench->scratch, name);
        if (mkdir(ret_path, 0755) < 0)
                die("cannot make %s: %s", ret_path, strerror(errno));
}

void bench_chart_path(const struct bench *bench, const char *name, char ret_path[PATH_MAX]) {
        join(ret_path, bench->charts, name);
}

struct json_object *json_of_spread(const struct spread *spread) {
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "median", json_object_new_double(spread->median));
        json_object_object_add(object, "min", json_object_new_double(spread->minimum));
        json_object_object_add(object, "max", json_object_new_double(spread->maximum));
        return object;
}

/* Where this program is: its charts go there, and hvsockd is one directory above. */
static void find_neighbours(struct bench *bench) {
        char self[PATH_MAX], neighbour[PATH_MAX];

        ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        if (length < 0)
                die("cannot find this program: %s", strerror(errno));
        self[length] = '\0';
        *strrchr(self, '/') = '\0';
        if (!*bench->charts)
                memcpy(bench->charts, self, (size_t)length + 1);
        if (!*bench->hvsockd) {
                join(neighbour, self, "../hvsockd");
                if (!realpath(neighbour, bench->hvsockd))
                        die("cannot find hvsockd: %s: %s", neighbour, strerror(errno));
        }
}

static void raise_descriptor_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                die("cannot read the limit of descriptors: %s", strerror(errno));
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_max < 12000)
                die("10,000 channels need `ulimit -Hn` of at least 12000; here it is %lu", (unsigned long)limit.rlim_max);
}

static const struct {
        const char *name;
        unsigned part;
        void (*run)(const struct bench *bench);
} parts[] = {
        {"connects", BENCH_CONNECTS, bench_connects}, {"curve", BENCH_CURVE, bench_curve},
        {"channels", BENCH_CHANNELS, bench_channels}, {"comparisons", BENCH_COMPARISONS, bench_comparisons},
        {"guests", BENCH_GUESTS, bench_guests},         {"crowd", BENCH_CROWD, bench_crowd},
};
#define PARTS (sizeof parts / sizeof parts[0])

/* Takes `names` apart. */
static unsigned parts_named(char *names) {
        unsigned found = 0;

        for (char *rest, *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
                unsigned i = 0;
                while (i < PARTS && strcmp(name, parts[i].name) != 0)
                        i++;
                if (i == PARTS) {
                        fprintf(stderr, "hvsock-bench: %s: no such part; see --help\n", name);
                        exit(2);
                }
                found |= parts[i].part;
        }
        return found;
}

static void parse_options(int argc, char **argv, struct bench *bench, const char **ret_json) {
        static const struct option options[] = {
                {"quick", no_argument, NULL, 'q'},        {"json", required_argument, NULL, 'j'},
                {"charts", required_argument, NULL, 'c'}, {"hvsockd", required_argument, NULL, 'd'},
                {"only", required_argument, NULL, 'o'},   {"help", no_argument, NULL, 'h'},
                {0},
        };
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (option) {
                case 'q':
                        bench->quick = true;
                        break;
                case 'j':
                        *ret_json = optarg;
                        break;
                case 'c':
                        if (!realpath(optarg, bench->charts))
                                die("%s: %s", optarg, strerror(errno));
                        break;
                case 'd':
                        if (!realpath(optarg, bench->hvsockd))
                                die("%s: %s", optarg, strerror(errno));
                        break;
                case 'o':
                        bench->parts |= parts_named(optarg);
                        break;
                case 'h':
                        fputs(usage, stdout);
                        exit(0);
                default:
                        exit(2);
                }
        if (optind < argc) {
                fprintf(stderr, "hvsock-bench: %s: no arguments are expected; see --help\n", argv[optind]);
                exit(2);
        }
        if (!bench->parts)
                bench->parts = ~0u;
        bench->runs = bench->quick ? RUNS_QUICK : RUNS;
}

static void describe_machine(const struct bench *bench) {
        struct json_object *machine = json_object_new_object();
        struct utsname name;
        double load = 0;

        uname(&name);
        getloadavg(&load, 1);
        printf("hvsock %s, Linux %s, %ld cores, load %.2f; medians of %u interleaved runs\n\n", HVSOCK_VERSION,
               name.release, sysconf(_SC_NPROCESSORS_ONLN), load, bench->runs);
        json_object_object_add(bench->results, "version", json_object_new_string(HVSOCK_VERSION));
        json_object_object_add(machine, "kernel", json_object_new_string(name.release));
        json_object_object_add(machine, "cores", json_object_new_int64(sysconf(_SC_NPROCESSORS_ONLN)));
        json_object_object_add(machine, "load", json_object_new_double(load));
        json_object_object_add(bench->results, "machine", machine);
        json_object_object_add(bench->results, "runs", json_object_new_int64(bench->runs));
}

int main(int argc, char **argv) {
        struct bench bench = {.results = json_object_new_object()};
        struct sigaction action = {.sa_handler = end_at_signal};
        const char *json = NULL;

        setvbuf(stdout, NULL, _IOLBF, 0);
        parse_options(argc, argv, &bench, &json);
        find_neighbours(&bench);
        find_cpus(bench.cpus);
        raise_descriptor_limit();
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGHUP, &action, NULL);
        sigaction(SIGPIPE, &action, NULL);
        make_scratch(&bench);

        describe_machine(&bench);
        for (unsigned i = 0; i < PARTS; i++)
                if (bench.parts & parts[i].part)
                        parts[i].run(&bench);
        printf("\nCharts: %s/*.svg\n", bench.charts);
        if (json && json_object_to_file_ext(json, bench.results, JSON_C_TO_STRING_PRETTY) < 0)
                die("cannot write %s: %s", json, json_util_get_last_err());
        json_object_put(bench.results);
        return 0;
}
