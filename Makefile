# Every verb sets itself up: the first call installs the locked dependencies into .venv, later ones start at once.
KPC := .venv/bin/kpc
PY := .venv/bin/python
COMPILE := .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml
DEMO ?=
TESTS ?=
WORKERS ?= 2
SHAPE ?=
DOCS_ROOT ?= .kpc/demo/run/data_docs

# Without compiled modules every task process would compile polars and Airflow anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test slow lint shape docs lock
help:
	@echo "make demo    move all 16 tables from the Oracle emulator to the Salesforce emulator inside Airflow"
	@echo "make test    lint, types and tests; starts every server it needs (WORKERS=1: one test after the other)"
	@echo "make slow    the long proofs"
	@echo "make lint    ruff and mypy only"
	@echo "make shape   figures of the code's shape, each beside its goal (SHAPE=--json)"
	@echo "make docs    build the Data Docs of the last demo (DOCS_ROOT=... for another run)"
	@echo "make lock    compile requirements.lock and requirements-worker.lock again"

setup:
	@python3 deploy/bootstrap.py

demo: setup
	@$(KPC) demo $(DEMO)

# Each process begins with a stretch of the tests of its own; who has none left takes from the other.
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

# One lock for development, and of its versions those that a production worker installs.
lock: setup
	@$(COMPILE) --extra dev -o requirements.lock
	@$(COMPILE) --constraint requirements.lock --no-annotate -o requirements-worker.lock
