#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The tutorial in one go: register a service, run the echo server in one
# partition and its client in another, look at it, be refused and told why.
#
# Needs $HVSOCK_BUILD, the build directory. Everything happens in a private world
# (`hvsock sandbox`) that is gone afterwards; any step that fails ends the demo.

set -euo pipefail

fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

build=$(realpath "${HVSOCK_BUILD:?say where hvsock was built: HVSOCK_BUILD=build examples/demo.sh}")
typed=$(realpath --relative-to=. "$build")
PATH=$build:$build/examples:$PATH
name="HV Socket Demo"
[ -x "$build/hvsock" ] || fail "nothing is built in $typed: type make"

if [ "${1-}" != inside ]; then
        exec hvsock sandbox --vm web01 --container web01/db -- "$(realpath "$0")" inside
fi

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
servers=()
stop_servers() {
        local server
        for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
}
trap stop_servers EXIT

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# A command as it could be typed, then what it prints.
show() {
        printf '  $ %s\n' "${*@Q}" | sed "s/'\([A-Za-z0-9._/:-]*\)'/\1/g"
        "$@" | fold -s -w 110 | sed 's/./    &/'
}

# serve PARTITION: the echo server there; returns once it listens.
serve() {
        local line output
        exec {output}< <(exec hvsock run "$1" -- echo_server 2>&1)
        servers+=($!)
        # A warning of hvsock comes first where the system forbids namespaces.
        while read -r line <&"$output"; do
                case $line in
                *listening*) printf '  %-10s %s\n' "$1" "$line" && return ;;
                hvsock:*) printf '  %s\n' "$line" ;;
                *) break ;;
                esac
        done
        fail "the server in $1 did not start: ${line:-it said nothing}"
}

# meet FROM TO HOW: a client in FROM dials TO and must hear its own words.
meet() {
        local said="hello from $1" heard
        heard=$(hvsock run "$1" -- echo_client "$2" "$said") || fail "the client in $1 could not reach $2"
        [ "$heard" = "$said" ] || fail "$1 said \"$said\" to $2 and heard \"$heard\""
        printf '  %-10s -> %-36s %s\n' "$1" "$2" "$3"
}

say "1. A host, a virtual machine and a container in it: simulated, on this machine"
show hvsock tree

say "2. Register a service: that is the permission to cross from one partition to another"
show hvsock service add "$name"

say "3. The echo server, as a person would write it (examples/echo_server.c), on the host and in the VM"
host=$(hvsock tree | awk 'NR == 2 { print $1 }')
serve "$host"
serve web01

say "4. Its client (examples/echo_client.c), in every direction; each hears its own words"
meet "$host" web01 "host to VM, by name"
meet "$host" "$(hvsock id web01)" "host to VM, by VmId"
meet web01 parent "VM to its host, HV_GUID_PARENT"
meet web01/db parent "container to its VM, HV_GUID_PARENT"
meet "$host" loopback "host to itself, HV_GUID_LOOPBACK"

say "5. Who is listening, and what happened, by friendly name"
show hvsock ls
show hvsock stat

say "6. A service that nobody registered: refused, with the reason and what to do"
stranger=0badcafe-0000-4000-8000-000000000000
printf '  $ hvsock run web01 -- echo_client parent hello %s\n' "$stranger"
if refusal=$(hvsock run web01 -- echo_client parent hello "$stranger" 2>&1); then
        fail "an unregistered service was let through: $refusal"
fi
printf '%s\n' "$refusal" | fold -s -w 110 | sed 's/./    &/'
if show hvsock why web01 parent "$stranger"; then fail "hvsock why would let it through"; fi

say "That is all of it. Type next:"
cat <<NEXT
  PATH=\$PWD/$typed:\$PATH
  hvsock sandbox --vm web01 --service "My Service" -- bash

and in the shell that opens, a service of your own, which begins as a copy of the echo server:
  cc -Iinclude examples/echo_server.c -L$typed -lhvsock -Wl,-rpath,\$PWD/$typed -o $typed/my_server
  my_server "My Service" &
  echo hello | hvsock run web01 -- hvsock nc parent "My Service"

README.md goes on from there; hvsock --help has the rest.
NEXT
