"""One UPDATE of `runs` for a whole batch: its rows are handed over in one parameter (SQLite) or one for each column.

A statement for each row, even prepared, costs both the recorder and PostgreSQL more than the change itself. The rows
are handed over in the order of their ids, so that two who change overlapping sets wait for each other instead of
blocking each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from webapp.database.engine import array_literal, encodable_parameters, sqlite_moment

# A column of the batch: run, text, number, moment, fraction; as PostgreSQL calls it.
TEXT, NUMBER, FRACTION, MOMENT = "text", "int", "float8", "timestamptz"


class BatchUpdate:
    """An UPDATE of the runs named in the column `run` of a batch, which `assignments` and `condition` call `told`.

    Each run may be in a batch once: of several rows with the same id only one, whichever, would be applied.
    """

    def __init__(self, columns: Mapping[str, str], assignments: str, condition: str) -> None:
        self.columns = {"run": TEXT, **columns}
        # Texts of this program's own; the values go as parameters.
        frame = f"UPDATE runs SET {assignments} FROM {{told}} WHERE runs.id = told.run AND ({condition})"  # noqa: S608
        arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in self.columns.items())
        fields = ", ".join(f"value ->> {place} AS {name}" for place, name in enumerate(self.columns))
        self._postgresql = sa.text(frame.format(told=f"unnest({arrays}) AS told({', '.join(self.columns)})"))
        self._sqlite = sa.text(frame.format(told=f"(SELECT {fields} FROM json_each(:rows)) AS told"))  # noqa: S608

    def apply(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Change these runs; each row has the values of the columns in their order, moments aware. Commits nothing."""
        if not rows:
            return
        # Before they are written as one text, in which an escape would be one of JSON's.
        ordered = sorted(map(encodable_parameters, rows), key=_run)
        if connection.dialect.name == "postgresql":
            arrays = map(array_literal, zip(*ordered, strict=True))
            connection.execute(self._postgresql, dict(zip(self.columns, arrays, strict=True)))
        else:
            text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), default=sqlite_moment)
            connection.execute(self._sqlite, {"rows": text})


def _run(row: tuple[Any, ...]) -> str:
    return str(row[0])
