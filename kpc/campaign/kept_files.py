"""The files of a generation that hold rows, by kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kpc.campaign.file_kinds import FileKind, kind_of
from kpc.ledger import GenerationRow
from kpc.load.chunk_result import ChunkResult
from kpc.load.pre_image import PreImage
from kpc.stages.context import PartitionContext
from kpc.storage.layout import GenerationPaths, result_name
from kpc.storage.manifests import (
    ExtractManifest,
    LoadManifest,
    OpinionManifest,
    PurgedFile,
    PurgedManifest,
    StagedManifest,
)
from kpc.storage.store import FileEntry, describe_file

_WITH_ROWS = ("failed.csv.gz", "unprocessed.csv.gz")  # endings of the names of results that hold rows


@dataclass(frozen=True, slots=True)
class GenerationFiles:
    """Lists the files of one generation of a partition.

    Files that a manifest lists are described by it. On a disk, files that no manifest lists are found too:
    left by interrupted or abandoned work, by a rollback or by a killed comparison. An object store is
    not listed.
    """

    context: PartitionContext
    generation: GenerationRow

    @property
    def paths(self) -> GenerationPaths:
        return self.context.paths.generation(self.generation.id)

    @property
    def is_current(self) -> bool:
        """Whether this is the partition's newest generation, which also owns the files beside the generations."""
        current = self.context.ledger.generations.current(self.context.environment, self.context.partition)
        return current is not None and current.id == self.generation.id

    def of_kind(self, kind: FileKind) -> tuple[PurgedFile, ...]:
        """The existing files of a kind."""
        found: dict[Path, FileEntry | None] = {}
        for path, entry in (*self._listed(kind), *self._unlisted(kind)):
            found[path] = found.get(path) or entry
        return tuple(self._tombstone(path, found[path]) for path in sorted(found) if self.context.store.holds(path))

    def purged(self, kind: FileKind) -> PurgedManifest | None:
        """The record of the kind's purge."""
        return self.context.store.manifest(self.paths.purged, PurgedManifest, f"{kind}.json")

    def _tombstone(self, path: Path, entry: FileEntry | None) -> PurgedFile:
        known = entry or describe_file(path, rows=0)
        name = path.relative_to(self.context.store.root).as_posix()
        return PurgedFile(path=name, rows=known.rows, bytes=known.bytes, sha256=known.sha256)

    def _listed(self, kind: FileKind) -> Iterator[tuple[Path, FileEntry | None]]:
        if kind is FileKind.EXTRACT:
            extract = self.context.store.manifest(self.paths.extract, ExtractManifest)
            yield from _in(self.paths.extract, extract.chunks if extract else ())
            opinions = self.context.store.manifest(self.paths.opinions, OpinionManifest)
            yield from _in(self.paths.opinions, opinions.chunks if opinions else ())
        if kind is FileKind.CORRECTIONS and self.is_current:
            yield self.context.paths.corrected_rows, None
        for version in self.context.ledger.stages.mapping_versions(self.generation.id):
            yield from self._staged_or_loaded(kind, version)

    def _staged_or_loaded(self, kind: FileKind, version: str) -> Iterator[tuple[Path, FileEntry | None]]:
        staged_folder, loaded_folder = self.paths.staged(version), self.paths.loaded(version)
        staged = self.context.store.manifest(staged_folder, StagedManifest)
        chunks = staged.chunks if staged else ()
        if kind is FileKind.CHUNKS:
            yield from _in(staged_folder, chunks)
        elif kind is FileKind.REJECTS and staged is not None and staged.rejected_file is not None:
            yield from _in(staged_folder, (staged.rejected_file,))
        elif kind is FileKind.FAILED_ROWS:
            load = self.context.store.manifest(loaded_folder, LoadManifest)
            merged = load.files if load else ()
            yield from _in(loaded_folder, (file for file in merged if file.name.endswith(_WITH_ROWS)))
            for chunk in chunks:
                result = self.context.store.manifest(loaded_folder, ChunkResult, result_name(chunk.name))
                yield from _in(loaded_folder, result.files[1:] if result else ())
        elif kind is FileKind.PRE_IMAGES:
            folder = self.paths.pre_image(version)
            for chunk in chunks:
                image = self.context.store.manifest(folder, PreImage, result_name(chunk.name))
                yield from _in(folder, (image.file,) if image else ())

    def _unlisted(self, kind: FileKind) -> Iterator[tuple[Path, FileEntry | None]]:
        folder = self.paths.folder
        for path in sorted(folder.rglob("*")):
            if path.is_file() and kind_of(path.relative_to(folder)) == kind:
                yield path, None


def _in(folder: Path, entries: Iterable[FileEntry]) -> Iterator[tuple[Path, FileEntry | None]]:
    return ((folder / entry.name, entry) for entry in entries)
