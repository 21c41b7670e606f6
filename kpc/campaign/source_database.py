"""Checks of the source database as a whole: character set, role, clock, limits, undo, account, hidden views."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from kpc.campaign.source_facts import SourceFacts
from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.catalog import TABLES
from kpc.local_time import AHEAD_OF_UTC
from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import Statement

_UNICODE = ("AL32UTF8", "UTF8")
_THAI = ("TH8TISASCII", "TH8TISEBCDIC", "TH8TISEBCDICS", "TH8MACTHAI", "TH8MACTHAIS")
_MOST_SKEW = timedelta(seconds=60)
_SOON = timedelta(days=30)
_MIN_IDLE_MINUTES = 10
# Conservative estimates of a read: rows per second and session, bytes per second of a scan, seconds at least.
_ROWS_PER_S, _BYTES_PER_S, _LEAST_S = 30_000, 100_000_000, 60.0
_CLOCK = Statement(
    "SELECT TO_CHAR(SYS_EXTRACT_UTC(SYSTIMESTAMP), 'YYYY-MM-DD HH24:MI:SS'), "
    "TO_CHAR(SYSDATE, 'YYYY-MM-DD HH24:MI:SS') FROM DUAL"
)


def check_database(session: ReadSession, oracle: Oracle, facts: SourceFacts, now: datetime) -> Iterator[SystemCheck]:
    """All checks of the database. `now` is timezone-aware."""
    about = CheckSubject("Oracle", "database")
    yield _character_set(about, facts)
    yield _role(about, facts)
    yield from _clock(about, session, now)
    yield from _profile(about, oracle, facts)
    yield _undo(about, oracle, facts)
    yield _account(about, facts, now)
    user = oracle.settings.user
    for view in dict.fromkeys(facts.hidden):
        yield CheckSubject("Oracle", view).warning(
            "hidden view",
            f"User {user} may not read {view}, so its contents were not checked.",
            f"Ask the DBA: GRANT SELECT ON SYS.{view.replace('V$', 'V_$')} TO {user}.",
        )


def _character_set(about: CheckSubject, facts: SourceFacts) -> SystemCheck:
    found = f"{facts.character_set}, NVARCHAR2 {facts.national_set}"
    if facts.character_set in (*_UNICODE, *_THAI):
        return about.ok("character set", found)
    return about.warning(
        "character set",
        f"{found}: it has no Thai letters, so Thai text was stored through a wrong NLS_LANG, or was lost when it was "
        "stored. The server converts such bytes to Latin letters or U+FFFD.",
        "See the text checks of the tables; declare stored_as in kpc/catalog for the columns that hold Thai bytes.",
    )


def _role(about: CheckSubject, facts: SourceFacts) -> SystemCheck:
    found = f"{facts.role}, {facts.open_mode}"
    if not facts.role:
        return about.warning("role", "V$DATABASE shows no role.", "Ask the DBA which database this is.")
    if not facts.open_mode.startswith("READ"):
        return about.failed("role", f"{found}: it cannot be read.", "Ask the DBA to open it.")
    if facts.role != "PRIMARY":
        return about.warning(
            "role",
            f"{found}: a standby shows what it has applied, and only as far back as the primary's undo reaches.",
            "Ask the DBA whether redo is applied in real time; at the cut-over, compare with the primary.",
        )
    if facts.open_mode != "READ WRITE":
        return about.warning("role", f"{found}: it never changes.", "Ask the DBA whether this is the live database.")
    return about.ok("role", found)


def _clock(about: CheckSubject, session: ReadSession, now: datetime) -> Iterator[SystemCheck]:
    """The time zone of SYSDATE, and the server's clock compared with this machine's."""
    utc, local = (datetime.fromisoformat(str(text)) for text in session.row(_CLOCK))
    offset = local - utc
    if abs(offset - AHEAD_OF_UTC) < timedelta(minutes=1):
        yield about.ok("time zone", "SYSDATE is the time of Asia/Bangkok")
    else:
        hours = (offset - AHEAD_OF_UTC) / timedelta(hours=1)
        yield about.warning(
            "time zone",
            f"SYSDATE is {hours:+.1f} hours off Asia/Bangkok: a DATE that the database fills from SYSDATE is shifted "
            "by that, even past midnight and into another month, because DATE is taken as local time.",
            "Ask the owner of the source which columns are filled from SYSDATE, and compare one of today's rows.",
        )
    skew = utc.replace(tzinfo=UTC) - now
    if abs(skew) <= _MOST_SKEW:
        yield about.ok("clock", f"{abs(skew).total_seconds():.0f} s difference from this machine")
        return
    yield about.warning(
        "clock",
        f"The server's clock is {skew.total_seconds():+.0f} s off this machine's: incremental reads compare its change "
        "times with our clock.",
        "Synchronize both by NTP.",
    )


def _profile(about: CheckSubject, oracle: Oracle, facts: SourceFacts) -> Iterator[SystemCheck]:
    """The limits of the user's profile compared with what an extract needs."""
    sessions, timeout_s = oracle.settings.sessions, oracle.settings.call_timeout_s
    found = {name: int(limit) for name, limit in facts.limits.items() if str(limit).isdigit()}
    most, idle, connected = (found.get(name) for name in ("SESSIONS_PER_USER", "IDLE_TIME", "CONNECT_TIME"))
    if most is not None and most < sessions + 1:
        yield about.failed(
            "sessions",
            f"SESSIONS_PER_USER is {most}, but one partition uses up to {sessions} sessions plus one: ORA-02391.",
            "Lower KPC__ORACLE__SESSIONS and the pool `oracle_extract`, or ask the DBA for another profile.",
        )
    else:
        yield about.ok("sessions", f"SESSIONS_PER_USER {facts.limits.get('SESSIONS_PER_USER', 'not known')}")
    if connected is not None and connected * 60 < timeout_s:
        yield about.warning(
            "connect time",
            f"CONNECT_TIME ends a session after {connected} minutes (ORA-02399); a call may take {timeout_s:.0f} s.",
            "Ask the DBA for a profile without CONNECT_TIME.",
        )
    else:
        yield about.ok("connect time", f"CONNECT_TIME {facts.limits.get('CONNECT_TIME', 'not known')}")
    if idle is not None and idle < _MIN_IDLE_MINUTES:
        yield about.warning(
            "idle time",
            f"IDLE_TIME ends a session that waits {idle} minutes (ORA-02396), as one does while a file is written.",
            f"Ask the DBA for a profile with IDLE_TIME of {_MIN_IDLE_MINUTES} minutes or more.",
        )
    else:
        yield about.ok("idle time", f"IDLE_TIME {facts.limits.get('IDLE_TIME', 'not known')}")


