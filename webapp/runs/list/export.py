"""`/runs.csv` and `/runs.json`: all pages of the list in one file, streamed as it is read.

Arguments and results are strict JSON values (RFC 8259): `NaN` and infinities, which Python's JSON has, are the texts
"NaN", "Infinity" and "-Infinity". A result that was cut when it was recorded, or that is not JSON, is one text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Flask, current_app, request

from webapp.database.engine import now, read_only
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.runs.list import listing
from webapp.runs.list.context import search_of, terms_of
from webapp.runs.page import timeline
from webapp.runs.serializer import JSON_COLUMNS, column_value
from webapp.web.access import Permission, access
from webapp.web.responses import Response

blueprint = Blueprint("export", __name__)

COLUMNS = (
    "id", "task", "state", "args", "kwargs", "queue", "origin", "schedule_id", "schedule_name", "due_at", "created_at",
    "eta", "started_at", "ended_at", "attempt", "worker", "reason", "result", "error", "traceback",
)  # fmt: skip
FIELDS = (*COLUMNS, "seconds")
_SELECTED = tuple(getattr(Run, name) for name in COLUMNS)
# Runs in one query: each may have a few texts of 256 KiB.
ROWS_PER_QUERY = 20
# Characters of one chunk.
CHUNK_LENGTH = 16_384
# The beginnings of a cell that a spreadsheet takes for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@blueprint.get("/runs.csv")
@access(Permission.VIEW_RUNS)
def as_csv() -> Response:
    """A row for each run, moments in UTC, arguments and result as JSON text."""
    return _download(_csv(_values()), "text/csv; charset=utf-8", "runs.csv")


@blueprint.get("/runs.json")
@access(Permission.VIEW_RUNS)
def as_json() -> Response:
    """A list with an object for each run, moments in UTC."""
    return _download(_json(_values()), "application/json", "runs.json")


def _download(parts: Iterator[str], kind: str, name: str) -> Response:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # the application itself
    response = Response(_in_context(app, _chunks(parts)), content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _in_context(app: Flask, parts: Iterator[str]) -> Iterator[str]:
    """Each part is made in an application context of its own, because the request's has ended by then.

    Not `stream_with_context`, which keeps a context open between the parts, also where the client stops reading.
    """
    while True:
        with app.app_context():
            read_only.set(True)
            part = next(parts, None)
        if part is None:
            return
        yield part


def _chunks(parts: Iterable[str]) -> Iterator[str]:
    """The same text in larger pieces."""
    gathered: list[str] = []
    length = 0
    for part in parts:
        gathered.append(part)
        length += len(part)
        if length > CHUNK_LENGTH:
            yield "".join(gathered)
            gathered.clear()
            length = 0
    yield "".join(gathered)


def _values() -> Iterator[dict[str, Any]]:
    terms = terms_of(request.args)
    # Parsed here and not in the generator: an invalid search must be answered before anything is sent.
    return map(value_of, _rows(listing.walk(search_of(terms), now())))


def _rows(ids: Iterator[str]) -> Iterator[sa.Row[Any]]:
    """The runs of these ids, in their order; one that was deleted meanwhile is left out."""
    while some := list(islice(ids, ROWS_PER_QUERY)):
        found = {row.id: row for row in db.session.execute(sa.select(*_SELECTED).where(Run.id.in_(some)))}
        db.session.rollback()
        yield from (found[run_id] for run_id in some if run_id in found)


def value_of(row: Any) -> dict[str, Any]:
    """A run as it is exported: secrets masked, moments as ISO text, its runtime in seconds."""
    return {name: column_value(row, name) for name in COLUMNS} | {"seconds": timeline.times(row).ran}


class _Echo:
    """A file whose `write` returns the text, so that `csv.writer` returns each row as text."""

    def write(self, text: str) -> str:
        """The text itself."""
        return text


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    write: Any = csv.writer(_Echo()).writerow
    yield write(FIELDS)
    for row in rows:
        yield write([_cell(name, row[name]) for name in FIELDS])


def _cell(name: str, value: Any) -> Any:
    """A cell of the CSV file. JSON text is never a formula: only numbers begin with "-"."""
    if name in JSON_COLUMNS:
        return None if value is None else _strict(value)
    return harmless(value)


def harmless(value: Any) -> Any:
    """A text that spreadsheets do not take for a formula; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _json(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + _strict(row)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def _strict(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
