"""What was decided about the data: mapping versions, the campaign's scope, comparisons and sign-offs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from kpc.catalog import Table
from kpc.errors import ConfigError
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.places import at, here, place
from kpc.partition import Partition
from kpc.storage.store import Environment


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """What the campaign covers; the newest row counts. `unassigned`: rows of no partition, by table and cause."""

    id: int
    source_id: str
    target_id: str
    months: list[str]
    tables: list[str]
    mode: str
    sample_rows: int | None
    unassigned: dict[str, dict[str, int]]
    run_id: str
    actor: str
    set_utc: datetime


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison of source and target; exact values as text."""

    level: int
    measure: str
    source_value: str | None
    target_value: str | None
    passed: bool
    detail: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SignOff:
    """A person's decision about a phase, a table or the migration."""

    id: int
    source_id: str
    target_id: str
    subject: str
    actor: str
    decision: str
    note: str | None
    evidence_sha256: str | None
    signed_utc: datetime


class Proofs(Database):
    def remember_mapping(self, table: Table) -> str:
        """Keep the table's declaration whole under its mapping version, and return the version."""
        rows = schema.mapping_version
        version = table.mapping_version
        with self.reading() as connection:
            if connection.execute(select(rows.c.version).where(rows.c.version == version)).one_or_none():
                return version
        try:
            with self.writing() as connection:
                connection.execute(
                    insert(rows).values(
                        version=version,
                        table_name=table.name,
                        external_id_version=table.external_id_version,
                        declaration=table.declaration,
                        first_used_utc=self.clock(),
                    )
                )
        except IntegrityError:
            return version  # another worker kept it first
        return version

    def check_external_id(self, environment: Environment, table: Table) -> None:
        """Raises `ConfigError` when the org holds rows of this table under an external id composed differently."""
        mapping, chunk = schema.mapping_version, schema.chunk
        query = (
            select(mapping.c.external_id_version)
            .join(chunk, chunk.c.mapping_version == mapping.c.version)
            .where(
                here(chunk, environment),
                chunk.c.table_name == table.name,
                chunk.c.loaded > 0,
                mapping.c.external_id_version != table.external_id_version,
            )
            .limit(1)
        )
        with self.reading() as connection:
            other = connection.execute(query).scalar_one_or_none()
        if other is not None:
            raise ConfigError(
                f"{table.name}: the org holds rows whose external id was composed in another way ({other}); loading "
                f"with this one ({table.external_id_version}) would store them twice.",
                "Restore the key's declaration in kpc/catalog, or remove the loaded rows first (`kpc rollback`).",
            )

    def set_scope(
        self,
        environment: Environment,
        *,
        months: Sequence[str],
        tables: Sequence[str],
        mode: str,
        run_id: str,
        actor: str,
        sample_rows: int | None = None,
        unassigned: Mapping[str, Mapping[str, int]] | None = None,
    ) -> int:
        """Say what the campaign covers from now on."""
        with self.writing() as connection:
            added = connection.execute(
                insert(schema.scope).values(
                    source_id=environment.source_id,
                    target_id=environment.target_id,
                    months=list(months),
                    tables=list(tables),
                    mode=mode,
                    sample_rows=sample_rows,
                    unassigned=unassigned or {},
                    run_id=run_id,
                    actor=actor,
                    set_utc=self.clock(),
                )
            )
        return int(added.inserted_primary_key[0]) if added.inserted_primary_key else 0

    def scope(self, environment: Environment) -> ScopeRow | None:
        """What the campaign covers now; None before the first one."""
        rows = schema.scope
        query = select(rows).where(here(rows, environment)).order_by(rows.c.id.desc()).limit(1)
        with self.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return ScopeRow(**row) if row else None

    def record_reconciliation(
        self, generation: str, stage_run: int, compared: Sequence[Compared], *, lease: Lease
    ) -> None:
        """Keep every comparison that a reconciliation made."""
        fixed = {
            **place(lease.environment, lease.partition),
            "generation": generation,
            "stage_run": stage_run,
            "compared_utc": self.clock(),
        }
        with self.writing(lease) as connection:
            if compared:
                connection.execute(
                    insert(schema.reconciliation),
                    [{**fixed, **{name: getattr(one, name) for name in Compared.__slots__}} for one in compared],
                )

    def reconciliation(self, environment: Environment, partition: Partition) -> list[Compared]:
        """The comparisons of the partition's newest recorded reconciliation."""
        rows = schema.reconciliation
        newest = (
            select(rows.c.stage_run)
            .where(at(rows, environment, partition))
            .order_by(rows.c.stage_run.desc())
            .limit(1)
            .scalar_subquery()
        )
        names = [rows.c[name] for name in Compared.__slots__]
        with self.reading() as connection:
            found = connection.execute(select(*names).where(rows.c.stage_run == newest).order_by(rows.c.id)).mappings()
            return [Compared(**row) for row in found]

    def sign(
        self,
        environment: Environment,
        subject: str,
        *,
        actor: str,
        decision: str,
        note: str | None = None,
        evidence_sha256: str | None = None,
    ) -> int:
        """Record a person's decision about a phase, a table or the migration."""
        with self.writing() as connection:
            added = connection.execute(
                insert(schema.sign_off).values(
                    source_id=environment.source_id,
                    target_id=environment.target_id,
                    subject=subject,
                    actor=actor,
                    decision=decision,
                    note=note,
                    evidence_sha256=evidence_sha256,
                    signed_utc=self.clock(),
                )
            )
        return int(added.inserted_primary_key[0]) if added.inserted_primary_key else 0

    def sign_offs(self, environment: Environment) -> list[SignOff]:
        rows = schema.sign_off
        with self.reading() as connection:
            found = connection.execute(select(rows).where(here(rows, environment)).order_by(rows.c.id)).mappings()
            return [SignOff(**row) for row in found]
