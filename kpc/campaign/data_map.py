"""Where personal data is stored: each column's treatment and files, and each kind of file's owner and retention.

Everything follows from the catalog and the settings; docs/data-map.md is this map with the default settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from kpc.campaign.file_kinds import FileKind, LastingKind
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.catalog.types import Column, Pii
from kpc.settings import RetentionSettings

_TEAM = "migration team"  # owns the files without rows
_TREATMENTS = {
    Pii.AS_IS: "as it is",
    Pii.MASK: "masked",
    Pii.HASH: "keyed hash",
    Pii.LEAVE_OUT: "left out",
}


@dataclass(frozen=True, slots=True)
class MappedFiles:
    """A kind of file: what it holds of a personal column, who owns it and how long it is kept."""

    name: str
    place: str
    holds: str
    owner: str
    days: int | None  # None: kept until somebody removes the staging root, the ledger or the pages

    @property
    def retention(self) -> str:
        if self.name == _EXPORTS:
            return "until they delete it"
        return "kept" if self.days is None else f"{self.days} days"


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """A column of the catalog; `files` are the names of the kinds of file that hold it."""

    table: str
    column: str
    field: str | None
    personal: bool
    treatment: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataMap:
    files: tuple[MappedFiles, ...]
    columns: tuple[MappedColumn, ...]

    def as_json(self) -> dict[str, object]:
        files = {each.name: each for each in self.files}
        columns = [
            {
                **asdict(each),
                "owner": sorted({files[name].owner for name in each.files}),
                "retention_days": {name: files[name].days for name in each.files},
            }
            for each in self.columns
        ]
        return {"files": [asdict(each) for each in self.files], "columns": columns}


def data_map_of(retention: RetentionSettings) -> DataMap:
    """The map of all tables under these settings."""
    columns = (_mapped(table, column) for table in TABLES.values() for column in table.columns)
    return DataMap(tuple(_files(retention)), tuple(columns))


_LEDGER, _EXPORTS = "ledger and audit", "exports"
_AS_SENT = (
    FileKind.CHUNKS,
    FileKind.REJECTS,
    FileKind.FAILED_ROWS,
    FileKind.PRE_IMAGES,
    FileKind.ROLLBACK,
    FileKind.COMPARISONS,
    FileKind.CORRECTIONS,
)


def _files(retention: RetentionSettings) -> Iterator[MappedFiles]:
    owner = retention.owner
    holds = {
        FileKind.EXTRACT: (
            "`extract/*.parquet`, `opinions/*.parquet`, `ONE-PASS/`",
            "values as Oracle has them, without columns that are left out",
        ),
        FileKind.CHUNKS: ("`staged-*/chunk-*.csv.gz`", "values as they are sent: masked or hashed where declared"),
        FileKind.REJECTS: (
            "`staged-*/rejected.csv.gz`",
            "the value that broke a rule, masked; keys, `*` if personal",
        ),
        FileKind.FAILED_ROWS: ("`loaded-*/*.failed.csv.gz`, `*.unprocessed.csv.gz`", "rows as they were sent"),
        FileKind.PRE_IMAGES: ("`pre-image-*/*.csv.gz`", "records as Salesforce held them before the load"),
        FileKind.COMPARISONS: (
            "`reconciled/progress/`, `reconciled/query/`",
            "records that a killed comparison had read",
        ),
        FileKind.ROLLBACK: ("`undo/*.csv.gz`", "ids to delete, and records to restore as in the pre-images"),
        FileKind.CORRECTIONS: ("`repairs.parquet`", "rows that people corrected, as they were sent"),
    }
    for kind, (place, what) in holds.items():
        yield MappedFiles(kind.value, place, what, owner, kind.days(retention))
    yield MappedFiles(_EXPORTS, "`kpc failed TABLE --export FILE`", "rows as they were sent", "who exports them", None)
    lasting = {
        LastingKind.INDEXES: (
            "`loaded_index.parquet`, `staged-*/index.parquet`, `fingerprint.parquet`, `loaded-*/*.success.csv.gz`",
            "external ids, record ids, checksums",
        ),
        LastingKind.CHECKSUMS: ("`purged/row_checksums.parquet`", "hashes of keys and of whole rows"),
        LastingKind.MANIFESTS: ("`*.json`", "paths, counts, sums, hashes of files"),
        LastingKind.REPORTS: ("`reconciled/`, `KPC__RECONCILE__DOCS_ROOT`", "external ids, names of fields, sums"),
    }
    for last, (place, what) in lasting.items():
        yield MappedFiles(last.value, place, what, _TEAM, None)
    yield MappedFiles(_LEDGER, "`KPC__LEDGER_URL`", "external ids of refused rows, counts, hashes", _TEAM, None)


def _mapped(table: Table, column: Column) -> MappedColumn:
    personal = column.pii is not None
    treatment = _TREATMENTS[column.pii] if column.pii is not None else "as it is"
    if column.field is None:
        treatment = "read for keys only"
    files: list[str] = []
    if column in table.extracted_columns:
        files.append(FileKind.EXTRACT.value)
    if column.is_sent:
        files += [*(kind.value for kind in _AS_SENT), _EXPORTS]
    if column.name in table.key:
        files += [LastingKind.INDEXES.value, LastingKind.REPORTS.value, _LEDGER]
    return MappedColumn(table.name, column.name, column.field, personal, treatment, tuple(files))


def as_page(found: DataMap) -> str:
    """The map as docs/data-map.md, without its last line end."""
    return "\n".join(_lines(found))


def _lines(found: DataMap) -> Iterator[str]:
    yield "# Data map"
    yield ""
    yield "Where each column's data is stored, and for how long. Generated from the catalog and the default settings by"
    yield "`kpc data-map`; do not edit it. `kpc data-map --json` shows the same under the settings of this machine."
    yield ""
    yield "| files | below a partition's folder | what they hold of a personal column | owner | retention |"
    yield "|---|---|---|---|---|"
    for file in found.files:
        yield f"| {file.name} | {file.place} | {file.holds} | {file.owner} | {file.retention} |"
    yield ""
    yield "`KPC__RETENTION__...` sets owner and days, counted from the sealing of the extract; `kpc purge` removes what"
    yield "is older and not needed. Whoever makes an export owns it and must delete it. The other kinds marked *kept*"
    yield "are the evidence: keys (no key column is personal), counts, sums and hashes."
    yield ""
    yield "## Personal columns"
    yield ""
    yield "| table | column | field | treatment | files |"
    yield "|---|---|---|---|---|"
    for column in found.columns:
        if column.personal:
            files = ", ".join(column.files) or "none: it is not read"
            yield f"| {column.table} | {column.column} | {column.field or '-'} | {column.treatment} | {files} |"
    yield ""
    yield "## All columns"
    yield ""
    yield "Columns that are not personal are sent as they are; those of a key are also in the loaded index, the ledger"
    yield "and the reports. A personal column is marked `(p)`."
    yield ""
    yield "| table | columns |"
    yield "|---|---|"
    for name, table in TABLES.items():
        listed = (f"{one.name} (p)" if one.pii is not None else one.name for one in table.columns)
        yield f"| {name} | {', '.join(listed)} |"
