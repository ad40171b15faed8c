"""`make audit` covers everything locked and vendored, and nothing unchecked counts as checked."""

from __future__ import annotations

import importlib.util
import json
import re
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TODAY = date(2026, 11, 26)
WANTED = {"pypi:flask": "3.1.1", "npm:htmx.org": "4.0.1"}
KNOWN = {"id": "PYSEC-1", "summary": "It leaks."}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", "requirements/audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(*advisories: dict[str, str], version: str = "3.1.1", checked: str | None = "2026-11-20") -> dict[str, Any]:
    entries = {
        "pypi:flask": {"version": version, "checked": checked, "advisories": list(advisories)},
        "npm:htmx.org": {"version": "4.0.1", "checked": "2026-11-20", "advisories": []},
    }
    return {"date": "2026-11-20", "note": "", "waivers": [], "packages": entries}


def test_the_list_names_all_that_is_locked_and_vendored_in_its_version(audit: ModuleType) -> None:
    wanted = audit.locked()
    pins = {re.split("==", line)[0] for line in Path("requirements/dev.lock").read_text().splitlines() if "==" in line}
    manifest = json.loads(Path("webapp/static/vendor/manifest.json").read_text())
    assert len(wanted) >= len(pins) + len(manifest) > 100
    packages = json.loads(Path("requirements/advisories.json").read_text())["packages"]
    assert {name: entry["version"] for name, entry in packages.items()} == wanted


def test_a_known_advisory_fails_unless_a_dated_waiver_holds(audit: ModuleType) -> None:
    def code(*waivers: dict[str, str]) -> int:
        return int(audit.judge(WANTED, listed(KNOWN) | {"waivers": waivers}, TODAY)[1])

    lines, failed = audit.judge(WANTED, listed(KNOWN), TODAY)
    assert (lines[0], failed) == ("pypi:flask 3.1.1: PYSEC-1 It leaks.", 1)
    assert "2 of 2 packages checked, 1 known" in lines[1]
    waiver = {"id": "PYSEC-1", "until": "2026-11-26", "reason": "Not reached: we never call it."}
    assert code(waiver) == 0
    assert [code(waiver | change) for change in ({"until": "2026-11-25"}, {"reason": " "}, {"id": "PYSEC-2"})] == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("change", [{"version": "3.1.0"}, {"checked": None}])
def test_packages_not_looked_up_in_this_version_are_listed(audit: ModuleType, change: dict[str, Any]) -> None:
    lines, _ = audit.judge(WANTED, listed(**change), TODAY)
    assert "Could not be checked: 1 (pypi:flask 3.1.1)." in lines
    assert "Could not be checked: 1 (npm:other 1)." in audit.judge(WANTED | {"npm:other": "1"}, listed(), TODAY)[0]


def test_old_advisories_are_reported_as_old(audit: ModuleType) -> None:
    lines, code = audit.judge(WANTED, listed(checked="2026-10-01"), TODAY)
    assert ("Checked more than 30 days ago: 1." in lines, code) == (True, 0)


def test_a_source_that_does_not_answer_changes_nothing_and_is_named(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    made = audit.refreshed(WANTED | {"pypi:new": "1"}, listed(KNOWN), TODAY)
    assert made["packages"]["pypi:flask"] == listed(KNOWN)["packages"]["pypi:flask"]
    assert made["packages"]["pypi:new"] == {"version": "1", "checked": None, "advisories": []}
    assert made["note"].startswith("0 of 3 packages were answered for. Python packages could not be looked up: ")
    assert "Vendored scripts could not be looked up: npm is not installed." in made["note"]
