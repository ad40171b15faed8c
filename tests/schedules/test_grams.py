"""A search for a part of a text finds the same by its index as by reading everything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from flask import Flask

from webapp.extensions import db
from webapp.schedule_store.rows import CRONTABS, DETAILS, TASKS, WORDS
from webapp.schedules.list import listing, ordering, trigrams
from webapp.schedules.list.listing import Filters
from webapp.schedules.list.trigrams import SHARES, may_mention, rare_trigrams

pytestmark = pytest.mark.each_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DESCRIPTIONS = {
    1: 'Say "hi" to 100% of a_b',
    2: "Öde Straße, ÖDE STRASSE; ΟΔΟΣΑΣ İstanbul",
    3: "日本語の名前",
    4: "ab",
    5: "back\\slash and 'quotes' (OR) NEAR *",
}


@pytest.fixture(autouse=True)
def made(context: Flask) -> None:
    rule = db.session.execute(sa.insert(CRONTABS).values(minute="5")).inserted_primary_key[0]  # type: ignore[attr-defined]
    common = {"task": "add", "enabled": True, "discriminator": "crontabschedule", "schedule_id": rule}
    rows = [{"id": key, "name": f"s{key}", "description": text, **common} for key, text in DESCRIPTIONS.items()]
    db.session.execute(sa.insert(TASKS), rows)
    db.session.commit()


@pytest.fixture
def index(context: Flask) -> Iterator[None]:
    """PostgreSQL would rather read five rows than look into an index."""
    if db.engine.dialect.name == "postgresql":
        db.session.execute(sa.text("SET enable_seqscan = off"))
    yield
    db.session.rollback()


def found(q: str) -> frozenset[int]:
    return listing.all_matching(Filters(q=q), NOW)


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("q", "who"),
    [
        ("s3", {3}),
        ("ab", {4}),
        ('"hi"', {1}),
        ("100%", {1}),
        ("a_b", {1}),
        ("A_B", {1}),
        ("aXb", set()),
        ("straße", {2}),
        ("Öde", {2}),
        ("ΟΔΟΣ", {2}),
        ("İstan", {2}),
        ("本語の", {3}),
        ("\\slash", {5}),
        ("'quotes' (or) near *", {5}),
        ("add", {1, 2, 3, 4, 5}),
        ("nothing", set()),
        ("a\0b", set()),
    ],
)
def test_each_part_of_a_text_is_found(q: str, who: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    if "\0" not in q:
        by_index = found(q)
        monkeypatch.setattr(listing, "may_mention", lambda _: [])
        assert by_index == found(q) == who


@pytest.mark.usefixtures("index")
def test_it_follows_what_is_written() -> None:
    db.session.execute(sa.update(TASKS).where(TASKS.c.id == 1).values(description="Say nothing"))
    db.session.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == 2).values(tags="\nnightly\n"))
    db.session.execute(sa.delete(TASKS).where(TASKS.c.id == 5))
    db.session.flush()
    assert found('say "hi"') == frozenset()
    assert found("say nothing") == {1}
    assert found("nightly") == {2}
    assert found("straße") == {2}
    assert found("quotes") == frozenset()


@pytest.mark.usefixtures("index")
def test_the_database_looks_into_the_index() -> None:
    query = sa.select(WORDS.c.schedule_id).where(*may_mention("nothing like it"))
    sql = str(query.compile(db.engine, compile_kwargs={"literal_binds": True}))
    explain, sign = {
        "sqlite": ("EXPLAIN QUERY PLAN", "VIRTUAL TABLE INDEX"),
        "postgresql": ("EXPLAIN", "Bitmap Index Scan on ix_schedule_words_grams"),
    }[db.engine.dialect.name]
    plan = db.session.connection().exec_driver_sql(f"{explain} {sql}").all()
    assert sign in str(plan)


@pytest.mark.parametrize("q", ["", "ab", "a\0bc"])
def test_what_is_too_short_has_no_parts(q: str) -> None:
    assert may_mention(q) == []


def test_parts_whose_lower_case_depends_on_others_are_not_asked_for() -> None:
    assert rare_trigrams("ΟΔΟΣ Büro ÖDE", {}) == ["üro", "ro "]
    assert rare_trigrams("ΔΟΣ", {}) == []


@pytest.mark.parametrize(
    ("shares", "parts"),
    [
        ({}, ["sch", "che", "hed", "edu"]),
        ({"sch": 0.9, "che": 0.9, "le ": 0.9, "e 7": 0.11, " 77": 0.02}, ["hed", "edu", "dul", "ule"]),
        (dict.fromkeys(["sch", "che", "hed", "edu", "dul", "ule", "le "], 0.9) | {"e 7": 0.11}, [" 77", "e 7"]),
        (dict.fromkeys(["sch", "che", "hed", "edu", "dul", "ule", "le ", "e 7", " 77"], 0.9), []),
    ],
)
def test_a_few_rare_parts_are_asked_for(shares: dict[str, float], parts: list[str]) -> None:
    assert rare_trigrams("schedule 77", shares) == parts
    assert rare_trigrams("SCHEDULE 77", shares) == [part.upper() for part in parts]


def test_postgresql_knows_which_parts_are_common(context: Flask) -> None:
    if db.engine.dialect.name == "sqlite":
        may_mention("office")
        assert SHARES not in context.extensions
        return
    many = [{"schedule_id": 100 + number, "words": f"office {number:03}"} for number in range(300)]
    db.session.execute(sa.insert(WORDS), many)
    db.session.execute(sa.text("ANALYZE schedule_words"))
    shares = trigrams._shares()
    assert shares["off"] > 0.9
    assert rare_trigrams("office 123", shares) == ["123", " 12"]
    db.session.execute(sa.text("DELETE FROM schedule_words"))
    assert trigrams._shares() is shares


def test_who_has_the_words_is_looked_for_once_and_not_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "RARE", 1)
    search = ordering._Search(listing.conditions(Filters(q="add"), NOW, []), may_mention("add"))
    search.look()
    assert not search.rare
    query = sa.select(TASKS.c.id).join(WORDS, WORDS.c.schedule_id == TASKS.c.id).where(*search.by_number)
    subquery = str(query.compile(db.engine)).split("IN (")[1]
    assert "FROM schedule_words" in subquery
    assert set(db.session.scalars(query)) == set(DESCRIPTIONS)
