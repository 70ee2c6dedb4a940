#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds and runs every test, in each way there is, and sums up.
#
#     check.sh check|check-long
#
# Each run of a build directory leaves meson's testlog.json; count.py reads them.
# A build that fails, a run without a log and a program that dies count as failed.
# The last line is `N passed, N failed[, N skipped]`; it is also in build/check-result.
set -u

cd "$(dirname "$0")/.." || exit 1
long=false
[ "${1:-check}" = check-long ] && long=true
selection='--no-suite fuzz --no-suite long'
$long && selection='--no-suite fuzz'

runs=$(mktemp -d) || exit 1
trap 'rm -rf "$runs"' EXIT
trap 'exit 1' INT TERM

# not_run NAME REASON, skipped NAME REASON: what stands for a run that has no log.
not_run() { echo "$2" >"$runs/$1.failed"; }
skipped() { echo "$2" >"$runs/$1.skipped"; }

# build DIRECTORY TARGETS [SETUP-OPTION...]
build() {
        directory=$1 targets=$2
        shift 2
        # Configured anew even if it was before: what was lacking then (a compiler, scdoc) may be installed now.
        if [ -e "$directory/build.ninja" ]; then
                meson setup --reconfigure "$directory" >/dev/null || return 1
        else
                meson setup "$directory" "$@" || return 1
        fi
        # shellcheck disable=SC2086
        meson compile -C "$directory" $targets
}

# run NAME DIRECTORY [MESON-TEST-OPTION...]
run() {
        name=$1 directory=$2
        shift 2
        echo "== $name"
        rm -f "$directory"/meson-logs/testlog*.json # whose name has the wrapper's in it
        meson test -C "$directory" --no-rebuild --quiet --timeout-multiplier 0 "$@"
        mv "$directory"/meson-logs/testlog*.json "$runs/$name.json" || not_run "$name" "meson test left no log"
}

if build build ''; then
        # shellcheck disable=SC2086
        run plain build $selection
        if command -v valgrind >/dev/null; then
                HVSOCK_TEST_TIME_FACTOR=20 run valgrind build --no-suite long --suite base --suite wire --suite broker --suite vm-pure \
                        --wrap 'valgrind --quiet --trace-children=no --leak-check=full --errors-for-leak-kinds=definite,indirect --error-exitcode=99'
        else
                skipped valgrind "valgrind is not installed"
        fi
else
        not_run plain "the build failed"
fi

if build build-asan '' -Db_sanitize=address,undefined -Db_lundef=false; then
        # shellcheck disable=SC2086
        run asan+ubsan build-asan $selection
else
        not_run asan+ubsan "the build failed"
fi

if $long; then
        if build build-tsan '' -Db_sanitize=thread -Db_lundef=false; then
                TSAN_OPTIONS=die_after_fork=0 run tsan build-tsan --no-suite fuzz --suite lib --suite e2e
        else
                not_run tsan "the build failed"
        fi
fi

if ! command -v clang >/dev/null; then
        skipped fuzz "clang is not installed"
elif CC=clang build build-fuzz fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false; then
        # A long run is a matter of time, which all targets may spend together.
        together=
        $long && export HVSOCK_FUZZ_RUNS=-1 HVSOCK_FUZZ_SECONDS=1800 && together='--num-processes 64'
        # shellcheck disable=SC2086
        run fuzz build-fuzz --suite fuzz $together
else
        not_run fuzz "the build failed"
fi

mkdir -p build
python3 tests/count.py "$runs" build/check-result
