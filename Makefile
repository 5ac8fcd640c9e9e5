# `make` lists the targets. The README's two commands are `make demo` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/seed-f47efad2/cordon/internal/cli.version=$(VERSION) -X github.com/seed-f47efad2/cordon/internal/cli.commit=$(COMMIT)
export CGO_ENABLED ?= 0

FUZZTIME ?= 10m
KILLS ?= 200
KILL_SEED ?= 1
CHAOS_HISTORIES ?= 200
WALKS ?= 1000000

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: build
build: ## build bin/cordon (needs Go alone)
	@echo "building bin/cordon; the first build compiles the libraries and takes a minute or two"
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/cordon ./cmd/cordon

.PHONY: demo
demo: build ## a simulated tenant and Cordon in one process; prints the console's address
	./bin/cordon demo $(DEMO_FLAGS)

.PHONY: test
test: ## every suite in its short form; SKIP=name,… leaves one out and says so
	@scripts/test.sh

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l cmd internal lab playbooks test 2>/dev/null); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: generate
generate: ## write docs/actions.md, docs/permissions.md and the playbook schema from the code
	$(GO) generate ./...

.PHONY: kill
kill: ## KILLS=200 random kill -9 on SQLite and on PostgreSQL
	@scripts/setup.sh postgres
	CGO_ENABLED=0 $(GO) test ./test/kill -run TestKill -count=1 -v -timeout 60m -kills $(KILLS) -seed $(KILL_SEED)

.PHONY: walks
walks: ## WALKS=1000000 random walks over the state machines, fewer of those with a store or two replicas
	$(GO) test ./internal/run -run 'RunWalks' -count=1 -timeout 60m -v -rapid.checks=$(WALKS)
	$(GO) test ./internal/approval ./internal/casefile ./internal/campaign -run 'ApprovalWalks|CaseWalks|WalkOfACampaign' -count=1 -timeout 60m -v -rapid.checks=$(WALKS)
	$(GO) test ./internal/run -run 'Histories' -count=1 -timeout 60m -v -rapid.checks=$$(( $(WALKS) / 100 ))
	$(GO) test ./internal/dispatch -run 'TestLaws|TestGateNeverLetsOut' -count=1 -timeout 60m -v -rapid.checks=$$(( $(WALKS) / 200 ))

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME=10m
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: build ## the benchmarks, as one JSON object a line
	$(GO) test -run '^$$' -bench . -benchmem ./internal/... | grep -E '^Benchmark|^pkg'
	./bin/cordon bench latency --rate 20 --seconds 30
	./bin/cordon bench ingest --signals 100000 --identities 100000

.PHONY: screenshots
screenshots: build ## take docs/images from the running demo (needs chromium)
	@scripts/screenshots.sh
