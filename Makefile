# The only commands to remember. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev

help:  ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch goes first and pinned, so that nothing else pulls in another build of it; kernels compile once
$(READY): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/python -m behavio.cli.warm --all
	@touch $@

$(DEV): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)  ## simulate a year of HCPs and run the whole job on it
	$(BIN)/behavio demo

test: $(DEV)  ## lint, types and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(DEV)  ## style and types only, mending what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

docs: $(DEV)  ## write the reference of the command line and check every example
	$(BIN)/python -m docs.reference
	$(BIN)/python -m pytest -q tests/test_docs.py

bench: $(DEV)  ## measure against the peers on the logs in DATA; results go to experiments/results
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@for script in experiments/bench/*.py; do $(BIN)/python $$script $(DATA) || exit 1; done

.PHONY: help demo test lint docs bench
.DEFAULT_GOAL := help
