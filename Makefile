# `make help` lists what one can do. Everything is installed into .venv, at the locked versions in requirements/.
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
demo up bench bench-service: export DEEPVIS_HOME ?= $(CURDIR)/data

# A stamp stands for an environment that is complete; it is made anew when what it depends on changes.
RUN := $(VENV)/.complete
DEV := $(VENV)/.complete-dev
LOCKS := $(wildcard requirements/*.txt)

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-faults fuzz parts lint format docs lock audit bench bench-service bench-live clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(RUN) ## Make the environment in .venv with the pinned dependencies.

demo: $(RUN) ## Make the demo network's atlas and show its gallery (ARGS=--once: end when it is done).
	@exec $(BIN)/deepvis demo $(ARGS)

up: $(RUN) ## Run everything on this machine until Ctrl-C.
	@exec $(BIN)/deepvis up $(ARGS)

test: $(DEV) parts ## Run the whole test suite; missing programs are installed where possible.
	$(BIN)/pytest -q --durations=15 $(ARGS)

test-faults: $(DEV) parts ## Kill processes and take services away while atlases are made.
	$(BIN)/pytest -q --durations=15 tests/faults $(ARGS)

parts:
	@sh scripts/test_parts.sh

fuzz: $(DEV) ## Fuzz the service and its leases with ever new data, five minutes each (FUZZ_SECONDS=60, FUZZ_SEED=7).
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),300) $(BIN)/pytest -q tests/fuzz $(ARGS)

lint: $(DEV) ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## Format the code and mend what can be mended by itself.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV) ## Write docs/cli.md and docs/settings.md anew.
	$(BIN)/python -m scripts.write_docs

lock: $(DEV) ## Write requirements/ anew (ARGS='--upgrade-package flask' moves a version).
	$(BIN)/python -m scripts.lock $(ARGS)

audit: $(DEV) ## Ask for known vulnerabilities of the locked versions.
	$(BIN)/python -m scripts.audit $(ARGS)

bench: $(RUN) ## Measure this machine (ARGS are passed on).
	$(BIN)/python -m bench $(ARGS)

bench-service: $(DEV) parts ## Measure the service with hundreds of workers that only sleep.
	$(BIN)/python -m bench fleet $(ARGS)

bench-live: $(DEV) parts ## Measure live activations through a real browser with a made-up camera.
	$(BIN)/python -m bench live

clean: ## Remove the environment and every cache; your atlases in data/ stay.
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): pyproject.toml scripts/install.sh $(LOCKS)
	@sh scripts/make_env.sh $(VENV)
	@touch $@

$(DEV): $(RUN)
	@sh scripts/make_env.sh $(VENV) dev
	@touch $@
