# SPDX-License-Identifier: GPL-2.0-or-later
# The two commands of the README are `make demo` and `make test`; meson does the work.
BUILD ?= build
T     ?=
N     ?= 1000
FIRST ?= 1
KERNEL ?= 6.1

.PHONY: all packages test test-vm test-mutation demo bench lint install clean

all: packages
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) >/dev/null
	@# tests are found by name when meson runs: once more when a file has come or gone
	@[ -z "$$(find test/unit test/kinds -maxdepth 0 -newer $(BUILD)/build.ninja)" ] || \
		meson setup --reconfigure $(BUILD) >/dev/null
	@ninja --quiet -C $(BUILD)

packages:
	@tools/packages build

# make test T=kinds/pipe runs those whose name begins so
test: all
	@tools/packages test
	@test/run --build $(BUILD) $(T)

# the tests, or a subset without T, on Debian 12's kernel 6.1, or KERNEL=6.12, in an emulated machine
test-vm: all
	@tools/packages vm
	@tools/test-vm --kernel $(KERNEL) --build $(BUILD) $(T)

demo: all
	@BUILD=$(BUILD) tools/reaper tools/demo

# random mount namespaces, N seeds from FIRST on
torture: all
	@unshare -m -p -f --kill-child --mount-proc $(BUILD)/test/mount_random.unit $(N) $(FIRST)

# each field of each message dropped once at restart: a test must notice
test-mutation: all
	@tools/packages test
	@tools/mutation $(T)

bench: all
	@STASIS=$(abspath $(BUILD))/stasis tools/bench

lint:
	@tools/packages lint
	@tools/lint

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
