"""The manifests that the stages wrote for a partition's current generation, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpc.errors import ConfigError, Terminal
from kpc.storage.manifests import ExtractManifest, LoadManifest, StagedManifest

if TYPE_CHECKING:
    from kpc.ledger import GenerationRow
    from kpc.stages.context import PartitionContext


def current_generation(context: PartitionContext) -> GenerationRow:
    """The newest sealed generation. Raises `ConfigError` if the partition was never extracted."""
    generation = context.ledger.generations.current(context.environment, context.partition)
    if generation is None:
        raise ConfigError(
            f"{context} has not been extracted yet.",
            f"Run `kpc rerun {context.table.name} {context.key}` (all four stages), or stage oracle_extract alone.",
        )
    return generation


def sealed_extract(context: PartitionContext) -> ExtractManifest:
    """The sealed extract of the current generation. Raises `ConfigError`, and `Terminal` if its files are gone."""
    generation = current_generation(context).id
    manifest = context.store.manifest(context.paths.generation(generation).extract, ExtractManifest)
    if manifest is None:
        raise Terminal(
            f"The extract of {context}, generation {generation}, is not in the staging directory.",
            f"Extract it again: `kpc rerun {context.table.name} {context.key}`. All workers must see the same "
            "KPC__STAGING__ROOT.",
        )
    return manifest


def staged_manifest(context: PartitionContext) -> StagedManifest:
    """The staged chunks of the current generation under the present mapping. Raises `ConfigError`."""
    generation, version = current_generation(context).id, context.table.mapping_version
    manifest = context.store.manifest(context.paths.generation(generation).staged(version), StagedManifest)
    if manifest is None:
        raise ConfigError(
            f"Generation {generation} of {context} is not staged under the current mapping.",
            f"Stage it first: `kpc rerun {context.table.name} {context.key}`.",
        )
    return manifest


def published_load(context: PartitionContext) -> LoadManifest:
    """The load of the current generation, under any mapping.

    Raises `ConfigError` if it is not loaded, and `Terminal` if the load's files are gone.
    """
    generation = current_generation(context).id
    version = context.ledger.stages.loaded_version(context.environment, context.partition)
    if version is None:
        raise ConfigError(
            f"Generation {generation} of {context} is not loaded yet; there is nothing to compare.",
            f"Load it first: `kpc run {context.table.name} {context.key}`, or wait for its stage sf_loaded.",
        )
    manifest = context.store.manifest(context.paths.generation(generation).loaded(version), LoadManifest)
    if manifest is None:
        raise Terminal(
            f"The load's manifest of {context}, generation {generation}, is not in the staging directory.",
            f"Load again, which writes it: `kpc rerun {context.table.name} {context.key} --stage sf_loaded`. "
            "All workers must see the same KPC__STAGING__ROOT.",
        )
    return manifest
