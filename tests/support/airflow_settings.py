"""Run as a program: the settings that a worker makes of Airflow's connections, for each environment on stdin.

Reads a JSON list of environments (variables over this process's own), writes a JSON list of answers: the settings with
their secrets, or the error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pydantic import BaseModel, SecretStr

from dags.connections import settings_of_connections
from kpc.errors import KpcError


def plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value


def main() -> None:
    own = dict(os.environ)
    answers = []
    for variables in json.load(sys.stdin):
        os.environ.clear()
        os.environ.update({**own, **variables})
        try:
            answers.append(plain(settings_of_connections()))
        except KpcError as error:
            answers.append({"error": type(error).__name__, "message": str(error)})
    print(json.dumps(answers, default=str))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
