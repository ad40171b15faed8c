"""Compressed copies of static files. Building the distribution runs this too, so it imports nothing of ours."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from whitenoise.compress import Compressor

COMPRESSED = (".gz", ".br")


def compress_folder(folder: Path) -> int:
    """Compress the files of a folder; gives how many copies were written. Raises OSError.

    A copy that is up to date is left alone: an installed distribution brings its own, and may be read-only.
    """
    for old in [path for path in folder.rglob("*") if path.suffix in COMPRESSED and not _is_current(path)]:
        old.unlink()
    compressor = Compressor(quiet=True, use_brotli=False)
    files = [path for path in folder.rglob("*") if path.is_file() and compressor.should_compress(path.name)]
    missing = [path for path in files if not Path(f"{path}.gz").exists()]
    return sum(len(list(compressor.compress(str(path)))) for path in missing)


def _is_current(copy: Path) -> bool:
    file = copy.with_suffix("")
    if copy.suffix != ".gz" or not file.exists():
        return False
    try:
        return gzip.decompress(copy.read_bytes()) == file.read_bytes()
    except (EOFError, OSError, zlib.error):
        return False
