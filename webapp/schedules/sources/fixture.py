"""Parses Django fixtures in JSON, JSON lines or YAML, with other output of the command before and after them."""

from __future__ import annotations

import json
import re
from typing import Any

from beatdesk.encoding import STRICT_NUMBERS
from webapp.schedules.sources.given import Given, refuse
from webapp.schedules.sources.yaml_file import read_list

# The beginning of a fixture. Log output before it may have brackets or JSON as well.
_KEY = r"(?:model|pk|fields)"
_BEGINS = re.compile(rf"^[ \t]*(?:\[\s*\{{\s*\"{_KEY}\"|-[ \t]+{_KEY}:|\{{\s*\"{_KEY}\")", re.MULTILINE)
_MAX_SHOWN = 80
Objects = list[tuple[Any, int]]


def find_fixture(text: str) -> int | None:
    """The position at which a fixture begins; None if there is none."""
    found = _BEGINS.search(text)
    return None if found is None else found.start()


def read_fixture(text: str) -> tuple[Objects, list[Given]]:
    """Each object of a fixture with its line, and the lines around them as entries that are left out.

    Raises Invalid.
    """
    start = find_fixture(text)
    if start is None:
        raise refuse("This is not a dump. Use JSON, JSON lines or YAML as manage.py dumpdata writes it.")
    # Newlines in place of the text before it keep the line numbers.
    body = "\n" * text.count("\n", 0, start) + text[start:]
    around = [_stray(line, number) for number, line in enumerate(text[:start].splitlines(), 1) if line.strip()]
    first = body.lstrip()[0]
    if first == "-":
        return read_list(body) or [], around
    objects, more = _json_list(body) if first == "[" else _json_lines(body)
    return objects, [*around, *more]


def _stray(line: str, number: int) -> Given:
    return Given(f"line {number}", line=number, skipped=f"“{line.strip()[:_MAX_SHOWN]}” is not part of a dump.")


def _json_lines(text: str) -> tuple[Objects, list[Given]]:
    found: Objects = []
    others: list[Given] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.lstrip().startswith("{"):
                found.append((json.loads(line, **STRICT_NUMBERS), number))
            elif line.strip():
                others.append(_stray(line, number))
        except (ValueError, RecursionError) as error:
            others.append(Given(f"line {number}", line=number, error=f"This is not JSON: {error}."))
    return found, others


def _json_list(text: str) -> tuple[Objects, list[Given]]:
    """The objects of the list, and the lines after its end."""
    decoder, place, line = json.JSONDecoder(**STRICT_NUMBERS), text.find("[") + 1, 1
    found: Objects = []
    counted = 0
    try:
        while True:
            while text[place] in " \t\r\n,":
                place += 1
            line, counted = line + text.count("\n", counted, place), place
            if text[place] == "]":
                after = enumerate(text[place + 1 :].split("\n"), line)
                return found, [_stray(rest, number) for number, rest in after if rest.strip()]
            thing, place = decoder.raw_decode(text, place)
            found.append((thing, line))
    except IndexError:
        raise refuse("This is not JSON: the list does not end.", line) from None
    except (ValueError, RecursionError) as error:
        raise refuse(f"This is not JSON: {error}.", line) from error
