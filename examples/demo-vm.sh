#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A real virtual machine, with nothing in it but Debian's kernel: add it, boot it under QEMU, talk both ways, look at
# it, power it off.
#
# Needs $HVSOCK_BUILD, the build directory, whose guest-agent is the guest's init (tests/guest/agent.c). Everything
# happens in a private world (`hvsock sandbox`) that is gone afterwards; any step that fails ends the demo.

set -euo pipefail

fail() { printf 'demo-vm: %s\n' "$*" >&2; exit 1; }

build=$(realpath "${HVSOCK_BUILD:?say where hvsock was built: HVSOCK_BUILD=build examples/demo-vm.sh}")
here=$(realpath "$(dirname "$0")/..")
image=${HVSOCK_GUEST:-$here/build-guest}
PATH=$build:$build/examples:$PATH
[ -x "$build/hvsock" ] || fail "nothing is built in $build: type make"

if [ "${1-}" != inside ]; then
        printf 'A kernel and an initramfs for the guest, downloaded once, to %s\n' "${image#"$PWD/"}"
        "$here/tests/guest/image" "$image" "$build/tests/guest/guest-agent"
        exec hvsock sandbox -- "$(realpath "$0")" inside
fi

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
port=5000
service=$(printf '%08x-facb-11e6-bd58-64006a7986d3' $port)
directory=$(mktemp -d)
console=$directory/console
started=()
stop_started() {
        local process
        for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
        rm -rf "$directory"
}
trap stop_started EXIT

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# A command as it could be typed, then what it prints.
show() {
        printf '  $ %s\n' "${*@Q}" | sed "s/'\([A-Za-z0-9._/:-]*\)'/\1/g"
        "$@" | fold -s -w 110 | sed 's/./    &/'
}

# The next line of the agent in the guest.
hear() {
        local line
        IFS= read -r -t 60 line <&"${guest[0]}" || { cat "$console" >&2; fail "the guest says nothing"; }
        printf '%s\n' "${line%$'\r'}"
}

# in_guest COMMAND: has the agent do it, and shows what it tells.
in_guest() {
        local line
        printf '  web01: %s\n' "$*"
        printf '%s\n' "$*" >&"${guest[1]}"
        while line=$(hear); do
                case $line in
                '| '*) printf '    %s\n' "${line#| }" ;;
                ok*) return ;;
                *) fail "the guest: $line" ;;
                esac
        done
}

say "1. A virtual machine, and a service: vsock port $port is the ServiceId $service"
show hvsock vm add web01
show hvsock service add --id "$service" "Port $port"

say "2. QEMU, with what hvsock says it needs; no kernel module on the host, and no root"
accelerator=$("$here/tests/guest/accelerator" "$image")
arguments=$(hvsock vm args web01)
printf '  $ qemu-system-x86_64 -accel %s ... \\\n' "$accelerator"
fold -s -w 104 <<<"$arguments" | sed 's/^/      /'
eval "arguments=($arguments)"
coproc guest { exec "$here/tests/guest/boot" "$image" "$console" "$accelerator" "${arguments[@]}"; }
vmm=$guest_PID
started+=("$vmm")
while [[ $(hear) != *booted ]]; do :; done
line=$(hear)
[[ $line == ready* ]] || fail "the guest: $line"
printf '  web01 is up, and its kernel knows itself as CID %s\n' "${line#ready }"

say "3. Guest to host: AF_VSOCK in the guest, AF_HYPERV on the host (examples/echo_server.c)"
exec {output}< <(exec echo_server "$service" 2>&1)
started+=($!)
read -r -t 10 line <&"$output" || fail "the server did not start"
printf '  host: %s\n' "$line"
in_guest "say 2 $port hello from the guest"

say "4. Host to guest: by name, or by VmId (examples/echo_client.c)"
in_guest "serve $port stream"
show echo_client web01 "hello from the host" "$service"
show echo_client "$(hvsock id web01)" "and hello again" "$service"

say "5. What there is"
mkfifo "$directory/words"
exec {heard}< <(exec hvsock nc web01 "$service" <"$directory/words" 2>/dev/null)
started+=($!)
exec {words}>"$directory/words"
printf 'this channel stays open\n' >&"$words"
read -r -t 10 line <&"$heard" || fail "nothing came back through hvsock nc"
show hvsock tree
show hvsock ls
show hvsock vm show web01

say "6. Power off"
exec {words}>&-
printf 'poweroff\n' >&"${guest[1]}"
wait "$vmm" || fail "QEMU ended with $?"
show hvsock tree
