#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sums up the runs that check.sh made: count.py DIRECTORY RESULT-FILE.

In DIRECTORY each run has NAME.json (meson's testlog, one JSON object a line),
NAME.failed or NAME.skipped (a reason). Every subtest of a TAP program counts; a
program that has a bad result without a failed subtest (it died, or broke its
plan) counts as one failed. A run in which nothing ran counts as failed too.
Prints the failures, the skips with their reasons, then `N passed, N failed`.
"""

import json
import pathlib
import re
import sys

SUBTEST = re.compile(r"(not )?ok\b *\d* *-? *(.*)")
SKIP = re.compile(r"(.*?) *# *SKIP\b *(.*)", re.IGNORECASE)
GOOD = ("OK", "SKIP")


def parse_tap(stdout):
    """Returns passed and skipped and failed subtests, the failed ones with the comments that follow them."""
    passed, skipped, failed, comments = [], [], [], None
    for line in stdout.splitlines():
        subtest = SUBTEST.match(line)
        if line.startswith("#") and comments is not None:
            comments.append("    " + line)
        if not subtest:
            continue
        comments = None
        skip = SKIP.fullmatch(subtest[2])
        if subtest[1]:
            comments = []
            failed.append((subtest[2], comments))
        elif skip:
            skipped.append((skip[1], skip[2] or "no reason given"))
        else:
            passed.append(subtest[2])
    return passed, skipped, failed


def last_lines(text):
    return ["    # " + line for line in (text or "").splitlines()[-30:]]


def program_failure(program):
    """What can be said of a program that failed outside its subtests."""
    return (f"{program['result']}, exit status {program['returncode']}", last_lines(program.get("stdout")))


def main(directory, result_file):
    passed, failed, skipped, totals = 0, [], [], []
    for run in sorted(pathlib.Path(directory).iterdir()):
        name = run.stem
        if run.suffix != ".json":
            (failed if run.suffix == ".failed" else skipped).append((name, run.read_text().strip(), []))
            continue
        run_passed, run_failed, run_skipped = 0, [], []
        for line in run.read_text().splitlines():
            program = json.loads(line)
            title = f"{name}: {program['name']}"
            good, missed, bad = parse_tap(program.get("stdout") or "")
            if program["result"] not in GOOD and not bad:
                bad = [program_failure(program)]
            if bad:
                bad[-1][1].extend(last_lines(program.get("stderr")))
            elif program["result"] == "OK" and not good and not missed:
                good = [program["name"]]
            elif program["result"] == "SKIP" and not missed:
                missed = [(program["name"], "no reason given")]
            run_passed += len(good)
            run_failed += [(f"{title}: {test}", "", comments) for test, comments in bad]
            run_skipped += [(f"{title}: {test}", reason, []) for test, reason in missed]
        if not run_passed and not run_failed:
            run_failed.append((name, "no test ran", []))
        totals.append(f"{name}: {run_passed} passed, {len(run_failed)} failed, {len(run_skipped)} skipped")
        passed += run_passed
        failed += run_failed
        skipped += run_skipped
    if not passed and not failed:
        failed.append(("check", "no test ran", []))

    print()
    for verdict, tests in (("FAILED", failed), ("skipped", skipped)):
        for title, reason, comments in tests:
            print(f"{verdict} {title}" + (f": {reason}" if reason else ""))
            for comment in comments:
                print(comment)
    for total in totals:
        print(total)
    result = f"{passed} passed, {len(failed)} failed" + (f", {len(skipped)} skipped" if skipped else "")
    pathlib.Path(result_file).write_text(result + "\n")
    print(result)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
