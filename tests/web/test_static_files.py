"""Compressed copies of files that compress well, always up to date."""

from __future__ import annotations

import gzip
from pathlib import Path

from webapp.web.compression import compress_folder


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


def test_current_copies_are_left_alone_and_others_removed(tmp_path: Path) -> None:
    sheet, broken = tmp_path / "look.css", tmp_path / "page.css"
    for file in (sheet, broken):
        file.write_text("a { color: red }\n" * 400)
    assert compress_folder(tmp_path) == 2
    before = Path(f"{sheet}.gz").stat().st_mtime_ns
    Path(f"{broken}.gz").write_bytes(b"cut off")
    (tmp_path / "gone.css.gz").write_bytes(gzip.compress(b"of a file of an earlier release"))
    assert compress_folder(tmp_path) == 1
    assert Path(f"{sheet}.gz").stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.css", "look.css.gz", "page.css", "page.css.gz"]
