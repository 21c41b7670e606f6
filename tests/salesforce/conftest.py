"""A server that misbehaves as each test tells it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from misbehaving_server import MisbehavingServer, misbehaving_server


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with misbehaving_server() as running:
        yield running
