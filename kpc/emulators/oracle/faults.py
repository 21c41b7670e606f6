"""Faults on demand: which connections or statements they strike, how often, and what goes wrong.

A rule is written `ACTION=VALUE[,option=value...]` on the command line and as a JSON object on the admin channel.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from kpc.emulators.errors import OptionError
from kpc.emulators.oracle.interface import OraError
from kpc.emulators.oracle.wire.transport.packets import PeerClosed

Action = Literal[
    "silent", "hang_up", "refuse", "handshake", "error", "cut", "slow_rows", "delay", "undo_retention", "session_limit"
]  # fmt: skip
Handshake = Literal["native_encryption", "version_11_1", "verifier_10g"]
_ON_CONNECT = ("silent", "hang_up", "refuse")
_ON_STATEMENT = ("error", "cut", "slow_rows", "delay")
_LISTENER_CODES = range(12150, 12700)  # sent as REFUSE, the others as the answer to a login
_NUMBERS = ("refuse", "error", "slow_rows", "delay", "undo_retention", "session_limit")
_ENDS = ("fin", "rst")
_WORDS = {"hang_up": _ENDS, "cut": _ENDS, "handshake": get_args(Handshake)}
_STEPS_PER_S = 20  # portions of slow rows
_SEE = "See docs/oracle-emulator.md."
_TEXTS = {
    18: "maximum number of sessions exceeded",
    28: "your session has been killed",
    376: "file 7 cannot be read at this time",
    600: "internal error code, arguments: [kpc_emulator], [], [], [], [], [], [], [], [], [], [], []",
    942: "table or view does not exist",
    1012: "not logged on",
    1031: "insufficient privileges",
    1033: "ORACLE initialization or shutdown in progress",
    1034: "ORACLE not available",
    1045: "user lacks CREATE SESSION privilege; logon denied",
    1089: "immediate shutdown or close in progress - no operations are permitted",
    1090: "shutdown in progress - connection is not permitted",
    1115: "IO error reading block from file 7 (block # 4711)",
    1410: "invalid ROWID",
    1555: 'snapshot too old: rollback segment number 9 with name "_SYSSMU9_KPC$" too small',
    2391: "exceeded simultaneous SESSIONS_PER_USER limit",
    2396: "exceeded maximum idle time, please connect again",
    2399: "exceeded maximum connect time, you are being logged off",
    3113: "end-of-file on communication channel",
    4036: "PGA memory used by the instance exceeds PGA_AGGREGATE_LIMIT",
    8103: "object no longer exists",
    12757: "instance does not currently know of requested service",
    12805: "parallel query server died unexpectedly",
    28000: "The account is locked.",
    28001: "the password has expired",
}


class ConnectionCut(PeerClosed):
    """A fault ends this connection: `end` is fin or rst."""

    def __init__(self, end: str) -> None:
        super().__init__(f"cut by a fault ({end})")
        self.end = end


@dataclass(slots=True)
class OracleFault:
    """One rule. It lets `skip` matches pass, then strikes `times` (-1: always).

    silent: accept a connection and send nothing. hang_up (fin, rst): end it at once. refuse (ORA code): refuse it.
    handshake: native_encryption (the server demands it), version_11_1 (an older protocol), verifier_10g (of the user).
    error (ORA code), cut (fin, rst): fail a statement when row `after_rows` + 1 would be sent; 0 means before it runs.
    slow_rows (rows/s), delay (s before the statement runs).
    undo_retention (SCNs), session_limit (sessions) hold for the database, for as long as the rule is there.
    `sql` is a regular expression found in the statement, `table` a name in it, `user` who runs it or logs in.
    `seconds`: the rule ends so long after it was made; 0: it does not.
    """

    action: Action
    value: float | str = ""
    sql: str = ""
    table: str = ""
    user: str = ""
    after_rows: int = 0
    skip: int = 0
    times: int = -1
    seconds: float = 0.0
    struck: int = 0
    id: int = 0
    made_s: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return not self.times or (self.seconds > 0 and time.monotonic() - self.made_s >= self.seconds)

    @property
    def number(self) -> float:
        return float(self.value)

    @property
    def code(self) -> int:
        return int(self.number)

    @property
    def is_of_listener(self) -> bool:
        return self.action != "refuse" or self.code in _LISTENER_CODES

    def concerns(self, sql: str, user: str) -> bool:
        """Whether the rule applies to a statement."""
        if self.user and self.user.upper() != user.upper():
            return False
        if self.sql and not re.search(self.sql, sql, re.IGNORECASE):
            return False
        name = rf"(?<![\w$#]){re.escape(self.table)}(?![\w$#])"
        return not self.table or re.search(name, sql, re.IGNORECASE) is not None

    def raised(self) -> OraError:
        return OraError(self.code, _TEXTS.get(self.code, "raised by a fault switch of the emulator"))


def parse_fault(text: str) -> dict[str, object]:
    """`error=1555,after_rows=100,times=1` as the JSON object it stands for."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise OptionError(f"{text!r} is no fault.", f"Write it as ACTION=VALUE[,option=value...]. {_SEE}")
    (action, _, value), *options = pairs
    facts: dict[str, object] = {name.strip(): given for name, _, given in options}
    return facts | {"action": action.strip(), "value": value.strip()}


def _value(action: str, given: object) -> float | str:
    """The value in the form that its action takes."""
    if action in _NUMBERS:
        number = float(str(given))
        if number < 0 or (action == "slow_rows" and not number):
            raise ValueError(f"{number:g} is too small")
        return number
    if action in _WORDS and given not in _WORDS[action]:
        raise ValueError(f"{given!r} is not one of {', '.join(_WORDS[action])}")
    return str(given)


