#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""install.py SOURCE BUILD: what `make install` leaves is whole, and needs nothing of the build.

Installs into a directory of its own (DESTDIR), looks at what is there, and
builds servers against it alone. Output is TAP.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def installed(root, pattern):
    """The one file whose path below the root matches; none is an error, and so are two."""
    matches = [path for path in root.rglob("*") if path.match(pattern)]
    assert len(matches) == 1, f"{pattern}: {len(matches)} of them"
    return matches[0]


def every_call_has_a_manual_page(root):
    if not shutil.which("scdoc"):
        return "SKIP scdoc is not installed"
    calls = set(re.findall(r"\bhv_\w+(?=;)", (SOURCE / "src/lib/libhvsock.map").read_text()))
    assert len(calls) >= 30, "the list of symbols is not what it was: this test must be mended"
    return [name for name in sorted(calls) if not any(path.exists() for path in root.rglob(f"man3/{name}.3"))]


def what_others_build_on_is_there(root):
    wanted = ["bin/hvsock", "sbin/hvsockd", "include/hvsock.h", "include/hvsocket.h", "libhvsock.so", "libhvsock.a",
              "pkgconfig/libhvsock.pc", "system/hvsockd.service", "user/hvsockd.service", "sysusers.d/hvsock.conf",
              "include/hvsock-winsock/winsock2.h", "hvsock-winsock/sys/select.h", "libhvsock-winsock.so",
              "libhvsock-winsock.a", "pkgconfig/hvsock-winsock.pc", "include/hvsock-windows/hvsock.h",
              "bash-completion/completions/hvsock", "zsh/site-functions/_hvsock",
              "fish/vendor_completions.d/hvsock.fish", "varlink/io.hvsock.varlink", "doc/hvsock/echo_server.c",
              "doc/hvsock/LICENSE"]
    return [pattern for pattern in wanted if not any(path.match(pattern) for path in root.rglob("*"))]


def nothing_names_the_build_or_the_source(root):
    wrong = []
    for path in root.rglob("*"):
        if path.is_symlink():
            target = pathlib.Path(os.readlink(path))
            if target.is_absolute() or not path.exists():
                wrong.append(f"{path} -> {target}")
        elif path.is_file():
            text = path.read_bytes()
            if not text.startswith((b"\x7fELF", b"!<arch>")):  # debugging information does, and may
                wrong += [f"{path} names {place}" for place in (SOURCE, BUILD) if str(place).encode() in text]
    return wrong


def a_program_builds_against_it(root):
    if not shutil.which("pkg-config") or not shutil.which("cc"):
        return "SKIP pkg-config or cc is not installed"
    windows = SOURCE / "tests/winsock/sources/tutorial_server.c"
    for package, program in ("libhvsock", installed(root, "doc/hvsock/echo_server.c")), ("hvsock-winsock", windows):
        pc = installed(root, f"pkgconfig/{package}.pc")
        environment = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent), "PKG_CONFIG_SYSROOT_DIR": str(root)}
        for extra in ([], ["--static"]):
            flags = run("pkg-config", "--cflags", "--libs", *extra, package, env=environment).split()
            run("cc", "-Werror", str(program), *flags, *(["-static"] if extra else []),
                "-o", str(root / "program"), env=environment)
    return []


TESTS = [every_call_has_a_manual_page, what_others_build_on_is_there, nothing_names_the_build_or_the_source,
         a_program_builds_against_it]

print(f"1..{len(TESTS)}")
with tempfile.TemporaryDirectory(prefix="hvsock-install-") as directory:
    run("meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--destdir", directory)
    for number, test in enumerate(TESTS, 1):
        try:
            result = test(pathlib.Path(directory))
        except Exception as error:  # a test that cannot look has not passed
            result = [f"{type(error).__name__}: {error}: {getattr(error, 'stderr', '')}"]
        if isinstance(result, str):
            print(f"ok {number} {test.__name__} # {result}")
            continue
        print(f"{'not ok' if result else 'ok'} {number} {test.__name__}")
        for line in result:
            print(f"# {line}")
