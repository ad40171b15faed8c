"""`/audit`: the list of audit entries."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from webapp.identity import audit
from webapp.identity.models import AuditEntry
from webapp.web.access import Permission, access
from webapp.web.paging import requested_page
from webapp.web.parameters import text_in_query
from webapp.web.rendering import render, wants_json

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
@access(Permission.VIEW_AUDIT)
def index() -> Response:
    """The entries, newest first, filtered by actor, action and object."""
    filters = {name: text_in_query(name) for name in ("actor", "action", "object")}
    query = audit.entries(actor=filters["actor"], action=filters["action"], thing=filters["object"])
    page = requested_page(query, AuditEntry.id)
    if wants_json():
        return jsonify(entries=[_as_dict(entry) for entry in page.rows], older=page.older, newer=page.newer)
    return render("accounts/audit.html", page=page, filters=filters, filtered=any(filters.values()))


def _as_dict(entry: AuditEntry) -> dict[str, Any]:
    return {column.name: getattr(entry, column.name) for column in AuditEntry.__table__.columns} | {
        "at": entry.at.isoformat()
    }
