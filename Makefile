# Every target runs `setup` first: the first call installs the locked dependencies into .venv, later calls skip that.
KPC := .venv/bin/kpc
PY := .venv/bin/python
COMPILE := .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml
DEMO ?=
CLUSTER ?=
TESTS ?=
WORKERS ?= 2
SHAPE ?=
DOCS_ROOT ?= .kpc/demo/run/data_docs

# Without cached bytecode every task process would recompile polars and Airflow.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo cluster test slow lint shape docs lock
help:
	@echo "make demo    move all 16 tables from the Oracle emulator to the Salesforce emulator inside Airflow"
	@echo "make cluster start the same servers with Celery workers, PostgreSQL and Redis, until Ctrl-C (CLUSTER=\"--rows 5000\")"
	@echo "make test    lint, type-check and test; starts every server it needs (WORKERS=1: one test at a time)"
	@echo "make slow    run the slow tests"
	@echo "make lint    run ruff and mypy only"
	@echo "make shape   print code metrics, each with its goal (SHAPE=--json)"
	@echo "make docs    build the Data Docs of the last demo (DOCS_ROOT=... for another run)"
	@echo "make lock    recompile requirements.lock and requirements-worker.lock"

setup:
	@python3 deploy/bootstrap.py

demo: setup
	@$(KPC) demo $(DEMO)

cluster: setup
	@$(KPC) cluster up $(CLUSTER)

# Each worker starts with its own share of the tests; an idle worker takes tests from the others.
test: lint
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

slow: setup
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal -m slow $(TESTS)

lint: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

shape: setup
	@$(PY) tests/support/shape.py $(SHAPE)

docs: setup
	@KPC__RECONCILE__DOCS_ROOT=$(DOCS_ROOT) $(KPC) docs

# One lock for development, and its subset for a production worker.
lock: setup
	@$(COMPILE) --extra dev -o requirements.lock
	@$(COMPILE) --constraint requirements.lock --no-annotate -o requirements-worker.lock
