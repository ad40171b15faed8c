r"""Escapes for text that UTF-8 or PostgreSQL cannot hold: half surrogates and NUL. Pure functions.

A half surrogate comes from `os.fsdecode`, or from JSON that spells one (`"\udce4"`); it becomes the six characters
`\udce4`, a NUL `\u0000`. Text is escaped where it enters (a database statement, an entry of the stream, a request) and
where it leaves (a response, a Redis command, a log file, a mail). JSON text keeps its own escapes, so that arguments
and results do not change.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import Any

# Characters that are kept of a name which other programs give.
NAME_LENGTH = 255
# Deeper JSON is refused where it is sent to us: what walks through a value calls itself for each level.
MAX_JSON_DEPTH = 100

_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")
_HALF = re.compile("[\ud800-\udfff]")
# Characters that move a terminal's cursor, colour it, make links in it, end a line, or reverse text.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Escapes in JSON text. An escaped backslash and a whole pair of surrogates are matched first.
_JSON_ESCAPE = re.compile(
    r"\\\\|(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def encodable(text: str) -> str:
    """The text with each half surrogate and NUL escaped."""
    if "\x00" not in text:
        if text.isascii():
            return text
        # Far quicker than checking each character.
        with suppress(UnicodeEncodeError):
            text.encode()
            return text
    return _UNENCODABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


def encodable_value(value: Any) -> Any:
    """A JSON value with the half surrogates in every text escaped. NUL is unchanged: JSON has an escape for it."""
    if isinstance(value, str):
        return value if value.isascii() else _HALF.sub(_escaped, value)
    if isinstance(value, dict):
        return {encodable_value(name): encodable_value(inner) for name, inner in value.items()}
    return [encodable_value(inner) for inner in value] if isinstance(value, list) else value


def encodable_bytes(text: str) -> bytes:
    """The text in UTF-8, with each half surrogate and NUL escaped."""
    try:
        made = text.encode()
    except UnicodeEncodeError:
        made = text.encode("utf-8", "backslashreplace")
    return made.replace(b"\x00", b"\\u0000") if b"\x00" in made else made


def encodable_json(text: str) -> str:
    """JSON text without escapes of surrogates: a pair is one character, a half escaped as by `encodable_value`."""
    return _JSON_ESCAPE.sub(_encodable_escape, text) if "\\ud" in text or "\\uD" in text else text


def _encodable_escape(found: re.Match[str]) -> str:
    if found["half"]:
        return f"\\{found['half'].lower()}"
    return str(json.loads(f'"{found["pair"]}"')) if found["pair"] else found.group()


def without_controls(text: str) -> str:
    """The text with control characters escaped, except tab and newline; for terminals and log files."""
    return text if text.isascii() and text.isprintable() else _CONTROLS.sub(_escaped, text)


def one_line(text: str) -> str:
    """The same in one line: a newline is escaped too."""
    return without_controls(text).replace("\n", "\\n")


def shortened(text: str, limit: int) -> str:
    """The text, encodable and cut to at most `limit` characters, the last of which is then "…"."""
    text = encodable(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def decode_json(text: str | bytes, *, max_depth: int = MAX_JSON_DEPTH, **options: Any) -> Any:
    """As `json.loads`, strict.

    Raises ValueError also for values nested deeper than `max_depth`, for `NaN` and `Infinity`, and for numbers that a
    float cannot hold, such as `1e400`.
    """
    try:
        value = json.loads(text, **STRICT_NUMBERS, **options)
    except RecursionError:
        depth = max_depth + 1
    else:
        depth = json_depth(value, max_depth)
    if depth > max_depth:
        raise ValueError(f"it is nested deeper than {max_depth} levels")
    return value


def parse_json(text: str, default: Any) -> Any:
    """The value of stored JSON text, encodable; `default` for text that is not JSON or is nested too deep."""
    try:
        return encodable_value(json.loads(text))
    except (ValueError, RecursionError):
        return default


def strict_json_value(value: Any) -> Any:
    """The value with `NaN` and the infinities, which strict JSON does not have, as the texts "NaN" and "Infinity".

    The result of a task may contain them: Python's JSON writes them, and other programs cannot parse that.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {strict_json_value(name): strict_json_value(inner) for name, inner in value.items()}
    return [strict_json_value(inner) for inner in value] if isinstance(value, list | tuple) else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text if len(text) <= 20 else text[:19] + '…'} is too large a number")
    return found


# Options of `json.loads` and `json.JSONDecoder`: `NaN`, infinities and too large numbers raise ValueError.
STRICT_NUMBERS: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _finite}


def json_depth(value: Any, limit: int = MAX_JSON_DEPTH) -> int:
    """How deep lists and objects are nested, counted up to one more than `limit`."""
    level, depth = [value], -1
    while level and depth <= limit:
        depth += 1
        containers = [each for each in level if isinstance(each, list | dict)]
        level = [inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)]
    return depth
