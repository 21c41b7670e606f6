"""The Great Expectations project on disk: a data source, and per table a suite, a validation definition, a checkpoint.

Every process writes identical files atomically, with ids derived from names, so order does not matter. The library
itself can open the folder (docs/data-docs.md shows how).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import great_expectations as gx

from expectations.files import SITE_NAME, Project, write_if_different
from expectations.suites import NAMESPACE, suite_for
from kpc.catalog import TABLES
from kpc.catalog.table import Table

SOURCE = "reconciliation"
BATCH = "comparisons"
_ATOMIC = {"class_name": "AtomicFilesystemStoreBackend", "module_name": "expectations.store"}
_STORES = {
    "expectations_store": ("ExpectationsStore", "expectations/"),
    "validation_results_store": ("ValidationResultsStore", "uncommitted/validations/"),
    "checkpoint_store": ("CheckpointStore", "checkpoints/"),
    "validation_definition_store": ("ValidationDefinitionStore", "validation_definitions/"),
}


def write_project(project: Project, table: Table) -> None:
    """Write the configuration, and the table's suite, validation definition and checkpoint."""
    _write(project.config, configuration())  # JSON is YAML, and json.dumps is deterministic
    _write(project.suites / f"{table.name}.json", suite_for(table).to_json_dict())
    _write(project.definitions / f"{table.name}.json", _definition(table))
    _write(project.checkpoints / f"{table.name}.json", _checkpoint(table))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_if_different(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def identity(kind: str, name: str = "") -> str:
    """The id of an object of the project; the same in every process."""
    return str(uuid.uuid5(NAMESPACE, f"{kind} {name}"))


def _definition(table: Table) -> dict[str, Any]:
    data = {
        "asset": {"id": identity("asset", table.name), "name": table.name},
        "batch_definition": {"id": identity("batch definition", table.name), "name": BATCH},
        "datasource": {"id": identity("data source", SOURCE), "name": SOURCE},
    }
    suite = {"id": suite_for(table).id, "name": table.name}
    return {"data": data, "id": identity("validation definition", table.name), "name": table.name, "suite": suite}


def _checkpoint(table: Table) -> dict[str, Any]:
    return {
        "actions": [],
        "id": identity("checkpoint", table.name),
        "name": table.name,
        "result_format": gx.ResultFormat.SUMMARY.value,
        "validation_definitions": [{"id": identity("validation definition", table.name), "name": table.name}],
    }


def configuration() -> dict[str, Any]:
    """The content of great_expectations.yml; paths are relative to its folder."""
    return {
        "config_version": 4.0,
        "analytics_enabled": False,
        "data_context_id": identity("project"),
        "stores": {name: _store(*about) for name, about in _STORES.items()},
        "expectations_store_name": "expectations_store",
        "validation_results_store_name": "validation_results_store",
        "checkpoint_store_name": "checkpoint_store",
        "data_docs_sites": {
            SITE_NAME: {
                "class_name": "MigrationSiteBuilder",
                "module_name": "expectations.site_builder",
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": f"uncommitted/data_docs/{SITE_NAME}/",
                },
            }
        },
        "fluent_datasources": {
            SOURCE: {
                "type": "pandas",
                "id": identity("data source", SOURCE),
                "assets": {name: _asset(name) for name in TABLES},
            }
        },
    }


def _store(class_name: str, folder: str) -> dict[str, Any]:
    is_ours = class_name == "ValidationResultsStore"
    suffix = {} if is_ours else {"filepath_suffix": ".json"}
    return {
        "class_name": class_name,
        **({"module_name": "expectations.store"} if is_ours else {}),
        "store_backend": {**_ATOMIC, "base_directory": folder, "suppress_store_backend_id": True, **suffix},
    }


def _asset(table: str) -> dict[str, Any]:
    """A table's comparisons: a data frame that each run passes to the checkpoint."""
    batch = {"id": identity("batch definition", table), "partitioner": None}
    return {
        "type": "dataframe",
        "id": identity("asset", table),
        "batch_metadata": {},
        "batch_definitions": {BATCH: batch},
    }
