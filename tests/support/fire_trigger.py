"""Run as a program: makes a trigger again from what it serialized to, as a triggerer does, and prints what it fires."""

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


def main() -> None:
    for name, arguments in json.loads(sys.argv[1]):
        trigger = getattr(import_module("dags.triggers"), name)(**arguments)
        print(json.dumps(asyncio.run(fire(again(trigger)))))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
