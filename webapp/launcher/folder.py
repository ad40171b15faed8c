"""The data folder: created and locked by one launcher at a time; it keeps the generated secrets."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from webapp.launcher.errors import LaunchError

LOCK = "lock"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A data folder that this process has locked. Its path is absolute."""

    path: Path

    @property
    def secrets(self) -> list[Path]:
        """The paths of files with secrets, which may not exist."""
        return [self.path / name for name in ("secret_key", "admin_password", "env.sh", "valkey/valkey.conf")]

    def kept_secret(self, name: str, length: int) -> tuple[str, bool]:
        """The secret of that name, generated from `length` random bytes if there is none; and whether it is new."""
        file = self.path / name
        if file.exists() and (kept := file.read_text().strip()):
            return kept, False
        made = secrets.token_urlsafe(length)
        write_private(file, made + "\n")
        return made, True

    def subfolder(self, name: str) -> Path:
        """A folder in it, created if needed."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder


@contextmanager
def claimed(path: Path) -> Iterator[DataFolder]:
    """Create the folder if needed and lock it; the lock ends with this process, however it ends.

    Raises LaunchError if it is not writable, or if another launcher has locked it.
    """
    path = path.absolute()
    try:
        # It will have names of people, mail and secrets.
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (path / LOCK).open("a+")
        # An old lock file can be opened on a disk that has become full or read-only.
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"can be written")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LaunchError(
            f"The data folder {path} is not writable ({reason}). "
            "Set BEATDESK_DATA to a writable folder, or change the permissions of this one."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise LaunchError(
                f"Beatdesk is already running with the data folder {path} (process {holder}). "
                "Stop it, or set BEATDESK_DATA to another folder and PORT to another port."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield DataFolder(path)


def write_private(file: Path, text: str) -> None:
    """Write the file in one step, readable by its owner alone from the first moment."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
