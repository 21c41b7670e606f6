"""What the tests of the Salesforce emulator share: one process per file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from salesforce_emulator_process import EmulatorProcess


@pytest.fixture(scope="module")
def emulator_options() -> tuple[str, ...]:
    """What the command line says; a file that needs more has a fixture of this name."""
    return ()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, emulator_options: tuple[str, ...]) -> Iterator[EmulatorProcess]:
    """A running emulator, which must end cleanly."""
    process = EmulatorProcess(tmp_path_factory.mktemp("salesforce"), emulator_options).start()
    yield process
    assert process.stop() == 0


@pytest.fixture
def switched(emulator: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The same emulator for tests that change switches and add faults, put back to normal afterwards."""
    normal = emulator.client.get("/_emulator/").json()["switches"]
    yield emulator
    emulator.client.patch("/_emulator/switches", json=normal)
    emulator.client.delete("/_emulator/faults")
