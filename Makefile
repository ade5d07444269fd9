# make run    sets up .venv from the lock, simulates a portfolio and runs every month of it
# make test   the tests, without those that take ten seconds and more
# make test-long   those: kills at any moment, full disks, services that wait for their clock, the real data
# make lint   ruff, mypy, the import contracts and sqlfluff
# make docs   the generated pages of docs/
# make lock   resolves pyproject.toml anew, in an empty environment

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GX_ANALYTICS_ENABLED := false

# What `make test-long` runs is marked slow.
MARKS := -m "not slow"
# A file's tests share what its fixtures made.
DIST := loadfile

.PHONY: run test test-long lint docs lock clean

run: $(VENV)/.runtime
	@$(BIN)/creditflow demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist $(DIST) --no-loadscope-reorder $(MARKS) $(PYTEST_ARGS)

test-long: MARKS := -m slow
# Most are of one file: each worker makes its fixtures.
test-long: DIST := load
test-long: test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql

docs: $(VENV)/.dev
	$(BIN)/python -m flows.docs

lock:
	.ci/lock "$(PYTHON)"

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "creditflow needs Python 3.11 or newer, found " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV); this takes a few minutes once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@
