"""One UPDATE of `runs` for a whole batch.

The rows are handed over in the order of their ids, so that two who change overlapping sets wait for each other instead
of blocking each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from webapp.database.dialects import TEXT, Batch


class BatchUpdate:
    """An UPDATE of the runs named in the column `run` of a batch, which `assignments` and `condition` call `told`.

    Each run may be in a batch once: of several rows with the same id only one, whichever, would be applied.
    """

    def __init__(self, columns: Mapping[str, str], assignments: str, condition: str) -> None:
        # Texts of this program's own; the values go as parameters.
        frame = f"UPDATE runs SET {assignments} FROM {{told}} WHERE runs.id = told.run AND ({condition})"  # noqa: S608
        self._batch = Batch({"run": TEXT, **columns}, frame)

    def apply(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Change these runs; each row has the values of the columns in their order, moments aware. Commits nothing."""
        if rows:
            self._batch.execute(connection, sorted(rows, key=itemgetter(0)))
