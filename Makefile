# Weft. `make` lists the targets; `make demo` and `make test` set up all they need.

GO      := ./scripts/go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
LDFLAGS := -X main.version=$(VERSION)
VIDEO   ?=
FOR     ?= 30
ONLY    ?=
RUNS    ?= 5
SCENARIO ?= examples/testbed/people14.yaml

.DEFAULT_GOAL := help
.PHONY: help build test test-raced test-virtual race demo bench microbench overload testbed agreement experiment-adaptation experiment-adaptation-emulated experiment-houmani experiment-houmani-testbed experiment-sweeps chaos soak fuzz lint vulncheck tidy setup train-street clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## Install the Debian packages that building needs
	@scripts/setup build

build: setup ## Build bin/weftd and bin/weft
	@mkdir -p bin
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/weftd ./cmd/weftd
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o bin/weft ./cmd/weft

# Tests wait more than they work: more packages at once than there are cores, and one of test-virtual.
AT_ONCE ?= $(shell echo $$(($$(nproc) + 1)))
# The test of cmd/weftd that emulates: in a machine that others keep busy no frame is on time.
EMULATED := ^TestEmulatedContinuum$$

# What computes most, in virtual time or for the command line's reports, takes four times as long
# with the race detector: `make race`, in CI too, runs it with that.
VIRTUAL := ./adaptation/... ./testbed/sim/... ./testbed/experiment/... ./cmd/weft

test: ## Install what tests need, and run them all, with the race detector where much is concurrent
	@scripts/setup test
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	@$(MAKE) --no-print-directory -j2 test-raced test-virtual
	@echo "==> the emulation by itself: it measures links and CPU, and runs at real-time priority"
	$(GO) test -race -vet all -timeout 20m -p 1 ./testbed/emulation/...
	$(GO) test -race -timeout 20m -run '$(EMULATED)' ./cmd/weftd

test-raced:
	$(GO) test -race -vet all -timeout 20m -p $(AT_ONCE) -skip '$(EMULATED)' \
		$$($(GO) list ./... | grep -v /testbed/emulation | grep -vxF "$$($(GO) list $(VIRTUAL))")

test-virtual:
	$(GO) test -vet all -timeout 20m -p 1 $(VIRTUAL)

race: setup ## Run the tests of what computes in virtual time with the race detector, too
	$(GO) test -race -timeout 30m $(VIRTUAL)

demo: ## Detect what moves in two streets, or people in VIDEO=file, on a whole mesh (FOR=seconds)
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	@VIDEO='$(VIDEO)' FOR='$(FOR)' scripts/demo

bench: ## Measure what Weft stands on beside it: ratios to out/bench.json and out/bench.md (ONLY=names, RUNS=5)
	@scripts/setup build
	@$(MAKE) --no-print-directory build
	$(GO) build -o bin/bench ./scripts/bench
	$(AS_ROOT) bin/bench -only '$(ONLY)' -runs $(RUNS) -out out

microbench: setup ## Run the benchmarks of single packages
	$(GO) test -run '^$$' -bench . -benchtime 1s ./tiering ./pipeline/... ./testbed/sim/...

overload: ## Press a mesh at several times what it can serve, for a minute
	@scripts/setup test
	WEFT_OVERLOAD=60s $(GO) test -run '^TestOverload$$' -v -count 1 ./cmd/weftd

# Only root makes network namespaces and cgroups.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

testbed: ## Run the 14-node continuum on emulated machines and links (SCENARIO=file, FLAGS=…)
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	@scripts/clip out/media '$(VIDEO)'
	$(AS_ROOT) bin/weft testbed run $(SCENARIO) --out out/testbed $(FLAGS)

agreement: ## Emulate and simulate one scenario at light load and at overload, and compare (WITHIN=0.15)
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	@scripts/clip out/media '$(VIDEO)'
	$(AS_ROOT) scripts/agreement examples/testbed/small.yaml out/agreement

ARM_RUNS = $(if $(filter command line,$(origin RUNS)),$(RUNS),3)

experiment-adaptation: ## Run every distribution of qualities in the simulator, and what adaptation chooses, with each knob (RUNS=3 seeds, FLAGS=…)
	@$(MAKE) --no-print-directory build
	bin/weft testbed adaptation examples/testbed/adaptation.yaml --repeat $(ARM_RUNS) --out out/adaptation $(FLAGS)
	bin/weft testbed adaptation examples/testbed/adaptation-filter.yaml --repeat $(ARM_RUNS) --out out/adaptation/filter $(FLAGS)
	bin/weft testbed adaptation examples/testbed/adaptation-coco.yaml --repeat $(ARM_RUNS) --out out/adaptation/coco $(FLAGS)

experiment-adaptation-emulated: ## The same with four cameras on emulated machines and links, as root; ten minutes a seed
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	$(AS_ROOT) bin/weft testbed adaptation examples/testbed/adaptation-small.yaml --emulated --repeat $(ARM_RUNS) --out out/adaptation-emulated $(FLAGS)

