"""The mapping versions under which rows were loaded, each with its full declaration."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from kpc.catalog import Table
from kpc.catalog.types import MARKERS
from kpc.errors import ConfigError
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.partition_filters import in_environment
from kpc.partition import Environment

_MAPPING = schema.mapping_version
_CHUNK = schema.chunk


class Mappings:
    """All mapping versions ever used; none is changed or removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, table: Table) -> str:
        """Record the table's full declaration under its mapping version, and return the version."""
        version = table.mapping_version
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, "mapping versions")
            if not _is_known(connection, version):
                connection.execute(
                    insert(_MAPPING).values(
                        version=version,
                        table_name=table.name,
                        external_id_version=table.external_id_version,
                        declaration=table.declaration,
                        first_used_utc=self._database.clock(),
                    )
                )
        return version

    def is_known(self, version: str) -> bool:
        """Whether a mapping version was recorded."""
        with self._database.reading() as connection:
            return _is_known(connection, version)

    def has_buckets(self, version: str) -> bool:
        """Whether rows staged under a mapping version have markers with buckets, as this version writes them."""
        query = select(_MAPPING.c.declaration).where(_MAPPING.c.version == version)
        with self._database.reading() as connection:
            declaration = connection.execute(query).scalar_one_or_none()
        return declaration is not None and declaration.get("markers") == MARKERS

    def check_external_id(self, environment: Environment, table: Table) -> None:
        """Raises `ConfigError` when the org holds rows of this table with an external id composed differently."""
        query = (
            select(_MAPPING.c.external_id_version)
            .join(_CHUNK, _CHUNK.c.mapping_version == _MAPPING.c.version)
            .where(
                in_environment(_CHUNK, environment),
                _CHUNK.c.table_name == table.name,
                _CHUNK.c.loaded > 0,
                _MAPPING.c.external_id_version != table.external_id_version,
            )
            .limit(1)
        )
        with self._database.reading() as connection:
            other = connection.execute(query).scalar_one_or_none()
        if other is not None:
            raise ConfigError(
                f"{table.name}: the org holds rows whose external id was composed differently ({other}); loading "
                f"with this one ({table.external_id_version}) would duplicate them.",
                "Restore the key's declaration in kpc/catalog, or remove the loaded rows first (`kpc rollback`).",
            )


def _is_known(connection: Connection, version: str) -> bool:
    return connection.execute(select(_MAPPING.c.version).where(_MAPPING.c.version == version)).first() is not None
