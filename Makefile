# otpsvc: `make run` and `make test` are all that a fresh machine needs: it has
# python3 (3.11 or newer), python3-venv and make. For POSIX sh and GNU make.
#
# Everything is installed into $(VENV). First the pinned packages, each with its
# hash and as a wheel (a bare machine has no compiler, and no build script of
# others runs here); then otpsvc itself with --no-deps. hatchling, which builds
# it, is one of the pins and --no-build-isolation uses that one: so nothing is
# fetched without a hash, and a machine that was installed once needs no network.
# The install is an editable one: changes in the checkout are seen at once.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test lint bench pins clean venv packages dev

PORT ?= 9000
VENV ?= .venv
# Settings of the user's pip that break an install into a virtual environment.
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Ours in the environment: a mark that we made it, and copies of what is installed.
DONE := $(VENV)/.otpsvc
LOG := $(DONE)/install.log

help: ## show this list
	@echo "make run     start the demo; PORT=$(PORT) is its port"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1:\2/p' Makefile | grep -v '^run:' | \
	  while IFS=: read -r target text; do printf 'make %-7s %s\n' "$$target" "$$text"; done

# exec: a signal to make's child reaches otpsvc itself, and Ctrl-C ends in its words.
run: venv ## start the demo
	$(call install,requirements.txt)
	@exec $(BIN)/otpsvc demo --port "$(PORT)"

test: packages lint ## lint, types, import contracts and all tests
	@$(BIN)/python -m pytest -n auto

lint: dev ## the same without the tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: dev ## measure speed and memory
	@exec $(BIN)/python -m tests.bench

pins: venv ## remake requirements.txt and requirements-dev.txt from pyproject.toml
	@$(PIP) install --quiet uv
	@$(BIN)/uv pip compile $(COMPILE) --group build -o requirements.txt pyproject.toml
	@$(BIN)/uv pip compile $(COMPILE) --group dev -c requirements.txt -o requirements-dev.txt pyproject.toml

# For all systems and Pythons at once, without the address of any registry.
COMPILE := --quiet --upgrade --universal --python-version 3.11 --only-binary :all: \
  --generate-hashes --no-header --no-emit-index-url --all-extras

clean: ## remove what was built, and .venv if make made it; data/ stays
	@if [ -e $(DONE)/made ]; then rm -rf $(VENV); fi
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -path './.*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

packages:
	@.ci/packages

dev: venv
	$(call install,requirements-dev.txt)

# An environment that somebody else made is used if it fits, and never replaced.
FITS := import sys; sys.exit(sys.prefix == sys.base_prefix or sys.version_info < (3, 11))
venv:
	@if [ -e $(DONE)/made ] && [ "$$(cat $(DONE)/made)" != "$(CURDIR)" ]; then \
	  echo "this folder was moved or copied:"; rm -rf $(VENV); \
	fi
	@if $(BIN)/python -c '$(FITS)' 2>/dev/null; then \
	  $(PIP) --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; \
	elif [ -e $(VENV) ] && [ ! -e $(DONE)/made ]; then \
	  echo "$(VENV) is no virtual environment of Python 3.11 or newer:" \
	    "remove it, or use another: VENV=.venv-otpsvc" >&2; exit 1; \
	else \
	  $(find_python); \
	  echo "making a virtual environment in $(VENV) with $$("$$python" --version)"; \
	  rm -rf $(VENV) && mkdir -p $(DONE) && echo "$(CURDIR)" >$(DONE)/made && "$$python" -m venv $(VENV); \
	fi
	@mkdir -p $(DONE)

# Sets $python, or says in one line which package is missing.
define find_python
for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
  done; \
  if [ -z "$$python" ]; then \
    echo "otpsvc needs Python 3.11 or newer (apt-get install python3 python3-venv);" \
      "here is $$($(or $(PYTHON),python3) --version 2>/dev/null || echo none)" >&2; exit 1; \
  elif ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
    echo "$$python lacks venv: apt-get install $${python##*/}-venv" >&2; exit 1; \
  fi
endef

# $(1): the file of pins. Nothing to do while the copies of what was installed are
# the same. pip's hundred lines become one for every 15 packages; the log has all.
# The copy is also what says, across the pipe, that pip succeeded.
define install
@cmp -s $(1) $(DONE)/$(1) && cmp -s pyproject.toml $(DONE)/pyproject.toml || { \
	  total=$$(grep -c == $(1)); n=0; : >$(LOG); rm -f $(DONE)/$(1); \
	  echo "installing up to $$total packages from $(1) (once; the log: $(LOG))"; \
	  { $(PIP) install --require-hashes --only-binary :all: -r $(1) && \
	    $(PIP) install --no-deps --no-build-isolation -e . && \
	    cp $(1) pyproject.toml $(DONE)/; \
	  } 2>&1 | while IFS= read -r line; do \
	    printf '%s\n' "$$line" >>$(LOG); \
	    case $$line in \
	      Collecting*|"Processing /"*) n=$$((n + 1)); [ $$((n % 15)) -ne 0 ] || echo "  fetched $$n";; \
	      "Installing collected"*" "*" "*" "*) echo "  unpacking";; \
	    esac; \
	  done; \
	  cmp -s $(1) $(DONE)/$(1) || { \
	    echo "the installation failed; the end of $(LOG):" >&2; tail -n 6 $(LOG) >&2; exit 1; }; \
	}
endef