experiment-houmani: ## Simulate the experiments of Houmani et al. at full size, beside what was published (RUNS=3 seeds, FLAGS=…)
	@$(MAKE) --no-print-directory build
	bin/weft testbed study examples/houmani.yaml --repeat $(ARM_RUNS) --out out/houmani $(if $(ONLY),--only $(ONLY)) $(FLAGS)
	bin/weft testbed study examples/houmani-coco.yaml --repeat $(ARM_RUNS) --out out/houmani/coco $(FLAGS)

experiment-houmani-testbed: ## The same, and on 14 emulated machines scaled down, as root; forty minutes
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	$(AS_ROOT) bin/weft testbed study examples/houmani.yaml --emulated --repeat $(ARM_RUNS) --out out/houmani $(FLAGS)

experiment-sweeps: ## Simulate placement and adaptation beside others over sources, links, accuracy and Θ (RUNS=3 seeds, FLAGS=…)
	@$(MAKE) --no-print-directory build
	bin/weft testbed sweeps examples/testbed/sweeps.yaml --optimum examples/testbed/optimum.yaml --repeat $(ARM_RUNS) --out out/sweeps $(FLAGS)

ROUNDS ?= 10
SEED   ?= 1
CHAOS  := examples/testbed/chaos.yaml

bin/weftd-chaos: FORCE
	@mkdir -p bin
	@scripts/chaos-weftd $@ -ldflags '$(LDFLAGS)'
FORCE:

chaos: ## Break a mesh in ROUNDS rounds of faults drawn from SEED, and check what must hold (FLAGS=…)
	@scripts/setup demo
	@$(MAKE) --no-print-directory build bin/weftd-chaos
	@scripts/clip out/media '$(VIDEO)'
	$(AS_ROOT) bin/weft testbed chaos $(CHAOS) --weftd bin/weftd-chaos --rounds $(ROUNDS) --seed $(SEED) --keep-going --out out/chaos $(FLAGS)

# FOR is the demo's 30 s unless somebody says otherwise.
SOAK = $(if $(filter command line environment,$(origin FOR)),$(FOR),2h)

soak: ## The same for hours (FOR=2h), with memory, goroutines and file descriptors of every weftd
	@scripts/setup demo
	@$(MAKE) --no-print-directory build bin/weftd-chaos
	@scripts/clip out/media '$(VIDEO)'
	$(AS_ROOT) bin/weft testbed chaos $(CHAOS) --weftd bin/weftd-chaos --for $(SOAK) --seed $(SEED) --keep-going --out out/soak $(FLAGS)

FUZZTIME ?= 60s
fuzz: setup ## Fuzz every decoder for FUZZTIME each
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' scripts/fuzz

train-street: setup ## Train the default detector on drawn scenes, to out/street (FLAGS=--resume)
	@scripts/setup train
	$(GO) build -o bin/street-dataset ./models/street/dataset
	/usr/bin/python3 models/street/train/train.py $(FLAGS)

LINTER := golangci-lint@v2.15.0
lint: setup ## Run golangci-lint
	@test -x .cache/$(LINTER) || { echo "==> building $(LINTER), once"; \
		GOBIN=$(CURDIR)/.cache go install github.com/golangci/golangci-lint/v2/cmd/$(LINTER) && mv .cache/golangci-lint .cache/$(LINTER); }
	GOFLAGS="$$($(GO) env GOFLAGS)" .cache/$(LINTER) run ./...

VULNCHECK := govulncheck@v1.9.0
vulncheck: setup ## Look for known vulnerabilities in what is used (asks vuln.go.dev)
	@test -x .cache/$(VULNCHECK) || { echo "==> building $(VULNCHECK), once"; \
		GOBIN=$(CURDIR)/.cache go install golang.org/x/vuln/cmd/$(VULNCHECK) && mv .cache/govulncheck .cache/$(VULNCHECK); }
	@GOFLAGS="$$($(GO) env GOFLAGS)" .cache/$(VULNCHECK) ./...; code=$$?; \
	case $$code in 0) ;; 3) echo "==> vulnerabilities were found, see above" >&2;; \
		*) echo "==> NOT CHECKED: the database (https://vuln.go.dev, or \$$GOVULNDB) was not reached, or govulncheck failed, see above" >&2;; esac; \
	exit $$code

tidy: ## Tidy both modfiles: go.opencv410.mod is go.mod with the gocv for OpenCV 4.10
	go mod tidy
	cp go.mod go.opencv410.mod
	cp go.sum go.opencv410.sum
	go mod edit -require gocv.io/x/gocv@v0.39.0 go.opencv410.mod
	go mod tidy -modfile go.opencv410.mod

clean: ## Remove what was built and recorded
	rm -rf bin out
