"""`make audit`: compares what is locked and vendored with the advisories in `advisories.json`. Standard library only.

The file says of each package in which version and when it was last looked up; one that never was, or in another version
only, is said to be unchecked. `--refresh` looks all up by `pip-audit` and `npm audit`, and says where that failed.
A known advisory without a waiver that holds today is exit code 1: `{"id": …, "until": "2027-01-31", "reason": …}`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ADVISORIES = FOLDER / "advisories.json"
MANIFEST = FOLDER.parent / "webapp" / "static" / "vendor" / "manifest.json"
NPM_NAMES = {"tabler-core": "@tabler/core", "tabler-icons": "@tabler/icons"}
OLD_AFTER = 30
"""Days after which an answer is said to be old."""
TIMEOUT = 300
"""Seconds for each tool."""

Found = dict[str, list[dict[str, Any]]]


def locked(folder: Path = FOLDER, manifest: Path = MANIFEST) -> dict[str, str]:
    """Everything that is installed or served, `pypi:NAME` and `npm:NAME`, with its version."""
    pins = re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", (folder / "dev.lock").read_text(), re.MULTILINE)
    pins += re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", (folder / "base.lock").read_text(), re.MULTILINE)
    scripts = json.loads(manifest.read_text())
    npm = {f"npm:{NPM_NAMES.get(one['name'], one['name'])}": str(one["version"]) for one in scripts}
    return {f"pypi:{name}": version for name, version in sorted(pins)} | npm


def judge(wanted: dict[str, str], listed: dict[str, Any], today: date) -> tuple[list[str], int]:
    """What there is to say, line by line, and the exit code."""
    lines, unchecked, old, waivers = [], [], [], listed.get("waivers", [])
    for name, version in wanted.items():
        entry = listed["packages"].get(name)
        if entry is None or entry["version"] != version or not entry["checked"]:
            unchecked.append(f"{name} {version}")
            continue
        if (today - date.fromisoformat(entry["checked"])).days > OLD_AFTER:
            old.append(name)
        lines += [
            f"{name} {version}: {one['id']} {one.get('summary', '')}".rstrip()
            for one in entry["advisories"]
            if not any(_holds(waiver, one["id"], today) for waiver in waivers)
        ]
    code = 1 if lines else 0
    checked = len(wanted) - len(unchecked)
    lines.append(f"{checked} of {len(wanted)} packages checked, {len(lines)} known advisories without a waiver.")
    if old:
        lines.append(f"Checked more than {OLD_AFTER} days ago: {len(old)}.")
    if unchecked:
        lines.append(f"Could not be checked: {len(unchecked)} ({', '.join(unchecked)}).")
    lines.append(f"The list is of {listed['date']}. {listed['note']}")
    return lines, code


def _holds(waiver: dict[str, str], advisory: str, today: date) -> bool:
    return waiver["id"] == advisory and bool(waiver["reason"].strip()) and date.fromisoformat(waiver["until"]) >= today


def refreshed(wanted: dict[str, str], listed: dict[str, Any], today: date) -> dict[str, Any]:
    """The list with what could be looked up now; what could not keeps what was known of that version."""
    found, notes = Found(), list[str]()
    for what, look_up in (("Python packages", _python), ("Vendored scripts", _scripts)):
        try:
            found |= look_up(wanted)
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            notes.append(f"{what} could not be looked up: {str(error).splitlines()[0][:200]}.")
    packages = {}
    for name, version in wanted.items():
        entry = listed["packages"].get(name)
        if name in found:
            entry = {"version": version, "checked": today.isoformat(), "advisories": found[name]}
        elif entry is None or entry["version"] != version:
            entry = {"version": version, "checked": None, "advisories": []}
        packages[name] = entry
    count = f"{len(found)} of {len(wanted)} packages were answered for."
    return {**listed, "date": today.isoformat(), "note": " ".join([count, *notes]), "packages": packages}


def _python(_wanted: dict[str, str]) -> Found:
    """Of Python packages."""
    command = [
        str(Path(sys.executable).with_name("pip-audit")),
        "--disable-pip",
        "--require-hashes",
        "-r",
        str(FOLDER / "dev.lock"),
        "--format",
        "json",
    ]
    answered = json.loads(_output([*command, "--progress-spinner", "off"], FOLDER))["dependencies"]
    if not any("vulns" in one for one in answered):
        raise ValueError("the source of pip-audit knows none of them")
    return {
        f"pypi:{one['name']}": [{"id": known["id"], "summary": known["description"][:200]} for known in one["vulns"]]
        for one in answered
        if "vulns" in one
    }


def _scripts(wanted: dict[str, str]) -> Found:
    """Of vendored scripts."""
    tool = shutil.which("npm")
    if tool is None:
        raise OSError("npm is not installed")
    names = {name.removeprefix("npm:"): version for name, version in wanted.items() if name.startswith("npm:")}
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "package.json").write_text(json.dumps({"name": "x", "version": "1.0.0", "dependencies": names}))
        _output([tool, "install", "--package-lock-only", "--ignore-scripts", "--no-audit"], Path(made))
        answered = json.loads(_output([tool, "audit", "--json"], Path(made)))
    if "vulnerabilities" not in answered:
        raise ValueError(str(answered.get("message", "npm audit gave no answer")).partition(" - ")[0])
    known = answered["vulnerabilities"]
    return {
        f"npm:{name}": [
            {"id": str(one["source"]), "summary": str(one["title"])[:200]}
            for one in known.get(name, {"via": []})["via"]
            if isinstance(one, dict)
        ]
        for name in names
    }


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT)  # noqa: S603  # the arguments are ours
    return done.stdout


def main(arguments: list[str]) -> int:
    """Print what is known; with `--refresh` look everything up first."""
    listed, wanted, today = json.loads(ADVISORIES.read_text()), locked(), date.today()  # noqa: DTZ011  # a day on this clock
    if arguments == ["--refresh"]:
        listed = refreshed(wanted, listed, today)
        ADVISORIES.write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n")
    lines, code = judge(wanted, listed, today)
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
