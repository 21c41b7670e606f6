"""Sign-offs: people's decisions about a phase, a table or the migration."""

from __future__ import annotations

from collections.abc import Mapping
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
class Signer:
    """Who decided, and how that was found out.

    `is_authenticated`: by a system that asks for a password or a single sign-on, such as Airflow. The name that an
    operating system gives is weaker: whoever can run commands on that machine as that user has it.
    """

    actor: str
    identified: str
    is_authenticated: bool = False


@dataclass(frozen=True, slots=True)
class SignOff:
    """A person's decision about a phase, a table or the migration.

    `certificates` has the sha256 of each certificate that was decided upon, by partition (`TABLE KEY`); None for a
    decision of another kind, or of an older version. A `REVOKED` decision takes back the one that it `revokes`.
    """

    id: int
    source_id: str
    target_id: str
    subject: str
    actor: str
    decision: SignOffDecision
    note: str | None
    evidence_sha256: str | None
    signed_utc: datetime
    identified: str | None = None
    is_authenticated: bool | None = None
    certificates: dict[str, str] | None = None
    revokes: int | None = None


class SignOffs:
    """The decisions of all environments, in the order in which they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        environment: Environment,
        subject: str,
        signer: Signer,
        *,
        decision: SignOffDecision,
        note: str | None = None,
        evidence_sha256: str | None = None,
        certificates: Mapping[str, str] | None = None,
        revokes: int | None = None,
    ) -> int:
        """Record a person's decision about a phase, a table or the migration; returns its number."""
        with self._database.writing() as connection:
            added = connection.execute(
                insert(_SIGN_OFF).values(
                    **environment_values(environment),
                    subject=subject,
                    actor=signer.actor,
                    identified=signer.identified,
                    is_authenticated=signer.is_authenticated,
                    decision=decision,
                    note=note,
                    evidence_sha256=evidence_sha256,
                    certificates=None if certificates is None else dict(certificates),
                    revokes=revokes,
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
