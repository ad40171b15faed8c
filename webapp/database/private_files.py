"""Permissions of private files: the data folder, its secrets, a SQLite database."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

logger = logging.getLogger(__name__)

# SQLite creates the files beside a database with its permissions, but does not change existing ones.
SIDECARS = ("", "-wal", "-shm", "-journal")


def tighten(paths: Iterable[Path]) -> str | None:
    """Remove the permissions of group and others; gives a line about it, or about a failure, or None.

    A folder with the sticky bit is shared on purpose and stays as it is.
    """
    done: list[str] = []
    for path in paths:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077 and not mode & stat.S_ISVTX:
                path.chmod(mode & 0o700)
                done.append(str(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"Other users may be able to read {path}; its permissions cannot be changed ({error.strerror})."
    return f"Restricted to their owner: {', '.join(done)}." if done else None


def database_files(url: str) -> list[Path]:
    """The files of a SQLite database, whether they exist or not; none for another database, or one in memory."""
    parsed = sa.make_url(url)
    name = parsed.database
    if parsed.get_backend_name() != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return []
    return [Path(name + suffix) for suffix in SIDECARS]


def protect_database(url: str) -> None:
    """Create the file of a SQLite database with private permissions, or restrict existing ones and log it."""
    files = database_files(url)
    if files:
        # If it cannot be created, opening the database reports why.
        with suppress(OSError):
            os.close(os.open(files[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    if line := tighten(files):
        logger.warning(line)
