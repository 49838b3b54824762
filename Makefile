# The front door. `make demo` shows what it does, `make test` proves it; both install what they need.

SWIFT ?= swift
# Debian's own, which has Debian's modules; another python3 may come first in PATH.
PYTHON ?= /usr/bin/python3

# One static program: it runs where no Swift is installed, and starts in half the time, because
# nothing has to be relocated. The linker's warnings are about functions of Foundation that are
# not called.
STATIC = -c release -Xswiftc -static-executable
# The agent: Embedded Swift and everything static, no interpreter, no library, no /proc needed.
EMBEDDED = -c release --scratch-path .build/embedded \
	-Xswiftc -enable-experimental-feature -Xswiftc Embedded -Xswiftc -wmo -Xswiftc -Osize \
	-Xswiftc -Xfrontend -Xswiftc -function-sections -Xlinker --gc-sections \
	-Xswiftc -Xclang-linker -Xswiftc -static

AGENT = .build/agent/stubsave-agent
# dom0's decoder, built the same way; in a folder of its own, beside the agent's.
DECODER = .build/decoder/stubsave-decode
# Loop devices and mounts need root: what needs them is run by sudo if somebody else calls.
SUDO = $(if $(filter 0,$(shell id -u)),,sudo)
# RELEASE=trixie: `demo` and `test-qemu` with the QEMU of another release, in a root of its own; the argument
# is the row of the matrix. Everything under it runs as root.
OTHER_QEMU = $(if $(RELEASE),$(SUDO) env PATH="$$PATH" $(PYTHON) Tests/Releases/qemu.py --release $(RELEASE) --row $(1))
ROOT = $(if $(RELEASE),,$(SUDO))
# What is missing fails a test instead of switching it off.
TEST_ENVIRONMENT = STUBSAVE_REQUIRE_ALL=1 STUBSAVE_AGENT=$(CURDIR)/$(AGENT)
SWIFT_TEST = $(TEST_ENVIRONMENT) $(SWIFT) test --disable-xctest
# The suites that need root, or a xenstored beside them, have it in their names.
SKIP_ELSEWHERE = --skip OnXenstoredTests $(if $(SUDO),--skip AsRootTests)
DEBUG = --scratch-path .build/coverage --enable-code-coverage
prefix ?= /usr/local
# udev does not look below /usr/local.
udevrulesdir ?= /lib/udev/rules.d
systemdunitdir ?= /lib/systemd/system

.PHONY: help deps demo-deps test-deps lab-deps build agent decoder planted demo test test-debug test-release test-formats test-qemu \
	test-hostile differential worst test-xenstore test-xen test-xen-full host matrix compare coverage bench bench-full test-migration sanitize \
	fuzz fuzz-table lint fixtures install clean

help:
	@echo 'make demo      build, and carry a real QEMU state over a save disk; RELEASE=trixie: with the QEMU of Debian 13'
	@echo 'make test      all tests; at most 8 minutes from a clone'
	@echo 'make coverage  the Swift tests once more, as a debug build, with coverage'
	@echo 'make test-xenstore  the agent on a real xenstored, with a real QEMU'
	@echo 'make test-xen  dump and restore on real Xen, under emulation, of Debian 12 and 13; as root; RELEASE=forky for'
	@echo '                another, SUITES="saves faults:quota" for a part'
	@echo 'make test-xen-full  the same with all rounds; hours'
	@echo 'make compare   against the consoles, on real Xen; puts the table into the README; as root'
	@echo 'make test-qemu  real QEMUs alone; RELEASE=forky for that of another Debian'
	@echo 'make host      make demo in a minimal Debian; RELEASE=trixie TARGET=test; as root'
	@echo 'make matrix    what was measured on which release, into the README'
	@echo 'make bench     ratios against lz4 | dd and a plain QEMU; as root; minutes'
	@echo 'make bench-full  long streams, into the README; as root'
	@echo 'make test-migration  a running Linux guest, RAM and all, out and back'
	@echo 'make deps      install the Debian packages that a build wants (apt-get, as root or with sudo)'
	@echo 'make test-deps  and those of the tests; lab-deps: of test-xen and test-migration, too'
	@echo 'make build     .build/release/stubsave, and the agent beside it'
	@echo 'make agent     $(AGENT), static'
	@echo 'make decoder   $(DECODER), static: looks at what comes from a stubdomain'
	@echo 'make sanitize  the Swift tests under AddressSanitizer and ThreadSanitizer'
	@echo 'make fuzz      every fuzzer for a minute; TARGET=disk SECONDS=600 for one'
	@echo 'make differential  two readers, 200,000 inputs'
	@echo 'make worst     memory and time of the worst disks, into the README'
	@echo 'make lint      swift format, strictly'
	@echo 'make fixtures  make fixtures/ again'
	@echo 'make install   to $$DESTDIR$(prefix)'

