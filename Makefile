# Every verb sets itself up: the first call installs the locked dependencies into .venv, later ones start at once.
KPC := .venv/bin/kpc
PY := .venv/bin/python
DEMO ?=
TESTS ?=
WORKERS ?= 2
DOCS_ROOT ?= .kpc/demo/run/data_docs

# Without compiled modules every task process would compile polars and Airflow anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test slow lint docs lock
help:
	@echo "make demo    move all 16 tables from the Oracle emulator to the Salesforce emulator inside Airflow"
	@echo "make test    lint, types and tests; starts every server it needs (WORKERS=1: one test after the other)"
	@echo "make slow    the long proofs"
	@echo "make lint    ruff and mypy only"
	@echo "make docs    build the Data Docs of the last demo (DOCS_ROOT=... for another run)"
	@echo "make lock    compile requirements.lock again"

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

docs: setup
	@KPC__RECONCILE__DOCS_ROOT=$(DOCS_ROOT) $(KPC) docs

lock: setup
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements.lock
