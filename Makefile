# SPDX-License-Identifier: MIT
#
# The newcomer's door. Meson builds; this calls it.
#
#     make             build into build/
#     make deps        say which Debian packages are lacking, and install them
#     make demo        the tour: a host, a VM and a container talk, on this machine, with no VM needed
#     make demo-vm     a real one: boots Debian's kernel under QEMU; downloads it once
#     make check       all tests, plain and under sanitizers; under 5 minutes
#     make check-long  the same and what takes longer
#     make bench       hvsock beside plain AF_UNIX, pipes and TCP
#     make install     as root; DESTDIR= is heeded
#     make uninstall   the same
#     make clean

.PHONY: all deps demo demo-vm check check-long bench install uninstall clean

all: build/build.ninja
	@meson compile -C build

build/build.ninja:
	@packaging/dependencies install build
	@meson setup build

deps:
	@packaging/dependencies install check

# Not `all`: a newcomer need not wait for the tests to be built.
demo: build/build.ninja
	@meson compile -C build hvsock:executable hvsockd echo_server echo_client
	@HVSOCK_BUILD="$(CURDIR)/build" examples/demo.sh

demo-vm: build/build.ninja
	@packaging/dependencies install vm
	@meson compile -C build hvsock:executable hvsockd echo_server echo_client guest-agent
	@HVSOCK_BUILD="$(CURDIR)/build" examples/demo-vm.sh

check check-long:
	@packaging/dependencies install check
	@tests/check.sh $@

bench: all
	@meson test -C build --benchmark --no-rebuild --verbose

install: all
	@meson install -C build --no-rebuild
	@rm -f build/meson-logs/install-log.txt # root's, and in the way of the tests' next one
	@test -n "$(DESTDIR)" || ldconfig

# What an installation would put there; Meson's own log tells of the last one only, which may have been elsewhere.
uninstall: all
	@stage=$$(mktemp -d) && trap 'rm -rf "$$stage"' EXIT && \
	DESTDIR="$$stage" meson install -C build --no-rebuild --quiet && rm -f build/meson-logs/install-log.txt && \
	(cd "$$stage" && find . -depth ! -type d -o -name hvsock) | while read -r file; do rm -dfv "$(DESTDIR)/$${file#./}"; done
	@test -n "$(DESTDIR)" || ldconfig

clean:
	@rm -rf build build-asan build-tsan build-fuzz build-guest
