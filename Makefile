# `make run` and `make ui` are all that a new user needs; `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
# The project folder: this checkout with its bundled prices, or the one that COUNTERSIGN_HOME names.
PROJECT := $(if $(COUNTERSIGN_HOME),$(shell cd "$(COUNTERSIGN_HOME)" && pwd),$(CURDIR))
export DAGSTER_HOME ?= $(PROJECT)/.dagster
PORT ?= 3000
ifndef COUNTERSIGN_HOME
FROM ?= 2008-09-02
TO ?= 2008-09-30
endif

DEMO ?= demo

.PHONY: help install run ui demo test lint types bench clean

help:  ## list the targets
	@awk -F ':.*##' '/^[a-z]+:.*##/ { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/installed  ## make .venv and the Dagster home
	@mkdir -p "$$DAGSTER_HOME"
	@test -e "$$DAGSTER_HOME/dagster.yaml" || cp config/dagster.yaml "$$DAGSTER_HOME/dagster.yaml"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: install  ## bootstrap, then the sessions FROM … TO, or one SESSION
	@$(BIN)/python -m sensors.launch $(if $(SESSION),--session $(SESSION),$(if $(FROM),--from $(FROM)) $(if $(TO),--to $(TO))) $(if $(AGAIN),--again)

ui: install  ## Dagster's UI and daemon on 127.0.0.1, PORT 3000
	$(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1 --port $(PORT)

demo: install  ## a model's life in two minutes: drift, retrain, sign-off, deployment, rollback; leaves the folder DEMO
	@$(BIN)/python -m sensors.demo $(DEMO)

test: install  ## all tests
	@# In the order of their names: the files that take minutes are among the first, none is left to one worker at the end.
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: install  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## static types
	$(BIN)/mypy

bench: install  ## benchmarks: ratios side by side
	$(BIN)/python -m benchmarks

clean:  ## remove what runs made: artifacts, journal, Dagster's records
	cd "$(PROJECT)" && rm -rf artifacts .dagster .cache