# What a build needs of Debian's packages, and what only the demo, the tests and the Xen lab need besides.
deps:
	@SWIFT=$(SWIFT) packages/install swift build

demo-deps: deps
	@packages/install demo

test-deps: demo-deps
	@packages/install test

lab-deps: test-deps
	@packages/install lab

# The agent and the decoder stand beside the program, where the program looks for them.
build: deps agent decoder
	$(SWIFT) build $(STATIC) --product stubsave
	@install -m 755 $(AGENT) .build/release/stubsave-agent
	@install -m 755 $(DECODER) .build/release/stubsave-decode
	@ln -sf stubsave .build/release/stubsave-qmp-proxy

agent: deps
	$(SWIFT) build $(EMBEDDED) --product stubsave-agent
	@mkdir -p $(dir $(AGENT))
	strip -o $(AGENT) .build/embedded/release/stubsave-agent
	@ls -l $(AGENT)

decoder: deps
	$(SWIFT) build $(EMBEDDED) --product stubsave-decode
	@mkdir -p $(dir $(DECODER))
	strip -o $(DECODER) .build/embedded/release/stubsave-decode
	@ls -l $(DECODER)

# The same with a bug in it, for a test: what an attacker could do in the decoder (Tests/Hostile/planted.py).
PLANTED = .build/planted/stubsave-decode
planted: deps
	$(SWIFT) build $(subst .build/embedded,.build/embedded-planted,$(EMBEDDED)) \
	  -Xswiftc -DSTUBSAVE_PLANTED_BUG -Xcc -DSTUBSAVE_PLANTED_BUG --product stubsave-decode
	@mkdir -p $(dir $(PLANTED))
	cp .build/embedded-planted/release/stubsave-decode $(PLANTED)

demo: build demo-deps
	@$(call OTHER_QEMU,demo) Tests/demo.sh .build/release/stubsave

# The last three need the program only, and wait a good part of their time.
test: test-release
	$(MAKE) --jobs 2 --output-sync test-formats test-qemu test-hostile

# Ratios, measured side by side; needs root for loop devices.
bench: build test-deps
	$(SWIFT) build $(STATIC) --product stubsave-bench
	$(SUDO) .build/release/stubsave-bench --stubsave .build/release/stubsave --agent $(AGENT)
	$(SUDO) $(PYTHON) Tests/Bench/streams.py --stubsave .build/release/stubsave --mib $(MIB) \
	  --growth $(MIB) --rounds 3

# Long streams, with all that QEMU migrates of a Linux guest: the tables and the plot of the README.
STREAM = .build/linuxguest/migrate.stream
MIB = 64
BENCH_ROUNDS = 7
bench-full: build lab-deps
	test -s $(STREAM) || $(PYTHON) Tests/QEMU/migration.py --stubsave .build/release/stubsave \
	  --stream $(STREAM)
	@mkdir -p docs
	$(SUDO) $(PYTHON) Tests/Bench/streams.py --stubsave .build/release/stubsave --stream $(STREAM) \
	  --rounds $(BENCH_ROUNDS) --readme README.md --all docs/streams.md --plot docs/streams.svg

# Exhaustive: every bit flip, every cut, every crash state.
test-release: test-deps agent
	$(SWIFT_TEST) -c release --scratch-path .build/test $(SKIP_ELSEWHERE)
	$(if $(SUDO),sudo env PATH="$$PATH" $(SWIFT_TEST) -c release --scratch-path .build/test \
	  --skip-build --filter AsRootTests)

# Samples of the same, with the checks that a debug build adds; measures coverage. Without the command
# line tests: programs that they kill leave half-written profiles, which llvm-profdata refuses.
test-debug: test-deps
	$(SWIFT_TEST) $(DEBUG) --skip CommandTests $(SKIP_ELSEWHERE)

coverage: test-debug
	$(PYTHON) Tests/coverage.py --target SaveDisk --at-least 95 \
	  "$$($(SWIFT) test $(DEBUG) --show-codecov-path)"

# The document, the .ksy, the readers and the fixtures against each other; and the worst disks.
test-formats: build test-deps
	$(PYTHON) Tests/Releases/matrix.py --check --readme README.md
	$(PYTHON) Tests/Formats/merged_constants.py .build/embedded/release
	$(PYTHON) fixtures/make.py --check
	$(PYTHON) Tests/Formats/check_ksy.py
	.build/release/stubsave verify --replay fixtures
	$(PYTHON) Tests/Formats/check_reader.py
	$(PYTHON) Tests/Formats/releases.py --stubsave .build/release/stubsave
	$(PYTHON) Tests/Formats/check_containers.py --stubsave .build/release/stubsave
	$(PYTHON) Tests/Formats/passed_over.py --stubsave .build/release/stubsave
	$(PYTHON) Tests/Formats/field_table.py --check --stubsave .build/release/stubsave
	$(PYTHON) Tests/Differential/differential.py --stubsave .build/release/stubsave --count 20000
	$(PYTHON) Tests/Worst/worst.py --stubsave .build/release/stubsave --memory-only

