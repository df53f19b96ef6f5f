# make quickstart   an environment, then a real fit, draw and score
# make test         the same environment, then lint, types, contracts and the quick form of the tests: before every commit
# make test-all     the same with every test: this decides
# make docs         the generated pages, and the site in build/docs
# make site         the same, and a check of the site in Chromium: links, accessibility, requests to other hosts
# make times        every test, and the times by which the quick form chooses
# make trust        what the tests of trust do in part, exhaustively: hours
# make bench        the benchmarks: ratios from one run, never a test
# make release      wheels, and new environments with them for each Python that is found: RELEASE='--pin NAME==VERSION'
# make help         these lines
PYTHON ?= python3
BIN := .venv/bin
# by halves of the list, so that tests of one class meet the fit that they share; who is done first takes of the other
PYTEST := $(BIN)/pytest -n 2 --dist worksteal
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))

.PHONY: quickstart lint test test-all docs site times trust bench release help clean

quickstart: .venv/ready
	$(BIN)/probgen run quickstart --out runs/quickstart --force

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pydoclint probgen $(wildcard plugins/*/probgen_*)

test: lint
	$(PYTEST) --quick

test-all: lint
	$(PYTEST)

docs: .venv/ready
	$(BIN)/python docs/generate.py
	rm -rf build/docs
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs

site: docs
	$(BIN)/python docs/check.py build/docs

times: .venv/ready
	$(PYTEST) --times

trust: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.trust

bench: .venv/ready
	$(BIN)/python -m tests.benchmarks

release: .venv/ready
	$(BIN)/python -m tests.release $(RELEASE)

.venv/ready: pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml docs/example-plugin/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "probgen needs Python 3.11 to 3.13: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]' $(addprefix --editable ./,$(PLUGINS) docs/example-plugin)
	touch .venv/ready

help:
	@sed -n 's/^# //p' Makefile

clean:
	rm -rf .venv runs build dist .mypy_cache .ruff_cache .pytest_cache
