"""The editor's form as text: what its fields show, and what its choices are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from beatdesk.secrecy.masking import masked_value
from webapp.recurrence import PERIODS, SOLAR_EVENTS, Crontab
from webapp.recurrence.cron_words import crontab_words
from webapp.recurrence.words import duration_text
from webapp.recurrence.zone_search import find_zone
from webapp.recurrence.zones import zone
from webapp.run_store.states import RunState
from webapp.runs.call.forms import is_field
from webapp.schedule_store.definition import DEFAULTS, FIELDS, KIND_WORDS, MOMENTS, Kind
from webapp.schedule_store.models import Misfire, Overlap
from webapp.scheduler.plan import TOLERANCE
from webapp.schedules.fields import moment_text
from webapp.web.formats import plural

_BARS = {state.value: f'<i class="bar bar-{state.value}"></i>' for state in RunState}
_PICKED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?")

MISFIRE_WORDS = {
    Misfire.RUN_ONCE: "Run once for all of them",
    Misfire.SKIP: "Skip them",
    Misfire.RUN_ALL: "Run each of them",
}
OVERLAP_WORDS = {
    Overlap.ALLOW: "Run in parallel",
    Overlap.SKIP: "Skip the new one",
    Overlap.QUEUE_ONE: "Queue one",
    Overlap.CANCEL_OTHER: "Cancel the running one",
}
# Fields in seconds, typed and shown as durations.
DURATIONS = ("jitter", "expire_seconds", "misfire_window")
# The fields whose label is not their name.
LABELS = {
    "args": "positional arguments", "kwargs": "keyword arguments", "misfire": "missed runs",
    "misfire_window": "catch-up window", "max_runs": "maximum runs", "expire_seconds": "expires after",
    "failure_budget": "pause after failures", "timezone": "time zone",
}  # fmt: skip
# Suggestions for the crontab field.
COMMON_CRONTABS = (
    "* * * * *", "*/5 * * * *", "*/15 * * * *", "0 * * * *", "*/20 9-16 * * mon-fri", "0 8 * * *", "0 9 * * mon-fri",
    "30 2 * * *", "0 3 * * sun", "0 6 1 * *", "0 0 1 1 *",
)  # fmt: skip
CHOICES = {
    "crontabs": [(line, crontab_words(Crontab.from_line(line))) for line in COMMON_CRONTABS],
    "kinds": list(KIND_WORDS.items()),
    "periods": PERIODS[::-1],
    "events": [(event, event.replace("_", " ")) for event in SOLAR_EVENTS],
    "misfires": list(MISFIRE_WORDS.items()),
    "tolerance": f"{TOLERANCE:g}s",
    "overlaps": list(OVERLAP_WORDS.items()),
}


def empty_form(timezone: str) -> dict[str, str]:
    """The fields of a new schedule."""
    return form_values({**DEFAULTS, "kind": Kind.CRONTAB.value, "timezone": timezone})


def form_values(snapshot: Mapping[str, Any]) -> dict[str, str]:
    """A snapshot as the text of its form's fields; moments on the clock of its zone."""
    tz = zone(find_zone(str(snapshot.get("timezone") or "")) or "UTC")
    values: dict[str, str] = {}
    for name in FIELDS:
        value = snapshot.get(name)
        if value is None:
            values[name] = ""
        elif name in MOMENTS:
            values[name] = _moment(value, tz)
        elif name in DURATIONS and isinstance(value, int | float):
            values[name] = duration_text(value)
        elif name == "tags":
            values[name] = ", ".join(value)
        elif name == "enabled":
            values[name] = "1" if value else "0"
        elif name in ("args", "kwargs"):
            values[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        else:
            values[name] = f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
    return values


def _moment(value: str, tz: Any) -> str:
    try:
        return moment_text(datetime.fromisoformat(value), tz)
    except ValueError:
        return value


def typed(given: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, str]:
    """What the form shows after an error: everything as it was typed, the rest as it was shown."""
    kept = {name: str(value) for name, value in given.items() if name in FIELDS or is_field(name)}
    return {**shown, **kept}


def moment_type(value: str) -> str:
    """The input for a moment: a picker, or text for what no picker can show, such as a time with an offset."""
    return "datetime-local" if not value or _PICKED.fullmatch(value) else "text"


def strip(states: Sequence[str]) -> Markup:
    """The states of the last runs, newest first, as a bar each, oldest first; a sentence for those who cannot see them.

    Made here: a template takes ten times as long for some thousands.
    """
    return _strip(",".join(states)) if states else Markup()


# Most schedules of a page look alike: nearly all of their runs went well.
@lru_cache(maxsize=500)
def _strip(joined: str) -> Markup:
    states = joined.split(",")
    wrong = states.count(RunState.FAILED) + states.count(RunState.MISSED)
    label = f"Last {plural(len(states), 'run')}: {wrong} failed or missed"
    # Constants of this module, joined as they are: to have each looked at again takes most of the time.
    bars = "".join(_BARS.get(state, _BARS[RunState.QUEUED]) for state in reversed(states))
    return Markup(f'<span class="strip" role="img" aria-label="{label}">{bars}</span>')  # noqa: S704


def field_label(name: str) -> str:
    """A field as its label says it, in lower case, such as "catch-up window" for `misfire_window`."""
    name = name.removeprefix("arg.").removeprefix("build.")
    return LABELS.get(name, name.replace("_", " "))


def said(value: Any, field: str = "") -> str:
    """A value of a snapshot, of that field, in a sentence about a change."""
    if field in DURATIONS and isinstance(value, int | float):
        return duration_text(value)
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    # A sealed secret is a long text that says nothing.
    return value if isinstance(value, str) else json.dumps(masked_value(value), ensure_ascii=False)