# The same two readers on ten times as many inputs, and on what the fuzzers have kept.
FUZZED = $(wildcard .build/fuzzing/disk)
differential: build test-deps
	$(PYTHON) Tests/Differential/differential.py --stubsave .build/release/stubsave --count 200000 \
	  $(addprefix --corpus ,$(FUZZED))

# The worst disks for memory and time, measured; puts the table into the README.
worst: build test-deps
	$(PYTHON) Tests/Worst/worst.py --stubsave .build/release/stubsave --table README.md

# A real QEMU: its state out and back, over loop devices; what it makes of damaged states; and the
# sections of all its devices.
test-qemu: build test-deps
	$(call OTHER_QEMU,roundtrips) $(ROOT) $(PYTHON) Tests/QEMU/roundtrip.py --stubsave .build/release/stubsave
	$(call OTHER_QEMU,bitflips) $(PYTHON) Tests/QEMU/bitflips.py --stubsave .build/release/stubsave
	$(call OTHER_QEMU,statefiles) $(ROOT) $(PYTHON) Tests/QEMU/statefiles.py --stubsave .build/release/stubsave
	$(call OTHER_QEMU,devices) $(PYTHON) Tests/QEMU/devices.py
	$(call OTHER_QEMU,sweep) $(PYTHON) Tests/QEMU/sweep.py --stubsave .build/release/stubsave

# As on a machine on which nothing is installed but git, make and Swift: `make $(TARGET)` in a clean clone in a
# minimal root of RELEASE; as root.
host: lab-deps
	$(SUDO) env PATH="$$PATH" $(PYTHON) Tests/Releases/host.py $(addprefix --release ,$(RELEASE)) \
	  $(addprefix --with ,$(WITH)) make $(or $(TARGET),demo)

# A whole running Linux guest through `write` and `read`; the first time its image is made.
test-migration: build lab-deps
	$(PYTHON) Tests/QEMU/migration.py --stubsave .build/release/stubsave

# A real xenstored, run as a plain process: its client, the agent beside a real QEMU as another
# domain, and dom0's commands against that agent, against one that lies, and with system calls that fail.
XENSTORED = $(SUDO) env PATH="$$PATH" $(PYTHON) Tests/Xenstored/xenstored.py --domain 5 --domain 7 --
test-xenstore: build test-deps
	$(SWIFT) build --build-tests $(DEBUG)
	$(XENSTORED) env $(SWIFT_TEST) $(DEBUG) --skip-build --filter OnXenstoredTests
	$(XENSTORED) $(PYTHON) Tests/Agent/serve.py --stubsave .build/release/stubsave --agent $(AGENT)
	$(XENSTORED) $(PYTHON) Tests/Agent/overxen.py --stubsave .build/release/stubsave --agent $(AGENT)
	$(XENSTORED) $(PYTHON) Tests/Agent/claims.py --stubsave .build/release/stubsave --agent $(AGENT)
	$(XENSTORED) $(PYTHON) Tests/Agent/together.py --stubsave .build/release/stubsave --agent $(AGENT)
	$(XENSTORED) $(PYTHON) Tests/Agent/proxy.py --stubsave .build/release/stubsave --agent $(AGENT)
	$(XENSTORED) $(PYTHON) Tests/Vchan/channel.py
	$(XENSTORED) $(PYTHON) Tests/Vchan/proxied.py
	$(XENSTORED) $(PYTHON) Tests/Hostile/inject_xen.py --stubsave .build/release/stubsave

# Real Xen under emulation: Xen, dom0 and guests from Debian's packages, kept in .build/xenlab. RELEASE=forky for another
# release than the two that CI runs.
XEN_RELEASES = $(addprefix --release ,$(or $(RELEASE),bookworm trixie))
XENLAB = $(SUDO) $(PYTHON) Tests/XenLab/run.py --stubsave .build/release/stubsave --agent $(AGENT)
# SUITES="transfers faults:quota" and the like for some of it.
test-xen: build lab-deps
	$(XENLAB) $(XEN_RELEASES) $(SUITES)

# The comparison with the consoles, and its table in the README.
compare: build lab-deps
	$(XENLAB) compare savetimes
	$(PYTHON) Tests/XenLab/table.py .build/xenlab-logs/bookworm/consoles.md README.md
	$(PYTHON) Tests/XenLab/table.py .build/xenlab-logs/bookworm/saves.md README.md

# What .build/results has of the runs here, into docs/releases.json, and the table of that.
matrix:
	$(PYTHON) Tests/Releases/matrix.py --readme README.md

