"""A run as JSON values, for programs: on the command line, at its address and in exports."""

from __future__ import annotations

import json
from typing import Any

from webapp.encoding import encodable_value, strict_json_value
from webapp.run_store.models import Run
from webapp.secrecy.masking import masked

# Columns of JSON text.
JSON_COLUMNS = frozenset({"args", "kwargs", "result", "options"})


def as_dict(run: Run) -> dict[str, Any]:
    """Every column: moments as ISO text in UTC, arguments and result as values, secrets masked."""
    return {column.name: column_value(run, column.name) for column in Run.__table__.columns if column.name != "sealed"}


def column_value(row: Any, name: str) -> Any:
    """One column of a run as a JSON value."""
    value = getattr(row, name)
    if name in JSON_COLUMNS:
        return None if value is None else _parsed(masked(value))
    return value.isoformat() if hasattr(value, "isoformat") else value


def _parsed(text: str) -> Any:
    """What JSON text says, `NaN` and infinities as texts; what is no JSON, or nested too deep to be read, as text."""
    try:
        return encodable_value(strict_json_value(json.loads(text)))
    except (ValueError, RecursionError):
        return text
