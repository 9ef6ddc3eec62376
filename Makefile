# Two commands do everything: `make demo` and `make test`. Each makes its own environment on first use.
.DEFAULT_GOAL := help
.PHONY: help setup demo local unit test soak bench mutants check fmt audit lock clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EMULATOR := .emulator/venv
PIP     = -m pip install --quiet --disable-pip-version-check --no-deps

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | column -t -s "$$(printf '\t')" 2>/dev/null \
	  || grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# The stamps hold the lock that was installed: a changed lock installs again, an unchanged one costs nothing.
$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	@echo "installing what the demo needs into $(VENV) ..."
	@$(BIN)/python $(PIP) --require-hashes -r requirements/demo.txt
	@$(BIN)/python $(PIP) --no-build-isolation --editable .
	@touch $@

# What `check` needs: the same versions as in dev.txt, half the size.
$(VENV)/.lint: requirements/lint.txt | $(BIN)/python
	@echo "installing what checks need into $(VENV) ..."
	@$(BIN)/python $(PIP) --require-hashes -r requirements/lint.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	@echo "installing what tests and deployments need into $(VENV) (about 1.2 GB) ..."
	@$(BIN)/python $(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# From npm: the CDK command, and two sources of the functions' asset. The lock has hashes and no addresses.
$(VENV)/npm/.installed: requirements/package.json requirements/package-lock.json $(VENV)/.dev
	@echo "installing the CDK command into $(VENV)/npm ..."
	@mkdir -p $(VENV)/npm && cp requirements/package.json requirements/package-lock.json $(VENV)/npm/
	@cd $(VENV)/npm && ../bin/npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --silent \
	  || { echo "npm ci failed; see the log that it names: cd $(VENV)/npm && ../bin/npm ci --ignore-scripts"; exit 1; }
	@touch $@

# A separate environment with the same interpreter: the emulator pins botocore, and runs the functions.
$(EMULATOR)/.installed: requirements/emulator.txt requirements/runtime.txt | $(BIN)/python
	@echo "installing the AWS emulator into $(EMULATOR) ..."
	@$(BIN)/python -m venv $(EMULATOR)
	@$(EMULATOR)/bin/python $(PIP) --require-hashes -r requirements/emulator.txt -r requirements/runtime.txt
	@touch $@

setup: $(VENV)/.dev $(VENV)/npm/.installed $(EMULATOR)/.installed  ## everything that tests and deployments need

demo: $(VENV)/.demo  ## three weeks of an arcade, replayed through the three jobs
	@$(BIN)/arcade-jobs local demo

local: setup  ## the whole stack on this machine: PostgreSQL, an AWS emulator, the deployed functions
	@$(BIN)/arcade-jobs local up

fmt: $(VENV)/.lint  ## format, and fix what the linter can fix
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

check: $(VENV)/.lint  ## format, lint, types, imports
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff --quiet .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config pyproject.toml

unit: $(VENV)/.dev  ## the unit tests: seconds, nothing started
	@$(BIN)/python -m pytest --quiet tests/unit $(ARGS)

# Coverage is that of the tests that `TRACED` names (tests/conftest.py); with ARGS, nothing is measured.
test: setup check  ## check, then the whole test suite with its coverage
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadgroup $(or $(ARGS),--cov --cov-report=term)

soak: setup  ## the long races, which the default suite leaves out
	@$(BIN)/python -m pytest -m soak -s $(ARGS)

bench: setup  ## the benchmarks, against peers and floors; QUICK=1: small sizes. Writes docs/benchmarks.md
	@$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(ARGS)

mutants: setup  ## mutation tests: each guard taken out in turn, and a test must fail; writes build/mutants.md
	@$(BIN)/python -m tests.mutants.run $(ARGS)

# Each lock is complete and hashed: nothing is resolved, downloaded or installed. Needs to reach an advisory service.
audit: $(VENV)/.dev  ## the locks against published advisories
	@$(BIN)/pip-audit --require-hashes --no-deps --disable-pip --progress-spinner=off \
	  -r requirements/dev.txt -r requirements/emulator.txt -r requirements/runtime.txt

lock: $(VENV)/.dev  ## compile requirements/*.in into hashed locks, without index addresses
	@cd requirements && for part in "demo" "functions -c demo.txt" "dev -c demo.txt" "lint -c dev.txt" "emulator" "runtime --no-deps"; do set -- $$part; name=$$1; shift; \
	  ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    $$name.in "$$@" --output-file $$name.txt || exit 1; done

clean:  ## remove what was built and the local data; not the environment
	@[ ! -x $(BIN)/arcade-jobs ] || $(BIN)/arcade-jobs local down
	rm -rf .local build cdk.out .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
