#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What the library exports, what libhvsock.map lists and what hvsock.h declares are the same names:
#
#     symbols.sh libhvsock.so libhvsock.a libhvsock.map hvsock.h
set -u

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

nm -D --defined-only "$1" | sed -n 's/.* [TDBRVW] \([^@]*\)@@HVSOCK_0\.1$/\1/p' | sort >"$scratch/shared"
nm -D --defined-only "$1" | grep -v ' A HVSOCK_0\.1' | grep -cv '@@HVSOCK_0\.1$' >"$scratch/unversioned"
nm --defined-only "$2" | sed -n 's/.* [TDBRVWC] \(.*\)$/\1/p' | sort >"$scratch/static"
sed -n 's/^ *\(hv_[a-z0-9_]*\);$/\1/p' "$3" | sort >"$scratch/map"
sed -n 's/^[a-z_]* \**\(hv_[a-z0-9_]*\)(.*;.*/\1/p' "$4" | sort >"$scratch/header"

number=0 failed=0
same() {
        number=$((number + 1))
        if diff "$scratch/map" "$scratch/$2" >"$scratch/diff" && [ -s "$scratch/map" ]; then
                echo "ok $number - $1"
        else
                echo "not ok $number - $1"
                sed 's/^/# /' "$scratch/diff"
                failed=1
        fi
}
echo 1..4
same "the_shared_library_exports_what_is_listed" shared
same "the_static_library_exports_what_is_listed" static
same "the_header_declares_what_is_listed" header
if [ "$(cat "$scratch/unversioned")" = 0 ]; then
        echo "ok 4 - every_export_has_a_version"
else
        echo "not ok 4 - every_export_has_a_version"
        failed=1
fi
exit $failed
