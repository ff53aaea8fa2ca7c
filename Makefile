# `make` lists the targets. The environment in .venv is made by uv where it is installed, else by venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -q

.PHONY: help setup demo browse test check golden clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: $(READY) ## make .venv with everything in it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "wrnexp needs Python 3.11 to 3.13, this is $$($(PYTHON) --version): make PYTHON=python3.12" >&2; exit 2; }
	@if command -v uv >/dev/null 2>&1; then \
	  echo "setting up $(VENV) with uv" && uv venv -q --clear --python "$$(command -v $(PYTHON))" $(VENV) && \
	  uv pip install -q --python $(BIN)/python -c constraints.txt --group dev -e '.[test]'; \
	else \
	  echo "setting up $(VENV) with pip; torch is large, this takes minutes" && $(PYTHON) -m venv --clear $(VENV) && \
	  $(PIP) -U 'pip>=25.1' && $(PIP) -c constraints.txt --group dev -e '.[test]'; \
	fi
	@touch $(READY)

demo: $(READY) ## train base against light, 2 seeds each, on data drawn here, and report (under 4 minutes on 2 cores)
	$(BIN)/python run.py --multirun experiment=demo_base,demo_light seed=0,1 name=demo
	$(BIN)/python -m wrnexp compare demo_base demo_light --dir multirun/demo --out multirun/demo/report

DIR ?= outputs
browse: $(READY) ## show the runs in DIR (outputs, or for instance DIR=multirun/demo) on this terminal, by W&B's own viewer
	@test -d "$(DIR)/wandb" || { echo "no W&B files in $(DIR)/wandb: give DIR=FOLDER, one that holds runs" >&2; exit 2; }
	$(BIN)/wandb leet "$(DIR)/wandb"

test: $(READY) ## run the test suite, a process a core
	$(BIN)/python -m pytest -n auto --dist worksteal

check: $(READY) ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

golden: $(READY) ## write tests/golden anew: composed configs, W&B dashboards; read the difference before committing it
	$(BIN)/python tests/golden/compose.py
	$(BIN)/python tests/golden/dashboards.py

clean: ## remove .venv and caches, keep outputs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
