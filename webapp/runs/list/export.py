"""`/runs.csv` and `/runs.json`: everything that the list would show page by page, streamed as it is read.

Arguments and results are JSON values, strict (RFC 8259): `NaN` and infinities, which Python's JSON has, are the texts
"NaN", "Infinity" and "-Infinity". A result that was cut when it was recorded, or that is no JSON, is one text.
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
from webapp.runs.list.context import terms_of
from webapp.runs.list.search import parse
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
# Runs that are read at once: each may have a few texts of 256 KiB.
ROWS_AT_ONCE = 20
# Characters that are sent at once.
CHUNK_LENGTH = 16_384
# What a spreadsheet would take for a formula when a cell begins with it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@blueprint.get("/runs.csv")
@access(Permission.VIEW_RUNS)
def as_csv() -> Response:
    """One line a run, moments in UTC, arguments and result as JSON text."""
    return _answer(_csv(_values()), "text/csv; charset=utf-8", "runs.csv")


@blueprint.get("/runs.json")
@access(Permission.VIEW_RUNS)
def as_json() -> Response:
    """A list with an object for each run, moments in UTC."""
    return _answer(_json(_values()), "application/json", "runs.json")


def _answer(parts: Iterator[str], kind: str, name: str) -> Response:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # the application itself
    response = Response(_in_context(app, _chunks(parts)), content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _in_context(app: Flask, parts: Iterator[str]) -> Iterator[str]:
    """Each part is made in a context of its own: the request's has ended when it is sent.

    Not `stream_with_context`, which keeps one open between the parts, for whoever stops reading.
    """
    while True:
        with app.app_context():
            read_only.set(True)
            part = next(parts, None)
        if part is None:
            return
        yield part


def _chunks(parts: Iterable[str]) -> Iterator[str]:
    """The same text in pieces that are worth sending."""
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
    # Read here and not in the generator: what is not understood must be answered before anything is sent.
    search = parse(terms["q"], **{name: terms[name] for name in ("state", "task", "schedule")})
    return map(value_of, _rows(listing.walk(search, now())))


def _rows(ids: Iterator[str]) -> Iterator[sa.Row[Any]]:
    """The runs of these ids, in their order; one that was deleted meanwhile is left out."""
    while some := list(islice(ids, ROWS_AT_ONCE)):
        found = {row.id: row for row in db.session.execute(sa.select(*_SELECTED).where(Run.id.in_(some)))}
        db.session.rollback()
        yield from (found[run_id] for run_id in some if run_id in found)


def value_of(row: Any) -> dict[str, Any]:
    """A run as it is exported: secrets masked, moments as ISO text, how many seconds it ran."""
    return {name: column_value(row, name) for name in COLUMNS} | {"seconds": timeline.times(row).ran}


class _Echo:
    """A file that hands back what is written."""

    def write(self, text: str) -> str:
        """The text itself."""
        return text


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    # What `writerow` returns is what its file's `write` does.
    write: Any = csv.writer(_Echo()).writerow
    yield write(FIELDS)
    for row in rows:
        yield write([_cell(name, row[name]) for name in FIELDS])


def _cell(name: str, value: Any) -> Any:
    """JSON text of a value that has parts; no such text is a formula: with "-" only numbers begin."""
    if name in JSON_COLUMNS:
        return None if value is None else _strict(value)
    return harmless(value)


def harmless(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _json(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + _strict(row)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def _strict(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
