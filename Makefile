# SPDX-License-Identifier: MIT

# Building and testing need only Go and make. The rest is for changes of the kernel program (generate) and for the checks
# of CI (lint, verify).

GO            ?= go
# Both run from source at a fixed version, so that every machine gives the same answer.
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT       := $(GO) run mvdan.cc/gofumpt@v0.12.0
IMAGE         := ebpf-upgrader-test
BASE_IMAGE    ?= docker.io/library/golang:1.26-bookworm

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-21s %s\n", $$1, $$2 }' Makefile

# The tag, or the commit where there is none. Outside of a checkout the program says "devel".
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: build
build: ## Build bin/ebpf-upgrader
	CGO_ENABLED=0 $(GO) build -trimpath $(if $(VERSION),-ldflags '-X ebpf-upgrader/internal/cli.version=$(VERSION)') -o bin/ebpf-upgrader ./cmd/ebpf-upgrader

.PHONY: demo
demo: build ## Watch eight servers upgrade (as root through eBPF)
	$(GO) run ./test/demo

.PHONY: demo-svg
demo-svg: build ## Record the demo as the animation of the README (as root)
	$(GO) run ./test/demo -svg docs/demo.svg

.PHONY: a-day
a-day: build ## Play a day of an operator, and write its screens to docs/A-DAY.md (as root)
	$(GO) run ./test/aday -docs docs/A-DAY.md

# The race detector needs a C compiler, which a fresh machine may lack.
RACE := $(shell command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 && echo -race)

# One package after the other: each inspects the whole host. Processes that another package's tests have made unreadable
# could be servers, and a thousand processes at once leave no processor time to other tests. The tests of a package that
# run beside each other mostly wait, for hold times and retries, so that two processors have time for six.
# PACKAGES="./tracker ./internal/procfs" selects packages, RUN='Gate|Seed' selects tests by their names.
.PHONY: test
test: ## Run all tests (as root including those of the kernel program)
	$(GO) test $(RACE) -p 1 -parallel 6 -shuffle=on -count=1 -timeout 30m $(if $(RUN),-run '$(RUN)') $(or $(PACKAGES),./...)

.PHONY: test-short
test-short: ## Run the short tests in under a minute (any user)
	$(GO) test -short -count=1 -timeout 5m ./...

# A hostile user does all that it can at once, for a minute instead of the ten seconds of make test. FOR=10m runs longer.
.PHONY: test-hostile
test-hostile: ## Run the service beside a hostile user for a minute, under the limits of its unit (as root)
	EBPF_UPGRADER_TEST_HOSTILE_FOR=$(or $(FOR),1m) $(GO) test -count=1 -timeout 60m -v -run TestHostileUser_AllAtOnce_OthersServed ./internal/cli

# FOR=10m fuzzes each reader longer. FUZZ='Load|Text' selects fuzzers by their names. Two run at a time.
.PHONY: fuzz
fuzz: ## Fuzz each reader of what a user may write, a minute each
	./scripts/fuzz $(or $(FOR),1m) '$(or $(FUZZ),.)'

# KERNELS=5.10,6.1 boots those only, in at most WITHIN, and compares the results with the documents instead of writing
# them.
WITHIN ?= 10m
.PHONY: test-kernels
test-kernels: ## Run the tests on other kernels, emulated (needs qemu-system-x86)
	$(GO) run ./test/kernels -docs docs/KERNELS.md -readme docs/COMPATIBILITY.md $(if $(KERNELS),-only $(KERNELS) -within $(WITHIN))

# VERSIONS="0.3.2 0.24.1" selects versions, from old to new. RUN='exit1-.*' selects scenarios by their names
# (go run ./test/ragrat -list shows them). A run of all scenarios writes the document.
.PHONY: test-rag-rat
test-rag-rat: build ## Upgrade real rag-rat servers (as root, needs cargo, git and gcc; builds them once)
	$(GO) run ./test/ragrat -docs docs/RAGRAT.md $(if $(VERSIONS),-versions "$(VERSIONS)") $(if $(RUN),-run '$(RUN)') $(if $(MODES),-mode "$(MODES)") $(if $(TRIES),-tries $(TRIES))

