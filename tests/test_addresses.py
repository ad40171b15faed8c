"""The rule that lets the application work below a path: each of its addresses begins with the root."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

WEBAPP = Path(__file__).parent.parent / "webapp"
STATIC = [path for path in (WEBAPP / "static").rglob("*.*") if "vendor" not in path.parts]
SCRIPTS = sorted(path for path in STATIC if path.suffix in (".js", ".css", ".svg"))
# An attribute's value, or one within a style sheet or a script, that begins with a slash.
PLAIN = re.compile(r"""(?:=\s*["']?|url\(["']?|["'`])/(?=[\w$?#{"'`])""")
ROUTES = {f"blueprint.{method}" for method in ("get", "post", "put", "patch", "delete", "route")}
# What begins with a slash in Python and is no address that anything links to.
EXCEPTIONS = {
    ("web/access.py", "/api/"): "compared with the path of a request, which has no root",
    ("web/errors.py", "/api/"): "compared with the path of a request, which has no root",
    ("overview/signs.py", "/"): "`Sign.address` puts the root before it: some signs are made without an application",
    ("config.py", "/1"): "the number of a database of Redis",
    ("gunicorn.py", "/dev/"): "a folder",
    ("overview/restored.py", "/runs?state=unconfirmed"): "as in `overview/signs.py`",
    ("overview/restored.py", "/mail?state=in+doubt"): "as in `overview/signs.py`",
    ("setting_values.py", "/etc/ssl/redis-ca.pem"): "an example of a file",
    ("launcher/bootstrap.py", "/usr/"): "a folder",
    ("launcher/procfile.py", "/bin/sh"): "a program",
    ("launcher/probes.py", "/readyz answered"): "words; the launcher asks the process itself",
    ("runs/page/tracebacks.py", "/lib/"): "a folder",
    ("database/text_search.py", "/_"): "a pattern of SQL",
}


def texts_of_a_template(source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each address that does not begin with the root."""
    before = [""]
    for line, kind, text in jinja2.Environment().lex(source):
        if kind == "data":
            yield from ((line, found[0]) for found in PLAIN.finditer(text))
        # What follows `~` goes on from another text; "/" alone is what `replace` looks for.
        other = before[-1] == "~" or (before[-2:] == ["replace", "("] and text[1:-1] == "/")
        if kind == "string" and text[1] == "/" and not other:
            yield line, text
        if kind != "whitespace":
            before.append(text)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('<a href="/runs">', 1),
        ("<a href=/runs>", 1),
        ('<a href="/">', 1),
        ('<a href="{{ root }}/runs">', 0),
        ('{{ link("/runs/" ~ id) }}', 1),
        ('{{ link(root ~ "/runs/" ~ id ~ "/family") }}', 0),
        ("{% set x = root ~ '/a' if y else '/b' %}", 1),
        ('{{ x|replace("/", "-") }}{# "/runs" #}', 0),
    ],
)
def test_the_rule_for_templates_finds_what_it_should(source: str, count: int) -> None:
    assert len(list(texts_of_a_template(source))) == count


def test_templates_begin_every_address_with_the_root() -> None:
    found = {
        path.relative_to(WEBAPP).as_posix(): list(texts_of_a_template(path.read_text()))
        for path in (WEBAPP / "templates").rglob("*.*")
    }
    assert len(found) > 100
    assert {path: texts for path, texts in found.items() if texts} == {}


def test_scripts_and_style_sheets_know_no_address() -> None:
    assert len(SCRIPTS) > 8
    assert {path.name: PLAIN.findall(path.read_text()) for path in SCRIPTS} == {path.name: [] for path in SCRIPTS}


class Addresses(ast.NodeVisitor):
    """Collects the texts of a module that begin as a path does, other than rules of routes."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_Call(self, node: ast.Call) -> None:
        is_route = ast.unparse(node.func) in ROUTES
        for child in (node.func, *node.args[is_route:]):
            self.visit(child)
        for keyword in node.keywords:
            if keyword.arg != "url_prefix":
                self.visit(keyword.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        # The rest goes on from what stands before it.
        self.visit(node.values[0])

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and re.match(r"/[\w<]", node.value):
            self.found.append(node.value)


def test_modules_begin_every_address_with_the_root() -> None:
    unused, wrong = set(EXCEPTIONS), []
    for path in sorted(WEBAPP.rglob("*.py")):
        visitor = Addresses()
        visitor.visit(ast.parse(path.read_text()))
        name = path.relative_to(WEBAPP).as_posix()
        for text in visitor.found:
            excepted = {key for key in EXCEPTIONS if key[0] == name and text.startswith(key[1])}
            wrong += [] if excepted else [(name, text)]
            unused -= excepted
    assert wrong == []
    assert unused == set()
