# The two commands: `make demo` and `make test`. Each sets itself up in .venv; nothing else is needed but Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
.DEFAULT_GOAL := help
.PHONY: help demo test lint fuzz bench links seeds commands clean

help: ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /'

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Hansa needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo: .venv/made pyproject.toml constraints.txt
	@echo "installing Hansa and PyTorch into .venv; the first time this takes a minute or more ..."
	$(PIP) --editable '.[demo]'
	@touch $@

.venv/dev: .venv/made pyproject.toml constraints.txt
	@echo "installing Hansa, PyTorch and the tools into .venv; the first time this takes a minute or more ..."
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/demo

demo: .venv/demo ## Alice, Bob and Charlie each hold a few digits and learn all ten
	$(BIN)/hansa demo $(ARGS)

lint: .venv/dev ## format, style, types and the layers of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

test: lint ## everything that must hold before a change lands
	$(BIN)/pytest -n auto --dist worksteal

thorough: .venv/dev ## the long tests that `make test` leaves out (tens of minutes)
	HANSA_SCHEDULES=20000 $(BIN)/pytest -n auto --dist worksteal -m thorough
	HANSA_SCHEDULES=20000 $(BIN)/pytest -n auto --dist worksteal tests/protocol/test_simulation.py

fuzz: .venv/dev ## the property tests again and again, with other examples each time (minutes)
	for run in 1 2 3 4 5 6 7 8 9 10; do $(BIN)/pytest -q -n auto tests/properties || exit 1; done

bench: .venv/dev ## ratios against hand-written floors, taken in one run
	$(BIN)/python -m benchmarks $(ARGS)

links: .venv/dev ## a federation over bad links (Linux, root; minutes)
	$(BIN)/python -m benchmarks.links $(ARGS)

seeds: .venv/dev ## the accuracy bars: every seed of the demo on digits and MNIST (minutes)
	$(BIN)/python -m benchmarks.seeds $(ARGS)

commands: .venv/dev ## write docs/commands.md anew, after a change of the command line
	HANSA_WRITE=1 $(BIN)/pytest -q tests/docs/test_commands.py

clean: ## remove what the targets above made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
