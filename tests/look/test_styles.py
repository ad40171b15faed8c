"""Style sheets lie as the rooms of templates do: each class that they style is used, each class of ours is styled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

WEBAPP = Path(__file__).parents[2] / "webapp"
STATIC = WEBAPP / "static"
SHEETS = sorted(path for path in STATIC.rglob("*.css") if "vendor" not in path.parts)
TEMPLATES = sorted(path for path in (WEBAPP / "templates").rglob("*.html") if "email" not in path.parts)
EXPRESSION = re.compile(r"{{.*?}}|{%.*?%}|{[\w.]*}", re.DOTALL)
ATTRIBUTE = re.compile(r'class="((?:{{.*?}}|{%.*?%}|[^"])*)"', re.DOTALL)
LITERAL = re.compile(r"""(["'])(.*?)\1""")
# What scripts find parts of a page by.
HOOKS = {"error-text"}


def styled(sheet: str) -> set[str]:
    """The classes that the selectors of a sheet name."""
    text = re.sub(r"/\*.*?\*/|\"[^\"]*\"", "", sheet, flags=re.DOTALL)
    return {name for head in re.findall(r"([^{};]*){", text) for name in re.findall(r"\.(-?[a-z][\w-]*)", head)}


def literals(expression: str) -> Iterator[str]:
    """What an expression may give: the words of its texts, but not of those that it compares with."""
    for _, text in LITERAL.findall(re.sub(r"\bif\b.*?(?=\belse\b|$)", "", expression, flags=re.DOTALL)):
        yield from text.split()


def written(template: str) -> Iterator[str]:
    """The classes of each element; "state-*" where an expression says how it goes on."""
    for value in ATTRIBUTE.findall(re.sub(r"{#.*?#}", "", template, flags=re.DOTALL)):
        yield from (name if "-*" in name else name.strip("*") for name in EXPRESSION.sub("*", value).split())
        for part in EXPRESSION.finditer(value):
            if not value[: part.start()].endswith("-"):
                yield from literals(part[0].strip("{}%"))


def passed(path: Path) -> Iterator[str]:
    """What may be a class because a macro or a script gets it."""
    text = path.read_text("utf-8")
    for part in [text] if path.suffix == ".js" else EXPRESSION.findall(text):
        for _, given in LITERAL.findall(part):
            yield from re.findall(r"[\w-]+", given)


def named() -> set[str]:
    """The classes that are written in templates, and in the Python code of what a list shows hundreds of."""
    drawn = [WEBAPP / "web" / "components.py", WEBAPP / "schedules" / "editor" / "forms.py"]
    return {name for path in [*TEMPLATES, *drawn] for name in written(path.read_text("utf-8"))} - {""} | {"icon"}


def test_every_class_of_a_style_sheet_is_used() -> None:
    sources = TEMPLATES + sorted(STATIC.glob("*.js"))
    classes = named() | {name for path in sources for name in passed(path)}
    starts = tuple(name.partition("*")[0] for name in classes if "-*" in name)
    words = set(re.findall(r"[\w-]+", "".join(path.read_text("utf-8") for path in [*TEMPLATES, *WEBAPP.rglob("*.py")])))
    unused = {
        f"{sheet.relative_to(STATIC)}: {name}"
        for sheet in SHEETS
        for name in styled(sheet.read_text("utf-8")) - classes
        if not any(name.startswith(start) and name.removeprefix(start) in words for start in starts)
    }
    assert unused == set()


def test_every_class_of_a_template_is_styled() -> None:
    ours = {name for sheet in SHEETS for name in styled(sheet.read_text("utf-8"))}
    tabler = styled(next(STATIC.glob("vendor/tabler-core@*/tabler.min.css")).read_text("utf-8"))
    assert {name for name in named() if "*" not in name} - ours - tabler - HOOKS == set()


def test_no_sheet_is_loaded_that_is_not_there_and_none_is_there_that_is_not_loaded() -> None:
    text = "".join(path.read_text("utf-8") for path in TEMPLATES)
    loaded = set(re.findall(r"[\"']([\w/@.-]+\.css)[\"']", text))
    assert {name for name in loaded if not name.startswith("vendor/")} == {
        sheet.relative_to(STATIC).as_posix() for sheet in SHEETS
    }


def test_a_page_loads_two_sheets_at_most_beside_those_of_every_page() -> None:
    counts = {path.relative_to(WEBAPP).as_posix(): path.read_text("utf-8").count(".css") for path in TEMPLATES}
    assert counts.pop("templates/_layout/styles.html") == 4
    assert {path: count for path, count in counts.items() if count > 2} == {}
