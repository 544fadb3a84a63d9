# Everything needs only Python >= 3.11 and make: `make run` shows the city, `make test` checks it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
BUILD_ENV := build/env/.made
BUILD_TREE := build/tree
PACKAGE_SOURCES := pyproject.toml setup.cfg README.md LICENSE alembic daarion_appservice web web_build.py
SOURCES := daarion_appservice alembic benchmarks deploy docgen examples tests synapse_module web_build.py
PAGES := daarion_appservice/web_dist/index.html
PAGES_NEED := web/node_modules/.installed
JS_SDK := tests/parts/js_sdk/node_modules/.installed
PAGES_SOURCES := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f ! -name '*.test.*' -print)
# How many tests run at the same time: one more than there are processors, as some wait. Each collects all tests: 10 s.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# +<number of commits>.g<commit>, and the time where something is not committed; nothing outside of a git checkout.
TAG = $(shell git rev-parse --is-inside-work-tree >/dev/null 2>&1 && printf '+%s.g%s%s' "$$(git rev-list --count HEAD)" \
	"$$(git rev-parse --short HEAD)" "$$(git diff --quiet HEAD || date -u +.d%Y%m%d%H%M%S)")

CHECK_PYTHON = $(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else \
		f"Python 3.11 or newer is needed, and $(PYTHON) is {v}: choose another, like make PYTHON=python3.12")'

.PHONY: help run test coverage lock audit check check-unit lint typecheck unit lowest web web-test browser soak appearance bench bench-presence bench-rooms bench-pages bench-curves bench-compare reference format wheel build-tag clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

run: $(STAMP) $(PAGES) ## the whole city on this machine, with a homeserver of its own
	@$(BIN)/daarion-appservice demo

test: lint typecheck web-test unit ## everything that is checked

check: ## style, types and unit tests side by side, in less than a minute
	@$(MAKE) --no-print-directory $(STAMP) $(PAGES)
	@$(MAKE) --no-print-directory --output-sync -j 3 lint typecheck check-unit

check-unit: $(STAMP) $(PAGES)
	$(BIN)/pytest -q -n 2 --dist worksteal tests/unit $(ARGS)

lint: $(STAMP) ## style
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports --no-logo

typecheck: $(STAMP) ## types
	$(BIN)/mypy

unit: $(STAMP) $(PAGES) $(JS_SDK) browser ## the tests alone, and which took longest; ARGS=... goes to pytest
	$(BIN)/pytest -n $(JOBS) --dist worksteal --durations 25 $(ARGS)

coverage: $(STAMP) $(PAGES) $(JS_SDK) browser ## branch coverage of the package by unit, integration and end-to-end tests; about an hour
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal tests/unit tests/integration tests/e2e --cov=daarion_appservice \
		--cov-report=term-missing:skip-covered --cov-fail-under=95 $(ARGS)

lock: $(STAMP) ## write constraints.txt: the newest versions that setup.cfg allows, for every Python and platform
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra bench --extra demo --upgrade \
		--no-annotate --no-header --no-emit-index-url setup.cfg --output-file constraints.txt

audit: $(STAMP) $(PAGES_NEED) ## known vulnerabilities of the locked dependencies; needs the internet
	$(BIN)/uv tool run pip-audit --requirement constraints.txt --no-deps --disable-pip
	npm --prefix web audit --omit=dev

# The plugin of anyio, which other libraries bring, may be too old for the newest pytest; no test uses it.
lowest: $(STAMP) $(PAGES) ## unit and integration tests with the lowest allowed versions of the libraries
	$(PYTHON) -m venv $(LOWEST)
	$(BIN)/uv pip install --quiet --resolution lowest-direct --python $(LOWEST)/bin/python -e .
	$(BIN)/uv pip freeze --python $(LOWEST)/bin/python --exclude-editable | grep -v '^\(pip\|setuptools\)==' > $(LOWEST)/constraints.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python -e '.[dev]' -c $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider -p no:anyio -n $(JOBS) --dist worksteal tests/unit tests/integration $(ARGS)

web: $(PAGES) ## the city's pages, built from web/ into the package; needs Node 20.19 or newer, or gets one

web-test: $(PAGES) ## their style, types, API types and tests, and whether they are small enough
	@$(BIN)/python web_build.py lint api-types-check test budget

browser: $(STAMP) ## a Chromium for the tests, if there is none; ALLOW_NO_BROWSER=1 does without
	@$(BIN)/python -m tests.parts.install_browser

