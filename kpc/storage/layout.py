"""The directory layout below the staging root. Every path of the migration is built here.

    <root>/<source_id>/<target_id>/sign-offs/                decisions of people
    <root>/<source_id>/<target_id>/<table>/<key>/            a partition
        loaded_index.parquet                                 the rows that Salesforce has confirmed
        repairs.parquet                                      rows that people corrected
        <generation>/                                        one extract and everything made from it
            extract/                                         Parquet chunks, plan.json, manifest.json
            staged-<version>/                                gzip CSV chunks, index, rejects, manifest.json
            pre-image-<version>/                             records as they were before the load changed them
            loaded-<version>/                                results of the ingest jobs, manifest.json
            opinions/                                        what Oracle said later of the extract's rows: manifest.json
            reconciled/                                      report.json, a report and a certificate of each run
            undo/                                            what a rollback deletes and restores
            purged/                                          <kind>.json: what was purged; row_checksums.parquet

`<version>` is the start of the mapping version, which keeps files of different declarations apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VERSION_PREFIX = 12  # of the 64 hexadecimal characters of a mapping version; enough to tell versions apart by eye

LOADED_INDEX = "loaded_index.parquet"
CORRECTED_ROWS = "repairs.parquet"
EXTRACT, OPINIONS, RECONCILED, ROLLBACK, PURGED = "extract", "opinions", "reconciled", "undo", "purged"
ROW_CHECKSUMS = "row_checksums.parquet"  # outlives the extract
PURGED_CORRECTIONS = "corrections"  # the record of the purge of repairs.parquet
EXTRACT_PLAN = "plan.json"
INCREMENTAL_READ = "changes"  # inside an extract's folder: the changed rows and keys to merge into an older extract
CLEANED = "cleaned.json"  # beside the manifest of chunks that were removed
REPORT = "report.json"


def staged_folder(mapping_version: str) -> str:
    """The name of a generation's staged folder for one mapping version."""
    return f"staged-{mapping_version[:VERSION_PREFIX]}"


def loaded_folder(mapping_version: str) -> str:
    """The folder, inside a generation's, of the load results of one mapping version."""
    return f"loaded-{mapping_version[:VERSION_PREFIX]}"


def pre_image_folder(mapping_version: str) -> str:
    """The name of a generation's folder for the records as they were before the load changed them."""
    return f"pre-image-{mapping_version[:VERSION_PREFIX]}"


@dataclass(frozen=True, slots=True)
class GenerationPaths:
    """The folders of one generation."""

    folder: Path

    @property
    def extract(self) -> Path:
        return self.folder / EXTRACT

    @property
    def opinions(self) -> Path:
        return self.folder / OPINIONS

    @property
    def reconciled(self) -> Path:
        return self.folder / RECONCILED

    @property
    def rollback(self) -> Path:
        return self.folder / ROLLBACK

    @property
    def purged(self) -> Path:
        return self.folder / PURGED

    def staged(self, mapping_version: str) -> Path:
        return self.folder / staged_folder(mapping_version)

    def loaded(self, mapping_version: str) -> Path:
        return self.folder / loaded_folder(mapping_version)

    def pre_image(self, mapping_version: str) -> Path:
        return self.folder / pre_image_folder(mapping_version)


@dataclass(frozen=True, slots=True)
class PartitionPaths:
    """The folder of one partition between two live systems, and its contents."""

    folder: Path

    @classmethod
    def below(cls, root: Path, source_id: str, target_id: str, table: str, key: str) -> PartitionPaths:
        """`table` is the table's name in lower case."""
        return cls(root / source_id / target_id / table / key)

    @property
    def loaded_index(self) -> Path:
        return self.folder / LOADED_INDEX

    @property
    def corrected_rows(self) -> Path:
        return self.folder / CORRECTED_ROWS

    def generation(self, generation: str) -> GenerationPaths:
        """The folders of one generation, named by its ULID."""
        return GenerationPaths(self.folder / generation)


def chunk_stem(chunk: str) -> str:
    """`chunk-00001.csv.gz` -> `chunk-00001`."""
    return chunk.removesuffix(".csv.gz")


def chunk_of_job(name: str) -> str:
    """The chunk that a job's rows come from: `chunk-00001.retry-1.csv.gz` -> `chunk-00001.csv.gz`."""
    return f"{name.split('.', maxsplit=1)[0]}.csv.gz"


def result_name(chunk: str) -> str:
    """`chunk-00001.csv.gz` -> `chunk-00001.json`."""
    return f"{chunk_stem(chunk)}.json"
