#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""model.py SOURCE CC: the protocol of src/ring/wish.h, checked exhaustively.

Has spin look through every state of src/ring/wish.pml for one in which nobody
can go on: there is none, whatever the sizes; and there is one as soon as any of
the protocol's precautions is left out, so the search is known to find them.
Output is TAP.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

MODEL, CC = pathlib.Path(sys.argv[1]) / "src/ring/wish.pml", sys.argv[2:]
SOUND = [[], ["TOTAL=6", "CAPACITY=3"], ["CAPACITY=1"], ["TOKENS_MAX=2"], ["LIBRARY"], ["LIBRARY", "TOTAL=6", "CAPACITY=3"],
         ["LIBRARY", "CAPACITY=1"], ["LIBRARY", "TOKENS_MAX=2"]]
UNSOUND = ["NO_SENDER_FENCE", "COUNTS_FIRST", "DRAINS_ALL", "LOOKS_ONCE", "SLEEPS_AT_ONCE", "ONE_FOR_TWO"]


def errors(definitions):
    """How many states without a way on the checker found: 0 or 1, since it stops at the first."""
    with tempfile.TemporaryDirectory() as directory:
        run = lambda *command: subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE,
                                              stderr=subprocess.STDOUT, text=True).stdout
        run("spin", *(f"-D{each}" for each in definitions), "-a", str(MODEL))
        run(*CC, "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c")
        report = run("./pan", "-m2000000")
    if "Search not completed" in report and "errors: 0" in report:
        return None
    return int(report.split("errors: ")[1].split()[0])


def main():
    if not shutil.which("spin"):
        print("1..0 # SKIP spin is not installed")
        return
    print(f"1..{len(SOUND) + len(UNSOUND)}")
    for number, sizes in enumerate(SOUND, 1):
        print(f"{'ok' if errors(sizes) == 0 else 'not ok'} {number} nobody waits for ever {' '.join(sizes)}")
    for number, lapse in enumerate(UNSOUND, len(SOUND) + 1):
        print(f"{'ok' if errors([lapse, 'TOKENS_MAX=2']) == 1 else 'not ok'} {number} it is found that {lapse} lets both sleep")


main()
