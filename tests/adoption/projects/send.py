"""`python -m tests.adoption.projects.send PACKAGE PREFIX COUNT`: use a project so often, in a process of its own."""

from __future__ import annotations

import sys
from importlib import import_module


def main(package: str, prefix: str, count: str) -> None:
    """Load the project with calls that are named after the prefix."""
    load = import_module(f"{package}.load").load
    for number in range(int(count)):
        load(f"{prefix}-{number}")


if __name__ == "__main__":
    main(*sys.argv[1:])
