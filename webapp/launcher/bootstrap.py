"""Installs the packages and programs that the Makefile's commands need.

It is run by the machine's own Python, so it imports the standard library only. `bootstrap.py base` creates `.venv` with
the packages for running, `bootstrap.py dev` adds those for tests and checks, and `bootstrap.py programs` finds the
programs that tests start, a browser and servers, or installs them from Debian's packages. Each does nothing if all is
installed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# From Debian's package; the script on the PATH is for the system's own service.
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# Not on the PATH of ordinary users.
NGINX = Path("/usr/sbin/nginx")
LIBATOMIC = "libatomic.so.1"


class SetupError(Exception):
    """An installation failed. The text is one line that says what to do."""


def main(arguments: list[str]) -> int:
    """Run the step of the one argument. Returns the exit code; an error becomes one line."""
    steps = {"base": lambda: install("base"), "dev": lambda: install("dev"), "programs": ensure_programs}
    if len(arguments) != 1 or arguments[0] not in steps:
        return _complain(f"Usage: bootstrap.py {'|'.join(steps)}")
    try:
        steps[arguments[0]]()
    except SetupError as error:
        return _complain(str(error))
    return 0


def install(name: str, *, venv: Path = VENV, requirements: Path = REQUIREMENTS) -> None:
    """Install the packages of `NAME.lock` into the virtual environment; a stamp in it makes further calls cheap.

    Raises SetupError.
    """
    wanted = _fingerprint(requirements / f"{name}.lock")
    python = venv / "bin" / "python"
    # The packages for tests include those for running.
    stamps = [venv / f"{installed}.lock.sha256" for installed in {name, "dev"}]
    if _works(python) and any(_is_current(stamp, requirements) for stamp in stamps):
        return
    _say(f"Installing the packages of requirements/{name}.lock into {venv.name}. This happens only once.")
    started = time.monotonic()
    _make_venv(venv, python)
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--require-hashes", "--no-compile"]
    _call(
        [str(python), "-m", "pip", "install", *options, "--requirement", str(requirements / f"{name}.lock")],
        "The packages could not be installed ({}). Check that the package index is reachable, then try again.",
    )
    _compile(venv, python)
    (venv / f"{name}.lock.sha256").write_text(wanted)
    _say(f"Installed in {time.monotonic() - started:.0f} s.")


def find_browser() -> str | None:
    """The path of an installed Chromium or Chrome, or None."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def find_rabbitmq() -> str | None:
    """The path of an installed RabbitMQ, or None."""
    return str(RABBITMQ) if RABBITMQ.exists() else None


def find_nginx() -> str | None:
    """The path of an installed nginx, or None."""
    return str(NGINX) if NGINX.exists() else None


def find_libatomic() -> str | None:
    """The library that the browser's driver needs on Linux; None if it is missing, as on minimal systems."""
    try:
        ctypes.CDLL(LIBATOMIC)
    except OSError:
        return None if sys.platform == "linux" else "not needed"
    return LIBATOMIC


class Program(NamedTuple):
    """A program that tests start, or a library for one: its name, Debian's package, and a function that finds it."""

    name: str
    package: str
    find: Callable[[], str | None]


PROGRAMS = (
    Program("Chromium", "chromium", find_browser),
    Program("RabbitMQ", "rabbitmq-server", find_rabbitmq),
    Program("nginx", "nginx", find_nginx),
    Program("libatomic", "libatomic1", find_libatomic),
)


def ensure_programs() -> None:
    """Install the programs that tests start where they are missing. Raises SetupError."""
    missing = [program for program in PROGRAMS if not program.find()]
    if not missing:
        return
    names = " and ".join(program.name for program in missing)
    packages = [program.package for program in missing]
    advice = f"The tests need them; on Debian: apt-get install {' '.join(packages)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise SetupError(
            f"Programs not found: {names}; they can be installed automatically only by root on Debian. {advice}"
        )
    _say(f"Installing {names} from Debian's packages.")
    for step in (["update", "--quiet"], ["install", "--quiet", "--yes", "--no-install-recommends", *packages]):
        _call(["apt-get", *step], f"{names} could not be installed ({{}}). {advice}")
    if still := [program.name for program in missing if not program.find()]:
        raise SetupError(f"The Debian packages did not provide {' and no '.join(still)}. {advice}")


def _make_venv(venv: Path, python: Path) -> None:
    # An environment that is incomplete, or whose Python is gone, is created again; a sound one is kept.
    fresh = ["--clear"] if venv.exists() and not _works(python) else []
    if not _works(python):
        _call(
            [sys.executable, "-m", "venv", *fresh, str(venv)],
            f"The virtual environment {venv} could not be created ({{}}). Check that its folder is writable.",
        )


def _compile(venv: Path, python: Path) -> None:
    """Compile on all processors instead of pip's one. Files for other versions of Python may fail."""
    command = [str(python), "-m", "compileall", "-q", "-j", "0", str(venv / "lib")]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  # the arguments are ours


def _works(python: Path) -> bool:
    # Checks pip too, which an interrupted `venv` leaves out.
    finding = "import importlib.util as find, sys; sys.exit(find.find_spec('pip') is None)"
    return python.exists() and subprocess.run([python, "-c", finding], check=False, capture_output=True).returncode == 0  # noqa: S603  # the arguments are ours


def _is_current(stamp: Path, requirements: Path) -> bool:
    lock = requirements / stamp.name.removesuffix(".sha256")
    return stamp.exists() and stamp.read_text() == _fingerprint(lock)


def _fingerprint(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _call(command: list[str], complaint: str) -> None:
    """Run the command silently; if it fails, its error goes into the complaint's `{}`."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(  # noqa: S603  # the commands are ours; the names of programs are looked up like make's
        command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith(("ERROR", "E:"))] or lines or ["no reason given"]
        raise SetupError(complaint.format(errors[-1].rstrip(".")))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _complain(text: str) -> int:
    _say(text)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
