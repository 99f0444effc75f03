# make demo: from a clone to a verdict. make test: the tests. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT ?= demo-out
# Human-labelled checks for the demo: a split of NLVR, such as NLVR=path/to/nlvr/dev.
NLVR ?= $(wildcard ../shared/data/nlvr/dev)
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test test-slow lint types docs check clean

.venv/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv …"
	$(PIP) -e .
	@touch $@

.venv/dev: .venv/core
	@echo "installing what the tests need into .venv …"
	$(PIP) -e ".[dev]"
	@touch $@

demo: .venv/core
	$(BIN)/croc demo --out $(OUT) $(if $(NLVR),--nlvr $(NLVR))

test: .venv/dev
	$(PYTEST) -q -n 2 -m "not slow"

test-slow: .venv/dev
	$(PYTEST) -q -m slow

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy

docs: .venv/dev
	$(BIN)/python -m sphinx -W --keep-going docs build/docs
	@echo "build/docs/index.html"

check: lint types test

clean:
	rm -rf .venv demo-out build dist *.egg-info
