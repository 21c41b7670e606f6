"""`python -m expectations build ROOT`: build the Data Docs of a Great Expectations project and print their path."""

from __future__ import annotations

import sys
from pathlib import Path

from expectations import build_data_docs


def main(arguments: list[str]) -> int:
    """Return 0 when built, 2 for wrong usage or a folder without a project."""
    if len(arguments) != 2 or arguments[0] != "build":
        print("Usage: python -m expectations build ROOT", file=sys.stderr)  # noqa: T201  a command's own output
        return 2
    root = Path(arguments[1])
    if not (root / "gx").is_dir():
        print(  # noqa: T201  the same
            f"There is no Great Expectations project in {root}: it has no folder gx. "
            "Give the folder of KPC__RECONCILE__DOCS_ROOT, after the first reconciliation.",
            file=sys.stderr,
        )
        return 2
    print(build_data_docs(root))  # noqa: T201  the same
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
