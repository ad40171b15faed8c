"""`/audit`: who did what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from webapp.extensions import db
from webapp.identity import audit
from webapp.identity.models import AuditEntry
from webapp.web.access import Permission, access
from webapp.web.query_string import id_in_query, text_in_query
from webapp.web.rendering import render, wants_json

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
@access(Permission.VIEW_AUDIT)
def index() -> Response:
    """The newest first, narrowed by actor, action and object."""
    filters = {name: text_in_query(name) for name in ("actor", "action", "object")}
    page = audit.entries(
        db.session(),
        actor=filters["actor"],
        action=filters["action"],
        thing=filters["object"],
        before=id_in_query("before"),
        after=id_in_query("after"),
    )
    if wants_json():
        return jsonify(entries=[_as_dict(entry) for entry in page.rows], older=page.older, newer=page.newer)
    given = {name: value for name, value in filters.items() if value}
    return render(
        "accounts/audit.html",
        entries=page.rows,
        filters=filters,
        filtered=bool(given),
        paged="before" in request.args or "after" in request.args,
        newer=_address(given, after=page.newer),
        older=_address(given, before=page.older),
    )


def _as_dict(entry: AuditEntry) -> dict[str, Any]:
    return {column.name: getattr(entry, column.name) for column in AuditEntry.__table__.columns} | {
        "at": entry.at.isoformat()
    }


def _address(filters: Mapping[str, str], **edge: int | None) -> str | None:
    """Where a neighbouring page is, or None when there is none."""
    values: dict[str, Any] = {**filters, **edge}
    return None if None in edge.values() else url_for("audit.index", **values)
