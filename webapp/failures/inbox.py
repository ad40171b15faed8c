"""Whether anyone knows of a kind of failure, and whether it is over: from what people decided and what ran since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from webapp.database import dialects
from webapp.extensions import db
from webapp.failures.groups import Failures, Group, Kind
from webapp.identity import audit
from webapp.run_store.failure_models import Decision, FailureDecision

# A decision about failures that are gone this long is forgotten.
REMEMBERED = timedelta(days=365)


class Status(StrEnum):
    """The status of a kind of failure. `AGAIN`: it was over, and failed anew."""

    NEW = "new"
    AGAIN = "again"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


OPEN = frozenset({Status.NEW, Status.AGAIN})


@dataclass(frozen=True, slots=True)
class Item:
    """A kind of failure as the inbox shows it. `recovered_at`: its last runs were made good by later ones."""

    group: Group
    status: Status
    decision: FailureDecision | None
    recovered_at: datetime | None


def items(found: Failures, now: datetime) -> list[Item]:
    """The groups with their status, in their order."""
    decisions = {
        Kind(row.task, row.exception, row.place): row for row in db.session.scalars(sa.select(FailureDecision))
    }
    return [_item(group, decisions.get(group.kind), now) for group in found.groups]


def _item(group: Group, decision: FailureDecision | None, now: datetime) -> Item:
    bad = [run.at for run in group.runs if run.good_at is None]
    good = [run.good_at for run in group.runs if run.good_at is not None]
    if not bad:
        return Item(group, Status.RESOLVED, decision, max(good))
    return Item(group, _status(max(bad), max(good, default=None), decision, now), decision, None)


def _status(last: datetime, good_at: datetime | None, decision: FailureDecision | None, now: datetime) -> Status:
    """The status where a run failed `last` and nothing has made it good; others were made good until `good_at`."""
    decided, at = (decision.decision, decision.decided_at) if decision is not None else (None, last)
    if decision is not None and decision.until is not None and now < decision.until:
        return Status.SNOOZED
    if decided == Decision.RESOLVED:
        return Status.RESOLVED if last <= at else Status.AGAIN
    is_again = good_at is not None and good_at < last
    # What was acknowledged is over since, if it was made good: this one is not known yet.
    if decided == Decision.ACKNOWLEDGED and not (is_again and good_at is not None and good_at > at):
        return Status.ACKNOWLEDGED
    return Status.AGAIN if is_again else Status.NEW


def decide(kind: Kind, decision: Decision | None, until: datetime | None, note: str, now: datetime) -> None:
    """Keep what a person decided; None makes the kind of failure new again. Commits."""
    chosen = (
        FailureDecision.task == kind.task,
        FailureDecision.exception == kind.exception,
        FailureDecision.place == kind.place,
    )
    former = db.session.scalar(sa.select(FailureDecision).where(*chosen))
    before = {} if former is None else _told({name: getattr(former, name) for name in ("decision", "until", "note")})
    db.session.execute(sa.delete(FailureDecision).where(FailureDecision.decided_at < now - REMEMBERED))
    after: dict[str, Any] = {}
    if decision is None:
        db.session.execute(sa.delete(FailureDecision).where(*chosen))
    else:
        after = {"decision": decision, "until": until, "note": note}
        values = {**after, "person": audit.acting()["actor"], "decided_at": now}
        # Two people may decide at once: the later one counts.
        insert = dialects.insert(db.session.connection(), FailureDecision).values(**kind._asdict(), **values)
        db.session.execute(insert.on_conflict_do_update(index_elements=kind._fields, set_=values))
    audit.record(db.session, "failure.decide", "failure", "", f"{kind.task}: {kind.exception}", before, _told(after))
    db.session.commit()


def _told(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, "until": given["until"] and given["until"].isoformat()} if given else {}
