#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""pages.py SOURCE BUILD: what can be asked of the program is in its pages.

Every symbol of libhvsock, verb, option, key of a file, rule of refusal and exit
code is looked for in the page where a reader would look. Pages are well-formed,
and links between the documents lead somewhere. Output is TAP.
"""

import pathlib
import re
import shutil
import subprocess
import sys

SOURCE, BUILD = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def page(name):
    """The text of a page as its reader sees it: without scdoc's marks."""
    return (SOURCE / "man" / f"{name}.scd").read_text().replace("*", "").replace("\\", "")


def source(name):
    return (SOURCE / name).read_text()


def help_of(program, *words):
    return subprocess.run([BUILD / program, *words, "--help"], check=True, capture_output=True, text=True).stdout


def found(pattern, text, least):
    """The distinct matches; fewer than `least` means that the pattern no longer fits what it reads."""
    matches = sorted(set(re.findall(pattern, text, re.MULTILINE)))
    assert len(matches) >= least, f"only {len(matches)} matches of {pattern!r}: this test must be mended"
    return matches


def missing(words, text, pattern=r"(?<![\w-]){}(?![\w-])"):
    return [word for word in words if not re.search(pattern.format(re.escape(word)), text)]


def every_symbol_has_a_page():
    symbols = found(r"\bhv_\w+(?=;)", source("src/lib/libhvsock.map"), 30)
    names = "\n".join(re.search(r"# NAME\n+(.*?)\n#", text.read_text(), re.DOTALL)[1]
                      for text in (SOURCE / "man").glob("*.3.scd"))
    return missing(symbols, names)


def every_verb_is_in_its_page():
    return missing(verbs(), page("hvsock.1"))


def verbs():
    return found(r"^  ([a-z]+(?: [a-z]+)?)  ", help_of("hvsock"), 20)


def every_option_of_a_verb_is_in_its_page():
    text, lacking = page("hvsock.1"), []
    sections = {name: body for name, body in re.findall(r"^## ([^\n]*)\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)}
    for verb in verbs():
        options = set(re.findall(r"--[a-z][a-z-]+", help_of("hvsock", *verb.split()))) - {"--help", "--json"}
        body = "".join(body for name, body in sections.items() if verb in name.split(", "))
        lacking += [f"{verb} {option}" for option in missing(sorted(options), body)]
    return lacking


def every_exit_code_is_in_its_page():
    return missing(found(r"each\(EXIT_\w+, (\d+)", source("src/cli/exit_code.h"), 5), page("hvsock.1"))


def every_option_of_the_broker_is_in_its_page():
    return missing(found(r"--[a-z][a-z-]+", help_of("hvsockd"), 5), page("hvsockd.8"))


def every_key_of_a_service_is_in_its_page():
    return missing(found(r'"([A-Z][A-Za-z]+)"', source("src/broker/service_file.c"), 9), page("hvsock-service.5"),
                   r"{}=")


def every_key_of_a_partition_is_in_its_page():
    return missing(found(r'\{"([A-Z][A-Za-z]+)", ', source("src/daemon/partition_file.c"), 6),
                   page("hvsock-partition.5"), r"{}=")


def every_key_of_the_configuration_is_in_its_page():
    return missing(found(r'QUOTA\("([A-Z][A-Za-z]+)"', source("src/daemon/config.c"), 7), page("hvsockd.conf.5"), r"{}=")


def every_rule_is_in_the_page_of_errors():
    rules = found(r"^\s+RULE_([A-Z_]+) = \d+,", source("src/broker/verdict.h"), 20)
    rules.remove("ALLOWED")
    return missing([rule.lower().replace("_", "-") for rule in rules], page("hvsock-errors.7"))


def every_socket_option_is_in_its_page():
    return missing(found(r"#define (HVSOCKET_\w+) 0x0\d\b", source("include/hvsocket.h"), 4), page("hv_setsockopt.3"))


def every_link_leads_somewhere():
    broken = []
    for document in [*SOURCE.glob("*.md"), *(SOURCE / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            if "://" not in target and not (document.parent / target).exists():
                broken.append(f"{document.name}: {target}")
    return broken


def every_page_named_exists():
    pages = {path.name.removesuffix(".scd") for path in (SOURCE / "man").glob("*.scd")}
    named = set()
    for path in (SOURCE / "man").glob("*.scd"):
        named |= set(re.findall(r"\*((?:hv_|hvsock)[\w.-]*)\*\((\d)\)", path.read_text()))
    covered = {(name, "3") for name in re.findall(r"\bhv_\w+", source("src/lib/libhvsock.map"))}
    return [f"{name}({section})" for name, section in sorted(named)
            if f"{name}.{section}" not in pages and (name, section) not in covered]


def every_page_is_well_formed():
    if not shutil.which("mandoc"):
        return "SKIP mandoc is not installed"
    built = [BUILD / "man" / path.name.removesuffix(".scd") for path in (SOURCE / "man").glob("*.scd")]
    if not all(path.exists() for path in built):
        return "SKIP the pages were not built: scdoc is not installed"
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "error", *built], capture_output=True, text=True, check=False)
    return lint.stdout.splitlines()


TESTS = [value for name, value in list(globals().items()) if name.startswith("every_")]
print(f"1..{len(TESTS)}")
for number, test in enumerate(TESTS, 1):
    try:
        result = test()
    except Exception as error:  # a test that cannot look has not passed
        result = [f"{type(error).__name__}: {error}"]
    if isinstance(result, str):
        print(f"ok {number} {test.__name__} # {result}")
        continue
    print(f"{'not ok' if result else 'ok'} {number} {test.__name__}")
    for line in result:
        print(f"# lacking: {line}")
