"""The project as a process uses it: checkpoints that are built once and run for each partition."""

from __future__ import annotations

from typing import Any, ClassVar

import great_expectations as gx
from great_expectations.core.freshness_diagnostics import (
    CheckpointFreshnessDiagnostics,
    ValidationDefinitionFreshnessDiagnostics,
)
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.data_context.types.base import DataContextConfig

from expectations.files import Project
from expectations.project import BATCH, SOURCE, configuration, identity, write_project
from expectations.suites import expectation, suite_for
from kpc.catalog.table import Table
from kpc.private_files import make_private


class DerivedDefinition(gx.ValidationDefinition):
    """A validation definition made from the catalog in this process.

    Great Expectations compares a definition, its suite and its checkpoint with their stored copies ten times per run,
    which takes two thirds of the run (measured). Those copies follow from the same catalog.
    """

    def is_fresh(self) -> ValidationDefinitionFreshnessDiagnostics:
        return ValidationDefinitionFreshnessDiagnostics(errors=[])


class DerivedCheckpoint(gx.Checkpoint):
    """A checkpoint of a `DerivedDefinition`, for the same reason."""

    def is_fresh(self) -> CheckpointFreshnessDiagnostics:
        return CheckpointFreshnessDiagnostics(errors=[])


class OpenProject:
    """An in-memory context whose validation results are stored in the project's files, and its checkpoints.

    A file context would rewrite great_expectations.yml for each data source, and concurrent tasks would overwrite each
    other's changes.
    """

    newest: ClassVar[OpenProject | None] = None  # a process reconciles into one project

    def __init__(self, project: Project) -> None:
        self.project = project
        self._context = _context(project)
        self._source = self._context.data_sources.add_pandas(SOURCE)
        self._checkpoints: dict[tuple[object, ...], gx.Checkpoint] = {}
        self._written: set[str] = set()

    def write(self, table: Table) -> None:
        """Write the table's definitions, unless this process did and they are still there."""
        if table.name in self._written and (self.project.checkpoints / f"{table.name}.json").exists():
            return
        write_project(self.project, table)
        self._written.add(table.name)

    def checkpoint(self, table: Table, wanted: tuple[tuple[int, str, str], ...]) -> gx.Checkpoint:
        """The table's checkpoint, limited to these (level, measure, tolerance)."""
        found = self._checkpoints.get((table.name, wanted))
        if found is None:
            found = self._checkpoints[table.name, wanted] = self._made(table, wanted)
        return found

    def _made(self, table: Table, wanted: tuple[tuple[int, str, str], ...]) -> gx.Checkpoint:
        suite = suite_for(table)
        suite.expectations = [expectation(table, *demand) for demand in wanted]
        names = {asset.name for asset in self._source.assets}
        asset = self._source.get_asset(table.name) if table.name in names else self._added(table.name)
        batch = asset.get_batch_definition(BATCH)
        definition = DerivedDefinition(
            name=table.name, id=identity("validation definition", table.name), data=batch, suite=suite
        )
        return DerivedCheckpoint(
            name=table.name, id=identity("checkpoint", table.name), validation_definitions=[definition]
        )

    def _added(self, name: str) -> Any:
        asset = self._source.add_dataframe_asset(name)
        asset.add_batch_definition_whole_dataframe(BATCH)
        return asset


def open_project(project: Project, table: Table) -> OpenProject:
    """The project of this process, with the table's definitions on disk. Not for several threads at once."""
    opened = OpenProject.newest
    if opened is None or opened.project != project:
        opened = OpenProject.newest = OpenProject(project)
    opened.write(table)
    return opened


def _context(project: Project) -> EphemeralDataContext:
    make_private(project.validations)  # the library would make its folders for everybody
    config = configuration()
    for name, store in config["stores"].items():
        if name == "validation_results_store":
            store["store_backend"]["base_directory"] = str(project.validations.resolve())
        else:
            store["store_backend"] = {"class_name": "InMemoryStoreBackend"}
    config |= {"data_docs_sites": {}, "fluent_datasources": {}, "progress_bars": {"globally": False}}
    return gx.get_context(mode="ephemeral", project_config=DataContextConfig(**config))