SOAK_KILLS ?= 60
SOAK_MESSAGES ?= 20000
SOAK_SEED ?= 1
soak: $(STAMP) $(JS_SDK) ## the tests that take minutes, with their figures; not part of test
	SOAK_KILLS=$(SOAK_KILLS) SOAK_MESSAGES=$(SOAK_MESSAGES) SOAK_SEED=$(SOAK_SEED) $(BIN)/pytest -m soak -s --timeout 0 $(ARGS)

appearance: $(STAMP) $(PAGES) browser ## store how the pages look, for the test that compares; look at the pictures before you commit them
	APPEARANCE_UPDATE=1 $(BIN)/pytest -q tests/e2e/test_page_appearance.py

bench: bench-presence bench-rooms bench-pages ## what is measured, for about 45 minutes; the tables of docs/reference/benchmarks.md are written anew

bench-presence: $(STAMP)
	$(BIN)/python -m benchmarks.presence $(ARGS)

bench-rooms: $(STAMP)
	$(BIN)/python -m benchmarks.rooms $(ARGS)

bench-pages: $(STAMP) $(PAGES) browser ## the pages in Chromium; ARGS=--quick prints the tables within minutes
	$(BIN)/python -m benchmarks.pages $(ARGS)

bench-curves: $(STAMP) ## what a unit costs with more subjects, rooms, messages and sockets, and a start; about 30 minutes
	$(BIN)/python -m benchmarks.curves $(ARGS)

REV ?= HEAD^
bench-compare: $(STAMP) ## this tree and the revision REV in turns, as ratios; ARGS="rooms --only reads --rounds 5"
	$(BIN)/python -m benchmarks.compare $(REV) $(ARGS)

reference: $(STAMP) ## write the generated pages of docs/reference and the example files
	$(BIN)/python -m docgen

format: $(STAMP) ## put the sources in shape
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# Of the tools for development this needs none: 70 MB of libraries in build/, and Node 20.19 or newer, which pip brings where
# there is none (70 MB to download). The local version (PEP 440) tells two builds of one version apart: pip leaves an installed
# one alone that has the same version. A release has none: make wheel TAG=
wheel: $(BUILD_ENV) ## a package in dist/; installs nothing outside of build/
	@mkdir -p dist $(BUILD_TREE) && rm -f dist/daarion_appservice-*.whl
	@cd $(BUILD_TREE) && find . -mindepth 1 -maxdepth 1 ! -name web -exec rm -rf {} + \
		&& if [ -d web ]; then find web -mindepth 1 -maxdepth 1 ! -name node_modules -exec rm -rf {} +; fi
	@tar -cf - --exclude=node_modules --exclude=__pycache__ --exclude=web_dist --exclude=web/dist $(PACKAGE_SOURCES) \
		| tar -xf - -C $(BUILD_TREE)
	@printf '[egg_info]\ntag_build = %s\n' '$(TAG)' > $(BUILD_TREE)/version.cfg
	@cd $(BUILD_TREE) && if ! cmp -s web/package-lock.json web/node_modules/.lock; then \
		../env/bin/python web_build.py ci-bundle && cp web/package-lock.json web/node_modules/.lock; fi
	@cd $(BUILD_TREE) && ../env/bin/python web_build.py bundle
	@cd $(BUILD_TREE) && DIST_EXTRA_CONFIG="$$PWD/version.cfg" \
		../env/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir ../../dist .
	@ls -l dist/daarion_appservice-*.whl

$(BUILD_ENV):
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(dir $@)
	@touch $@

build-tag: ## the end of the version of a wheel that is built now; empty outside of a git checkout
	@printf '%s\n' '$(TAG)'

clean: ## remove all that was made, but not .demo/
	rm -rf $(VENV) $(LOWEST) build dist web/node_modules $(dir $(JS_SDK)) web/dist daarion_appservice/web_dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

# uv is four times as fast, but reads no pip configuration: where it cannot reach a package index, pip may.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
		&& $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev,bench]' -c constraints.txt \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]' -c constraints.txt
	@touch $@

$(PAGES): $(PAGES_NEED) $(PAGES_SOURCES) web_build.py | $(STAMP)
	@$(BIN)/python web_build.py

$(PAGES_NEED): web/package.json web/package-lock.json | $(STAMP)
	@$(BIN)/python web_build.py ci
	@touch $@

$(JS_SDK): tests/parts/js_sdk/package.json tests/parts/js_sdk/package-lock.json | $(STAMP)
	@$(BIN)/python -m tests.parts.install_js_sdk
	@touch $@
