# SPDX-License-Identifier: Apache-2.0
#
# Every target that a person or CI needs; `make help` lists them. Only Go and
# make are needed for build, run and test. A target that needs more says so.

GO      ?= go
PREFIX  ?= /usr
DESTDIR ?=

# One source for the version: the topmost release in the changelog, so that a
# tree without .git (a release tarball) builds the same binary as a clone.
VERSION ?= $(shell sed -n 's/^\#\# \([0-9][0-9A-Za-z.~+-]*\).*/\1/p' CHANGELOG.md | head -n 1)

# CGO_ENABLED=0 gives one static binary; packaging/goflags says the rest.
GOBUILD := CGO_ENABLED=0 GOFLAGS="$(shell packaging/goflags $(VERSION)) $(GOFLAGS)" $(GO) build

# Tools are pinned by version and run from the module cache: nothing of their
# dependencies enters our go.sum.
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.1
GOFUMPT     := $(GO) run mvdan.cc/gofumpt@v0.12.0

PACKAGES := ./...
BENCH    := evloop/bench
FUZZTIME ?= 20s

# For bench-proxy, bench-bridge and bench-exec, such as -quick: a few cells, short.
BENCH_FLAGS ?=

# For cross-count: -profile, -record, names of CPUs.
COUNT_FLAGS ?=

# How long `make fault-test` injects errors; 0: until it has tried them all.
FAULT_TIME ?= 60s

# How long `make fair-test` measures each load.
FAIR_TIME ?= 2s

# Histories of the simulated kernel that `make sim` plays for each back end.
SIM_SEEDS ?= 20000

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/penstock, bin/penstock-web and bin/penstock-mqtt, static and stripped
	$(GOBUILD) -o bin/ ./daemon/cmd/penstock ./daemon/cmd/penstock-web ./daemon/cmd/penstock-mqtt

.PHONY: run
run: build ## build, then serve the built-in example on loopback, and its page
	@control=$${XDG_RUNTIME_DIR:+$$XDG_RUNTIME_DIR/penstock}; control=$${control:-/tmp/penstock-$$(id -u)}/control; \
	if [ -z "$$PENSTOCK_CONTROL" ] && bin/penstock status --socket "$$control" >/dev/null 2>&1; then \
	  export PENSTOCK_CONTROL=$$(mktemp -d)/control; \
	  echo "Another penstock of yours runs. To ask this one: export PENSTOCK_CONTROL=$$PENSTOCK_CONTROL"; \
	fi; \
	bin/penstock run & daemon=$$!; bin/penstock-web -socket "$${PENSTOCK_CONTROL:-$$control}" & web=$$!; \
	trap 'kill $$daemon $$web 2>/dev/null' INT TERM; wait $$daemon; status=$$?; \
	kill $$daemon $$web 2>/dev/null; wait; exit $$status

.PHONY: test
test: ## all tests; no root, no systemd, under 5 minutes
	$(GO) test -timeout 20m $(PACKAGES)
	$(GO) test -tags evloopcheck ./evloop -run '^TestCall(On|Without)|^Example'

.PHONY: picture
picture: ## draw the pictures in README anew, from what the programs do
	$(GO) test ./daemon/cmd/penstock -count=1 -run '^Test(Top)?Picture$$' -update

.PHONY: race
race: ## the tests under the race detector, with shorter simulations (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $(PACKAGES)

.PHONY: sim
sim: ## SIM_SEEDS histories (20000) on a simulated kernel, for each back end, and a hundredth of them of the daemon and of rooms across boards
	$(GO) test ./evloop -count=1 -v -timeout 60m -run '^Test(Ring)?Simulation$$' -seeds=$(SIM_SEEDS)
	$(GO) test ./daemon -count=1 -v -timeout 60m -run '^Test(Ring)?Simulation$$' -seeds=$$(($(SIM_SEEDS) / 100 + 1))
	$(GO) test ./daemon/internal/boards -count=1 -v -timeout 60m -run '^TestSimulation$$' -seeds=$$(($(SIM_SEEDS) / 100 + 1))

.PHONY: fault-test
fault-test: build ## the binary while system calls fail, FAULT_TIME of them (60s; 0: all; needs root, strace)
	$(GO) test ./daemon/faulttest -count=1 -v -timeout 120m -skip '^TestFair$$' -penstock $(CURDIR)/bin/penstock -time $(FAULT_TIME)

.PHONY: fair-test
fair-test: build ## the delay that a load on one service adds to another, FAIR_TIME (2s) for each load (needs root)
	$(GO) test ./daemon/faulttest -count=1 -v -timeout 60m -run '^TestFair$$' -penstock $(CURDIR)/bin/penstock -window $(FAIR_TIME)

.PHONY: peers-test
peers-test: ## programs of others with bridges, proxies, execs and metrics; installs them (needs root, apt)
	packaging/test/peers.sh

.PHONY: lan-test
lan-test: build ## the binary on a LAN of two network namespaces (needs root, iproute2)
	$(GO) test ./daemon/lantest -count=1 -v -penstock $(CURDIR)/bin/penstock

WEB_TEST := daemon/cmd/penstock-web/browsertest

