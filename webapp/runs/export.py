"""`/runs.csv` and `/runs.json`: everything that the list would show page by page, streamed as it is read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from flask import Blueprint, Flask, current_app, request

from webapp.accounts.access import Access, access
from webapp.database import now, read_only
from webapp.responses import Response
from webapp.runs import listing, timeline
from webapp.runs.listing_page import terms_of
from webapp.runs.search import parse
from webapp.secrecy.masking import masked

blueprint = Blueprint("export", __name__)

FIELDS = (
    "id", "task", "state", "args", "kwargs", "queue", "origin", "schedule_id", "schedule_name", "due_at", "created_at",
    "eta", "started_at", "ended_at", "seconds", "attempt", "worker", "error", "reason",
)  # fmt: skip
# What a spreadsheet would take for a formula when a cell begins with it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@blueprint.get("/runs.csv")
@access(Access.VIEWER)
def as_csv() -> Response:
    """One line a run, moments in UTC."""
    return _answer(_csv(_values()), "text/csv; charset=utf-8", "runs.csv")


@blueprint.get("/runs.json")
@access(Access.VIEWER)
def as_json() -> Response:
    """A list with an object for each run, moments in UTC."""
    return _answer(_json(_values()), "application/json", "runs.json")


def _answer(parts: Iterator[str], kind: str, name: str) -> Response:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # the application itself
    response = Response(_in_context(app, parts), content_type=kind)
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


def _values() -> Iterator[dict[str, Any]]:
    terms = terms_of(request.args)
    # Read here and not in the generator: what is not understood must be answered before anything is sent.
    search = parse(terms["q"], **{name: terms[name] for name in ("state", "task", "schedule")})
    return map(value_of, listing.walk(search, now()))


def value_of(row: Any) -> dict[str, Any]:
    """A run as it is exported: secrets masked, moments as ISO text, how many seconds it ran."""
    values = {name: getattr(row, name, None) for name in FIELDS}
    values["args"], values["kwargs"] = masked(row.args), masked(row.kwargs)
    values["seconds"] = timeline.times(row).ran
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(FIELDS)
    for row in rows:
        writer.writerow([harmless(row[name]) for name in FIELDS])
        if buffer.tell() > 16_384:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def harmless(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _json(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + json.dumps(row, ensure_ascii=False)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"
