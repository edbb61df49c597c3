# The checks of this repository, one target each. A bare `make` lists them.
# They need Go and Node.js; CONTRIBUTING.md says what the interop tests need besides.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# The oldest Go release that go.mod promises to work with.
OLDEST_GO := go1.25.14

# -count=1 where tests read files of other modules: Go does not know when to run those
# again.

# Every go.mod is a module, the root first.
NESTED := $(sort $(patsubst ./%/go.mod,%,$(shell find ./* -name go.mod -not -path './go.mod' -not -path '*/node_modules/*' -not -path '*/testdata/*')))
MODULES := . $(NESTED)
# interop/keda is a program that the interop tests build and drive. KEDA needs a
# newer Go, and its dependencies take minutes to compile for another system.
PORTABLE := $(filter-out interop/keda,$(MODULES))
TESTED := $(filter-out interop/keda,$(NESTED))
# The race detector slows the measurements and the tools of bench and internal/tools
# down and finds nothing there.
RACED := $(filter-out bench internal/tools,$(TESTED))

# $(call each,modules,command) runs a command in the directory of every module.
each = for module in $(1); do printf '\n== %s: %s\n' '$@' "$$module"; (cd "$$module" && $(2)) || exit; done

.PHONY: help
help: ## list the targets
	@printf 'Targets, in the order in which .ci/run has them; make check runs them all.\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: check
check: ## everything: what .ci/run does
	@.ci/run

.PHONY: test
test: ## the tests of the library, as the README has them
	$(GO) test ./...

.PHONY: short
short: ## the tests of every module that need neither Node.js nor a network
	@$(call each,. $(TESTED),$(GO) test -count=1 -short -timeout 30m ./...)

.PHONY: race
race: ## the tests of the library with the race detector
	$(GO) test -race ./...

.PHONY: format
format: ## gofmt finds nothing to do
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not formatted: $$files"; exit 1; fi

.PHONY: vet
vet: ## go mod tidy, go vet and staticcheck in every module
	@staticcheck=$$($(GO) -C internal/tools tool -n staticcheck); \
	$(call each,$(MODULES),$(GO) mod tidy -diff && $(GO) vet ./... && "$$staticcheck" ./...)

.PHONY: vet-systems
vet-systems: ## go vet for Windows and macOS in every module
	@for system in windows darwin; do \
		export GOOS=$$system; printf '\n== GOOS=%s\n' "$$system"; \
		$(call each,$(PORTABLE),$(GO) vet ./...); \
	done

.PHONY: short-oldest
short-oldest: ## the short tests of every module with the oldest Go release that go.mod allows
	@export GOTOOLCHAIN=$(OLDEST_GO); $(call each,. $(TESTED),$(GO) test -short -timeout 30m ./...)

.PHONY: no-arrow
no-arrow: ## no dependency on Apache Arrow, which azblob after v1.8.0 brings
	@found=$$($(GO) list -deps . ./ops); if grep -i arrow <<<"$$found"; then echo 'the library depends on Apache Arrow'; exit 1; fi
	@found=$$($(GO) -C otel list -deps .); if grep -i arrow <<<"$$found"; then echo 'package otel depends on Apache Arrow'; exit 1; fi
	@found=$$($(GO) -C cmd/checkpointctl list -deps .); if grep -i arrow <<<"$$found"; then echo 'checkpointctl depends on Apache Arrow'; exit 1; fi

.PHONY: demo
demo: ## the README's first command, in memory and on Azurite
	$(GO) run ./examples/failover
	$(GO) run ./examples/failover -azurite

.PHONY: test-modules
test-modules: ## the full tests of the nested modules, most of them with the race detector
	@$(call each,$(RACED),$(GO) test -race -timeout 60m ./...)
	@$(call each,$(filter-out $(RACED),$(TESTED)),$(GO) test -count=1 -timeout 30m ./...)

.PHONY: proof
proof: ## the proof without the race detector: all histories and a soak of 30 s
	cd proof && $(GO) test -timeout 30m -soak 30s ./...

.PHONY: proof-long
proof-long: ## the nightly proof, which takes hours: 100,000 new histories of fleets, a soak of 20 minutes
	cd proof && $(GO) test -run TestFleets -fleets 100000 -fleetseed $${SEED:-$$(date +%s)} -timeout 3h .
	cd proof && $(GO) test -run Soak -v -soak 20m -timeout 40m .

# Counted and not timed: until Go 1.27 a timed run can fail when its time is over
# (golang.org/issue/75804).
.PHONY: fuzz
fuzz: ## every fuzz test with 20,000 inputs
	@for package in $$($(GO) list ./...); do \
		list=$$($(GO) test -list '^Fuzz' "$$package"); \
		for fuzz in $$(grep '^Fuzz' <<<"$$list" || true); do \
			$(GO) test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime 20000x -fuzzminimizetime 1x "$$package"; \
		done; \
	done

.PHONY: release-check
release-check: ## build a user's program from this tree as if it were released
	$(GO) -C internal/tools run ./release check

.PHONY: vulnerabilities
vulnerabilities: ## known vulnerabilities, if the database can be reached
	.ci/govulncheck . processor otel cmd/checkpointctl