def _undo(about: CheckSubject, oracle: Oracle, facts: SourceFacts) -> SystemCheck:
    """Undo must reach from a partition's SCN to the end of its read."""
    text = facts.parameters.get("undo_retention")
    if text is None:
        return about.warning(
            "undo",
            "UNDO_RETENTION is not known, so it is unknown whether a month can be read before ORA-01555.",
            f"Ask the DBA: GRANT SELECT ON SYS.V_$PARAMETER TO {oracle.settings.user}.",
        )
    retention_s, table, seconds = int(text), *_longest_read(oracle, facts)
    found = f"UNDO_RETENTION is {retention_s:,} s; the longest read, {table}, is estimated at {seconds:,.0f} s"
    if retention_s >= seconds:
        return about.ok("undo", found)
    return about.warning(
        "undo",
        f"{found}: if rows change meanwhile, it fails with ORA-01555.",
        "Ask the DBA for a longer UNDO_RETENTION and room in the undo tablespace, or extract in quiet hours.",
    )


def _longest_read(oracle: Oracle, facts: SourceFacts) -> tuple[str, float]:
    """The table whose partition takes longest, and the seconds: the scan, then the rows at an even pace per session."""
    longest = ("no table", 0.0)
    for table in TABLES.values():
        known = facts.tables.get(table.name)
        if known is None or known.rows is None:
            continue
        in_partition = min(known.rows, table.rows_per_year / 12) if table.is_monthly else known.rows
        sessions = min(oracle.settings.sessions, table.sessions)
        seconds = (known.raw_bytes or 0) / _BYTES_PER_S + in_partition / (_ROWS_PER_S * sessions)
        longest = max(longest, (table.name, max(seconds, _LEAST_S)), key=lambda each: each[1])
    return longest


def _account(about: CheckSubject, facts: SourceFacts, now: datetime) -> SystemCheck:
    if facts.expires is None or facts.expires - now.replace(tzinfo=None) > _SOON:
        return about.ok("password", "does not expire within 30 days")
    return about.warning(
        "password",
        f"The password expires on {facts.expires:%Y-%m-%d} (ORA-28001), which may be during the campaign.",
        "Ask the DBA to renew it before then, or for a profile without PASSWORD_LIFE_TIME.",
    )
