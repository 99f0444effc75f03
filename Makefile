# make demo: from a clone to a verdict. make test: the tests. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT ?= demo-out
# Human-labelled checks for the demo: a split of NLVR, such as NLVR=path/to/nlvr/dev.
NLVR ?= $(wildcard ../shared/data/nlvr/dev)
PYTEST := $(BIN)/python -m pytest

# What the core's tests can run with alone: no torch, no extra.
CORE_TESTS := $(addprefix tests/croc/,checks cli jobs ratings rendering results scoring tables verdict) \
  tests/croc_syn/taxonomy tests/croc_syn/world tests/hub_cards

.PHONY: demo test test-slow test-upstream test-lowest lint types docs wheel check clean

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
	$(PYTEST) -q -n 2 -m "not slow and not upstream"

test-slow: .venv/dev
	$(PYTEST) -q -n 2 --dist loadfile -m "slow and not cluster and not spread"
	$(PYTEST) -q -n 2 --maxschedchunk 1 -m "slow and spread and not cluster"
	$(PYTEST) -q -m "slow and cluster"

# The metrics' own packages on random weights, in an environment of their own, and the tests that compare.
test-upstream: .venv/dev
	$(BIN)/python tests/upstream/make_environment.py build/upstream
	$(PYTEST) -q -m upstream tests/upstream

# The oldest versions that pyproject.toml admits of what the core needs.
build/lowest/ready: pyproject.toml
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct \
	  -e . "pytest>=8.3" "hypothesis>=6.120"
	@touch $@

test-lowest: build/lowest/ready
	build/lowest/bin/python -m pytest -q -m "not slow and not cluster and not world_tables" $(CORE_TESTS)
	build/lowest/bin/croc demo --out build/lowest/demo --checks 60 --images 2

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy

docs: .venv/dev
	$(BIN)/python -m sphinx -W --keep-going docs build/docs
	@echo "build/docs/index.html"

# dist/: the wheel and the source, and the wheel tried where nothing else is installed.
wheel: pyproject.toml
	rm -rf dist
	$(PYTHON) -m venv --clear build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build twine
	build/wheel/bin/python -m build --outdir dist .
	build/wheel/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv --clear build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build/wheel && bin/croc demo --out demo --checks 60 --images 2

check: lint types test

clean:
	rm -rf .venv demo-out build dist *.egg-info
