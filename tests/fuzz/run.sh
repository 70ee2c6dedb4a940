#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs one libFuzzer target, its seeds first:  run.sh TARGET SEEDS RUNS
#
# RUNS or $HVSOCK_FUZZ_RUNS inputs (-1: no limit), which must all have run within
# $HVSOCK_FUZZ_SECONDS; or, where RUNS is "30s", as many as there are in that time. An input that fails is left in the current directory.
set -u

runs=${HVSOCK_FUZZ_RUNS:-$3} seconds=${HVSOCK_FUZZ_SECONDS:-120}
case $runs in
*s) seconds=${HVSOCK_FUZZ_SECONDS:-${runs%s}} runs=-1 ;;
esac
name=$(basename "$1")
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

echo 1..1
mkdir "$scratch/new"
"$1" -runs="$runs" -max_total_time="$seconds" -timeout=20 -artifact_prefix="$name-" -print_final_stats=1 \
        "$scratch/new" "$2" >"$scratch/log" 2>&1
status=$?
done=$(sed -n 's/^Done \([0-9]*\) runs in .*/\1/p' "$scratch/log")
if [ $status = 0 ] && [ "${done:-0}" -gt 0 ] && [ "$done" -ge "$runs" ]; then
        echo "ok 1 - $done inputs"
else
        echo "not ok 1 - $done inputs of $runs, exit status $status"
        tail -n 60 "$scratch/log" | sed 's/^/# /'
        exit 1
fi
