from __future__ import annotations

import time

import pytest

from webapp.accounts.passwords import MAX_LENGTH, MIN_LENGTH, random_password, refusal

pytestmark = pytest.mark.usefixtures("context")


@pytest.mark.parametrize("password", ["", None, 5, "x", "eleven char", "seven wo rd", "ü" * 11])
def test_it_refuses_what_is_too_short(password: object) -> None:
    assert refusal(password) is not None


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "PASSWORD-2026",
        "passwordpassword",
        "p4ssw0rd p4ssw0rd",
        "qwertyuiop123",
        "1qaz2wsx3edc",
        "123456789012",
        "210987654321",
        "abcdefghijklmn",
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "iloveyou2026",
        "administrator1",
        "Welcome20262026",
        "letmeinletmein",
        "Kathmandu-2026",
        "maya.gurung.1990",
        "------------",
        "P@ssw0rd1234",
        "Pa$$w0rd2026!!",
        "P@ssw0rd-Adm1n-2026",
        "correcthorsebatterystaple",
        "C0rrect-H0rse_Battery.Staple!",
        "elpatsyrettabesrohtcerroc",
        "to be or not to be",
        "super secret password",
        "May the Force be with you",
        "Password!@#$%^",
        "Qwerty!@#$%^&*",
        "Admin1234Password!",
        "maya-gurung-maya-gurung",
        "1990maya1990gurung",
        "B3@td3sk.2026!",
        "iloveyou!iloveyou!",
    ],
)
def test_it_refuses_what_would_be_guessed_first(password: str) -> None:
    about = ("Maya Gurung", "maya@kathmandu.example")
    assert "guessed quickly" in (refusal(password, about) or "")


@pytest.mark.parametrize(
    "password",
    [
        "seven quiet umbrellas",
        "apricot ladder monsoon velvet",
        "seven brown bicycles",
        "four green elephants",
        "all lower case letters",
        "शान्त नदी बग्छ सधैं",
        "X9!kd02-mm_Qpz",
        "🦊🐢🦉🐙🦋🐝🦔🐬🦩🐞🦎🐡",
        "wq" * 3 + "unguessable thing",
    ],
)
def test_it_takes_long_ones_of_any_composition(password: str) -> None:
    assert refusal(password, ("Maya Gurung",)) is None


def test_the_limits_are_those_of_the_rules() -> None:
    assert MIN_LENGTH == 12
    assert MAX_LENGTH >= 64
    mixed = "seven quiet umbrellas "
    assert refusal((mixed * 4)[:64]) is None
    assert refusal((mixed * 20)[:MAX_LENGTH]) is None
    assert refusal((mixed * 20)[: MAX_LENGTH + 1]) is not None


def test_one_that_unfolds_beyond_what_can_be_hashed_is_refused() -> None:
    assert refusal("\ufdfa" * MAX_LENGTH) is not None


def test_however_it_is_made_it_is_looked_at_quickly() -> None:
    began = time.process_time()
    for text in ("4@8({[<3691!|$5+7%20" * 10, "19901112" * 25, "a" * 200, "P@ssw0rd" * 25, "1!|i7l+t" * 25):
        refusal(text, ("4@8({[<3691!|$5+7%20", "x" * 100))
    assert time.process_time() - began < 5


def test_a_random_one_passes_its_own_rules() -> None:
    made = {random_password() for _ in range(50)}
    assert len(made) == 50
    assert [refusal(password) for password in made] == [None] * 50
