"""Reading ahead in another thread: errors arrive, and whoever leaves early waits for nothing that has not begun."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kpc.storage.prefetch import begun


def test_all_items_are_read_meanwhile() -> None:
    """They are there before anybody has asked for them."""
    is_read = threading.Event()

    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        is_read.set()

    with begun(items()) as found:
        assert is_read.wait(30)
        assert found() == [1, 2, 3]


def test_an_error_is_raised_where_the_items_are_asked_for() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is full")

    with begun(items()) as found, pytest.raises(OSError, match="the disk is full"):
        found()


def test_whoever_leaves_early_begins_no_further_item() -> None:
    """Ctrl-C waits for the query that is under way, not for the hundreds of a large month; what it holds is closed."""
    started: list[int] = []
    has_left, is_closed = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            for number in range(100):
                started.append(number)
                if number:
                    has_left.wait(30)
                yield number
        finally:
            is_closed.set()

    leaving = threading.Timer(0.5, has_left.set)
    with pytest.raises(KeyboardInterrupt), begun(items()):
        leaving.start()
        raise KeyboardInterrupt
    assert started in ([0], [0, 1])
    assert is_closed.is_set()
