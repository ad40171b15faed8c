"""Templates and routes compiled once for all tests, because each test builds an application of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule


class CompiledTemplates(BytecodeCache):
    """Keeps compiled templates in this process, by what they contain."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the bucket what was compiled from the same source, if anything was."""
        known = self._kept.get(f"{bucket.key}{bucket.checksum}")
        if known is not None:
            bucket.bytecode_from_string(known)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        self._kept[f"{bucket.key}{bucket.checksum}"] = bucket.bytecode_to_string()


class CompiledRule(Rule):
    """A route that is compiled once: every application compiles each of its routes, and two address builders for it."""

    _compiled: ClassVar[dict[object, CompiledRule]] = {}
    _builders: ClassVar[dict[object, Callable[..., tuple[str, str]]]] = {}

    def compile(self) -> None:
        """Take the parts and converters of the first rule with the same text, if there is one."""
        assert self.map is not None
        kinds = tuple(self.map.converters.values())
        key = (self.rule, self.subdomain, self.host, self.merge_slashes, repr(self.defaults), kinds)
        same = self._compiled.setdefault(key, self)
        if same is self:
            super().compile()
            return
        self._parts, self._trace, self._converters = same._parts, same._trace, same._converters
        self.arguments |= same.arguments
        self._build = self._compile_builder(False).__get__(self, None)
        self._build_unknown = self._compile_builder(True).__get__(self, None)

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        # All that the builder is made from; converters it asks of the rule that it is called on.
        key = (self.rule, tuple(self._trace), repr(self.defaults), append_unknown)
        if key not in self._builders:
            self._builders[key] = super()._compile_builder(append_unknown)
        return self._builders[key]
