"""The Great Expectations project on disk, and the context for a checkpoint run."""

from __future__ import annotations

import json
from typing import Any

import great_expectations as gx
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.data_context.types.base import DataContextConfig

from expectations.files import SITE_NAME, Project, write_if_different
from kpc.private_files import make_private

_ATOMIC = {"class_name": "AtomicFilesystemStoreBackend", "module_name": "expectations.store"}
_STORES = {
    "expectations_store": ("ExpectationsStore", "expectations/"),
    "validation_results_store": ("ValidationResultsStore", "uncommitted/validations/"),
    "checkpoint_store": ("CheckpointStore", "checkpoints/"),
    "validation_definition_store": ("ValidationDefinitionStore", "validation_definitions/"),
}


def write_project(project: Project, suite: gx.ExpectationSuite) -> None:
    """Write the project's configuration and the current suite, so that Great Expectations itself can open it.

    Every process writes identical files atomically, so their order does not matter.
    """
    # JSON is YAML, and json.dumps is deterministic.
    write_if_different(project.config, json.dumps(_on_disk(), indent=2) + "\n")
    content = json.dumps(suite.to_json_dict(), indent=2, ensure_ascii=False) + "\n"
    write_if_different(project.suites / f"{suite.name}.json", content)


def open_context(project: Project) -> EphemeralDataContext:
    """An in-memory context whose validation results are stored in the project's files.

    A file context would rewrite great_expectations.yml for each data source, and concurrent tasks would overwrite each
    other's changes.
    """
    make_private(project.validations)  # the library would make its folders for everybody
    config = _on_disk()
    for name, store in config["stores"].items():
        if name == "validation_results_store":
            store["store_backend"]["base_directory"] = str(project.validations.resolve())
        else:
            store["store_backend"] = {"class_name": "InMemoryStoreBackend"}
    config["data_docs_sites"] = {}
    config["progress_bars"] = {"globally": False}
    return gx.get_context(mode="ephemeral", project_config=DataContextConfig(**config))


def _on_disk() -> dict[str, Any]:
    stores = {
        name: {
            "class_name": class_name,
            "store_backend": {**_ATOMIC, "base_directory": folder, "suppress_store_backend_id": True}
            | ({} if name == "validation_results_store" else {"filepath_suffix": ".json"}),
        }
        for name, (class_name, folder) in _STORES.items()
    }
    return {
        "config_version": 4.0,
        "stores": stores,
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
    }
