"""Compressed copies of files that compress well, always up to date."""

from __future__ import annotations

import gzip
from pathlib import Path

from webapp.web.static_files import compress_folder


def test_text_is_compressed_and_an_older_copy_is_replaced(tmp_path: Path) -> None:
    sheet = tmp_path / "sub" / "look.css"
    sheet.parent.mkdir()
    sheet.write_text("a { color: red }\n" * 500)
    (tmp_path / "gone.css.gz").write_bytes(b"of a file that is no more")
    assert compress_folder(tmp_path) == 1
    assert not (tmp_path / "gone.css.gz").exists()
    sheet.write_text("a { color: blue }\n" * 500)
    compress_folder(tmp_path)
    assert gzip.decompress((tmp_path / "sub" / "look.css.gz").read_bytes()).decode() == sheet.read_text()
