"""What the command line prints for an error that no other code has explained."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path
from types import TracebackType

from kpc.errors import ConfigError, KpcError, Terminal


def explained_at_the_top(error: Exception) -> KpcError:
    """One sentence and a remedy; an error of an unknown kind is reported as a defect of this program.

    Only names of classes and places in the code are shown: messages of libraries may quote a personal value.
    """
    if isinstance(error, KpcError):
        return error
    if isinstance(error, OSError):
        from kpc.stages.setting_folders import explained_by_setting

        return explained_by_setting(error, None)
    kind = type(error).__name__
    if isinstance(error, UnicodeError):
        return ConfigError(
            f"A text is not in the expected encoding ({kind} in {_place(error)}).",
            "Give arguments, variables and files in UTF-8, and set PYTHONUTF8=1 if the locale uses another encoding.",
        )
    if type(error).__module__.startswith("sqlalchemy."):
        return Terminal(
            f"The ledger refused a statement ({kind} in {_place(error)}).",
            "Check with `kpc audit` that KPC__LEDGER_URL is the migration's own ledger.",
        )
    return Terminal(
        f"An unexpected error, which is a defect of this program: {kind} in {_place(error)}.",
        f"Report it{_with_file(error)}; what is finished is kept, and the same command continues.",
    )


def _place(error: BaseException) -> str:
    """The innermost line of this project in the traceback."""
    root = Path(__file__).resolve().parents[2]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root / "kpc")] or frames
    return f"{os.path.relpath(ours[-1].filename, root)}, line {ours[-1].lineno}" if ours else "an unknown place"


def _with_file(error: BaseException) -> str:
    """Where the traceback was written, without messages and values; empty if it could not be."""
    lines: list[str] = []
    chain: BaseException | None = error
    while chain is not None:
        lines += [*_frames(chain.__traceback__), f"{type(chain).__module__}.{type(chain).__qualname__}\n\n"]
        chain = chain.__cause__ or chain.__context__
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="kpc-defect-", suffix=".txt", delete=False
        ) as file:
            file.writelines(lines)
    except OSError:
        return ""
    return f" with {file.name}, which holds no values"


def _frames(trace: TracebackType | None) -> list[str]:
    return traceback.format_tb(trace)
