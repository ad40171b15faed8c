"""The lock files serve any machine: pins and hashes, no address and no path."""

import re
from pathlib import Path

import pytest

from tests.adoption.environments import ENVIRONMENTS

FOLDER = Path("requirements")
LOCKS = ("base.lock", "dev.lock")
# Of other projects, in which they run in tests.
OTHERS = tuple(f"../tests/adoption/requirements-{name}.lock" for name in ENVIRONMENTS)


@pytest.mark.parametrize("name", LOCKS + OTHERS)
def test_no_address_path_or_option_is_in_a_lock(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(r"://|^\s*-(?!-hash=)|(?<![\w.-])/\w", text, re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS + OTHERS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", (FOLDER / name).read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 40
    assert [
        entry for entry in entries if not re.match(r"[a-z0-9._-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", entry)
    ] == []


def test_tests_run_with_the_versions_that_are_deployed() -> None:
    base, dev = (set(re.findall(r"^[a-z0-9._-]+==\S+", (FOLDER / name).read_text(), re.MULTILINE)) for name in LOCKS)
    assert base - dev == set()
