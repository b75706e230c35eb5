# Every target does its own set-up: nothing is assumed but Python (3.11 or newer) and make.
# Variables: PYTHON (which interpreter), VENV (where to install), OUT (where the demo writes), SIZE (of the benchmarks),
# XLA (flags of the compiler under which the default tests run).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= runs/demo
SIZE   ?= std
DATA   ?= $(wildcard ../shared/data)
# As variables, the constraints hold for the build backend too.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: demo test setup check docs bench reproduce clean

demo: $(VENV)/.core                ## train a network, look at how it warps its task, write $(OUT)/report.html
	$(BIN)/recurvature demo --out $(OUT) --force

# Most of the time of a test goes to compilation: both workers share what they compile, and the next run finds it.
COMPILED := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/$(VENV)/xla JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
  JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
# A program of a test runs a few times: compiling it well takes longer than running it badly. The arithmetic is the same;
# `make test XLA=` compiles as users' runs do, and so do `make demo`, `make docs` and the slow tests.
XLA    ?= --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
PYTEST := $(COMPILED) $(BIN)/python -m pytest -n 2 --dist loadfile --jaxtyping-packages=recurvature,beartype.beartype

test: $(VENV)/.dev                 ## the default test suite
	XLA_FLAGS="$(XLA)" $(PYTEST) tests

setup: $(VENV)/.dev               ## everything for development

check: $(VENV)/.dev                ## format, lint, types, import floors, repeated bodies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_bodies.py

docs: $(VENV)/.docs                ## build the documentation, running every example
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.dev                ## speed ratios against the usual tools; prints a table, writes runs/bench.json
	$(BIN)/python benchmarks/run.py --job all --size $(SIZE) --json runs/bench.json

reproduce: $(VENV)/.dev            ## the claims of the papers, into runs/reproduce, then the slow tests; DATA: folder of data
	$(BIN)/recurvature reproduce all --out runs/reproduce --force $(if $(DATA),--data $(DATA))
	$(PYTEST) -m slow tests

clean:
	rm -rf $(VENV) runs docs/_build

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Recurvature needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv with $(PYTHON); on Debian: apt install python3-venv"; exit 2; }

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) --editable '.[dev,torch]'
# NeuroGym asks for an older NumPy and Matplotlib than it needs: what it needs is named here, it comes without its wishes.
	$(PIP) gymnasium pydantic-settings loguru natsort tomlkit tqdm
	$(PIP) --no-deps neurogym
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(PIP) --editable '.[docs]'
	touch $@
