"""How fast Airflow answers the Migration page for the largest matrix: 16 tables by 60 months."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from kpc.bench.figures import Figure, rounded
from kpc.bench.filled_ledger import FILLED, fill
from kpc.demo.servers import World
from kpc.errors import Terminal
from kpc.stages.workspace import ledger_of

_MONTHS = 60
_API_SERVER = "airflow api-server"
_OVERVIEW = "/migration/api/overview"
_ANSWERS = 10
_FRESH_S = 1.1  # an overview is at most a second old; after that the next request reads the ledger anew
_ENVIRONMENTS_S = 5.1  # how long the page may take for granted which migrations there are


def page_figures(world: World) -> list[Figure]:
    """Time the page's data as a logged-in user gets it. Adds a second, made-up migration to the world's ledger.

    Each request reads the ledger anew and answers with all cells. The quickest of several counts, because other
    processes disturb single ones. Raises `Terminal` if the page does not answer.
    """
    ledger = ledger_of(world.settings)
    try:
        fill(ledger, months=_MONTHS, now=datetime.now(UTC), is_whole=True)
    finally:
        ledger.close()
    time.sleep(_ENVIRONMENTS_S)
    _answer_s(world)  # the first request imports the page
    taken = []
    for _ in range(_ANSWERS):
        time.sleep(_FRESH_S)
        cpu_s = world.keeper.cpu_s()[_API_SERVER]
        wall_s = _answer_s(world)
        taken.append((wall_s, world.keeper.cpu_s()[_API_SERVER] - cpu_s))
    name = f"Migration page of 16 x {_MONTHS} cells"
    wall_ms, cpu_ms = (1000 * min(each) for each in zip(*taken, strict=True))
    return [
        Figure(f"{name}: answer in ms", rounded(wall_ms), "<= 200"),
        Figure(f"{name}: the API server's CPU in ms", rounded(cpu_ms), "<= 200"),
    ]


def _answer_s(world: World) -> float:
    query = {"source_id": FILLED.source_id, "target_id": FILLED.target_id}
    began = time.monotonic()
    answer = world.api.session.send("GET", _OVERVIEW, params=query)
    wall_s = time.monotonic() - began
    if answer.status_code != 200 or not answer.json()["cells"]:
        raise Terminal(
            f"The Migration page answered with HTTP {answer.status_code}.",
            f"See the log of {_API_SERVER}: {world.logs}.",
        )
    return wall_s
