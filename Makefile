# What a user types. Each target installs the packages it lacks, says so first,
# and takes up again where the last run stopped. The work is meson's (in build/)
# and that of the scripts, all of which can be run by themselves.
#
# SPDX-License-Identifier: MIT
BUILD  := build
PREFIX ?= /usr/local
DESTDIR ?=
JOBS   ?= $(shell nproc)
# Debian's own, whatever else a PATH begins with: its packages are what is tested.
export PATH := /usr/bin:/bin:/usr/sbin:/sbin:$(PATH)

all: programs qemu

help:
	@echo 'make                 builds everything into build/'
	@echo 'make run             boots a VM and does real work on the host device in it'
	@echo 'make check           runs every test; the last line counts them'
	@echo 'make check-apps      hours: all OpenCL programs in Debian, piglit, a thousand ends, data races, displays'
	@echo 'make bench           the same OpenCL and OpenGL figures natively and in VMs'
	@echo 'make fuzz [SECONDS=N]  the fuzzers, N seconds each'
	@echo 'make guest-package   a .deb for any Debian guest, in build/'
	@echo 'make guest           the test guest that scripts/vm boots'
	@echo 'make install         installs under PREFIX ($(PREFIX)), below DESTDIR if given'
	@echo 'make deps            installs the Debian packages that all of this needs'
	@echo 'make clean           removes build/; caches in ~/.cache/vgpu-remote stay'

deps:
	@scripts/deps

deps-%:
	@scripts/deps $*

$(BUILD)/build.ninja: | deps-build deps-tests
	@meson setup $(BUILD) --prefix $(abspath $(PREFIX)) >$(BUILD).log 2>&1 || \
		{ cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

programs: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) --quiet
	@mkdir -p $(BUILD)/bin
	@ln -sfn ../contrib/vgpu-remote/vgpu-remoted ../guest-driver/vgpu-run $(BUILD)/bin/

qemu: deps-qemu
	@scripts/build-qemu --to $(BUILD)/bin >/dev/null

guest-package: programs
	@scripts/guest-package

guest: deps-guest
	@scripts/build-guest

run: all guest-package guest deps-tests
	@scripts/run-demo

check: deps
	@scripts/check

check-apps: deps all guest-package guest
	@scripts/deps apps
	@scripts/check --only all-apps,life,piglit,tsan,host-vm,unoptimised

bench: all guest-package guest deps-tests deps-bench
	@scripts/bench
	@scripts/bench-gl

fuzz: deps
	@scripts/fuzz $(SECONDS)

# The prefix is compiled in, so another one than at set-up means another build.
install: all
	@meson configure $(BUILD) --prefix '$(abspath $(PREFIX))' >/dev/null
	@ninja -C $(BUILD) -j $(JOBS) --quiet
	@DESTDIR='$(abspath $(DESTDIR))' meson install -C $(BUILD) --no-rebuild --quiet
	@install -D -t '$(abspath $(DESTDIR))$(abspath $(PREFIX))/bin' $(BUILD)/bin/qemu-system-x86_64
	@echo 'Installed in $(abspath $(DESTDIR))$(abspath $(PREFIX))'

clean:
	@rm -rf $(BUILD)

.PHONY: all help deps programs qemu guest-package guest run check check-apps bench fuzz install clean
