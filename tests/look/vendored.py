"""The list of vendored files: `python -m tests.look.vendored` writes it anew after a file was added or updated."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from webapp.web.compression import COMPRESSED

VENDOR = Path(__file__).parents[2] / "webapp" / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"


def manifest() -> list[dict[str, Any]]:
    """The content of the folder: name, version and each file's sha384, as in the attribute `integrity`."""
    made = []
    for folder in sorted(path for path in VENDOR.iterdir() if path.is_dir()):
        name, _, version = folder.name.rpartition("@")
        files = {
            str(file.relative_to(folder)): f"sha384-{_digest(file)}"
            for file in sorted(folder.rglob("*"))
            # A release writes compressed copies beside them.
            if file.is_file() and file.suffix not in COMPRESSED
        }
        made.append({"name": name, "version": version, "files": files})
    return made


def _digest(file: Path) -> str:
    return base64.b64encode(hashlib.sha384(file.read_bytes()).digest()).decode()


if __name__ == "__main__":
    MANIFEST.write_text(json.dumps(manifest(), indent=2) + "\n")
