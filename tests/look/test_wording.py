"""Retired wording: phrases that were replaced and must not come back, on pages, in messages, emails or documents."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "webapp" / "templates"

# Regular expressions, whole words, in any case; what is written instead is in docs/glossary.md.
RETIRED = (
    "due times so far",
    "start it beside the other",
    "let one wait until the other has ended",
    "cancel the other, then start",
    "run at most so many times",
    "so many in a row",
    r"empty: never",
    "each run begins up to so much later",
    "give up (after|when)",
    "not begun after",
    "look back, in seconds",
    "when runs were missed",
    "while no beat ran",
    "where the task goes by itself",
    "the task[’']s own",
    "the default one",
    "left empty",
    "made here",
    "where it was first written",
    "leave theirs as it is",
    "somebody else has saved it",
    "it is not what the code says",
    "follow the code again",
    "says again what",
    "goes on( in)?",
    "it runs now, once",
    "its due times stay as they are",
    "do not skip",
    "nothing wide is paused",
    "every run that does not happen says it",
    "pause or plan it",
    "what becomes of that",
    "leave it: nothing of it runs",
    "made up for",
    "look which it is",
    "what it would do",
    "cannot be taken",
    "mend(s|ed)?( the file)?",
    "only those that mention",
    "reckon(s|ed)?",
    "bursts",
    "calmer",
    "every link holds",
    "the first that nobody accounted for",
    "nobody( knows)?",
    "somebody",
    "whoever",
    "caused by",
    "begun again",
    "the first run",
    "it was called without any",
    "(object|list) of (?=[0-9{])",
    "with the frames of libraries",
    "to what",
    "signs? of life",
    r"(?<=[0-9}] )at once",
    "taken by",
    "its time to be kept has passed",
    "unwanted mail",
    "by which to choose",
    "this takes the role",
    "to the front page",
    "ledger",
    "upwards",
    "downwards",
    "it is told",
    "what it was",
)
# Words without a subject, where a text should name who or what acts: not in documents either.
VAGUE = re.compile(r"(?<![\w.@])(whoever|somebody|nobody|reckon(s|ed|ing)?)(?![\w@])", re.IGNORECASE)
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
# Labels that are words of everyday use elsewhere: only where such a word is the whole label.
RETIRED_LABELS = ("Words", "Who", "Did", "To what", "Spread", "holds")
BUTTONS = re.compile(r">\s*(\{\{[^}]*\}\}\s*)?Show\s*</button>")
PAGERS = re.compile(r'"Before",\s*"After"\)')

PHRASES = re.compile("|".join(rf"(?<![\w.])(?:{phrase})(?!\w)" for phrase in RETIRED), re.IGNORECASE)
LABELS = re.compile(rf"(?<=[\"'>])\s*({'|'.join(RETIRED_LABELS)})\s*(?=[\"'<])")

# Comments, and the names that scripts and sheets go by.
HIDDEN = re.compile(r"\{#.*?#\}|\b(?:class|id|for|name|aria-[a-z]+by)=\"[^\"]*\"", re.DOTALL)


def _paths(folder: Path, *suffixes: str) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.suffix in suffixes)


def _texts(source: str) -> Iterator[str]:
    """The strings of a module, without docstrings and comments of columns; the values in an f-string as `{}`."""
    tree = ast.parse(source)
    hidden = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    hidden |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    hidden |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "comment"}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield node.value


def test_templates_have_no_retired_wording() -> None:
    """Of pages and of emails."""
    found = set()
    for path in _paths(TEMPLATES, ".html", ".txt"):
        text = " ".join(HIDDEN.sub("", path.read_text()).split())
        for rule in (PHRASES, LABELS, BUTTONS, PAGERS):
            found |= {(str(path.relative_to(TEMPLATES)), match[0]) for match in rule.finditer(text)}
    assert found == set()


# Names for programs: fields of JSON, and an account of Unix.
NAMES = {
    ("webapp/schedules/calendar/json.py", "bursts"),
    ("webapp/schedules/calendar/json.py", "calmer"),
    ("webapp/schedules/sources/cron_dialect.py", "nobody"),
}


def test_messages_have_no_retired_wording() -> None:
    found = {
        (str(path.relative_to(ROOT)), text)
        for folder in ("beatdesk", "webapp")
        for path in _paths(ROOT / folder, ".py")
        for text in _texts(path.read_text())
        if PHRASES.search(text)
    }
    assert found == NAMES


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_who_or_what_acts(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [f"{number}: {line}" for number, line in enumerate(lines, 1) if VAGUE.search(line)] == []


def _explanations(path: Path) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a module, each line with its number."""
    with tokenize.open(path) as source:
        yield from (
            (token.start[0], token.string)
            for token in tokenize.generate_tokens(source.readline)
            if token.type == tokenize.COMMENT
        )
    for node in ast.walk(ast.parse(path.read_text())):
        # Docstrings, and the texts below a constant or field that document it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from enumerate(node.value.value.splitlines(), node.lineno)


@pytest.mark.parametrize("folder", ["beatdesk", "webapp", "bench", "tests"])
def test_comments_and_docstrings_name_who_or_what_acts(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _paths(ROOT / folder, ".py")
        for number, line in _explanations(path)
        if VAGUE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [("Nobody matches", "Nobody"), ("“beat” goes on in 2:59", "goes on in"), ("{} at once", "at once")],
)
def test_a_retired_phrase_is_found(text: str, found: str) -> None:
    assert [match[0] for match in PHRASES.finditer(f"All of it works at once. {text}")] == [found]
