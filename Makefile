# Two commands matter: `make demo` and `make test`. Both install what is missing first.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
SOURCE ?= polygon
INSTALLED := .venv/.installed
PACKAGES := --require-hashes -r constraints.txt
CHECKOUT := --no-deps --no-build-isolation -e . -e ./sandbox
# the checker of types, in a folder of its own: it and dbt ask for different versions of one package
TYPES := --require-hashes --target .venv/types -r constraints-types.txt

# images of containers forbid Python to keep what it has compiled: then each of many processes compiles it anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install lock audit demo test test-whole check coverage lint hooks collect ingest fill-gaps build train paper-trade reconcile docs down clean

help: ## say what there is to make
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 48

install: $(INSTALLED) ## make .venv with exactly the versions in constraints.txt

# uv installs in a sixth of pip's time; where it cannot reach a registry that pip can, pip does the work.
# The sandbox is equipment beside the product, a distribution of its own.
$(INSTALLED): pyproject.toml sandbox/pyproject.toml constraints.txt constraints-types.txt
	@set -e; started=$$SECONDS; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "truebar needs Python 3.11 or newer")'; \
	echo "▸ installing $$(grep -c '^[a-z]' constraints.txt) packages into .venv: 2 GB, from half a minute to some minutes"; \
	test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
	sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt; \
	if $(BIN)/python -m pip install -q --require-hashes -r .venv/uv.txt 2>/dev/null && $(BIN)/uv pip install -q -p $(BIN)/python $(PACKAGES); \
	then $(BIN)/uv pip install -q -p $(BIN)/python $(CHECKOUT) && $(BIN)/uv pip install -q -p $(BIN)/python $(TYPES); \
	else $(BIN)/python -m pip install -q $(PACKAGES) && $(BIN)/python -m pip install -q $(CHECKOUT) \
	&& $(BIN)/python -m pip install -q --upgrade $(TYPES); fi; \
	touch $@; echo "  done in $$((SECONDS - started)) s"

LOCK := pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --upgrade

lock: $(INSTALLED) ## write both files of versions anew: the newest that pyproject.toml allows, with hashes
	@$(BIN)/uv $(LOCK) pyproject.toml sandbox/pyproject.toml --all-extras -o constraints.txt
	@$(BIN)/uv $(LOCK) --group types -o constraints-types.txt

audit: $(INSTALLED) ## ask the public lists whether a package of constraints.txt has a known weakness (needs a network)
	@$(BIN)/uv tool run pip-audit@2.10.1 --strict --disable-pip --require-hashes -r constraints.txt -r constraints-types.txt

demo: $(INSTALLED) ## the whole system on this machine, offline: data, features, gate, paper trading
	@$(BIN)/python -m flows.demo

test: $(INSTALLED) ## lint, import boundaries, types, and every test but the longest
	@$(BIN)/python -m tests

test-whole: $(INSTALLED) ## the longest tests: the demo, interrupted and run again, whole histories built twice, and some on PostgreSQL 15
	@$(BIN)/python -m tests whole

check: $(INSTALLED) ## lint, import boundaries, types, and quick tests without a database
	@$(BIN)/python -m tests check

coverage: $(INSTALLED) ## every test, and which lines none of them ran
	@$(BIN)/python -m tests coverage

lint: $(INSTALLED) ## style and import boundaries alone
	@$(BIN)/python -m tests lint

hooks: ## let git run `make lint` before each commit, and refuse subjects over 72 characters
	@git config core.hooksPath .githooks

ingest fill-gaps build train paper-trade reconcile: $(INSTALLED) ## run that flow once, with the vendors and database of .env
	@$(BIN)/python -m flows $@

collect: $(INSTALLED) ## land a vendor's live bars until Ctrl-C: make collect SOURCE=binance
	@$(BIN)/python -m loaders collect --source $(SOURCE)

docs: $(INSTALLED) ## the site of docs/, in .truebar/docs: every link is checked
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict && echo "$(CURDIR)/.truebar/docs/index.html"

down: $(INSTALLED) ## stop the embedded PostgreSQL
	@$(BIN)/python -m warehouse down

clean: ## stop the embedded PostgreSQL and delete .truebar with all data in it
	@if test -x $(BIN)/python; then $(BIN)/python -m warehouse down; fi; rm -rf .truebar
