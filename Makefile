# Everything needs only Python >= 3.11 and make: `make run` shows the city, `make test` checks it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := daarion_appservice alembic benchmarks examples tests synapse_module web_build.py
PAGES := daarion_appservice/web_dist/index.html
PAGES_NEED := web/node_modules/.installed
PAGES_SOURCES := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f ! -name '*.test.*' -print)
# How many tests run at the same time; most of them wait for real servers, so more than there are processors do no harm.
JOBS ?= 4

.PHONY: help run test lint typecheck unit web web-test browser soak bench bench-presence bench-rooms format wheel clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

run: $(STAMP) $(PAGES) ## the whole city on this machine, with a homeserver of its own
	@$(BIN)/daarion-appservice demo

test: lint typecheck web-test unit ## everything that is checked

lint: $(STAMP) ## style
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

typecheck: $(STAMP) ## types
	$(BIN)/mypy

unit: $(STAMP) $(PAGES) browser ## the tests alone; ARGS=... goes to pytest
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

web: $(PAGES) ## the city's pages, built from web/ into the package; needs Node 20.19 or newer, or gets one

web-test: $(PAGES) ## their style, types and tests, and whether they are small enough
	@$(BIN)/python web_build.py lint test budget

browser: $(STAMP) ## a Chromium for the tests, if there is none; ALLOW_NO_BROWSER=1 does without
	@$(BIN)/python -m tests.parts.get_browser

soak: $(STAMP) ## the tests that take minutes, with their figures; not part of test
	$(BIN)/pytest -m soak -s $(ARGS)

bench: bench-presence bench-rooms ## what is measured, for about 30 minutes; the tables of docs/benchmarks.md are written anew

bench-presence: $(STAMP)
	$(BIN)/python -m benchmarks.presence $(ARGS)

bench-rooms: $(STAMP)
	$(BIN)/python -m benchmarks.rooms $(ARGS)

format: $(STAMP) ## put the sources in shape
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

wheel: $(STAMP) $(PAGES) ## a package in dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove all that was made, but not .demo/
	rm -rf $(VENV) build dist web/node_modules web/dist daarion_appservice/web_dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

# uv is four times as fast, but reads no pip configuration: where it cannot reach a package index, pip may.
$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else \
		f"Python 3.11 or newer is needed, and $(PYTHON) is {v}: choose another, like make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
		&& $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev,bench]' \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@

$(PAGES): $(PAGES_NEED) $(PAGES_SOURCES) web_build.py | $(STAMP)
	@$(BIN)/python web_build.py

$(PAGES_NEED): web/package.json web/package-lock.json | $(STAMP)
	@$(BIN)/python web_build.py ci
	@touch $@