test-xen-full: build lab-deps
	$(XENLAB) $(XEN_RELEASES) --full --timeout 40000

# Hostile monitors, descriptors in every state, disks that must not be touched or are written meanwhile, and every system call failing
# once. ROUNDS=10000 for that many dumps of a disk that is being rewritten.
ROUNDS = 200
test-hostile: build planted test-deps
	$(SUDO) $(PYTHON) Tests/Hostile/planted.py --stubsave .build/release/stubsave --planted $(PLANTED)
	$(SUDO) $(PYTHON) Tests/Hostile/endless.py --stubsave .build/release/stubsave --planted $(PLANTED)
	$(SUDO) $(PYTHON) Tests/Hostile/plainroot.py --stubsave .build/release/stubsave
	$(SUDO) $(PYTHON) Tests/Hostile/hostile.py --stubsave .build/release/stubsave
	$(SUDO) $(PYTHON) Tests/Hostile/disks.py --stubsave .build/release/stubsave
	$(SUDO) $(PYTHON) Tests/Hostile/streams.py --stubsave .build/release/stubsave
	$(PYTHON) Tests/Hostile/stopped.py --stubsave .build/release/stubsave
	$(PYTHON) Tests/Hostile/longstreams.py --stubsave .build/release/stubsave
	$(SUDO) $(PYTHON) Tests/Hostile/inject.py --stubsave .build/release/stubsave
	$(SUDO) $(PYTHON) Tests/Hostile/inject_agent.py --stubsave .build/release/stubsave
	$(SUDO) $(PYTHON) Tests/Hostile/incoming.py --stubsave .build/release/stubsave
	$(SUDO) $(PYTHON) Tests/Hostile/hooks.py --stubsave .build/release/stubsave
	$(XENSTORED) $(PYTHON) Tests/Hostile/rewritten.py --stubsave .build/release/stubsave \
	  --rounds $(ROUNDS)

# Without looking for leaks: swift-argument-parser leaves some to the end of the process, and so does
# Foundation after it has read an empty file. The command line tests are not run under
# ThreadSanitizer: it slows them down too much; the threads are tested in TransferTests.
SANITIZED = SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 STUBSAVE_SANITIZER
sanitize: test-deps agent
	$(SANITIZED)=address $(SWIFT_TEST) --sanitize=address --scratch-path .build/asan \
	  --skip CommandTests $(SKIP_ELSEWHERE)
	$(SANITIZED)=address $(SWIFT_TEST) --sanitize=address \
	  --scratch-path .build/asan --skip-build --filter CommandTests
	$(SANITIZED)=thread $(SWIFT_TEST) --sanitize=thread --scratch-path .build/tsan \
	  --skip CommandTests $(SKIP_ELSEWHERE)

# Fuzzers, with AddressSanitizer; libyajl and json-c, with which libxl reads QMP, are what ours is compared with.
# Corpora, figures and findings are kept in .build/fuzzing; TARGET is one of them, or more.
SECONDS = 60
FUZZER = .build/fuzz/release/stubsave-fuzz
fuzz: test-deps
	STUBSAVE_FUZZ=1 $(SWIFT) build -c release --scratch-path .build/fuzz --product stubsave-fuzz \
	  -Xswiftc -sanitize=fuzzer,address -Xswiftc -parse-as-library -Xswiftc -enable-testing \
	  -Xcc -fsanitize=fuzzer-no-link,address
	$(PYTHON) Tests/Fuzz/fuzz.py --program $(FUZZER) --seconds $(SECONDS) $(addprefix --target ,$(TARGET))

# What all runs so far have counted, into the README.
fuzz-table:
	$(PYTHON) Tests/Fuzz/fuzz.py --program $(FUZZER) --table README.md

lint: deps
	$(SWIFT) format lint --strict -r Sources Tests Package.swift

fixtures: test-deps
	$(PYTHON) fixtures/make.py

install: build
	install -D -m 755 .build/release/stubsave $(DESTDIR)$(prefix)/bin/stubsave
	ln -sf stubsave $(DESTDIR)$(prefix)/bin/stubsave-qmp-proxy
	install -D -m 755 $(AGENT) $(DESTDIR)$(prefix)/lib/stubsave/stubsave-agent
	install -D -m 755 $(DECODER) $(DESTDIR)$(prefix)/lib/stubsave/stubsave-decode
	install -D -m 644 Sources/udev/59-stubsave.rules $(DESTDIR)$(udevrulesdir)/59-stubsave.rules
	install -D -m 644 Sources/systemd/stubsave-proxy@.service $(DESTDIR)$(systemdunitdir)/stubsave-proxy@.service

# Root's are those that the Xen lab has made.
clean:
	$(if $(wildcard .build/xenlab),$(SUDO) rm -rf .build/xenlab .build/xenlab-logs)
	rm -rf .build
