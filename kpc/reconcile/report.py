"""The result of one reconciliation, stored beside the extract that it compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from kpc.errors import ConfigError
from kpc.reconcile.comparison import Comparison
from kpc.reconcile.records_report import RecordsReport
from kpc.reconcile.second_opinion.result import DIFFERING, SecondOpinion
from kpc.stages.current_manifests import current_generation
from kpc.storage.layout import REPORT
from kpc.storage.manifests import ExtractManifest, RelativeScn, StageOutput

if TYPE_CHECKING:  # polars is slow to import, and the declared asset imports this module
    from kpc.reconcile.expected_rows import ExpectedRows
    from kpc.reconcile.records import RecordDifferences
    from kpc.reconcile.refused_updates import KeptRecord
    from kpc.stages.context import PartitionContext

State = Literal["reconciled", "reconciled_with_exceptions", "sampled", "mismatch"]
Level3 = Literal["full", "sample", "off"]
_STRENGTH: dict[Level3, int] = {"full": 2, "sample": 1, "off": 0}
Verdict = Literal["pass", "fail", "skipped"]


class ComparedNumber(BaseModel):
    """A `Comparison` as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: int
    measure: str
    source: Decimal | None
    excepted: Decimal
    target: Decimal | None
    agrees: bool


class KeptRecordReport(BaseModel):
    """`KeptRecord` as JSON: a refused update, whose record keeps its former values.

    `measures` holds the fields that are measured, which are never personal, as (field, former value, Oracle's value).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    former_checksum: str
    fields: tuple[str, ...]
    measures: tuple[tuple[str, str | None, str | None], ...] = ()

    def __str__(self) -> str:
        values = "".join(f"; {field} is {former}, in Oracle {oracle}" for field, former, oracle in self.measures)
        fields = ", ".join(self.fields) or "all fields, because its new row was rejected"
        return f"refused update, keeps its former value: {self.key} in {fields}{values}"


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """How one reconciliation was made, and from what data; see the fields of `ReconciliationReport`."""

    level3: Level3
    data: str
    exceptions: int
    compared_utc: datetime
    relatives: tuple[RelativeScn, ...] = ()
    converted: tuple[str, ...] = ()
    purged_utc: datetime | None = None
    second_opinion: SecondOpinion | None = None


class ReconciliationReport(BaseModel):
    """Everything that was compared for one generation, and the verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    key: str
    generation: str
    source_id: str
    target_id: str
    scn: int
    state: State
    exceptions: int
    repaired: int = 0  # rows that people corrected: they are expected to differ from Oracle's
    kept: int = 0  # records that keep their former values, because their update was refused
    kept_records: tuple[KeptRecordReport, ...] = ()  # the first of them
    relatives: tuple[RelativeScn, ...] = ()  # parents and children that were read at a different SCN
    converted: tuple[str, ...] = ()  # measures whose sums the org converts: only the records read back verify them
    purged_utc: datetime | None = None  # the extract was gone: only key hashes and row checksums were compared
    second_opinion: SecondOpinion | None = None  # None if the extract has no opinions, or not every record was read
    source_rows: int
    target_rows: int
    comparisons: tuple[ComparedNumber, ...]
    records: RecordsReport | None
    compared_utc: datetime
    level3: Level3 = "full"
    seed: int | None = None  # of the sample
    data: str = ""  # fingerprint of what was compared: a new load or correction changes it
    weaker_check: str = ""  # a later, weaker check that agreed, and does not replace this verdict
    mapping_version: str = Field("", exclude=True)  # these two are recorded in the ledger and not stored
    checks_cpu_ms: int = Field(0, exclude=True)
    certificate: str = Field("", exclude=True)  # sha256 of the certificate of this verdict
    certified_by: int = Field(0, exclude=True)  # the stage run that it is named after
    files: tuple[Path, ...] = Field((), exclude=True)  # written by this run

    @classmethod
    def of(
        cls,
        extract: ExtractManifest,
        comparisons: Sequence[Comparison],
        records: RecordDifferences | None,
        expected: ExpectedRows,
        check: CheckFacts,
    ) -> ReconciliationReport:
        """The report of these comparisons: it is a mismatch if one of them does not agree."""
        exceptions, level3 = check.exceptions, check.level3
        repaired = expected.corrected
        state: State = "reconciled_with_exceptions" if exceptions or repaired else "reconciled"
        opinion = check.second_opinion
        if not all(comparison.agrees for comparison in comparisons) or (opinion and opinion.differing):
            state = "mismatch"
        elif level3 != "full":
            state = "sampled"
        return cls(
            table=extract.table,
            key=extract.key,
            generation=extract.generation,
            source_id=extract.source_id,
            target_id=extract.target_id,
            scn=extract.scn,
            state=state,
            exceptions=exceptions,
            repaired=repaired,
            kept=expected.kept,
            kept_records=tuple(_kept(one) for one in expected.examples),
            relatives=check.relatives,
            converted=check.converted,
            purged_utc=check.purged_utc,
            second_opinion=check.second_opinion,
            source_rows=extract.control_totals.rows,
            target_rows=int(comparisons[0].target or 0),
            comparisons=tuple(_number(comparison) for comparison in comparisons),
            records=None if records is None else RecordsReport.of(records),
            compared_utc=check.compared_utc,
            level3=level3,
            seed=expected.seed if level3 == "sample" else None,
            data=check.data,
        )

    def stands_against(self, newer: ReconciliationReport) -> bool:
        """Whether this verdict outlasts a newer check: it is stronger, of the same data, and that found nothing."""
        is_weaker = _STRENGTH[newer.level3] < _STRENGTH[self.level3]
        return is_weaker and newer.state != "mismatch" and newer.data == self.data

    @property
    def _other_scns(self) -> str:
        return ", ".join(one.compared_with(self.scn) for one in self.relatives)

    def verdict(self, level: int) -> Verdict:
        """Whether a level passed; skipped if nothing was compared at this level."""
        agreements = [number.agrees for number in self.comparisons if number.level == level]
        if not agreements:
            return "skipped"
        return "pass" if all(agreements) else "fail"

    def output(self) -> StageOutput:
        """What the stage run records."""
        return StageOutput(
            self.generation,
            rows=self.target_rows,
            bytes=0,
            state=self.state,
            mapping_version=self.mapping_version,
            detail={
                **self.detail(),
                "checks_cpu_ms": self.checks_cpu_ms,
                **({"certificate": self.certificate, "certified_by": self.certified_by} if self.certificate else {}),
            },
            files=self.files,
        )

    def detail(self) -> dict[str, int | str]:
        """Counts and verdicts."""
        differing = [number.measure for number in self.comparisons if not number.agrees]
        if self.second_opinion and self.second_opinion.differing:
            differing.append(DIFFERING)
        return {
            "source_rows": self.source_rows,
            "target_rows": self.target_rows,
            "exceptions": self.exceptions,
            **({"repaired": self.repaired} if self.repaired else {}),
            **({"kept": self.kept} if self.kept else {}),
            **{f"level{level}": self.verdict(level) for level in (1, 2, 3)},
            **({"compared_only": self.compared_only} if self.purged_utc else {}),
            **({"sums_by_records_only": ", ".join(self.converted)} if self.converted else {}),
            **({"other_scns": self._other_scns} if self.relatives else {}),
            **({"records_compared": self.records.compared} if self.records else {}),
            **({"share": self.share} if self.state == "sampled" else {}),
            **({"weaker_check": self.weaker_check} if self.weaker_check else {}),
            **({"second_opinion": str(self.second_opinion)} if self.second_opinion else {}),
            **({"opinions_compared": self.second_opinion.compared} if self.second_opinion else {}),
            **({"differing": ", ".join(differing)} if differing else {}),
        }

    def facts(self) -> dict[str, str]:
        """The origin of the numbers, as shown on a Data Docs page."""
        found = {
            "SCN": str(self.scn),
            "generation": self.generation,
            "Oracle database": self.source_id,
            "Salesforce org": self.target_id,
            "exceptions": str(self.exceptions),
        }
        if self.repaired:
            found["rows corrected by people"] = str(self.repaired)
        if self.kept:
            found["refused updates, former value kept"] = str(self.kept)
        if self.relatives:
            found["read at another SCN"] = self._other_scns
        if self.purged_utc:
            found["compared only"] = self.compared_only
        if self.converted:
            found["sums that the org converts, verified only by the records"] = ", ".join(self.converted)
        found["records compared"] = self.share
        if self.second_opinion:
            found["second opinion by Oracle"] = str(self.second_opinion)
        return found

    @property
    def compared_only(self) -> str:
        """What was compared after a purge; empty if the extract still existed."""
        if self.purged_utc is None:
            return ""
        return f"key hashes and row checksums: the extract was purged on {self.purged_utc:%Y-%m-%d}"

    @property
    def share(self) -> str:
        """How many records were compared one by one, of all that are expected: `5,000 of 3,840,000`."""
        compared = self.records.compared if self.records else 0
        return f"{compared:,} of {self.source_rows - int(self.comparisons[0].excepted):,}"


def last_report(context: PartitionContext) -> ReconciliationReport:
    """The newest reconciliation report of the current generation. Raises `ConfigError` if there is none."""
    generation = current_generation(context).id
    report = context.store.manifest(context.paths.generation(generation).reconciled, ReconciliationReport, REPORT)
    if report is None:
        raise ConfigError(
            f"Generation {generation} of {context} was never reconciled.",
            f"Run `kpc reconcile {context.table.name} {context.key}`.",
        )
    return report


def _number(comparison: Comparison) -> ComparedNumber:
    return ComparedNumber(
        level=comparison.level,
        measure=comparison.measure,
        source=comparison.source,
        excepted=comparison.excepted,
        target=comparison.target,
        agrees=comparison.agrees,
    )


def _kept(record: KeptRecord) -> KeptRecordReport:
    measures = tuple((one.field, one.former, one.oracle) for one in record.measures)
    return KeptRecordReport(
        key=record.key, former_checksum=record.former_checksum, fields=record.fields, measures=measures
    )
