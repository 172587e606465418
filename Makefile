# make run    set up, make the built-in sample if there is no data yet, run the whole pipeline
# make test   set up, run the tests
# make test-slow   set up, run the tests that take longer: the whole pipeline, killed and resumed
# make lint   set up, run the linters and the type checker
# make dist   wheel and sdist in dist/
# make docs   the documentation site in site/, without a network
# make lock   refresh requirements.lock from pyproject.toml
#
# TORCH=cpu with the first of them sets up without a GPU's packages; the environment keeps the choice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TORCH ?= $(shell cat $(INSTALLED) 2>/dev/null)
# The lock file less the packages whose names match. A GPU's are `triton`, `cuda-` and `nvidia-`, but for one that
# dvclive imports. The registry's torch for Linux does not load without those of them that it is linked to.
without = awk -v names='^($(1))==' '/^[a-z0-9]/ { skip = $$0 ~ names } !skip' requirements.lock
GPU_ONLY := triton|cuda-[a-z-]+|nvidia-(c|nc|nv)[a-z0-9-]+
NOT_LINKED := triton|cuda-[a-z-]+|nvidia-(cuda-cccl|cusolver|nvjitlink|nvtx)
UV_INSTALL = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python

# Nothing here phones home, and `udml` and `dvc` are found without activating the environment.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export ORT_DISABLE_TELEMETRY := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test test-slow lint format dist docs lock setup packages packages-cpu clean

run: setup
	@udml data ensure
	dvc repro

# In as many processes as there are cores, four at most.
IN_PARALLEL := --numprocesses auto --maxprocesses 4

# A file's tests stay together.
test: setup
	python -m pytest -m "not slow" $(IN_PARALLEL) --dist loadfile

# The slowest files alone would keep one process busy when the others are done.
test-slow: setup
	python -m pytest -m slow $(IN_PARALLEL) --dist worksteal

lint: setup
	ruff check .
	ruff format --check .
	mypy

format: setup
	ruff check --fix .
	ruff format .

# The wheel is built from the sdist, so that both are complete; setuptools is the environment's own.
dist: setup
	uv build --quiet --no-build-isolation --clear --out-dir dist

docs: setup
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict

# All that is installed is compiled once, here: where Python is told to write no bytecode, as in many containers,
# each process would compile what it imports, which takes longer than much of what it is started for.
setup: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("udml needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	$(MAKE) --no-print-directory $(if $(filter cpu,$(TORCH)),packages-cpu,packages)
	$(UV_INSTALL) --no-deps --editable .
	echo '$(TORCH)' > $@

packages:
	$(UV_INSTALL) --require-hashes -r requirements.lock

# PyTorch's builds for processors lie on its own index, which uv knows; where that cannot be reached, the
# registry's build does, with the libraries that it is linked to.
packages-cpu:
	$(call without,$(GPU_ONLY)|torch|torchvision) > $(VENV)/rest.lock
	$(UV_INSTALL) --require-hashes --no-deps -r $(VENV)/rest.lock
	$(call without,$(NOT_LINKED)) > $(VENV)/linked.lock
	$(UV_INSTALL) --no-deps --torch-backend cpu $$(grep -oE '^torch(vision)?==[^ ]+' requirements.lock) \
		|| { echo "PyTorch's index cannot be reached; going on with the registry's torch, which is larger"; \
		$(UV_INSTALL) --require-hashes --no-deps -r $(VENV)/linked.lock; }

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--all-extras pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .scratch .mypy_cache .pytest_cache .ruff_cache .hypothesis
