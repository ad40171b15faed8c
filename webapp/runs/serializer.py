"""A run as JSON values, for the API, the command line and exports."""

from __future__ import annotations

from typing import Any

from beatdesk.encoding import parse_json, strict_json_value
from beatdesk.secrecy.masking import masked
from webapp.run_store.models import Run

# Columns of JSON text.
JSON_COLUMNS = frozenset({"args", "kwargs", "result", "options"})


def as_dict(run: Run) -> dict[str, Any]:
    """Every column: moments as ISO text in UTC, arguments and result as values, secrets masked."""
    return {column.name: column_value(run, column.name) for column in Run.__table__.columns if column.name != "sealed"}


def column_value(row: Any, name: str) -> Any:
    """One column of a run as a JSON value. Text that is not JSON, or is nested too deep, is unchanged."""
    value = getattr(row, name)
    if value is not None and name in JSON_COLUMNS:
        text = masked(value)
        return strict_json_value(parse_json(text, text))
    return value.isoformat() if hasattr(value, "isoformat") else value