.PHONY: web-test
web-test: build ## the page in a headless Chromium, which is installed if it is missing (needs root for that)
	@command -v chromium >/dev/null || { apt-get update && apt-get install -y --no-install-recommends chromium; }
	cd $(WEB_TEST) && $(GO) vet ./... && $(GO) test -count=1 -v ./... -programs $(CURDIR)/bin $(WEB_TEST_FLAGS)

.PHONY: mqtt-test
mqtt-test: build ## penstock-mqtt with mosquitto and its clients, which are installed if they are missing (needs root for that)
	@{ command -v mosquitto && command -v mosquitto_pub && command -v mosquitto_sub; } >/dev/null || { apt-get update && apt-get install -y --no-install-recommends mosquitto mosquitto-clients; }
	$(GO) test ./daemon/cmd/penstock-mqtt/brokertest -count=1 -v -programs $(CURDIR)/bin

# For `make boards-test`: how long, clients of each board, lines that a board keeps, and the schedule
# of faults (0: another one each time).
BOARDS_TIME    ?= 60s
BOARDS_CLIENTS ?= 10
BOARDS_HISTORY ?= 1000
BOARDS_SEED    ?= 1

.PHONY: boards-test
boards-test: build ## a room on three boards for BOARDS_TIME (60s) while broker, network and programs fail (needs root, iproute2, mosquitto)
	$(GO) test ./daemon/boardstest -count=1 -v -timeout 60m -programs $(CURDIR)/bin \
	  -time $(BOARDS_TIME) -clients $(BOARDS_CLIENTS) -history $(BOARDS_HISTORY) -seed $(BOARDS_SEED)

.PHONY: mutate
mutate: ## bring each mended fault back: the tests have to notice (half an hour and more; needs root)
	nice $(GO) test ./daemon/mutationtest -count=1 -v -timeout 180m -mutate

.PHONY: nightly
nightly: ## what is too long for every change: 100000 histories, every fault, loads of 20 s, 8000 clients, USB, pages of 16 KiB, peers, boards for 10 minutes (needs root, strace)
	$(MAKE) sim SIM_SEEDS=100000
	$(MAKE) fault-test FAULT_TIME=0
	$(MAKE) fair-test FAIR_TIME=20s
	$(MAKE) restart-test RESTART_CLIENTS=1000 RESTART_KILLS=20
	$(MAKE) restart-test RESTART_CLIENTS=8000 RESTART_KILLS=20
	$(MAKE) usb-test
	$(MAKE) pages-test
	$(MAKE) peers-test
	$(MAKE) mqtt-test
	$(MAKE) boards-test BOARDS_TIME=10m BOARDS_CLIENTS=100 BOARDS_HISTORY=5000 BOARDS_SEED=0

.PHONY: lint
lint: fmt vet staticcheck man ## every check that reads but does not run the code

.PHONY: fmt
fmt: ## fail and list the files that are not in gofumpt's form
	@bad=$$($(GOFUMPT) -l daemon evloop systemd) || exit 1; \
	if [ -n "$$bad" ]; then printf 'not formatted by gofumpt:\n%s\n' "$$bad"; exit 1; fi

.PHONY: vet
vet: ## go vet, the bench module included
	$(GO) vet $(PACKAGES)
	$(GO) vet -tags evloopcheck ./evloop
	cd $(BENCH) && $(GO) vet ./...

.PHONY: staticcheck
staticcheck: ## staticcheck, pinned
	$(STATICCHECK) $(PACKAGES)
	cd $(BENCH) && $(STATICCHECK) ./...

