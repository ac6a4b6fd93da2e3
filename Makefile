# Everything a fresh machine needs: Python 3.11-3.13 with pip and venv, make, a C compiler.
#   make demo        set up, then train, score and report: demo/report.html
#   make test        set up, then the test suite
#   make lint        ruff, mypy, import directions        make truth   long recoveries of planted truth
#   make demo-smoke  the demo in under a minute           make bench   the figures of docs/performance.md
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# The first of these that runs and is new enough; set PYTHON=... to choose another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)

BIN := .venv/bin
READY := .venv/.ready

# Real data packs and golden vectors that lie beside the checkout; absolute, because tests change folders.
SHARED := $(wildcard $(abspath ../shared))
ifneq ($(SHARED),)
export CISOFORM_PACKS ?= $(SHARED)/data
export CISOFORM_GOLDEN ?= $(SHARED)/golden
endif

.PHONY: help setup demo demo-smoke test lint truth bench clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: error: no Python 3.11, 3.12 or 3.13 found; install one or set PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "make: installing cisoform with all extras into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[multiome,dev]'
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true  # pip would compile with one core; not all files can be
	@touch $(READY)

demo: setup
	$(BIN)/cisoform demo --out demo

demo-smoke: setup
	$(BIN)/cisoform demo --smoke --out build/demo-smoke

# Two workers with one thread each: more threads per worker only fight for the cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not truth"

truth: setup
	$(BIN)/python -m pytest -n 0 -m truth --timeout 3600

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 0 tests/test_imports.py

bench: setup
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf .venv build demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
