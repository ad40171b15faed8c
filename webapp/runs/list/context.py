"""The context of the list's page: what its address asks for, and the addresses of the pages around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

import sqlalchemy as sa

from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.list import listing
from webapp.runs.list.listing import Counts, Edge, RunPage
from webapp.runs.list.search import QUALIFIERS, Search, parse
from webapp.task_catalogue.registry import known_tasks
from webapp.web.errors import Invalid
from webapp.web.hosts import root

# The intervals of refreshing that can be chosen, in seconds; 0 is none. With the default one changes are pushed, and
# the page polls only where that is not possible.
REFRESHES = (0, 5, 30)
DEFAULT_REFRESH = 5
MAX_TERM_LENGTH = 510


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab: one state with its count, or all states."""

    name: str
    count: str | None
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class ListPage:
    """Everything that the list shows. `error` says which part of the search is not valid; then there are no rows."""

    q: str
    state: str
    task: str
    schedule: str
    refresh: int
    pushed: int
    error: str | None
    page: RunPage
    tabs: list[Tab]
    new: int
    any_runs: bool
    narrowed: bool
    poll: str
    newest: str
    query: str
    newer: str | None
    older: str | None
    tasks: list[str]
    refreshes: list[tuple[int, str]]
    suggestions: list[str]


def list_page(given: Mapping[str, str], now: datetime) -> ListPage:
    """The context for the parameters of an address. Raises Invalid for an edge that no page has linked to."""
    terms = terms_of(given)
    refresh = _refresh(given.get("refresh", ""))
    if refresh != DEFAULT_REFRESH:
        terms["refresh"] = str(refresh)
    before, after, top = (Edge.parse(given.get(name, "")) for name in ("before", "after", "top"))
    # A refresh of the newest page counts what is new; deeper pages have a page of newer runs before them.
    newest = before is None and after is None and given.get("deep") != "1"
    error, search, page, new = None, Search(), RunPage(), 0
    counts: Counts | None = None
    try:
        search = search_of(terms)
    except Invalid as problem:
        error = problem.fields.get("q", str(problem))
    else:
        page = listing.page(search, now, before=before, after=after, top=top)
        counts = listing.counts(search, now)
        new = listing.newer_count(search, now, top) if top and newest else 0
    deep = not newest
    poll_top = str(top or Edge.of(page.rows[0])) if page.rows or top else ""
    newer = top if deep and top else page.newer
    return ListPage(
        q=terms["q"],
        state=terms["state"],
        task=terms["task"],
        schedule=terms["schedule"],
        refresh=refresh,
        pushed=DEFAULT_REFRESH,
        error=error,
        page=page,
        tabs=_tabs(terms, counts, search),
        new=new,
        any_runs=bool(page.rows) or db.session.scalar(sa.select(Run.id).limit(1)) is not None,
        narrowed=not search.empty,
        poll=address(terms, top=poll_top, deep="1" if deep else ""),
        newest=address(terms),
        query=address(terms).partition("?")[2],
        newer=address(terms, after=str(newer)) if newer else None,
        older=address(terms, before=str(page.older)) if page.older else None,
        tasks=sorted(known_tasks()),
        refreshes=[(seconds, address(terms | {"refresh": str(seconds)})) for seconds in REFRESHES],
        suggestions=_suggestions(),
    )


def terms_of(given: Mapping[str, str]) -> dict[str, str]:
    """The terms that narrow the list, from an address or a form."""
    return {name: _printable(given.get(name, "")) for name in ("q", "state", "task", "schedule")}


def search_of(terms: Mapping[str, str]) -> Search:
    """The search for these terms. Raises Invalid at `q`."""
    return parse(terms["q"], **{name: terms[name] for name in ("state", "task", "schedule")})


def _printable(text: str) -> str:
    """The text without control characters, which PostgreSQL refuses."""
    return "".join(character for character in text if character.isprintable()).strip()[:MAX_TERM_LENGTH]


def _refresh(text: str) -> int:
    return int(text) if text in [str(seconds) for seconds in REFRESHES] else DEFAULT_REFRESH


def address(terms: Mapping[str, str], **more: str) -> str:
    """The address of the list with these terms; empty ones are left out."""
    given = {name: value for name, value in {**terms, **more}.items() if value}
    return f"{root()}/runs?{urlencode(given)}" if given else f"{root()}/runs"


def _tabs(terms: Mapping[str, str], counts: Counts | None, search: Search) -> list[Tab]:
    everything = Tab(
        "all", counts.total if counts else None, address({**terms, "state": ""}), current=not terms["state"]
    )
    return [
        everything,
        *(
            Tab(
                state.value,
                counts.text(state) if counts else None,
                address({**terms, "state": state.value}),
                current=terms["state"] == state.value or search.states == (state,),
            )
            for state in RunState
        ),
    ]


def _suggestions() -> list[str]:
    made = [f"task:{name}" for name in known_tasks()] + [f"state:{state.value}" for state in RunState]
    others = [f"{name}:" for name in QUALIFIERS if name not in ("task", "state", "args.NAME")]
    return [*made, *others, "since:2h", "runtime:>10s"]
