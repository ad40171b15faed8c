"""The syntax of the search box."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.run_store.states import RunState
from webapp.runs.list.search import Search, parse
from webapp.web.errors import Invalid


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Search()),
        ("  ", Search()),
        ("task:add", Search(tasks=("add",))),
        ("TASK:add state:Failed", Search(tasks=("add",), states=(RunState.FAILED,))),
        ('schedule:"every morning"', Search(schedules=("every morning",))),
        ("worker:w1@host queue:mail", Search(workers=("w1@host",), queues=("mail",))),
        ("id:3F2A", Search(ids=("3f2a",))),
        ("args.user:5 args.order.id:x", Search(arguments=(("user", "5"), ("order.id", "x")))),
        ('args.name:"Sita Gurung"', Search(arguments=(("name", "Sita Gurung"),))),
        ("runtime:>10s runtime:<=1.5m", Search(runtime=((">", 10.0), ("<=", 90.0)))),
        ("runtime:<250ms", Search(runtime=(("<", 0.25),))),
        ("since:2h", Search(since=timedelta(hours=2))),
        ("since:2h since:1h", Search(since=timedelta(hours=1))),
        ("since:999999999w", Search(since=timedelta(days=36500))),
        ("timed out", Search(words=("timed", "out"))),
        ('"timed out"', Search(words=("timed out",))),
        ('"ValueError: x"', Search(words=("ValueError: x",))),
        ("10:30", Search(words=("10:30",))),
    ],
)
def test_it_understands(text: str, found: Search) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour:red", "“colour:” is not a known qualifier"),
        ("state:done", "“done” is not a state. Use one of held, queued"),
        ("runtime:10s", "needs a comparison, for example runtime:>10s"),
        ("runtime:>soon", "“soon” is not a duration"),
        ("since:yesterday", "“yesterday” is not a duration. Example: since:2h"),
        ("task:", "“task:” needs a value, for example task:NAME"),
        ("args.user:", "“args.user:” needs a value, for example args.user:5"),
        ("id:xyz", "“xyz” is not an ID"),
        ("id:ab", "at least 4 characters"),
        ('"open', "A quote is not closed"),
        ("a" * 501, "at most 500 characters"),
    ],
)
def test_it_names_what_it_does_not_understand(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert said in caught.value.fields["q"]


def test_terms_of_the_address_are_added() -> None:
    assert parse("since:2h", task="add", state="failed", schedule="") == Search(
        tasks=("add",), states=(RunState.FAILED,), since=timedelta(hours=2)
    )


@given(st.text(max_size=80))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    try:
        found: Search | None = parse(text)
        fields = {"q"}
    except Invalid as error:
        found, fields = None, set(error.fields)
    assert fields == {"q"}
    assert found is None or found.empty or text.strip()
