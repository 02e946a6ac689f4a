# Two commands on a fresh machine: make demo, make test. Each can be run again; nothing is installed twice.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV ?= .venv
TORCH_INDEX ?=
WORKERS ?= 3
DEMO ?= demo
VARIANT ?= cpu

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
REQUIREMENTS := setup.cfg pyproject.toml constraints.txt
# One thread a worker, and one worker more than two cores, as some wait for programs that they start; a file stays with
# one worker, which then makes its data once. In the order of tests/conftest.py, the longest files first.
PYTEST := PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 NIPYPE_NO_ET=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DELETE_ON_ERROR:
.PHONY: help demo install test test-slow check docs results container format clean FORCE

help:
	@echo 'make demo       install into $(VENV), write a demo dataset, run the app on it, print where the report is'
	@echo 'make test       install what the tests need and run them (the long ones left out)'
	@echo 'make test-slow  run all tests, the long ones too'
	@echo 'make check      ruff, mypy, import contracts, doctests'
	@echo 'make docs       the documentation site in docs/_build, without a network; a warning or a dead link is an error'
	@echo 'make results    the tables of README.md and docs, from benchmarks/results'
	@echo 'make container  build the image (VARIANT=cpu or cuda) and put it to its smoke test: containers/README.md'
	@echo 'make format     let ruff rewrite the code'
	@echo 'make clean      remove what the commands above made'
	@echo
	@echo 'PYTHON=...      the Python to use, 3.11 to 3.13 (now: $(PYTHON))'
	@echo 'TORCH_INDEX=... package index for torch alone; https://download.pytorch.org/whl/cpu has the small CPU build'
	@echo 'WORKERS=...     processes the tests run in (now: $(WORKERS))'

# --- installation ------------------------------------------------------------------------------------------------

# Holds the index torch came from; touched only when another one is asked for, and then the environment is made anew.
$(VENV)/torch-index: FORCE
	@if test ! -e $@ || { test -n '$(TORCH_INDEX)' && ! echo '$(TORCH_INDEX)' | cmp -s - $@; }; \
	  then mkdir -p $(VENV) && echo '$(TORCH_INDEX)' > $@; fi

$(VENV)/.created: $(VENV)/torch-index
	@command -v '$(PYTHON)' > /dev/null || { \
	  echo "Expected Python 3.11 to 3.13, found no '$(PYTHON)'; install it (Debian: apt install python3 python3-venv) or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Expected Python 3.11 to 3.13, found $$('$(PYTHON)' --version 2>&1 | head -n 1) as '$(PYTHON)'; name another: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@'$(PYTHON)' -c 'import venv, ensurepip' 2> /dev/null || { \
	  echo "Expected the venv module of '$(PYTHON)', found none; install it (Debian: apt install python3-venv)" >&2; exit 2; }
	@echo '== virtual environment in $(VENV), with $(PYTHON)'
	@test ! -e $(VENV)/pyvenv.cfg -o -e $(VENV)/.by-make || { \
	  echo "Expected to make a virtual environment in $(VENV), found one that make did not make; move it, or name another place: make VENV=.venv-make" >&2; exit 2; }
	@rm -rf $(VENV)
	@mkdir -p $(VENV) && touch $(VENV)/.by-make
	@'$(PYTHON)' -m venv $(VENV)
	@echo '$(TORCH_INDEX)' > $(VENV)/torch-index
	@touch $@

$(VENV)/.torch: $(VENV)/.created constraints.txt
	@echo '== $(TORCH): a download of 0.2 GB for the CPU build; 0.5 GB for the CUDA build and gigabytes more for the CUDA libraries.'
	@$(if $(TORCH_INDEX),echo '   from $(TORCH_INDEX)',echo '   pip takes the CUDA build unless it finds another; for the small one: make TORCH_INDEX=https://download.pytorch.org/whl/cpu')
	@$(PIP) install $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) -c constraints.txt $(TORCH)
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(REQUIREMENTS)
	@echo '== bids_lfenhance and what it needs: a download of about 0.2 GB'
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.tests-installed: $(VENV)/.installed
	@echo '== what the tests need'
	@$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.docs-installed: $(VENV)/.installed
	@echo '== what the documentation needs'
	@$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@

install: $(VENV)/.installed

# --- what they are for -------------------------------------------------------------------------------------------

$(DEMO)/.written: $(VENV)/.installed $(wildcard bids_lfenhance/simulators/*.py)
	@echo '== demo dataset in $(DEMO)/bids'
	@rm -rf $(DEMO)/derivatives
	@$(BIN)/python -m bids_lfenhance.simulators.demo $(DEMO)/bids
	@touch $@

demo: $(DEMO)/.written
	@echo '== bids_lfenhance $(DEMO)/bids $(DEMO)/derivatives participant'
	@$(BIN)/bids_lfenhance $(DEMO)/bids $(DEMO)/derivatives participant
	@echo '== reports, to be opened in a browser:'
	@ls -1 $(CURDIR)/$(DEMO)/derivatives/*.html

test: $(VENV)/.tests-installed
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.tests-installed
	$(PYTEST)

check: $(VENV)/.tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) --doctest-modules bids_lfenhance -q

docs: $(VENV)/.docs-installed
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs docs/_build
	@echo 'file://$(CURDIR)/docs/_build/index.html'

results: $(VENV)/.installed
	$(BIN)/python benchmarks/results.py

container:
	containers/build.sh $(VARIANT)

format: $(VENV)/.tests-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	@test ! -e $(VENV) -o -e $(VENV)/.by-make || { echo "$(VENV) was not made by make and stays" >&2; exit 2; }
	rm -rf $(VENV) $(DEMO)/bids $(DEMO)/derivatives $(DEMO)/.written
	rm -rf build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
