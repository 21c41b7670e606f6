"""CREATE, ALTER and DROP USER, GRANT and REVOKE."""

from __future__ import annotations

from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.lexer import Kind
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.storage.grants import DBA, OBJECT_PRIVILEGES, PUBLIC, SYSTEM_PRIVILEGES, Grants, User
from kpc.emulators.oracle.sql.storage.store import TableStore
from kpc.emulators.oracle.sql.workspace import StatementWorkspace

_IGNORED = (("DEFAULT", "TABLESPACE"), ("TEMPORARY", "TABLESPACE"), ("QUOTA", "UNLIMITED", "ON"))


def create_user(grants: Grants, user: str, reader: TokenReader) -> None:
    _check_dba(user)
    name = reader.identifier(1935)
    if name in grants.users or name in (DBA, PUBLIC):
        raise ora(1920, name)
    grants.users[name] = made = User(name, "")
    _read_options(reader, made)
    if not made.password:
        del grants.users[name]
        raise ora(988)


def alter_user(grants: Grants, user: str, reader: TokenReader) -> None:
    """Users may change their own password; everything else needs the DBA."""
    name = reader.identifier(1935)
    if name not in grants.users:
        raise ora(1918, name)
    if user != DBA and (user != name or not reader.peek("IDENTIFIED", "BY")):
        raise ora(1031)
    _read_options(reader, grants.users[name])


def _read_options(reader: TokenReader, user: User) -> None:
    while not reader.is_done:
        if reader.take("IDENTIFIED", "BY"):
            token = reader.next(988)
            if token.kind not in (Kind.WORD, Kind.QUOTED):
                raise ora(988)
            user.password = token.value if token.kind is Kind.QUOTED else reader.text[token.start : token.end]
        elif reader.take("ACCOUNT"):
            user.is_locked = reader.take("LOCK")
            if not user.is_locked:
                reader.expect("UNLOCK")
        elif any(reader.take(*words) for words in _IGNORED):
            reader.identifier()
        else:
            raise ora(922)


def drop_user(store: TableStore, user: str, reader: TokenReader) -> None:
    _check_dba(user)
    grants = store.grants
    name = reader.identifier(1935)
    if name not in grants.users:
        raise ora(1918, name)
    if any(owner == name for owner, _ in store.objects):
        raise unsupported("DROP USER of one who owns objects") if reader.take("CASCADE") else ora(1922, name)
    reader.take("CASCADE")
    grants.forget_user(name)


def execute(workspace: StatementWorkspace, reader: TokenReader) -> bool:
    """GRANT or REVOKE; False for anything else."""
    if reader.take("GRANT"):
        _grant(workspace, reader)
    elif reader.take("REVOKE"):
        _revoke(workspace, reader)
    else:
        return False
    return True


def _grant(workspace: StatementWorkspace, reader: TokenReader) -> None:
    grants = workspace.store.grants
    privileges, on = _privileges(workspace, reader)
    reader.expect("TO", 987)
    for user in _users(grants, reader):
        grants.grant(user, privileges, on)
    if not reader.is_done:
        raise unsupported("this option of GRANT")


def _revoke(workspace: StatementWorkspace, reader: TokenReader) -> None:
    grants = workspace.store.grants
    privileges, on = _privileges(workspace, reader)
    reader.expect("FROM", 905)
    for user in _users(grants, reader):
        grants.revoke(user, privileges, on)
    if not reader.is_done:
        raise ora(933)


def _check_dba(user: str) -> None:
    if user != DBA:
        raise ora(1031)


def _privileges(workspace: StatementWorkspace, reader: TokenReader) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """The privileges and the object they are on, which the user must be allowed to grant."""
    named: list[str] = []
    while True:
        words = []
        while not reader.is_done and not (
            reader.peek(",") or reader.peek("ON") or reader.peek("TO") or reader.peek("FROM")
        ):
            words.append(reader.next().value)
        named.append(" ".join(words))
        if not reader.take(","):
            break
    if not reader.take("ON"):
        if wrong := [name for name in named if name not in SYSTEM_PRIVILEGES]:
            raise ora(990) if wrong != ["DBA"] else unsupported("roles")
        if workspace.settings.user != DBA:
            raise ora(1031)
        return tuple(named), None
    owner, name = reader.object_name()
    on = _object(workspace, owner, name)
    if named in (["ALL"], ["ALL PRIVILEGES"]):
        named = list(OBJECT_PRIVILEGES)
    if any(privilege not in OBJECT_PRIVILEGES for privilege in named):
        raise ora(990)
    if workspace.settings.user not in (DBA, on[0]):
        raise ora(1031) if workspace.store.grants.is_visible(workspace.settings.user, *on) else ora(942)
    return tuple(named), on


def _object(workspace: StatementWorkspace, owner: str | None, name: str) -> tuple[str, str]:
    if name.startswith(("V_$", "REDACTION_")) and owner in (None, DBA):
        return DBA, name
    owner = owner or workspace.schema.name
    if workspace.store.find(owner, name) is None:
        raise ora(942)
    return owner, name


def _users(grants: Grants, reader: TokenReader) -> list[str]:
    found = []
    while True:
        name = reader.identifier(987)
        if name not in grants.users and name != PUBLIC:
            raise ora(1917, name)
        found.append(name)
        if not reader.take(","):
            return found
