# Everything a developer does, one word each. `make` alone lists the words.

SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
LOCKS := requirements/build.txt requirements/runtime.txt
DEV_LOCKS := requirements/build.txt requirements/dev.txt

# A stamp carries the checksum of what it stands for: another lock, another stamp.
key = $(shell cat $(1) pyproject.toml | cksum | cut -d' ' -f1)
RUNTIME := $(VENV)/.runtime-$(call key,$(LOCKS))
DEV := $(VENV)/.dev-$(call key,$(DEV_LOCKS))

PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet
WORKERS ?= auto
MODELS ?= .cache/models
TESTS ?= tests
ON_SERVERS := tests/contract tests/journeys tests/security tests/stages

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test lint format types imports check bench lock clean

help: ## List these words
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV) ## Make .venv with everything that development needs

demo: $(RUNTIME) ## Start a server, load texts, photos, videos and pages, search them
	@LAMINA_MODELS_DIR=$(MODELS) $(BIN)/lamina demo

serve: $(RUNTIME) ## Start a server on http://127.0.0.1:8000
	@$(BIN)/lamina serve

test: $(DEV) ## Run all tests (TESTS=tests/unit for some)
	@$(BIN)/python -m tests.media
	@$(BIN)/python -m tests.s3
	@$(BIN)/python -m pytest $(TESTS) -n $(WORKERS) --maxprocesses 8
ifeq ($(TESTS),tests)
	@echo "Once more, on PostgreSQL, a Qdrant server and S3: what depends on the stores"
	@$(BIN)/python -m pytest $(ON_SERVERS) -n $(WORKERS) --maxprocesses 8 --engines=servers
endif

lint: $(DEV) ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV) ## Mend style and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV) ## Check the types
	@$(BIN)/mypy

imports: $(DEV) ## Check which package imports which
	@$(BIN)/lint-imports

check: lint types imports ## lint, types and imports

bench: $(DEV) ## Measure; results go to bench/results (FIGURES=search for one)
	@$(BIN)/python -m bench $(FIGURES)

lock: $(DEV) ## Write the locks anew from pyproject.toml (UPGRADE=1 takes newer versions)
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## Remove the environment and everything that tools left
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME):
	@tools/venv.sh $(VENV)
	@echo "Installing what Lamina needs (once; a minute or two)"
	@$(PIP_INSTALL) --require-hashes $(LOCKS:%=-r %)
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.runtime-* && touch $@

$(DEV):
	@tools/venv.sh $(VENV)
	@echo "Installing what development needs (once; a minute or two)"
	@$(PIP_INSTALL) --require-hashes $(DEV_LOCKS:%=-r %)
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.dev-* $(VENV)/.runtime-* && touch $@ $(RUNTIME)