# WORKTREES=20 and PROCESSES=0 set the numbers. OWN=1 makes the processes belong to the servers' user. APART=1 gives each
# worktree a data directory. SERVICE='--settle 500ms' gives the service flags. The figures are in docs/RAGRAT.md.
.PHONY: bench-triggers
bench-triggers: build ## Measure what the servers' own trigger costs, refused (as root, needs cargo, git and gcc)
	$(GO) run ./test/ragrat -triggers $(or $(WORKTREES),100) -processes $(or $(PROCESSES),20000) -versions 0.3.2 -mode $(or $(MODE),hurry) $(if $(OWN),-own) $(if $(APART),-apart) $(if $(SERVICE),-service '$(SERVICE)')

# SUITES="bullseye bookworm trixie" boots other releases of Debian in a container, KERNELS="5.10 6.1" boots bookworm on
# these kernels, emulated. RPM=1 also runs the package for rpm. DOCS=docs/KERNELS.md writes
# the rows of these systems. The root file systems stay in ~/.cache/ebpf-upgrader-systemd.
.PHONY: test-systemd
test-systemd: ## Install the package in Debian under systemd, and use it until it is purged (as root)
	$(GO) run ./test/systemd $(if $(SUITES),-suites "$(SUITES)") $(if $(KERNELS),-kernels "$(KERNELS)") $(if $(RPM),-rpm) $(if $(DOCS),-docs $(DOCS))

# EVERY=5s scrapes less often, for a busy machine.
.PHONY: test-observe
test-observe: build ## Let a real Prometheus see each fault, and look at its pages (as root, needs prometheus, chromium)
	$(GO) run ./test/observe $(if $(EVERY),-every $(EVERY))

.PHONY: check-observe
check-observe: ## Check the rules for Prometheus and the dashboard, in seconds (needs promtool of Debian's prometheus)
	cd packaging/observe && promtool check rules *.rules.yml && promtool test rules tests.yml
	cd packaging/observe/dashboard && $(GO) vet ./... && $(GO) test ./...

# KERNELS=6.1 boots that kernel only, and writes no document unless WRITE=1 is set.
.PHONY: test-rag-rat-kernels
test-rag-rat-kernels: ## Upgrade real rag-rat servers on other kernels, emulated, with the gate
	$(GO) run ./test/kernels -servers $(if $(KERNELS),-only $(KERNELS) $(if $(WRITE),-docs docs/RAGRAT.md),-docs docs/RAGRAT.md) $(if $(MODES),-mode "$(MODES)")

# SEED=N repeats the choices of a run, FOR=10m runs longer. The document keeps the longest run.
.PHONY: chaos
chaos: build ## Let the service run among faults of all kinds for three minutes (as root)
	$(GO) run ./test/chaos -docs docs/RELIABILITY.md $(if $(SEED),-seed $(SEED)) $(if $(FOR),-for $(FOR))

# RUN='signals twice' selects defects by their names. A run of all writes the document.
.PHONY: chaos-mutants
chaos-mutants: ## Show that chaos finds defects: build the service with each, and run it (as root, 15 minutes)
	$(GO) run ./test/chaos/mutants $(if $(RUN),-run '$(RUN)',-docs docs/RELIABILITY.md)

# BENCH=find,rollout,start,cost selects sections, and leaves the other results unchanged. BENCH=scale measures a host with
# LARGE=100000 processes, which take 10 GiB; it is left out otherwise. It needs pgrep, lsof,
# needrestart, forkstat and bpftrace to compare with. WITHOUT_TOOLS=1 leaves them out, and the document says so.
.PHONY: bench
bench: build ## Measure what the documents claim, beside the tools that are used today (as root)
	cd bench && $(GO) run . $(if $(BENCH),-only $(BENCH)) $(if $(LARGE),-large $(LARGE)) $(if $(WITHOUT_TOOLS),-without-tools)

# RUN='bursts/.*' selects rows by their names (cd bench && go run ./sessions -list shows them). UPGRADES=20 measures fewer
# upgrades of each. A row in the file RESULTS=file is not measured again. The document is written once all rows exist.
.PHONY: bench-sessions
bench-sessions: build ## Count the calls that real agents lose in upgrades (as root, needs cargo, git and gcc)
	cd bench && $(GO) run ./sessions -docs ../docs/BENCHMARKS.md $(if $(VERSIONS),-versions "$(VERSIONS)") $(if $(RUN),-run '$(RUN)') $(if $(UPGRADES),-upgrades $(UPGRADES)) $(if $(SERVICE_FLAGS),-service-flags "$(SERVICE_FLAGS)") $(if $(RESULTS),-results $(abspath $(RESULTS)))

