#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What programs link against: the exported names and their versions, the sonames,
# what the libraries need, and that libhvsock.a leaves every other name free.
#
#     abi.sh BUILD SOURCE COMPILER...
set -u

build=$1 source=$2
shift 2
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
LC_ALL=C
export LC_ALL
number=0

# verdict NAME: of the command just run; what it said is in $scratch/said.
verdict() {
        status=$?
        number=$((number + 1))
        if [ $status = 0 ]; then
                echo "ok $number - $1"
        else
                echo "not ok $number - $1"
                sed 's/^/# /' "$scratch/said"
        fi
}

echo 1..12

# check_library NAME NEEDED: of libNAME.so and libNAME.a; the names that its headers declare are in $scratch/declared.
check_library() {
        symbols="$source/tests/abi/$1.symbols"
        sed 's/ .*//' "$symbols" >"$scratch/names"

        nm -D --defined-only "$build/$1.so" | sed -n 's/.* [TDB] \(.*\)@@\(.*\)/\1 \2/p' | sort >"$scratch/exported"
        diff "$symbols" "$scratch/exported" >"$scratch/said" 2>&1
        verdict "$1.so_exports_the_names_on_the_list_and_no_others"

        nm --defined-only --extern-only "$build/$1.a" | sed -n 's/^[0-9a-f]* [A-Z] //p' | sort >"$scratch/global"
        diff "$scratch/names" "$scratch/global" >"$scratch/said" 2>&1
        verdict "$1.a_has_those_names_and_no_other_global_ones"

        diff "$scratch/names" "$scratch/declared" >"$scratch/said" 2>&1
        verdict "the_headers_of_$1_declare_those_names"

        readelf -d "$build/$1.so" >"$scratch/said"
        grep -q "SONAME.*\[$1\.so\.0\]" "$scratch/said"
        verdict "the_soname_is_$1.so.0"

        test "$(sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' "$scratch/said" | grep -v '^ld-linux' | xargs)" = "$2"
        verdict "$1.so_needs_$(echo "$2" | tr ' ' _)_alone"
}

sed -n 's/.*\b\(hv_[a-z0-9_]*\)(.*/\1/p' "$source/include/hvsock.h" | sort -u >"$scratch/declared"
check_library libhvsock libc.so.6

cat "$source"/include/winsock/*.h | sed -n 's/.*\bHVSOCK_WINSOCK_NAME(\([A-Za-z0-9]*\));.*/hvsock_winsock_\1/p' | sort >"$scratch/declared"
check_library libhvsock-winsock 'libhvsock.so.0 libc.so.6'

# A program that has names of its own like those inside the library.
cat >"$scratch/program.c" <<'END'
#include <hvsock.h>
int guid_parse(void), fd_close(void), packet_send(void), siphash(void);
int guid_parse(void) { return 1; }
int fd_close(void) { return 2; }
int packet_send(void) { return 3; }
int siphash(void) { return 4; }
int main(void) {
        GUID guid;
        char text[HV_GUID_TEXT_SIZE];
        if (hv_guid_parse("{A42E7CDA-D03F-480C-9CC2-A4DE20ABB878}", &guid) || !hv_guid_equal(&guid, &HV_GUID_PARENT))
                return 1;
        return hv_guid_format(&guid, text)[0] == 'a' && guid_parse() + fd_close() + packet_send() + siphash() == 10 ? 0 : 2;
}
END
{ "$@" -I"$source/include" "$scratch/program.c" "$build/libhvsock.a" -pthread -o "$scratch/program" && "$scratch/program"; } \
        >"$scratch/said" 2>&1
verdict a_program_with_such_names_of_its_own_links_statically

# What a preloaded library exports is what it stands in front of: nothing of libhvsock's.
sed -n 's/^ *\([a-z0-9_]*\);$/\1/p' "$source/src/preload/libhvsock-preload.map" | sort >"$scratch/declared"
nm -D --defined-only "$build/libhvsock-preload.so" | sed 's/.* //' | sort >"$scratch/exported"
{ test -s "$scratch/declared" && diff "$scratch/declared" "$scratch/exported"; } >"$scratch/said" 2>&1
verdict libhvsock-preload.so_exports_the_names_of_its_list_and_no_others