.PHONY: fuzz
fuzz: ## every fuzz target in turn, FUZZTIME each (20s)
	@for dir in $$($(GO) list -f '{{.Dir}}' $(PACKAGES)); do \
	  for name in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go 2>/dev/null | cut -c6-); do \
	    echo "$$dir $$name"; \
	    (cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
	  done; \
	done

.PHONY: gobench
gobench: ## Go benchmarks of the parts, ten runs each, benchstat-ready
	$(GO) test -run '^$$' -bench . -benchmem -count 10 $(PACKAGES)

.PHONY: bench
bench: build ## compare with C and Go peers on this machine (long; needs a quiet machine)
	cd $(BENCH) && $(GO) run . -penstock ../../bin/penstock

.PHONY: bench-quick
bench-quick: build ## the main rows of the comparison in 3 minutes
	cd $(BENCH) && $(GO) run . -quick -penstock ../../bin/penstock

.PHONY: bench-curve
bench-curve: build ## the cost of an echo and of a line as connections grow to 20,000
	cd $(BENCH) && $(GO) run . -curve $(BENCH_FLAGS) -penstock ../../bin/penstock

.PHONY: bench-proxy
bench-proxy: build ## a relay beside a C loop, haproxy, socat and others that are there
	cd $(BENCH) && $(GO) run . -kind proxy $(BENCH_FLAGS) -penstock ../../bin/penstock

.PHONY: bench-bridge
bench-bridge: build ## one device to many clients beside a C loop, ser2net and others that are there
	cd $(BENCH) && $(GO) run . -kind bridge $(BENCH_FLAGS) -penstock ../../bin/penstock

.PHONY: bench-exec
bench-exec: build ## a program for each client beside a C loop, xinetd and others that are there
	cd $(BENCH) && $(GO) run . -kind exec $(BENCH_FLAGS) -penstock ../../bin/penstock

.PHONY: bench-restart
bench-restart: build ## the pause of a restart under load (also by systemd, and beside HAProxy, if they are there)
	cd $(BENCH) && $(GO) run . -restart -penstock ../../bin/penstock

.PHONY: bench-watch
bench-watch: build ## what top and five open pages cost beside 1000 clients (two minutes)
	$(GO) test ./daemon/cmd/penstock-web -count=1 -v -run '^TestCost$$' -programs $(CURDIR)/bin

.PHONY: bench-test
bench-test: ## the tests of the bench itself (fetches its Go peers)
	cd $(BENCH) && $(GO) test ./...

.PHONY: cover
cover: ## test coverage by function, total last
	$(GO) test -coverprofile=cover.out $(PACKAGES)
	$(GO) tool cover -func=cover.out

.PHONY: man
man: ## check the manual pages (needs mandoc)
	@if command -v mandoc >/dev/null; then \
	  for page in daemon/man/*.[1-8]; do mandoc -T lint -W warning "$$page" || exit 1; done; \
	else echo "mandoc is not installed: the manual pages were not checked"; fi

.PHONY: cross
cross: ## build for every line of cross/targets
	cross/cross.sh build

.PHONY: cross-test
cross-test: ## unit tests of evloop and systemd on emulated CPUs (needs qemu-user)
	cross/cross.sh test

.PHONY: cross-count
cross-count: ## instructions of an echo on emulated CPUs, beside the C loop and what is recorded; installs qemu-user and compilers (needs root for that)
	@(for command in cc qemu-arm arm-linux-gnueabihf-gcc arm-linux-gnueabi-gcc; do command -v $$command >/dev/null || exit 1; done) || \
	  { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev qemu-user \
	    gcc-arm-linux-gnueabihf libc6-dev-armhf-cross gcc-arm-linux-gnueabi libc6-dev-armel-cross; }
	cd $(BENCH) && $(GO) run ./count $(COUNT_FLAGS)

.PHONY: check
check: ## all that must pass before a change lands, as CI runs it (needs root and what .ci/run installs)
	@.ci/run -n

# Packages and tests on a booted system: packaging/ says what they need.

# boot.sh says what these are.
export RESTART_CLIENTS RESTART_KILLS RESTART_SEED

.PHONY: deb
deb: ## Debian packages for every line of cross/targets, in bin/deb (needs dpkg-deb)
	packaging/deb/build.sh

.PHONY: deb-check
deb-check: deb ## lint the packages and build them a second time, bit-identical
	packaging/check.sh

.PHONY: apt-repo
apt-repo: deb ## a signed archive for apt of the packages, in bin/apt (needs apt-utils, gpg)
	packaging/apt-repo.sh

.PHONY: nspawn-test
nspawn-test: ## the packages on systemd 252 and 257 in containers (needs root)
	packaging/test/boot.sh nspawn amd64 bookworm
	packaging/test/boot.sh nspawn amd64 trixie

.PHONY: restart-test
restart-test: ## restarts on booted systems, with RESTART_CLIENTS (300) and RESTART_KILLS (3) (needs root)
	TIMEOUT=1800 packaging/test/boot.sh nspawn amd64 bookworm restart crowd killed
	TIMEOUT=1800 packaging/test/boot.sh nspawn amd64 trixie restart crowd killed

.PHONY: board-test
board-test: ## the packages and the event loop on an emulated arm64 board (needs root)
	packaging/test/boot.sh qemu arm64 bookworm

.PHONY: usb-test
usb-test: ## bridges of USB adapters that are plugged in and out, on an emulated machine (needs root)
	packaging/test/usb.sh

.PHONY: pages-test
pages-test: ## what each program takes of an arm64 board of 512 MiB, with pages of 4 and of 16 KiB, and the package and the event loop on the latter (needs root)
	packaging/test/boot.sh 4k arm64 trixie
	packaging/test/boot.sh 16k arm64 trixie

.PHONY: boot-test
boot-test: nspawn-test board-test usb-test ## all three

.PHONY: boot-test-all
boot-test-all: boot-test ## these, armhf, the Raspberry Pi 3B and both suites in machines of their own (long)
	packaging/test/boot.sh pi3 arm64 bookworm
	packaging/test/boot.sh qemu armhf bookworm
	packaging/test/boot.sh qemu arm64 trixie
	packaging/test/boot.sh qemu amd64 bookworm
	packaging/test/boot.sh qemu amd64 trixie

.PHONY: install
install: build ## install under $(DESTDIR)$(PREFIX)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/penstock bin/penstock-web bin/penstock-mqtt
	for page in daemon/man/*.[1-8]; do \
	  install -D -m 0644 "$$page" "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}" || exit 1; \
	done

.PHONY: clean
clean: ## remove what the targets above made
	rm -rf bin cover.out $(BENCH)/out