# HOSTS=1000 and SEEDS=3 make it quicker; then no document is written.
.PHONY: simulate
simulate: ## Play releases on 10,000 hosts in virtual time, and write the tables of docs/FLEET.md
	$(GO) run ./test/simulate $(if $(HOSTS)$(SEEDS),-hosts $(or $(HOSTS),10000) -seeds $(or $(SEEDS),21) -largest $(or $(HOSTS),10000),-docs docs/FLEET.md)

# ENGINES=etcd builds and tests that one only. RUN=Contract selects tests. HOSTS=40 has fewer hosts.
.PHONY: test-engines
test-engines: ## Test the stores of a fleet against real engines (builds them once, which takes minutes)
	./scripts/engines $(or $(ENGINES),etcd etcd-debian kube-apiserver)
	cd test/engines && EBPF_UPGRADER_TEST_HOSTS="$(HOSTS)" EBPF_UPGRADER_TEST_ENGINES="$(ENGINES)" EBPF_UPGRADER_TEST_SERVICES="$(SERVICES)" $(GO) test -v -count=1 -parallel 6 -timeout 40m $(if $(RUN),-run '$(RUN)') .

.PHONY: generate
generate: ## Compile the kernel program again (needs clang and libbpf's headers)
	@command -v clang >/dev/null && test -e /usr/include/bpf/bpf_helpers.h || \
		{ echo "generate: install clang, llvm and libbpf's headers: apt-get install clang llvm libbpf-dev" >&2; exit 1; }
	$(GO) generate ./gen ./test/chaos/witness

.PHONY: lint
lint: ## Check the style
	$(GOLANGCI_LINT) run
	cd bench && $(GO) vet ./...
	GOOS=darwin $(GO) build ./...

.PHONY: verify
verify: generate lint ## Check the style, and that everything generated or formatted is committed in that state
	$(GOFUMPT) -w $$(git ls-files '*.go' ':!gen')
	$(GO) mod tidy
	cd bench && $(GO) mod tidy
	cd packaging/observe/dashboard && $(GO) mod tidy
	./scripts/check-docs
	$(GO) run ./test/language
	$(GO) run ./test/language -commits
	git diff --exit-code

# ONLY=image leaves out the tests that do not depend on the image, ONLY=build all.
.PHONY: test-docker
test-docker: ## Build an image that regenerates the code, and run all tests in it
	IMAGE=$(IMAGE) BASE_IMAGE=$(BASE_IMAGE) ONLY=$(ONLY) ./scripts/test-docker

.PHONY: image
image: ## Build the container image with podman (IMAGE names it, ARCH selects the architecture)
	./scripts/image

.PHONY: test-manifests
test-manifests: ## Check the Kubernetes manifests as an API server does
	cd test/container && $(GO) vet ./... && $(GO) test -count=1 ./manifest

.PHONY: test-container
test-container: ## Run the image in podman with the rights of the manifests (as root)
	IMAGE=localhost/ebpf-upgrader:test ./scripts/image
	cd test/container && $(GO) build -o ../../bin/test-container .
	unshare --mount sh -c 'mount -t tmpfs -o mode=755 none /opt && exec bin/test-container -image localhost/ebpf-upgrader:test'

.PHONY: man
man: ## Write the manual pages and the shells' completions to bin/
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(GO) run ./packaging/manpages bin

.PHONY: package
package: ## Make the packages, tarballs and checksums in dist/ (ARCHS="amd64 arm64", MINISIGN_KEY=file signs)
	./scripts/package

.PHONY: test-package
test-package: ## Make the packages in two clones, and check that they are the same, signed, clean and complete
	./scripts/test-package

.PHONY: release
release: ## Make the packages of a tagged commit, and say what to publish; nothing is published
	./scripts/package release

.PHONY: install uninstall
install: ## Install program, unit, manual pages and completions below PREFIX (/usr/local), as root
	./scripts/package stage
	$(MAKE) -C dist/stage/$(shell $(GO) env GOARCH) install

uninstall: ## Stop the service, and remove what install has installed
	./scripts/package stage
	$(MAKE) -C dist/stage/$(shell $(GO) env GOARCH) uninstall

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist
