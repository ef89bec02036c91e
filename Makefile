# `make demo` and `make test` work from a clean clone: they need Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types floors check fuzz bench clean

## Run a whole calibration campaign on the mock chip.
demo: $(VENV)/.installed
	$(BIN)/hil run examples/quickstart.toml

## Pass every test. They wait for devices and processes a third of their time: one worker more than
## there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
test: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-for-checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-for-checks
	$(BIN)/mypy

floors: $(VENV)/.installed-for-checks
	$(BIN)/lint-imports --no-cache

## Damage thousands of stored files in more ways than `make test` does; minutes.
FUZZED_FILES ?= 5000
fuzz: $(VENV)/.installed-for-tests
	HIL_FUZZED_FILES=$(FUZZED_FILES) $(BIN)/python -m pytest \
	  tests/datasets/test_fuzzed_files.py tests/packed/test_fuzzed_packs.py

## Measure the kernels beside this machine's memory and other tools: ratios, all from one run.
bench: $(VENV)/.installed-for-benchmarks
	$(BIN)/python -m benchmarks

## Everything that CI checks.
check: lint types floors test

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed; set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-for-tests: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-for-checks: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-for-tests

$(VENV)/.installed-for-benchmarks: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
