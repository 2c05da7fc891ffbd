# `make run` and `make ui` are all that a new user needs; `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_HOME ?= $(CURDIR)/.dagster
PORT ?= 3000
FROM ?= 2008-09-02
TO ?= 2008-09-30

.PHONY: help install run ui test lint types bench clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

install: .venv/installed $(DAGSTER_HOME)/dagster.yaml  ## make .venv and the Dagster home

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(DAGSTER_HOME)/dagster.yaml: config/dagster.yaml
	@mkdir -p $(DAGSTER_HOME)
	@cp $< $@

run: install  ## bootstrap, then every session from FROM to TO (or one: SESSION=2008-10-01)
	@$(BIN)/python -m sensors.launch $(if $(SESSION),--session $(SESSION),--from $(FROM) --to $(TO))

ui: install  ## Dagster UI and daemon on http://127.0.0.1:3000 (PORT=…)
	$(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1 --port $(PORT)

test: install  ## all tests
	$(BIN)/python -m pytest

lint: install  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## static types
	$(BIN)/mypy

bench: install  ## benchmarks: ratios side by side
	$(BIN)/python -m benchmarks

clean:  ## remove what `make run` made (artifacts, journal and Dagster's records)
	rm -rf artifacts .dagster .cache
