# Needs Python 3.11+ with pip, and make. Everything else is installed here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of torch; set TORCH= to take whatever your index serves.
TORCH ?= torch==2.13.0

.PHONY: help venv demo test test-slow lint types check bench clean

help:
	@echo "make demo       a real audit of two real models, a minute or two"
	@echo "make test       the whole test suite"
	@echo "make check      lint, types, tests, demo: what CI runs"
	@echo "make venv       .venv with every extra; the command is .venv/bin/crenel"

venv: $(BIN)/.ready

$(BIN)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/crenel doctor --compile
	@touch $@

demo: venv
	$(BIN)/crenel demo --out crenel-out

test: venv
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: venv
	$(BIN)/python -m pytest -m slow

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

check: lint types test demo

clean:
	rm -rf $(VENV) build dist crenel-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