def _rule(facts: dict[str, Any]) -> OracleFault:
    """Raises `OptionError` with what is wrong."""
    known = {each.name for each in fields(OracleFault)} - {"struck", "id", "made_s"}
    if wrong := set(facts) - known:
        raise OptionError(f"A fault has no {', '.join(sorted(wrong))}.", f"It has {', '.join(sorted(known))}.")
    action: Any = facts.get("action")
    if action not in get_args(Action):
        raise OptionError(f"There is no fault {action!r}.", f"Choose of {', '.join(get_args(Action))}.")
    try:
        return OracleFault(
            action,
            _value(action, facts.get("value", "")),
            sql=re.compile(str(facts.get("sql", ""))).pattern,
            table=str(facts.get("table", "")),
            user=str(facts.get("user", "")),
            after_rows=int(facts.get("after_rows", 0)),
            skip=int(facts.get("skip", 0)),
            times=int(facts.get("times", -1)),
            seconds=float(facts.get("seconds", 0)),
        )
    except (TypeError, ValueError, re.error) as error:
        raise OptionError(f"The fault {action} is wrong: {error}.", _SEE) from error


class OracleFaults:
    """The rules in force, shared by all connections. `on_change` is called after each change of the list."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        self._lock = threading.Lock()
        self._rules: list[OracleFault] = []
        self._ids = itertools.count(1)

    def add(self, facts: dict[str, Any]) -> int:
        """Add a rule from JSON and give its id. Raises `OptionError` for a wrong one."""
        rule = _rule(facts)
        with self._lock:
            rule.id = next(self._ids)
            self._rules.append(rule)
        self.on_change()
        return rule.id

    def remove(self, number: int | None = None) -> int:
        """Remove one rule, or all; how many there were."""
        with self._lock:
            before = len(self._rules)
            self._rules = [rule for rule in self._rules if number is not None and rule.id != number]
            removed = before - len(self._rules)
        self.on_change()
        return removed

    def as_list(self) -> list[dict[str, object]]:
        with self._lock:
            return [asdict(rule) for rule in self._rules]

    def limit(self, action: Action) -> int | None:
        """The tightest `undo_retention` or `session_limit`."""
        with self._lock:
            return min((rule.code for rule in self._rules if rule.action == action), default=None)

    def on_connect(self) -> OracleFault | None:
        """The fault that strikes a new connection, if any."""
        with self._lock:
            rules = [rule for rule in self._rules if rule.action in _ON_CONNECT and rule.is_of_listener]
            return next((rule for rule in rules if _passes(rule) and _strikes(rule)), None)

    def on_handshake(self, kind: Handshake, user: str = "") -> bool:
        """Whether a handshake is of this kind; `user` is known only where the kind depends on the user."""
        with self._lock:
            rules = [rule for rule in self._rules if (rule.action, rule.value) == ("handshake", kind)]
            return any(rule.concerns("", user) and _passes(rule) and _strikes(rule) for rule in rules)

    def on_login(self, user: str) -> OracleFault | None:
        """The fault that strikes a login with the right password, if any."""
        with self._lock:
            rules = [rule for rule in self._rules if rule.action == "refuse" and not rule.is_of_listener]
            return next((r for r in rules if r.concerns("", user) and _passes(r) and _strikes(r)), None)

    def on_statement(self, sql: str, user: str) -> StatementFaults:
        """The faults that apply to one execution of a statement."""
        if not self._rules:
            return NO_FAULTS
        with self._lock:
            rules = [r for r in self._rules if r.action in _ON_STATEMENT and r.concerns(sql, user) and _passes(r)]
        return StatementFaults(self, rules) if rules else NO_FAULTS

    def strike(self, rule: OracleFault) -> bool:
        """Use up one of the rule's times; False if another statement took the last one."""
        with self._lock:
            return rule in self._rules and _strikes(rule)


def _passes(rule: OracleFault) -> bool:
    """Whether this match comes after the ones to skip."""
    if rule.is_over:
        return False
    if rule.skip > 0:
        rule.skip -= 1
        return False
    return True


def _strikes(rule: OracleFault) -> bool:
    if rule.is_over:
        return False
    rule.times -= rule.times > 0
    rule.struck += 1
    return True


@dataclass(slots=True)
class StatementFaults:
    """The rules that apply to one execution."""

    faults: OracleFaults
    rules: list[OracleFault] = field(default_factory=list)
    rows_per_s: float = 0.0

    def before(self) -> float:
        """Seconds to wait before the statement runs; faults without rows strike after that."""
        wait_s = 0.0
        for rule in self.rules:
            if rule.action == "delay" and self.faults.strike(rule):
                wait_s += rule.number
            elif rule.action == "slow_rows" and self.faults.strike(rule):
                self.rows_per_s = min(self.rows_per_s or rule.number, rule.number)
        return wait_s

    def strike_at(self, rows: int) -> None:
        """Raise what strikes now that `rows` rows are delivered."""
        for rule in self.rules:
            if rule.action in {"error", "cut"} and rule.after_rows <= rows and self.faults.strike(rule):
                if rule.action == "cut":
                    raise ConnectionCut(str(rule.value))
                raise rule.raised()

    def step(self, wanted: int, delivered: int) -> int:
        """How many rows may be sent before the next fault or delay."""
        for rule in self.rules:
            if rule.action in {"error", "cut"} and rule.after_rows > delivered:
                wanted = min(wanted, rule.after_rows - delivered)
        return min(wanted, max(1, int(self.rows_per_s / _STEPS_PER_S))) if self.rows_per_s else wanted


NO_FAULTS = StatementFaults(OracleFaults())
