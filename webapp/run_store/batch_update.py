"""An UPDATE of `runs` for a whole batch."""

from __future__ import annotations

from collections.abc import Mapping

from webapp.database.dialects import TEXT, BatchStatement


def batch_update(columns: Mapping[str, str], assignments: str, condition: str) -> BatchStatement:
    """An UPDATE of the runs named in the column `run` of a batch, which `assignments` and `condition` call `told`.

    Each run may be in a batch once: of several rows with the same id only one, whichever, would be applied.
    """
    text = f"UPDATE runs SET {assignments} FROM {{batch}} WHERE runs.id = told.run AND ({condition})"  # noqa: S608
    return BatchStatement({"run": TEXT, **columns}, text)
