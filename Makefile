# Two commands matter: `make demo` and `make test`. Both install what is missing first.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
SOURCE ?= polygon
INSTALLED := .venv/.installed
# the product, and the sandbox as equipment beside it
DISTRIBUTIONS := -e '.[dev]' -e ./sandbox

.PHONY: help install demo test check lint collect ingest fill-gaps build train paper-trade reconcile down clean

help: ## say what there is to make
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 48

install: $(INSTALLED) ## make .venv with exactly the versions in constraints.txt

# uv installs in a sixth of pip's time; where it cannot reach a registry that pip can, pip does the work
$(INSTALLED): pyproject.toml sandbox/pyproject.toml constraints.txt
	@echo "▸ installing into .venv"; started=$$SECONDS; set -e; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "truebar needs Python 3.11 or newer")'; \
	test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
	if $(BIN)/python -m pip install -q uv 2>/dev/null \
	    && $(BIN)/uv pip install -q -p $(BIN)/python -c constraints.txt $(DISTRIBUTIONS); \
	then :; else $(BIN)/python -m pip install -q -c constraints.txt $(DISTRIBUTIONS); fi; \
	touch $@; echo "  done in $$((SECONDS - started)) s"

demo: $(INSTALLED) ## the whole system on this machine, offline: data, features, gate, paper trading
	@$(BIN)/python -m flows.demo

test: $(INSTALLED) ## lint, import boundaries, types, and every test
	@$(BIN)/python -m tests

check: $(INSTALLED) ## lint, import boundaries, types, and quick tests without a database
	@$(BIN)/python -m tests check

lint: $(INSTALLED) ## style and import boundaries alone
	@$(BIN)/python -m tests lint

ingest fill-gaps build train paper-trade reconcile: $(INSTALLED) ## run that flow once, with the vendors and database of .env
	@$(BIN)/python -m flows $@

collect: $(INSTALLED) ## land a vendor's live bars until Ctrl-C: make collect SOURCE=binance
	@$(BIN)/python -m loaders collect --source $(SOURCE)

down: $(INSTALLED) ## stop the embedded PostgreSQL
	@$(BIN)/python -m warehouse down

clean: ## stop the embedded PostgreSQL and delete .truebar with all data in it
	@if test -x $(BIN)/python; then $(BIN)/python -m warehouse down; fi; rm -rf .truebar
