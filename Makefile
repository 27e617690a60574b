# The two commands that matter: `make up` and `make test`.

GO        ?= go
BIN       := bin
LINT      := $(BIN)/golangci-lint
LINT_VERSION := v2.15.0
TEST_FLAGS ?= -race -timeout 25m
PACKAGES   ?= ./...

.PHONY: help up test test-aws peers bench bench-forge bench-edge bench-aws images lint build deps clean generate

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: deps build ## Run the whole platform on this machine; Ctrl-C stops it
	@$(BIN)/gitopsd up $(ARGS)

test: build ## Run every test
	@scripts/deps test
	@scripts/openapi
	$(GO) test $(TEST_FLAGS) $(PACKAGES)

test-aws: build peers ## Check what runs on AWS with programs that are not ours
	GITOPSD_TEST_AWS=1 $(GO) test $(TEST_FLAGS) ./internal/platform/aws/... ./internal/pipeline/asl ./internal/pipeline/sfnrun ./internal/iamtest ./infra/... ./cmd/gitopsd
	GITOPSD_TEST_AWS=1 $(GO) test $(TEST_FLAGS) ./internal/e2e -run OnAWS

peers: ## Fetch the programs that are not ours, and say what each checks and what it cannot
	@scripts/deps test
	@scripts/peers

bench: deps build ## Measure the main path beside its references
	@scripts/bench

bench-edge: ## Measure the edge beside nginx and Caddy
	@scripts/bench-edge

.PHONY: bench-reload
bench-reload: deps build ## Measure the agent beside other reloaders, and 1,000 idle tenants
	@scripts/bench-reload

bench-forge: deps build ## Measure what happens on GitHub: its stand-in, 1,000 tenants
	@scripts/bench-forge

images: ## Build a cell's images, and push them where REGISTRY says
	@scripts/images

bench-aws: build ## Measure a thousand tenants on a played AWS that has its rates and latencies
	@scripts/deps test
	@scripts/moto
	@scripts/bench-aws

lint: $(LINT) ## Check style, imports and types (also for macOS)
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(LINT) run

generate: ## Make the generated files anew
	$(GO) generate ./...

build: ## Build gitopsd and the agent into bin/
	@echo "building bin/gitopsd (the first time takes a few minutes)"
	@mkdir -p $(BIN)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags="-s -w" -o $(BIN)/ ./cmd/gitopsd ./cmd/gitopsd-agent

deps: ## Install what is missing: PostgreSQL, Redis, git
	@scripts/deps

clean: ## Remove what was built; the platform's data in .gitopsd stays
	rm -rf $(BIN)

$(LINT):
	@mkdir -p $(BIN)
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
