"""Run as a program: makes triggers again from what they serialized to, as a triggerer does, and runs them at once.

Prints what each fires, in the order in which they were given.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module

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


def main() -> None:
    module = import_module("dags.triggers")
    triggers = [getattr(module, name)(**arguments) for name, arguments in json.loads(sys.argv[1])]
    for fired in asyncio.run(fire_all(triggers)):
        print(json.dumps(fired))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
