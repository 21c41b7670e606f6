"""Run as a program: makes triggers again from what they serialized to, as a triggerer does, and runs them at once.

Arguments: the triggers with their arguments, and what Airflow has of the response to a request, both as JSON. Prints
what each trigger fires, in the order in which they were given.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

from airflow.sdk.api.datamodels._generated import HITLDetailResponse
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetHITLDetailResponse
from airflow.triggers.base import BaseTrigger


def again(trigger: BaseTrigger) -> BaseTrigger:
    path, arguments = trigger.serialize()
    module, name = path.rsplit(".", 1)
    made: BaseTrigger = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
    return made


async def fire(trigger: BaseTrigger) -> object:
    return [event.payload async for event in trigger.run()]


async def fire_all(triggers: list[BaseTrigger]) -> list[object]:
    return list(await asyncio.gather(*(fire(again(trigger)) for trigger in triggers)))


class Supervisor:
    """The triggerer's supervisor, as far as it tells of a response."""

    def __init__(self, response: dict[str, Any]) -> None:
        self._response = response

    def send(self, msg: object) -> HITLDetailResponse:
        assert isinstance(msg, GetHITLDetailResponse)
        return HITLDetailResponse(**self._response)


def made(name: str, arguments: dict[str, Any]) -> BaseTrigger:
    module = "dags.sign_off_watch" if name == "RequestOutdated" else "dags.triggers"
    trigger: BaseTrigger = getattr(import_module(module), name)(**arguments)
    return trigger


def main() -> None:
    if response := json.loads(sys.argv[2]):
        task_runner.SUPERVISOR_COMMS = Supervisor(response)
    triggers = [made(name, arguments) for name, arguments in json.loads(sys.argv[1])]
    for fired in asyncio.run(fire_all(triggers)):
        print(json.dumps(fired, default=str))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
