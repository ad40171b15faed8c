"""Secrets inside text: addresses, assignments, headers, JSON and the output of `repr`."""

from __future__ import annotations

import json
import time
from base64 import b64encode

import pytest

from beatdesk.secrecy.masking import Rule, conceal
from beatdesk.secrecy.text import MASK, hide

C = "canary-9c4e"
BASIC = b64encode(f"u:{C}".encode()).decode()
SECRET = [
    f"postgresql+psycopg://maya:{C}@db:5432/shop",
    f"redis://:{C}@cache/0",
    f"amqp://u:p@{C}/x@host:5672//",
    f"mongodb+srv://u:{C}@c.example.net/?retryWrites=true",
    f"https://{C}-of-git@example.com/a",
    f"see http://u:{C}@h/p, and more",
    f"host=db user=u password={C} dbname=x",
    f"password='{C} b' host=x",
    f"Server=x;Uid=u;Pwd={C};",
    f"Pwd={{{C};a}};x=1",
    f"https://h/p?token={C}&x=1",
    f"Login(user='u', password='{C}')",
    repr({"Authorization": f"Bearer {C}"}),
    json.dumps({"x-api-key": C}),
    json.dumps(json.dumps({"x-api-key": f'"{C}'})),
    json.dumps({"password": f'a"{C}'}),
    f"{{'password': 'a{C}",
    repr({"found": {"x": 1, "pin": C}, "said": f"headers: { {'Cookie': C} }"}),
    f"outer={{password={C}, a=token={C}}} note: password:{C}",
    f"{{'tokens': ['{C}', 'b{C}']}}",
    f"Authorization: Bearer {C}",
    f'Authorization: Digest username="u", response="{C}"',
    f"Cookie: a={C}; b={C}",
    f"X-Api-Key: {C}",
    f"passphrase: {C}\n",
    f"curl -H 'Authorization: Bearer {C}' --api-key={C} --token '{C}' --password {C} https://h",
    f"[(b'authorization', b'Bearer {C}'), ('x-api-key', '{C}')]",
    f"Bearer {C}",
    f"Basic {BASIC}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{C}\n-----END RSA PRIVATE KEY-----",
    f"sealed:v1:gAAA{C}",
    f"x sealed:v2:ab12cd34:{C}==",
    f"export DB_PASSWORD={C}",
]
PLAIN = [
    "https://host:8080/path@v2 https://mastodon.example/@user https://h/a?b=c@d https://host:8080/?next=a@b.c",
    "postgresql://maya@host/db ssh://git@host redis://localhost:6379/0 mailto:m@x.de 12:30@room",
    "Invalid token: unexpected end. Enter password: wrong password. exit code: 12",
    "password == other; shipping: x12; pinned_at=5 token_count=12 max_tokens: 4096 spinner=on password=None",
    "Basic authentication failed: bearer token is invalid. Bearer authentication required",
    "cache key: a12, http://h/?page=1&key=abc, {'token_type': 'bearer'}, passed: 12",
]


@pytest.mark.parametrize("text", SECRET)
def test_secret_in_text_is_masked_once_and_for_all(text: str) -> None:
    shown = hide(text)
    assert MASK in shown
    assert "9c4e" not in shown
    assert BASIC not in shown
    assert hide(shown) == shown


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert hide(text) == text


def test_address_in_an_argument_is_masked_in_part_and_executed_whole() -> None:
    call = conceal(Rule(), [f"amqp://maya:{C}@host/"], {"headers": [["Cookie", C]], "env": {"name": "PIN", "value": C}})
    assert call.args == [f"amqp://maya:{MASK}@host/"]
    assert call.kwargs == {"headers": [["Cookie", MASK]], "env": {"name": "PIN", "value": MASK}}
    assert call.plain[0] == [f"amqp://maya:{C}@host/"]
    assert C in call.texts


@pytest.mark.parametrize(
    "part", ["a://", "a:b@", "://", 'token="a', "'pin':'", "--token ", "a-", "\\", "sealed:", "key "]
)
def test_text_that_is_made_to_be_slow_takes_no_longer_than_its_length(part: str) -> None:
    text = part * (100_000 // len(part)) + "token="
    began = time.process_time()
    hide(text)
    # It was 0.1 s at most.
    assert time.process_time() - began < 2
