"""What building `beatdesk-server` adds: the requirements of requirements/base.in, and compressed static files."""

import re
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class Requirements(MetadataHookInterface):
    """Adds `beatdesk` of the same version, and each line of base.in."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `dependencies`, which pyproject.toml declares as dynamic."""
        root = Path(self.root)
        version = re.search(r'^__version__ = "(.+)"$', (root / "beatdesk/__init__.py").read_text(), re.MULTILINE)
        assert version is not None  # noqa: S101  # the file is ours
        lines = (root / "requirements/base.in").read_text().splitlines()
        listed = [line for line in lines if line and not line.startswith("#")]
        metadata["dependencies"] = [f"beatdesk=={version[1]}", *listed]


class CompressedFiles(BuildHookInterface[Any]):
    """Writes compressed copies of static files into the wheel, because an installation may be read-only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write them beside the files."""
        root = Path(self.root)
        runpy.run_path(str(root / "webapp/web/compression.py"))["compress_folder"](root / "webapp/static")
