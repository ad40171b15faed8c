"""Statements on `runs` for a whole batch: its rows are handed over in one parameter (SQLite) or one for each column.

A statement for each row, even prepared, costs both the recorder and PostgreSQL more than the change itself. The rows
are handed over in the order of their ids, so that two who write overlapping sets wait for each other instead of
blocking each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from webapp.database.engine import array_literal, encodable_parameters, sqlite_moment

# A column of the batch: run, text, number, moment, fraction; as PostgreSQL calls it.
TEXT, NUMBER, FRACTION, MOMENT = "text", "int", "float8", "timestamptz"


class BatchStatement:
    """A statement whose text has `{batch}` where the rows of a batch come from: a table `told` of these columns.

    The first of them is the run's id.
    """

    def __init__(self, columns: Mapping[str, str], text: str) -> None:
        self.columns = columns
        # Texts of this program's own; the values go as parameters.
        arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
        fields = ", ".join(f"value ->> {place} AS {name}" for place, name in enumerate(columns))
        self._postgresql = sa.text(text.format(batch=f"unnest({arrays}) AS told({', '.join(columns)})"))
        self._sqlite = sa.text(text.format(batch=f"(SELECT {fields} FROM json_each(:rows)) AS told"))  # noqa: S608

    def execute(self, connection: sa.Connection, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Each row has the values of the columns in their order, moments aware. Gives the ids that the text returns.

        Commits nothing.
        """
        ordered = sorted(rows, key=itemgetter(0))
        if not ordered:
            return []
        if connection.dialect.name == "postgresql":
            arrays = map(array_literal, zip(*ordered, strict=True))
            result = connection.execute(self._postgresql, dict(zip(self.columns, arrays, strict=True)))
        else:
            # Encodable before they are written as one text, in which an escape would be one of JSON's.
            given = list(map(encodable_parameters, ordered))
            text = json.dumps(given, ensure_ascii=False, separators=(",", ":"), default=sqlite_moment)
            result = connection.execute(self._sqlite, {"rows": text})
        return list(result.scalars()) if result.returns_rows else []


def batch_update(columns: Mapping[str, str], assignments: str, condition: str) -> BatchStatement:
    """An UPDATE of the runs named in the column `run` of a batch, which `assignments` and `condition` call `told`.

    Each run may be in a batch once: of several rows with the same id only one, whichever, would be applied.
    """
    text = f"UPDATE runs SET {assignments} FROM {{batch}} WHERE runs.id = told.run AND ({condition})"  # noqa: S608
    return BatchStatement({"run": TEXT, **columns}, text)
