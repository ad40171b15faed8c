"""The bytes of a command are read as the entry that was packed, whichever way they were made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis as redis_client
from hypothesis import given
from hypothesis import strategies as st

from webapp.run_store.events import STREAM, TEXT_LIMIT, Entry, Event
from webapp.runs import packing
from webapp.runs.packing import packed

AT = datetime(2026, 10, 25, 0, 59, 59, 999_999, tzinfo=UTC)
USUAL = Entry(
    "0199", Event.SUCCEEDED, 0, AT, "null", worker="w@h", task="add", seconds=0.25, received=AT, began=AT - timedelta(1)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENTRIES = st.builds(
    USUAL._replace,
    event=st.sampled_from(Event),
    attempt=st.integers(0, 12),
    text=TEXTS,
    traceback=st.just("") | TEXTS,
    worker=TEXTS,
    task=TEXTS,
    seconds=st.none() | st.floats(0, 1e6),
    received=st.none() | st.just(AT),
    began=st.none() | st.just(AT),
)


def read(command: bytes) -> tuple[list[bytes], dict[str, str]]:
    """What Redis understands: the beginning of the command, and the fields."""
    count, _, rest = command.partition(b"\r\n")
    parts = []
    for _ in range(int(count[1:])):
        length, _, rest = rest.partition(b"\r\n")
        size = int(length[1:])
        parts.append(rest[:size])
        assert rest[size : size + 2] == b"\r\n"
        rest = rest[size + 2 :]
    assert rest == b""
    texts = [part.decode() for part in parts[6:]]
    return parts[:6], dict(zip(texts[::2], texts[1::2], strict=True))


@given(ENTRIES)
def test_what_is_packed_is_what_redis_would_keep(entry: Entry) -> None:
    beginning, fields = read(packed(entry))
    assert beginning == [b"XADD", STREAM.encode(), b"MAXLEN", b"~", b"200000", b"*"]
    assert fields == entry.fields()


def test_the_usual_is_packed_the_short_way_and_redis_takes_it(redis: redis_client.Redis) -> None:
    assert packing._packed_success(USUAL) == packed(USUAL)
    connection = redis.connection_pool.get_connection()
    connection.send_packed_command([packed(USUAL)])
    entry_id = connection.read_response()
    redis.connection_pool.release(connection)
    [(told, fields)] = redis.xrange(STREAM)
    assert Entry.parse(fields, told) == USUAL._replace(entry_id=entry_id)


@pytest.mark.parametrize("text", ["", "\N{SNOWMAN}", "x" * (TEXT_LIMIT + 1)])
def test_what_is_not_usual_is_packed_all_the_same(text: str) -> None:
    entry = USUAL._replace(text=text)
    assert packing._packed_success(entry) is None
    assert read(packed(entry))[1] == entry.fields()
