# Two commands do all the set-up: `make demo` runs the main job, `make test` everything that the project checks.
PYTHON  ?= python3
VENV    ?= .venv
LOWEST  ?= .venv-lowest
# Test processes. Two more than two cores: tests wait for servers and for other processes a third of their time.
WORKERS ?= 4
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# One thread each: threads that compete for cores make small tensors twenty times as slow.
PYTEST  := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# Tests start many processes; each would compile our modules anew where bytecode is not kept.
unexport PYTHONDONTWRITEBYTECODE
UNIT    := tests/unit tests/docs/test_doctests.py
FAST    := -m "not trains and not slow and not network"

.PHONY: demo fast check test docs format lowest lint types tests-fast tests-check tests-test
demo: $(VENV)/.demo
	$(BIN)/vpp demo $(ARGS)

# Types and tests at the same time: neither keeps two cores busy.
fast check test: $(VENV)/.dev
	$(MAKE) --no-print-directory -j 3 lint types tests-$@

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The lowest versions that we declare, and the newest of what those need.
lowest: $(LOWEST)/.test
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(WORKERS) $(FAST) tests/unit $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

tests-fast: $(VENV)/.compiled
	$(PYTEST) -n 2 $(FAST) $(UNIT) $(ARGS)

tests-check: $(VENV)/.compiled
	$(PYTEST) $(UNIT) $(ARGS)

tests-test: $(VENV)/.compiled
	$(PYTEST) $(ARGS)

# uv leaves bytecode to the first import. One process makes it, because all test processes would, at the same time.
$(VENV)/.compiled: $(VENV)/.dev
	$(BIN)/python -m pytest --collect-only >/dev/null || true  # the tests themselves say what is wrong
	touch $@

# uv takes a third of pip's time; pip does it where uv can't, such as with an index that only pip is told of.
$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	{ $(PIP) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[$*]'; } || $(PIP) -e '.[$*]'
	touch $@

$(LOWEST)/.test: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[test]'
	touch $@
