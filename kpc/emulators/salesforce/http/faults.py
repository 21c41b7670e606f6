"""Faults of the network and of the HTTP front end, by rule: which requests, how often, and what goes wrong."""

from __future__ import annotations

import random
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, get_args

from starlette.responses import Response, StreamingResponse

from kpc.emulators.errors import OptionError

Action = Literal[
    "status",
    "status_after",
    "answer",
    "bomb",
    "cut_before",
    "cut_after",
    "cut_body",
    "cut_answer",
    "delay",
    "expire_tokens",
]
_BLOCK = bytes(1 << 20)


@dataclass(slots=True)
class HttpFault:
    """One rule. It lets `skip` matching requests pass, then strikes `times` (-1: always), each with `probability`.

    status: answer `status` and `code` without doing anything; status_after: do it, then answer so.
    answer: send `status` and `body` as they are, without doing anything. bomb: a gzip answer of `after_bytes` zeros.
    All four send `headers` too.
    cut_before, cut_after: drop the connection without doing anything, or after it was done.
    cut_body: drop the connection once `after_bytes` of the request's body have come; cut_answer: do it, and drop the
    connection once `after_bytes` of the response's body were sent.
    delay: wait `delay_s` first. expire_tokens: end all sessions first.
    """

    action: Action
    method: str = ""
    path: str = ""
    status: int = 503
    code: str = "SERVER_UNAVAILABLE"
    message: str = "The emulator was told to fail this request"
    after_bytes: int = 0
    delay_s: float = 0.0
    skip: int = 0
    times: int = 1
    probability: float = 1.0
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    struck: int = 0

    def matches(self, method: str, path: str) -> bool:
        return (not self.method or self.method.upper() == method) and re.search(self.path, path) is not None


def planted_answer(fault: HttpFault) -> Response | None:
    """The response that a rule puts in place of the org's; None if its action is another one."""
    if fault.action == "answer":
        answer = Response(fault.body.encode("utf-8", "surrogatepass"), fault.status)
    elif fault.action == "bomb":
        answer = StreamingResponse(_packed_zeros(fault.after_bytes), 200, {"content-encoding": "gzip"})
    else:
        return None
    answer.headers.setdefault("content-type", "application/json;charset=UTF-8")
    for name, text in fault.headers.items():
        answer.headers[name] = text
    return answer


def _packed_zeros(count: int) -> Iterator[bytes]:
    """One gzip member of `count` zero bytes, about a thousandth of their size."""
    packer = zlib.compressobj(wbits=31)
    for start in range(0, count, len(_BLOCK)):
        yield packer.compress(_BLOCK[: count - start])
    yield packer.flush()


class HttpFaults:
    """The rules in force; the first that strikes a request decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  repeatable faults, no secret
        self._lock = threading.Lock()
        self._rules: list[HttpFault] = []

    def add(self, facts: dict[str, object]) -> None:
        """Add a rule from JSON. Raises `OptionError` for a wrong one."""
        known = {each.name for each in fields(HttpFault)} - {"struck"}
        if wrong := set(facts) - known:
            raise OptionError(f"A fault has no {', '.join(sorted(wrong))}.", f"It has {', '.join(sorted(known))}.")
        if facts.get("action") not in get_args(Action):
            raise OptionError(
                f"There is no fault {facts.get('action')!r}.", f"Choose of {', '.join(get_args(Action))}."
            )
        if facts["action"] == "answer":
            facts = {"status": 200} | facts
        try:
            rule = HttpFault(**facts)  # type: ignore[arg-type]  # checked below, field by field
            rule = HttpFault(
                rule.action,
                str(rule.method),
                re.compile(str(rule.path)).pattern,
                int(rule.status),
                str(rule.code),
                str(rule.message),
                int(rule.after_bytes),
                float(rule.delay_s),
                int(rule.skip),
                int(rule.times),
                float(rule.probability),
                str(rule.body),
                {str(name): str(text) for name, text in dict(rule.headers).items()},
            )
        except (TypeError, ValueError, re.error) as error:
            raise OptionError(f"The fault {facts} is wrong: {error}.", "See docs/salesforce-emulator.md.") from error
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def strike(self, method: str, path: str) -> HttpFault | None:
        """The rule that applies to this request now, if any."""
        with self._lock:
            for rule in self._rules:
                if not rule.times or not rule.matches(method, path):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                elif self._random.random() < rule.probability:
                    rule.times -= rule.times > 0
                    rule.struck += 1
                    return rule
        return None

    def as_list(self) -> list[dict[str, object]]:
        with self._lock:
            return [asdict(rule) for rule in self._rules]
