# Every command that a person or CI runs. `make` alone lists them.
SHELL := /bin/bash
export CARGO_TERM_COLOR ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup demo try test check unit chart e2e bench cluster cluster-down binaries images crds fmt clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing on this machine, or say what is
	@hack/setup.sh

demo: setup ## the whole story on a real cluster, step by step
	@hack/demo.sh

try: setup ## the same story without a cluster
	@hack/try.sh

test: setup ## everything: format, lints, unit, real PostgreSQL, chart, end to end
	@hack/test.sh

check: ## format, lints, who-imports-whom, scripts
	@hack/check.sh

unit: ## unit and protocol tests, with a real PostgreSQL
	cargo test --workspace --exclude chaperone-e2e

chart: ## lint the charts and compare what they render
	@charts/test.sh

e2e: images ## end-to-end tests; E2E_CLUSTER=local (default), kind or existing
	@hack/e2e.sh

bench: setup ## figures as ratios, side by side in one run
	@bench/run.sh

cluster: setup ## a real Kubernetes on this machine
	@e2e/cluster/tools.sh && e2e/cluster/images.sh test && e2e/cluster/cluster up

cluster-down: ## end it and forget its state
	@e2e/cluster/cluster down --wipe

binaries: ## static binaries in release form
	@hack/binaries.sh

images: binaries ## container images of operator and sidecar, without registry or Docker
	@hack/images.sh

crds: ## write crds/ and the chart's copy from the types
	@UPDATE=1 cargo test -q -p chaperone-api --test crds

fmt: ## format the code
	cargo fmt --all

clean: ## end what runs here and remove what was built
	-@e2e/cluster/cluster down --wipe
	cargo clean
