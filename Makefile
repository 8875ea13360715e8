# The one entry point. Every target sets up what it needs in .venv, with pip and without a compiler,
# and does so again only when pyproject.toml has changed (stamp files under .venv/.stamps).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# pip must not run twice at once in one environment; the tools below use the cores themselves.
.NOTPARALLEL:

# Any Python from 3.11 on will do; `make PYTHON=/path/to/python3.12 test` chooses one.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

VENV := .venv
STAMPS := $(VENV)/.stamps
PY := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install -qq
# httpbin pins an old greenlet, which locust cannot live with: it gets an environment of its own.
HTTPBIN := .cache/httpbin
# The compiled data plane never shares an environment with the source tree, so that neither can hide the other.
COMPILED := .cache/compiled

# What `make demo`, `make load`, `make test` and `make bench` pass on: make test ARGS="-k mirror -x"
ARGS ?=

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(STAMPS)/run ## a live and a shadow shop, the proxy, traffic and the result, in about 30 s
	@$(PY) -m shadowproxy demo $(ARGS)

.PHONY: test
test: $(STAMPS)/run $(STAMPS)/test $(STAMPS)/load $(STAMPS)/clients $(HTTPBIN)/.stamp ## the test suite
	@$(PY) -m pytest $(ARGS)

.PHONY: lint
lint: $(STAMPS)/run $(STAMPS)/test $(STAMPS)/load $(STAMPS)/lint ## format, rules, types, import contracts, dependencies
	@$(PY) -m ruff format --check --quiet . || { echo "to mend it: make format" >&2; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy --no-error-summary
	@said=$$($(VENV)/bin/lint-imports --no-logo 2>&1) || { echo "$$said" >&2; exit 1; }
	@said=$$($(VENV)/bin/deptry --no-ansi . 2>&1) || { echo "$$said" >&2; exit 1; }
	@echo "lint: clean"

.PHONY: format
format: $(STAMPS)/lint ## let ruff format the tree
	@$(PY) -m ruff format .

.PHONY: bench
bench: $(STAMPS)/run $(STAMPS)/peers ## this proxy, nginx, Envoy, Traefik and the floor, side by side
	@if command -v cc >/dev/null; then $(MAKE) --no-print-directory compiled; else echo "note: no C compiler, so the compiled build is left out" >&2; fi
	@$(PY) -m load.bench $(ARGS)

.PHONY: compiled
compiled: $(COMPILED)/.stamp ## the same source with its data plane compiled, in an environment of its own (needs a C compiler)

.PHONY: test-compiled
test-compiled: $(COMPILED)/.stamp ## the tests that speak to a worker, on the compiled data plane
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(COMPILED)/bin/python -m pip install -qq --group test
	@rm -rf $(COMPILED)/tree && mkdir -p $(COMPILED)/tree && cp -r tests load pyproject.toml $(COMPILED)/tree
	@cd $(COMPILED)/tree && ../bin/python -m pytest tests/conformance tests/properties tests/adversity $(ARGS)

.PHONY: load
load: $(STAMPS)/run $(STAMPS)/load ## Locust against HOST=http://..., or against the demo when HOST is not given
	@$(PY) -m load.run $(if $(HOST),--host $(HOST)) $(ARGS)

.PHONY: fuzz
fuzz: $(STAMPS)/run $(STAMPS)/test ## the deep profiles: long property tests and fuzzing
	@DEEP=1 $(PY) -m pytest -m "hypothesis or deep" --timeout 3600 $(ARGS)

.PHONY: clean
clean: ## remove .venv, caches and results
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache results build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up -------------------------------------------------------------------------------------

$(STAMPS)/pip:
	@test -n "$(PYTHON)" || { echo "shadowproxy needs Python 3.11 or newer, and found none on PATH. Install one, or: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || { echo "setting up $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); } || \
	  { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) --upgrade 'pip>=25.1'
	@mkdir -p $(@D) && touch $@

$(STAMPS)/run: $(STAMPS)/pip pyproject.toml
	@echo "installing shadowproxy into $(VENV)"
	@$(PIP) --editable '.[experiments]'
	@touch $@

$(STAMPS)/test $(STAMPS)/lint $(STAMPS)/load $(STAMPS)/peers: $(STAMPS)/%: $(STAMPS)/pip pyproject.toml
	@echo "installing the $* tools into $(VENV)"
	@$(PIP) --group $*
	@touch $@

# Other people's clients and servers that the integration tests talk through the proxy with. Where they cannot be
# had the tests that need them are skipped and say so; nothing else depends on them.
$(STAMPS)/clients: $(STAMPS)/pip pyproject.toml
	@echo "installing the clients that tests drive through the proxy into $(VENV)"
	@if $(PIP) --group clients; then touch $@; else echo "note: some clients could not be installed; their tests will be skipped" >&2; fi

$(HTTPBIN)/.stamp: $(STAMPS)/pip pyproject.toml
	@echo "installing httpbin into $(HTTPBIN)"
	@if { test -x $(HTTPBIN)/bin/python || $(PY) -m venv $(HTTPBIN); } && \
	  PIP_DISABLE_PIP_VERSION_CHECK=1 $(HTTPBIN)/bin/python -m pip install -qq --upgrade 'pip>=25.1' && \
	  PIP_DISABLE_PIP_VERSION_CHECK=1 $(HTTPBIN)/bin/python -m pip install -qq --only-binary :all: --group httpbin; \
	then touch $@; else echo "note: httpbin could not be installed; its test will be skipped" >&2; fi

$(COMPILED)/.stamp: $(STAMPS)/pip pyproject.toml setup.py $(shell find shadowproxy -name '*.py')
	@echo "compiling the data plane into $(COMPILED)"
	@test -x $(COMPILED)/bin/python || $(PY) -m venv $(COMPILED)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(COMPILED)/bin/python -m pip install -qq --upgrade 'pip>=25.1' setuptools mypy types-PyYAML
	@rm -rf $(COMPILED)/source && mkdir -p $(COMPILED)/source && cp -r setup.py pyproject.toml README.md shadowproxy $(COMPILED)/source
	@SHADOWPROXY_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 $(COMPILED)/bin/python -m pip install -qq --no-build-isolation --force-reinstall $(COMPILED)/source
	@touch $@
