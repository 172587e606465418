# make run    set up, make the built-in sample if there is no data yet, run the whole pipeline
# make test   set up, run the tests
# make test-slow   set up, run the tests that take longer: the whole pipeline, killed and resumed
# make lint   set up, run the linters and the type checker
# make lock   refresh requirements.lock from pyproject.toml

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Nothing here phones home, and `udml` and `dvc` are found without activating the environment.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export ORT_DISABLE_TELEMETRY := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test test-slow lint format lock setup clean

run: setup
	@udml data ensure
	dvc repro

test: setup
	python -m pytest -m "not slow"

test-slow: setup
	python -m pytest -m slow

lint: setup
	ruff check .
	ruff format --check .
	mypy

format: setup
	ruff check --fix .
	ruff format .

setup: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("udml needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra pipeline --extra serve --extra s3 --extra dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .scratch .mypy_cache .pytest_cache .ruff_cache .hypothesis
