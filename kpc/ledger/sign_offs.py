"""Sign-offs: people's decisions about a phase, a table or the migration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from kpc.ledger import schema
from kpc.ledger.database import Database, inserted_id
from kpc.ledger.partition_filters import environment_values, in_environment
from kpc.ledger.states import SignOffDecision
from kpc.partition import Environment

_SIGN_OFF = schema.sign_off


@dataclass(frozen=True, slots=True)
class SignOff:
    """A person's decision about a phase, a table or the migration."""

    id: int
    source_id: str
    target_id: str
    subject: str
    actor: str
    decision: SignOffDecision
    note: str | None
    evidence_sha256: str | None
    signed_utc: datetime


class SignOffs:
    """The decisions of all environments, in the order in which they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        environment: Environment,
        subject: str,
        *,
        actor: str,
        decision: SignOffDecision,
        note: str | None = None,
        evidence_sha256: str | None = None,
    ) -> int:
        """Record a person's decision about a phase, a table or the migration."""
        with self._database.writing() as connection:
            added = connection.execute(
                insert(_SIGN_OFF).values(
                    **environment_values(environment),
                    subject=subject,
                    actor=actor,
                    decision=decision,
                    note=note,
                    evidence_sha256=evidence_sha256,
                    signed_utc=self._database.clock(),
                )
            )
        return inserted_id(added)

    def all(self, environment: Environment) -> list[SignOff]:
        """Every decision, oldest first."""
        with self._database.reading() as connection:
            found = connection.execute(
                select(_SIGN_OFF).where(in_environment(_SIGN_OFF, environment)).order_by(_SIGN_OFF.c.id)
            ).mappings()
            return [SignOff(**row) for row in found]
