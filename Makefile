# `make` lists the targets. Environments are made by uv where it is installed, else by venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MIN := .venv-min
MIN_PINS := build/torch-min.txt

# $(call environment,FOLDER,PINS,WHAT) makes a virtual environment with WHAT in it, in the versions that PINS allows.
define environment
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
  { echo "wrnexp needs Python 3.11 to 3.13, this is $$($(PYTHON) --version): make PYTHON=python3.12" >&2; exit 2; }
@if command -v uv >/dev/null 2>&1; then \
  echo "setting up $(1) with uv" && uv venv -q --clear --python "$$(command -v $(PYTHON))" $(1) && \
  uv pip install -q --python $(1)/bin/python -c $(2) $(3); \
else \
  echo "setting up $(1) with pip; torch is large, this takes minutes" && $(PYTHON) -m venv --clear $(1) && \
  export PIP_DISABLE_PIP_VERSION_CHECK=1 && $(1)/bin/python -m pip install -q -U 'pip>=25.1' && \
  $(1)/bin/python -m pip install -q -c $(2) $(3); \
fi
@touch $(1)/.ready
endef

.PHONY: help setup demo browse test torch-min check golden clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## make .venv with everything in it

$(READY): pyproject.toml constraints.txt
	$(call environment,$(VENV),constraints.txt,--group dev -e '.[test]')

demo: $(READY) ## train base against light, 2 seeds each, on data drawn here, and report (under 4 minutes on 2 cores)
	$(BIN)/python run.py --multirun experiment=demo_base,demo_light seed=0,1 name=demo
	$(BIN)/python -m wrnexp compare demo_base demo_light --dir multirun/demo --out multirun/demo/report

DIR ?= outputs
browse: $(READY) ## show the runs in DIR (outputs, or for instance DIR=multirun/demo) on this terminal, by W&B's own viewer
	@test -d "$(DIR)/wandb" || { echo "no W&B files in $(DIR)/wandb: give DIR=FOLDER, one that holds runs" >&2; exit 2; }
	$(BIN)/wandb leet "$(DIR)/wandb"

test: $(READY) ## run the test suite, a process a core
	$(BIN)/python -m pytest -n auto --dist worksteal

torch-min: $(MIN)/.ready ## trace and compile what runs on a GPU, with the lowest torch that pyproject.toml allows
	$(MIN)/bin/python -m pytest -m '' tests/augment/test_traces.py tests/engine/test_traces.py

$(MIN)/.ready: $(MIN_PINS)
	$(call environment,$(MIN),$(MIN_PINS),--group torch-min)

# The pins of constraints.txt, but torch and torchvision at pyproject.toml's minimum, and setuptools as that torch wants it.
$(MIN_PINS): pyproject.toml constraints.txt
	@mkdir -p $(@D)
	@{ sed -nE 's/^ *"(torch|torchvision)>=([0-9.]+)",$$/\1==\2/p' pyproject.toml; \
	  grep -vE '^(torch|torchvision|setuptools)==' constraints.txt; } >$@

check: $(READY) ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

golden: $(READY) ## write tests/golden anew: composed configs, W&B dashboards; read the difference before committing it
	$(BIN)/python tests/golden/compose.py
	$(BIN)/python tests/golden/dashboards.py

clean: ## remove .venv, .venv-min and caches, keep outputs
	rm -rf $(VENV) $(MIN) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
