#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""readme.py SOURCE BUILD: the tutorial of README.md does what it says.

Types its `sh` blocks into a shell, one after the other, and looks for the lines
of the `text` block that follows in what that shell printed: an ellipsis stands
for anything, white space for any white space. The first block, which builds and
opens the sandbox, is replaced by a sandbox of this build. A server is the last
of its block, which may be pasted whole; before the next block this waits until
one more listener is there, as a person does. Output is TAP.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE, BUILD = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
SHELL_SECONDS = 60

WAIT = """
for attempt in $(seq 100); do
        listeners=$(hvsock ls --json | grep -c '"vmIdName"') || true
        [ "$listeners" -gt "$had" ] && break
        sleep 0.1
done
"""


def tutorial():
    """Pairs of what is typed and what is to be seen."""
    text = (SOURCE / "README.md").read_text()
    section = text[text.index("## Tutorial"):text.index("## On a machine")]
    blocks = re.findall(r"```sh\n(.*?)```\n(?:```text\n(.*?)```)?", section, re.DOTALL)
    assert len(blocks) >= 8, "the tutorial has fewer steps than it had: this test must be mended"
    for commands, _ in blocks:
        assert "&\n" not in commands[:-2], f"a block goes on before its server listens: {commands}"
    return [(commands, seen.splitlines()) for commands, seen in blocks]


def script(steps):
    """All steps, each announced, with the waits that a person makes between two blocks."""
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for number, (commands, _) in enumerate(steps):
        lines.append(f"echo '== {number}'")
        background = commands.endswith("&\n")
        if background:
            lines.append("""had=$(hvsock ls --json | grep -c '"vmIdName"') || true""")
        lines.append(commands)
        if background:
            lines.append(WAIT)
    return "\n".join([*lines, "echo '== end'"])


def pattern(line):
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("…")]
    return r"(^|\s)" + ".*".join(parts) + r"(\s|$)"


def main():
    steps = tutorial()
    sandbox, steps = steps[0][0].splitlines()[-1], steps[1:]
    print(f"1..{len(steps)}")
    with tempfile.TemporaryDirectory() as directory:
        where = pathlib.Path(directory)
        for name in ("include", "examples"):
            (where / name).symlink_to(SOURCE / name)
        (where / "build").mkdir()
        for path in BUILD.iterdir():
            if path.is_file():
                (where / "build" / path.name).symlink_to(path)
        (where / "script").write_text(script(steps))
        run = subprocess.run(["bash", "-c", f"{sandbox} script"], cwd=where, timeout=SHELL_SECONDS, check=False,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env={**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}"})
    printed = re.split(r"^== (?:\d+|end)\n", run.stdout, flags=re.MULTILINE)
    for number, (commands, seen) in enumerate(steps, 1):
        output = printed[number] if number < len(printed) else ""
        lacking = [line for line in seen if not re.search(pattern(line), output, re.MULTILINE)]
        reached = number + 1 < len(printed)
        title = commands.splitlines()[0].replace("#", "")
        print(f"{'ok' if reached and not lacking else 'not ok'} {number} {title}")
        if not reached or lacking:
            for line in lacking or [f"the shell ended here with exit status {run.returncode}"]:
                print(f"# lacking: {line}")
            for line in output.splitlines():
                print(f"# printed: {line}")


main()
